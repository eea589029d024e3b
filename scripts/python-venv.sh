#!/bin/bash
# python-venv.sh DIR REQUIREMENTS: a virtual environment of Debian's python3 in DIR that holds what REQUIREMENTS names.
# One that is up to date is left alone.
set -euo pipefail
dir=$1 requirements=$2
python=/usr/bin/python3
[[ -x $python ]] || python=$(command -v python3)

stamp="$("$python" --version) $(sha256sum <"$requirements")"
[[ -x $dir/bin/python && $(cat "$dir/.stamp" 2>/dev/null) == "$stamp" ]] && exit 0

mkdir -p "$(dirname "$dir")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -rf "$dir"
if ! { "$python" -m venv "$dir" && "$dir/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "python-venv.sh: cannot install what $requirements names into $dir, the output is above" >&2
    exit 1
fi
echo "$stamp" >"$dir/.stamp"
