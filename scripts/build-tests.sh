#!/usr/bin/env bash
# Builds the program and its tests, and fails on any warning about a file of this repository. The compiler is not
# asked to do that (-warnings-as-errors), because it would hold packages from outside to our rules as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
swift build --build-tests "$@" 2>&1 | tee "$log"

warnings=$(grep -E "^$PWD/(Sources|Tests|Benchmarks|Examples)/[^:]+:[0-9]+:[0-9]+: warning:" "$log" | sort -u || true)
[ -z "$warnings" ] && exit 0

# A file that is up to date is not compiled again and its warning would be forgotten by the next run.
cut -d: -f1 <<<"$warnings" | sort -u | xargs touch
printf '\nrouterd: warnings count as errors here:\n%s\n' "$warnings" >&2
exit 1
