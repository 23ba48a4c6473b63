# The unit tests with AddressSanitizer and UBSan, then the end-to-end tests with such an extender.
source tests/suites/lib.sh
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
bad=0
build_preset asan
run_ctest asan unit || bad=1
sanitized_e2e asan ASAN_OPTIONS UBSAN_OPTIONS || bad=1
exit $bad
