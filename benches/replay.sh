#!/bin/sh
# What a full replay costs beside a plain copy of the same rows. Arguments: --json, --events N,
# --repeats N. Needs what the build needs, and psql. See benches/replay.rs.
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --package assay --bench replay -- "$@"
