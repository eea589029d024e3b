#!/bin/bash
# Prints the path of promtool; takes it out of Debian's package promtool (13) or prometheus (12) when there is none yet.  The latter is not
# installed, for that would start its server.
set -euo pipefail
command -v promtool && exit 0
dir=${XDG_CACHE_HOME:-$HOME/.cache}/angzarr/promtool

if [[ ! -x $dir/promtool ]]; then
    mkdir -p "$(dirname "$dir")"
    part=$(mktemp -d "$dir.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    log=$part/log
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    cd "$part"
    get() { apt-get -q download promtool || apt-get -q download prometheus; }
    if ! { get || { "${as_root[@]}" apt-get -q update && get; }; } >"$log" 2>&1 || ! dpkg-deb -x ./*.deb . >>"$log" 2>&1; then
        cat "$log" >&2
        echo "promtool.sh: cannot get Debian's package promtool or prometheus, the output is above" >&2
        exit 1
    fi
    mkdir tool
    mv usr/bin/promtool tool/
    # The folder appears whole or not at all; of two processes that fetch at once the second drops its copy.
    mv -T tool "$dir" 2>/dev/null || [[ -x $dir/promtool ]]
fi
echo "$dir/promtool"
