#!/bin/sh
# Run a federation on this machine as in hospitals: SuperLink, SuperNodes and apps as processes of their own,
# TLS and node keys between them. Everything is stopped at the end, also after Ctrl-C.
#
#   deploy/local.sh [-o OUT] SPEC NAME=STORE [NAME=STORE ...] [-- FEDVLP-SIM-OPTION ...]
#
# The exit code is that of `fedvlp-sim run`: 0 done, 2 usage, 3 data, 4 policy, 5 peer, 6 integrity, 70 our bug.
set -eu

usage() {
    echo "usage: deploy/local.sh [-o OUT] SPEC NAME=STORE [NAME=STORE ...] [-- OPTION ...]" >&2
    exit 2
}

refuse() {
    echo "local.sh: $1" >&2
    exit 2
}

out=runs/local
while getopts o: option; do
    case $option in
        o) out=$OPTARG ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || usage

spec=$1
shift
[ -f "$spec" ] || refuse "no run spec at $spec; see simulations/experiments for examples"

# Turn every NAME=STORE into `--site NAME=STORE`, in place: each word goes from the front to the back once.
remaining=$#
sites=0
while [ "$remaining" -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        ?*=?*) set -- "$@" --site "$1" ;;
        *) refuse "'$1' is not NAME=STORE; write north=stores/north, or -- before options of fedvlp-sim" ;;
    esac
    shift
    remaining=$((remaining - 1))
    sites=$((sites + 1))
done
[ "$sites" -gt 0 ] || usage
if [ "$remaining" -gt 0 ]; then
    shift
    remaining=$((remaining - 1))
    while [ "$remaining" -gt 0 ]; do
        set -- "$@" "$1"
        shift
        remaining=$((remaining - 1))
    done
fi

simulator=$(dirname -- "$0")/../.venv/bin/fedvlp-sim
[ -x "$simulator" ] || simulator=$(command -v fedvlp-sim) ||
    refuse "fedvlp-sim is not installed; run 'make install' first"

exec "$simulator" run "$spec" --engine deployment --out "$out" "$@"
