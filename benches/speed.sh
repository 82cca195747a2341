#!/bin/sh
# CPU time of the exact distribution of 500 blocks as a ratio to a numpy Monte Carlo of the same
# ES99.9 within 1 %, and to the bare multiply-adds. The last line is JSON. Makes a venv with numpy
# in the target directory. Exit code 4 where the two disagree.
set -eu
cd "$(dirname "$0")/.."
venv=target/speed-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import numpy' 2>/dev/null || "$venv/bin/pip" install --quiet numpy
run() { cargo run --quiet --release --package assay-domain --example speed -- "$@"; }
run --portfolio > target/speed-portfolio.json
run > target/speed-exact.json
exec "$venv/bin/python" benches/speed.py target/speed-portfolio.json target/speed-exact.json
