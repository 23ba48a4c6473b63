# The unit tests with ThreadSanitizer.
source tests/suites/lib.sh
export TSAN_OPTIONS=second_deadlock_stack=1
build_preset tsan
# With many random bits in addresses, old runtimes find their shadow memory taken: no randomness then.
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
    [ -n "${LOCKSTEP_FIXED_ADDRESSES:-}" ] || LOCKSTEP_FIXED_ADDRESSES=1 exec setarch -R bash "$0"
fi
run_ctest tsan unit
