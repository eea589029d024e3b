#!/bin/bash
# Prints the folder that holds Kafka's jars; fetches them with Maven when it does not exist yet.
set -euo pipefail
version=${KAFKA_VERSION:-4.3.1}
dir=${XDG_CACHE_HOME:-$HOME/.cache}/angzarr/kafka-$version

if [[ ! -d $dir ]]; then
    mkdir -p "$(dirname "$dir")"
    part=$(mktemp -d "$dir.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    chmod 755 "$part"
    if ! mvn -q -B -f "$(dirname "$0")/kafka-pom.xml" -Dkafka.version="$version" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$part" >"$part/mvn.log" 2>&1; then
        cat "$part/mvn.log" >&2
        echo "kafka-jars.sh: Maven could not fetch Kafka $version, its output is above" >&2
        exit 1
    fi
    rm -f "$part/mvn.log"
    # The folder appears whole or not at all; of two processes that fetch at once the second drops its copy.
    mv -T "$part" "$dir" 2>/dev/null || [[ -d $dir ]]
fi
echo "$dir"
