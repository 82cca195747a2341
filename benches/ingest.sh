#!/bin/sh
# What recording a chain costs, beside a bare COPY of the same rows. Arguments: --json, --blocks N,
# --kills N. Needs what the build needs, and psql. See benches/ingest.rs.
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --package assay --bench ingest -- "$@"
