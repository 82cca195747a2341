#!/bin/sh
# Requests per second and p99 of five queries, 50 connections, 100,000 ratings of history, beside
# PostGraphile 5 on the same database. Arguments: --seconds N (default 20), --writes: something is
# committed a hundred times a second meanwhile, so that no answer stays true for long. Needs wrk, npm,
# psql and the binaries of Postgres in PATH. The last line is JSON. See benches/load.mjs.
set -eu
cd "$(dirname "$0")/.."
seconds=20
writes=
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2; shift 2 ;;
        --writes) writes=yes; shift ;;
        *) echo "load.sh knows --seconds N and --writes" >&2; exit 2 ;;
    esac
done
cargo build --quiet --release --bin assay
work=$(mktemp -d)
tools=${ASSAY_LOAD_TOOLS:-$work/tools}
mkdir -p "$tools"
[ -x "$tools/node_modules/.bin/postgraphile" ] || (
    cd "$tools"
    echo '{"private":true,"allowScripts":{"node":true}}' > package.json
    npm install --silent --no-audit --no-fund postgraphile@5.1.5 node@22 >&2
    npm rebuild --silent node >&2
)
server=
writer=
stop() {
    [ -n "$server" ] && kill "$server" 2>/dev/null || true
    [ -n "$writer" ] && kill "$writer" 2>/dev/null || true
    as_postgres pg_ctl -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
# initdb does not run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/sh -c "PATH='$PATH' $*"; else "$@"; fi; }
trap stop EXIT INT TERM
chmod 711 "$work"
install -d -m 700 "$work/data"
[ "$(id -u)" = 0 ] && chown postgres "$work/data"
as_postgres initdb -D "$work/data" -A trust -U bench >/dev/null
as_postgres pg_ctl -D "$work/data" -w -l "$work/data/log" \
    -o "'-p 54741 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=512MB'" start >/dev/null
export DATABASE_URL=postgres://bench@127.0.0.1:54741/postgres
target/release/assay query graphql/operations/history.graphql --var slug=none >/dev/null || true
psql -qX "$DATABASE_URL" -f benches/load.sql
target/release/assay serve --listen 127.0.0.1:4741 >/dev/null &
server=$!
if [ -n "$writes" ]; then
    psql -qX "$DATABASE_URL" -c 'CREATE TABLE public.tick AS SELECT 0 AS n'
    echo 'UPDATE public.tick SET n = n + 1 \watch 0.01' | psql -qX "$DATABASE_URL" >/dev/null &
    writer=$!
fi
node benches/load.mjs "$seconds" "$tools"
