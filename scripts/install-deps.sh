#!/bin/bash
# Installs the Debian packages that are lacking, quietly; prints one line when it installs something, else nothing.
#
#     scripts/install-deps.sh build         what compiles angzarr and its tests and runs the example (./quickstart)
#     scripts/install-deps.sh build kafka   and a Kafka broker and kcat (./quickstart --kafka, ./check)
#     scripts/install-deps.sh go            Go, which builds grpcurl (scripts/grpcurl.sh)
#     scripts/install-deps.sh examples      what compiles the examples in Go and Rust; a go and a cargo that are there are taken
#
# Debian 12 or 13, as root or with sudo.  None of these packages starts a service.
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkg-config ca-certificates
    librdkafka-dev librocksdb-dev libgrpc-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libprotobuf-dev
    libyajl-dev libyaml-dev libmicrohttpd-dev libssl-dev libcmocka-dev zlib1g-dev
    python3 python3-venv)
kafka=(maven kcat)
go=(golang-go)
examples=(make protobuf-compiler libprotobuf-dev)
command -v go >/dev/null || examples+=(golang-go)

release=$(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}")
case $release in
debian-12) kafka+=(openjdk-17-jre-headless) ;;
debian-13) kafka+=(openjdk-21-jre-headless) ;;
*) kafka+=(default-jre-headless) ;;
esac
if ! command -v cargo >/dev/null; then
    # The package cargo of Debian 12 knows crates.io as one huge git repository only; cargo-web there is the one of Debian 13.
    case $release in
    debian-12) examples+=(cargo-web rustc-web) ;;
    *) examples+=(cargo rustc) ;;
    esac
fi

want=()
for set in "$@"; do
    case $set in
    build) want+=("${build[@]}") ;;
    kafka) want+=("${kafka[@]}") ;;
    go) want+=("${go[@]}") ;;
    examples) want+=("${examples[@]}") ;;
    *)
        echo "install-deps.sh: unknown set \"$set\": expected build, kafka, go or examples" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "install-deps.sh: this is not Debian; install these yourself: ${want[*]}" >&2
    exit 1
fi
lacking=()
for package in "${want[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || lacking+=("$package")
done
((${#lacking[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "install-deps.sh: packages are lacking and there is neither root nor sudo to install them. Run as root:" >&2
        echo "    apt-get install --no-install-recommends ${lacking[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "Installing with apt: ${lacking[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1; }
if ! { apt update && apt install --no-install-recommends "${lacking[@]}"; }; then
    cat "$log" >&2
    echo "install-deps.sh: apt-get failed, its output is above" >&2
    exit 1
fi
