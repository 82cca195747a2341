#!/bin/sh
# The exact loss distribution of twenty portfolios against ten million simulated years each.
# Argument: another number of draws. Exit code 4 where they do not agree.
set -eu
cd "$(dirname "$0")/.."
exec cargo run --quiet --release --package assay-domain --example montecarlo -- "$@"
