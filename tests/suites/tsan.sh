# Unit tests and simulator with ThreadSanitizer; with LOCKSTEP_TSAN_E2E=1 also the end-to-end tests with
# such an extender (some 5 minutes, not in CI).
source tests/suites/lib.sh
export TSAN_OPTIONS=second_deadlock_stack=1
build_preset tsan
# With many random bits in addresses, old runtimes find their shadow memory taken: no randomness then.
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
    [ -n "${LOCKSTEP_FIXED_ADDRESSES:-}" ] || LOCKSTEP_FIXED_ADDRESSES=1 exec setarch -R bash "$0"
fi
bad=0
run_ctest tsan unit one_thread || bad=1

# It has one thread; what it runs is the core as the daemon's threads see it.
progress "simulator with ThreadSanitizer"
if build/tsan/bin/sim --seed 1 --runs 20 --steps 3000 >build/test-logs/tsan.sim.log 2>&1; then
    echo "ok sim"
    cat build/test-logs/tsan.sim.log >&2
else
    tail -n 40 build/test-logs/tsan.sim.log >&2
    echo "not ok sim: $(grep -m1 -E 'WARNING: ThreadSanitizer|^seed' build/test-logs/tsan.sim.log)"
    bad=1
fi
if [ "${LOCKSTEP_TSAN_E2E:-}" = 1 ]; then
    sanitized_e2e tsan TSAN_OPTIONS || bad=1
fi
exit $bad
