#!/bin/sh
# From a transaction sent to a node to its slash in the read model. Arguments: --json,
# --rounds N. Needs what the build needs, and anvil (`npm ci` in oracle). See benches/latency.rs.
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --package assay --bench latency -- "$@"
