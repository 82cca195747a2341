#!/bin/sh
# From a node's notification of a block to the slash in it in the read model. Arguments: --json,
# --rounds N. Needs what the build needs, and anvil (`npm ci` in oracle). See benches/latency.rs.
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --package assay --bench latency -- "$@"
