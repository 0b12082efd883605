#!/bin/sh
# Make the virtual environments of the peers that benchmarks compare with: benchmarks/.peers/<name> from
# benchmarks/requirements/<name>.txt. Usage: benchmarks/peers.sh [name ...]; without a name, all. Run again, it mends.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- $(ls "$here/requirements" | sed 's/\.txt$//')
for name in "$@"; do
    pins="$here/requirements/$name.txt"
    [ -f "$pins" ] || { echo "peers.sh: no peer '$name' (have: $(ls "$here/requirements" | sed 's/\.txt$//' | tr '\n' ' '))" >&2; exit 2; }
    [ -x "$here/.peers/$name/bin/python" ] || "${PYTHON:-python3}" -m venv "$here/.peers/$name"
    # the pins are complete, so nothing is resolved
    "$here/.peers/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$pins"
    echo "$name: $here/.peers/$name"
done
