# Valgrind's memcheck, by name only (some minutes): the probe's unit tests and those of gRPC's wrapper as they are
# released; no error, no leak. What is not ours stands in tests/checks/valgrind.supp with its reason. Ranks are followed
# where the test is about them; the programs that they are in come from the same build.
# LOCKSTEP_VALGRIND_TESTS names others.
source tests/suites/lib.sh
tests=${LOCKSTEP_VALGRIND_TESTS:-"test_probe_wire test_coordinator test_coordinator_gangs test_coordinator_hosts
    test_coordinator_memory test_probe_hosts test_probe_invite test_token_cache
    test_probe_service test_pod_probe test_measure test_measure_stats test_tcp test_local test_op test_child
    test_child_wire test_verdict test_rpc test_rpc_start test_rpc_stream test_rpc_hostile test_rpc_tls test_rpc_proto"}
followed=" test_child "

if ! bash deploy/packages.sh ensure valgrind; then
    echo "skip valgrind: $(bash deploy/packages.sh have valgrind 2>&1)"
    exit 0
fi
# shellcheck disable=SC2086 - names without blanks
build_preset release $tests

# One test; the log holds what valgrind says, and the test.
check_one() {
    local name=$1 follow=no log=build/test-logs/valgrind.$1.log
    [[ $followed == *" $name "* ]] && follow=yes
    if timeout --kill-after=10 600 valgrind -q --error-exitcode=99 --leak-check=full --num-callers=30 \
        --trace-children=$follow --trace-children-skip='*/bash,*/openssl,*/rm' \
        --suppressions=tests/checks/valgrind.supp build/release/bin/"$name" >"$log" 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name: exit $?: $(grep -m1 -E '^==[0-9]+== [A-Z0-9]|FAILED' "$log"), see $log"
        tail -n 60 "$log" >&2
    fi
}

progress "memcheck of $(wc -w <<<"$tests") tests, $LOCKSTEP_JOBS at a time"
export LOCKSTEP_VALGRIND=1 # what valgrind cannot do is skipped
export -f check_one
export followed
# shellcheck disable=SC2086
printf '%s\n' $tests | xargs -P "$LOCKSTEP_JOBS" -I{} bash -c 'check_one "$@"' _ {} | tee build/test-logs/valgrind.lines
! grep -q '^not ok' build/test-logs/valgrind.lines
