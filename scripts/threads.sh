#!/usr/bin/env bash
# Runs the tests of the reactor, where the program's threads meet, under the thread sanitizer: the sample of what
# `make soak` does with everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Without dependencies there would be nothing resolved: other builds keep what they had.
kept=$(mktemp)
trap 'mv "$kept" Package.resolved' EXIT
if [ -e Package.resolved ]; then cp Package.resolved "$kept"; else trap 'rm -f "$kept" Package.resolved' EXIT; fi

# A race is a failure of its own, whatever the test thinks of what came of it.
export TSAN_OPTIONS="exitcode=66 suppressions=$PWD/scripts/tsan.suppressions"
ROUTERD_THREADS=1 swift test --sanitize=thread --scratch-path .build/threads
