#!/bin/sh
# How long each hostile request takes to be refused, and what it costs in memory. Prints a table and
# one line of JSON. Needs what the build needs, and npm (graphql/checks/abuse.mjs).
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release --bin assay
work=$(mktemp -d)
target/release/assay demo --world --json --listen 127.0.0.1:4743 > "$work/said" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM
until curl -fs http://127.0.0.1:4743/ready >/dev/null 2>&1; do
    kill -0 $server || exit 1
    sleep 0.5
done
node graphql/checks/abuse.mjs http://127.0.0.1:4743 $server > "$work/told"
node -e '
const told = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
for (const one of told.refusals) console.error(`${String(one.ms).padStart(8)} ms  ${one.status}  ${(one.code ?? "-").padEnd(26)} ${one.name}`);
const quick = told.refusals.filter((one) => !one.isSlow).map((one) => one.ms);
console.log(JSON.stringify({ requests: told.refusals.length, without_code: told.refusals.filter((one) => !one.code).length, slowest_ms: Math.max(...quick), rss_kib: told.rss_kib, after: `${told.rounds} rounds of all but the slow one` }));
' "$work/told"
