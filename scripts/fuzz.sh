#!/usr/bin/env bash
# Fuzzes the parsers with libFuzzer, under the address sanitizer, for the given number of seconds.
#
# An input that breaks something is kept in Tests/WireProtocolTests/Corpus, and fails the unit tests from then on; what
# only reaches new code is kept below .build for the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?usage: scripts/fuzz.sh SECONDS}
directory=.build/fuzz corpus=Tests/WireProtocolTests/Corpus
mkdir -p $directory/corpus
# One module, so that the parsers are instrumented and inlined as they are; its import of itself means nothing.
swiftc -sanitize=fuzzer,address -parse-as-library -O -swift-version 6 -suppress-warnings -module-name WireProtocol \
    Sources/WireProtocol/*.swift Tests/WireProtocolTests/Fuzzing.swift Tests/WireProtocolFuzz/Fuzz.swift \
    -o $directory/wire-protocol
seed=${ROUTERD_TEST_SEED:-$RANDOM$RANDOM}
echo "routerd: fuzzing for $seconds s, seed $seed"
exec $directory/wire-protocol -max_total_time="$seconds" -seed="$seed" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -verbosity=0 -artifact_prefix=$corpus/ $directory/corpus $corpus
