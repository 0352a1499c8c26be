#!/usr/bin/env bash
# Runs the long versions of the tests for about the given number of minutes: each of them once, however long that
# takes, then the ones that live from chance again and again with new seeds. Ends with a table of what was run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minutes=${1:?usage: scripts/soak.sh MINUTES [PATTERN]}
# Only what has a name that matches this regular expression.
only=${2:-}
deadline=$((SECONDS + minutes * 60))
logs=.build/soak
rows=() failures=0
# Integration tests that put the program's threads to work: what blocks, what is posted back, what starts and stops.
threads='test_concurrency.py test_survival.py test_hibernation.py test_shutdown.py test_cancel.py test_chaos.py'

# Where descriptors run out, the sanitizer cannot start the program that names functions, so that what the suppressions
# leave out by its name is reported.
blind=test_chaos.py::test_descriptors_run_out_again_and_again

main() {
    rm -rf $logs
    mkdir -p $logs
    export ROUTERD_SOAK=1
    run "unit tests, long" swift test --skip-build
    run "n-th call, all" pytest test_fail_nth.py
    run "n-th cut, all" pytest test_cuts.py -k before_any_call
    # The package's test installs it.
    run "integration, release" make build
    run "integration, long" pytest --ignore=test_fail_nth.py --ignore=test_chaos.py \
        --ignore=test_cuts.py --ignore=test_drops.py -m soak
    run "fuzzing" scripts/fuzz.sh $((minutes * 60 / 8 + 1))
    run "chaos" chaos $((minutes * 60 / 8 + 30))
    run "threads, build" swift build --sanitize=thread --scratch-path .build/tsan --build-tests
    run "threads, units" watched swift test --sanitize=thread --scratch-path .build/tsan --skip-build
    # shellcheck disable=SC2086
    run "threads, program" watched env ROUTERD_BINARY="$PWD/.build/tsan/debug/routerd" ROUTERD_CHAOS_SECONDS=15 \
        bash -c "cd Tests/integration && exec ../../.venv/bin/python -m pytest $threads --deselect $blind"
    while [ $((deadline - SECONDS)) -gt 60 ] && [[ "chaos, fuzzing" =~ $only ]]; do
        local slice=$(((deadline - SECONDS) / 2))
        [ $slice -le 600 ] || slice=600
        run "chaos" chaos $slice
        run "fuzzing" scripts/fuzz.sh $((slice / 2))
        [ $((deadline - SECONDS)) -lt 300 ] || run "n-th call, all" pytest test_fail_nth.py
    done
    summary
    [ $failures -eq 0 ]
}

# Each run has a seed of its own, for all of its tests: ROUTERD_TEST_SEED repeats them.
run() {
    local name=$1 began=$SECONDS result=passed seed log
    shift
    [[ "$name" =~ $only ]] || return 0
    seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    log="$logs/${#rows[@]} ${name//[^a-z-]/}.log"
    echo "routerd: soak: $name (seed $seed, $(((deadline - SECONDS) / 60)) min left)"
    ROUTERD_TEST_SEED=$seed "$@" >"$log" 2>&1 || {
        result=FAILED
        failures=$((failures + 1))
        tail -n 60 "$log"
    }
    rows+=("$(printf '%-20s %6d s   %-10s  %s   %s' "$name" $((SECONDS - began)) "$seed" $result "$log")")
}

pytest() { (cd Tests/integration && exec ../../.venv/bin/python -m pytest -s "$@"); }

# Nine tests share the time.
chaos() { ROUTERD_CHAOS_SECONDS=$(($1 / 8 + 10)) pytest test_chaos.py test_cuts.py test_drops.py; }

# A race is a failure of its own, whatever the test thinks of what came of it.
watched() { TSAN_OPTIONS="exitcode=66 suppressions=$PWD/scripts/tsan.suppressions" "$@"; }

summary() {
    printf '\n%-20s %8s   %-10s  %s   %s\n' what time seed result log
    printf '%s\n' "${rows[@]}"
    printf '\n'
}

main
