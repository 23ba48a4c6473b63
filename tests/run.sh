#!/bin/bash
# tests/run.sh [SUITE...] - sets up, builds, runs; the last line is "N passed, N failed, N skipped".
#
# Suites: unit sim e2e faults cluster fuzz asan tsan (what CI runs; the default; of faults it runs a part),
# and by name only: soak, valgrind.
# A suite is tests/suites/NAME.sh. On stdout it prints one line per test,
#     ok NAME          not ok NAME: why          skip NAME: why
# which are counted here; all else goes to stderr and, with it, to build/test-logs/SUITE.log.
# Progress with elapsed time is on stderr. Exit: 0 nothing failed, 1 something did, 2 bad usage.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
source tests/suites/lib.sh

CI_SUITES=(unit sim e2e faults cluster fuzz asan tsan)
NAMED_SUITES=(soak valgrind)
# CI machines have an hour; who names suites has the time that the whole fault matrix or a soak takes.
SUITE_TIMEOUT_S=${LOCKSTEP_SUITE_TIMEOUT_S:-$(($# > 0 ? 10800 : 2400))}
TOTAL_TIMEOUT_S=${LOCKSTEP_TOTAL_TIMEOUT_S:-$(($# > 0 ? 21600 : 3480))}
LOGS=build/test-logs

passed=0 failed=0 skipped=0

pick_suites() {
    local name
    for name in "$@"; do
        [[ " ${CI_SUITES[*]} ${NAMED_SUITES[*]} " == *" $name "* ]] || {
            echo "tests/run.sh: unknown suite '$name', known: ${CI_SUITES[*]} ${NAMED_SUITES[*]}" >&2
            exit 2
        }
        [ -f "tests/suites/$name.sh" ] || {
            echo "tests/run.sh: suite '$name' does not exist in this tree yet" >&2
            exit 2
        }
        suites+=("$name")
    done
    [ $# -gt 0 ] && return
    for name in "${CI_SUITES[@]}"; do
        [ -f "tests/suites/$name.sh" ] && suites+=("$name")
    done
}

# Counts the lines of one suite and repeats them, with the suite's name before the test's.
count_lines() {
    local suite=$1 line
    while IFS= read -r line; do
        case $line in
        "ok "*) passed=$((passed + 1)) ;;
        "not ok "*) failed=$((failed + 1)) bad=1 ;;
        "skip "*) skipped=$((skipped + 1)) ;;
        *) printf '%s\n' "$line" >&2 && continue ;;
        esac
        seen=1
        case $line in
        "not ok "*) printf 'not ok %s: %s\n' "$suite" "${line#not ok }" ;;
        *) printf '%s %s: %s\n' "${line%% *}" "$suite" "${line#* }" ;;
        esac
    done
}

run_suite() {
    local suite=$1 log=$LOGS/$1.log out=$LOGS/$1.out limit=$SUITE_TIMEOUT_S code left seen=0 bad=0
    left=$((LOCKSTEP_TESTS_START + TOTAL_TIMEOUT_S - $(date +%s)))
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 10 ]; then
        failed=$((failed + 1))
        echo "not ok $suite: no time left of $TOTAL_TIMEOUT_S s"
        return
    fi
    progress "suite $suite"
    timeout --kill-after=30 "$limit" bash "tests/suites/$suite.sh" >"$out" 2> >(tee "$log" >&2)
    code=$?
    count_lines "$suite" <"$out"
    # A suite that died, or tested nothing, must not look like one that passed.
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
        failed=$((failed + 1))
        echo "not ok $suite: ended after $limit s"
    elif [ $code -ne 0 ] && [ $bad -eq 0 ]; then
        failed=$((failed + 1))
        echo "not ok $suite: the suite itself ended with exit $code, see $log"
    elif [ $seen -eq 0 ]; then
        failed=$((failed + 1))
        echo "not ok $suite: it tested nothing"
    fi
    progress "suite $suite ended; so far $passed passed, $failed failed, $skipped skipped"
}

suites=()
pick_suites "$@"
# CI has an hour: a part of the fault matrix, a shorter look for what breaks parsers, one script with ASan's extender.
[ $# -gt 0 ] || export LOCKSTEP_FAULTS=${LOCKSTEP_FAULTS:-ci} LOCKSTEP_FUZZ_S=${LOCKSTEP_FUZZ_S:-8} LOCKSTEP_ASAN_E2E=${LOCKSTEP_ASAN_E2E:-tests/e2e/gangs.sh}
mkdir -p "$LOGS"
progress "suites: ${suites[*]}"
bash deploy/packages.sh ensure build || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
for suite in "${suites[@]}"; do
    run_suite "$suite"
done
bash tests/longest.sh >&2
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
