# The unit tests with AddressSanitizer and UBSan, then the end-to-end tests with such an extender.
source tests/suites/lib.sh
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
bad=0
build_preset asan
run_ctest asan unit || bad=1

# Whether the extender ended badly shows in no exit code of a script: its reports go to files.
reports=$PWD/build/test-logs/sanitizer
rm -f "$reports".*
scripts=$(grep -l '^source tests/e2e/lib.sh' tests/e2e/*.sh)
if [ -n "$scripts" ] && [ -x build/asan/bin/lockstep-extender ]; then
    build_preset release
    need_binaries --no-kubelet
    export LOCKSTEP_EXTENDER=$PWD/build/asan/bin/lockstep-extender
    export ASAN_OPTIONS=$ASAN_OPTIONS:log_path=$reports UBSAN_OPTIONS=$UBSAN_OPTIONS:log_path=$reports
    record_traces asan # what this build of the core did, the released build must do too
    # shellcheck disable=SC2086 - paths of this tree, without blanks
    run_script_files 600 $scripts || bad=1
    replay_traces || bad=1
    if compgen -G "$reports.*" >/dev/null; then
        cat "$reports".* >&2
        echo "not ok extender_reports: see build/test-logs/sanitizer.*"
        bad=1
    else
        echo "ok extender_reports"
    fi
fi
exit $bad
