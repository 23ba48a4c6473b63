# The unit tests with AddressSanitizer and UBSan, then the end-to-end tests with such an extender
# (LOCKSTEP_ASAN_E2E: which scripts; all, in CI the one with gangs of all sorts).
source tests/suites/lib.sh
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export LSAN_OPTIONS=suppressions=$PWD/tests/checks/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export LOCKSTEP_BRUTE_CASES=${LOCKSTEP_BRUTE_CASES:-2000} # for memory; exactness is the unit suite's
bad=0
build_preset asan
run_ctest asan unit || bad=1
E2E_SCRIPTS=${LOCKSTEP_ASAN_E2E:-} sanitized_e2e asan ASAN_OPTIONS UBSAN_OPTIONS || bad=1
exit $bad
