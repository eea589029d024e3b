#!/bin/bash
# Prints the path of grpcurl, with which the tests do what a user does; builds it with Go when it is not there yet.
# The version is one that Debian 12's Go (1.19) builds as well as newer ones.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
version=${GRPCURL_VERSION:-v1.8.9}
tool=$PWD/build/tools/grpcurl-$version/grpcurl

if [[ ! -x $tool ]]; then
    command -v go >/dev/null || scripts/install-deps.sh go >&2
    mkdir -p "${tool%/*}"
    part=$(mktemp -d "$tool.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    if ! GOTOOLCHAIN=local GOFLAGS= GOBIN=$part go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" >"$part/log" 2>&1; then
        cat "$part/log" >&2
        echo "grpcurl.sh: Go could not build grpcurl $version, its output is above" >&2
        exit 1
    fi
    mv "$part/grpcurl" "$tool"
fi
echo "$tool"
