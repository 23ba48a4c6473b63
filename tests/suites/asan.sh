# The unit tests (and the simulator, where there is one) with AddressSanitizer and UBSan.
source tests/suites/lib.sh
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
build_preset asan
run_ctest asan unit
