#!/bin/sh
# Builds and tests the contracts, and fails if what is committed of them (ABI, gas) is not what comes out.
# Foundry's own binaries, not npm's wrappers around them: those exit 0 when they fail.
set -eu
cd "$(dirname "$0")"

npm ls >/dev/null 2>&1 || npm ci

set -- "$PWD"/node_modules/@foundry-rs/forge-*/bin/forge
forge=$1
[ -x "$forge" ] || {
    echo "no forge for this machine under node_modules/@foundry-rs" >&2
    exit 1
}

cd contracts
"$forge" fmt --check
"$forge" build
"$forge" test
node ../abi/generate.mjs RatingOracle RatingFeedFactory
git diff --exit-code -- ../abi reader ../gas.json || {
    echo "oracle/abi, contracts/reader or gas.json is not what this source gives: commit the files as they are now" >&2
    exit 1
}
# The package as a consumer gets it.
node ../kit.mjs
