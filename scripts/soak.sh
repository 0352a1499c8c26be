#!/usr/bin/env bash
# Runs the seeded and the load-bearing tests again and again for the given number of minutes: new seeds each time in
# the Swift tests, longer loads in the integration tests marked `soak`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minutes=${1:?usage: scripts/soak.sh MINUTES}
deadline=$((SECONDS + minutes * 60))
round=0
while [ $SECONDS -lt $deadline ]; do
    round=$((round + 1))
    echo "routerd: soak round $round, $(((deadline - SECONDS + 59) / 60)) min left"
    ROUTERD_SOAK=1 swift test --skip-build
    ROUTERD_SOAK=1 .venv/bin/python -m pytest Tests/integration -m soak
done
echo "routerd: soak passed, $round rounds"
