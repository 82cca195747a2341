#!/bin/sh
# The exact loss distribution is the same in every build: hashes of a build without any
# optimisation and of a release build against the committed ones. Exit code 4 where they differ.
set -eu
cd "$(dirname "$0")/.."
run() { cargo run --quiet --package assay-domain --example pmf_hashes "$@"; }
run --config profile.dev.package.assay-domain.opt-level=0 | diff tests/golden/pmf_hashes.txt - || exit 4
run --release | diff tests/golden/pmf_hashes.txt - || exit 4
echo "20 distributions have the same hash without optimisation, in release, and in the repository"
