# lib.sh - what the suites share. Sourced with the repository's root as working directory.

: "${LOCKSTEP_TESTS_START:=$(date +%s)}"
: "${LOCKSTEP_JOBS:=$(nproc)}"
export LOCKSTEP_TESTS_START LOCKSTEP_JOBS
mkdir -p build/test-logs

# progress TEXT: on stderr, with the time since the start.
progress() {
    local s=$(($(date +%s) - LOCKSTEP_TESTS_START))
    printf '[%02d:%02d] %s\n' $((s / 60)) $((s % 60)) "$*" >&2
}

# build_preset NAME [TARGET...]: configures and builds; a failure is one failed test and the suite's end.
build_preset() {
    local preset=$1
    shift
    progress "building preset $preset"
    if cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 &&
        cmake --build --preset "$preset" -j "$LOCKSTEP_JOBS" ${1:+--target "$@"} \
            >"build/$preset.build.log" 2>&1; then
        return 0
    fi
    tail -n 60 "build/$preset.configure.log" "build/$preset.build.log" >&2 2>/dev/null
    echo "not ok build.$preset: see build/$preset.build.log"
    exit 1
}

# need_binaries [--no-kubelet]: the real control plane of deploy/local, built from Go modules once (minutes); where that
# fails, so does the suite.
need_binaries() {
    progress "control plane binaries"
    bash deploy/local/build.sh "$@" >&2 && return
    echo "not ok binaries: deploy/local/build.sh failed"
    exit 1
}

# failed_output LOG: of a ctest log what failed tests printed, the last 80 lines of each, first what says why.
failed_output() {
    awk '
        function flush(    i) {
            if (!failed) return
            print name
            for (i = 1; i <= n; i++)
                if (line[i] ~ /ERROR|LINE|FAILED|WARNING: ThreadSanitizer|SUMMARY|runtime error|Assertion/) print line[i]
            print "--- its last lines:"
            for (i = n > 80 ? n - 79 : 1; i <= n; i++) print line[i]
        }
        /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / { flush(); failed = /\*\*\*/; name = $0; n = 0; next }
        /^ +Start +[0-9]+: / { next }
        { line[++n] = $0 }
        END { flush() }' "$1"
}

# run_ctest PRESET LABEL [NOT-LABEL]: one line per ctest test with the label; output of failed ones on stderr.
run_ctest() {
    local dir=build/$1 label=$2 without=${3:-none} code
    ctest --test-dir "$dir" -L "^$label\$" -LE "^$without\$" -j "$LOCKSTEP_JOBS" --output-on-failure --no-tests=error \
        >"$dir/ctest-$label.log" 2>&1
    code=$?
    awk '
        match($0, /Test +#[0-9]+: /) {
            rest = substr($0, RSTART + RLENGTH)
            name = rest
            sub(/ .*/, "", name)
            if (rest ~ /\.\.+ *Passed/) print "ok " name
            else if (rest ~ /Skipped/) print "skip " name ": the test said so"
            else if (rest ~ /\*\*\*/) {
                sub(/^.*\*\*\*/, "", rest)
                print "not ok " name ": " rest
            }
        }' "$dir/ctest-$label.log"
    [ $code -eq 0 ] || failed_output "$dir/ctest-$label.log" >&2
    return $code
}

# run_script_files TIMEOUT_S FILE...: each is one test by its exit code (0 ok, 77 skip with the last line
# of its stderr as the reason) unless it prints result lines of its own.
run_script_files() {
    local limit=$1 script name out log code bad=0
    shift
    for script in "$@"; do
        name=$(basename "$script" .sh)
        out=build/test-logs/${script//\//.}.out
        log=build/test-logs/${script//\//.}.log
        progress "$script"
        timeout --kill-after=30 "$limit" bash "$script" >"$out" 2> >(tee "$log" >&2)
        code=$?
        [ $code -eq 124 ] && echo "ended after $limit s" >>"$log"
        if grep -qE '^(ok|not ok|skip) ' "$out"; then
            cat "$out"
            grep -q '^not ok ' "$out" && bad=1
            [ $code -eq 0 ] || grep -q '^not ok ' "$out" || { echo "not ok $name: exit $code"; bad=1; }
            continue
        fi
        cat "$out" >&2
        case $code in
        0) echo "ok $name" ;;
        77) echo "skip $name: $(tail -n 1 "$log")" ;;
        *) echo "not ok $name: exit $code: $(tail -n 1 "$log")"; bad=1 ;;
        esac
    done
    return $bad
}

# run_scripts DIR [TIMEOUT_S]: every executable DIR/*.sh.
run_scripts() {
    local dir=$1 limit=${2:-600} script
    local -a files=()
    for script in "$dir"/*.sh; do
        [ -x "$script" ] && files+=("$script")
    done
    if [ ${#files[@]} -eq 0 ]; then
        echo "skip $dir: it holds no executable script yet"
        return 0
    fi
    run_script_files "$limit" "${files[@]}"
}

# record_traces NAME: the extenders of the scripts that follow record to build/test-logs/traces/NAME.
record_traces() {
    export LOCKSTEP_TRACES=$PWD/build/test-logs/traces/$1
    rm -rf "$LOCKSTEP_TRACES"
    mkdir -p "$LOCKSTEP_TRACES"
}

# replay_traces: each of them through the core of build/release, one test each; a run without a plan in any
# trace has recorded nothing of worth.
replay_traces() {
    local trace name line plans=0 bad=0 log=$LOCKSTEP_TRACES/replay.log
    unset LOCKSTEP_RECORD
    progress "replaying $LOCKSTEP_TRACES"
    for trace in "$LOCKSTEP_TRACES"/*.trace; do
        [ -e "$trace" ] || continue
        name=replay_$(basename "$trace" .trace)
        if line=$(build/release/bin/replay "$trace" 2>"$log"); then
            echo "ok $name"
        else
            echo "not ok $name: $(head -n 1 "$log" | cut -c 1-300)"
            cat "$log" >&2
            bad=1
        fi
        printf '%s\n' "$line" >&2
        plans=$((plans + $(awk -v RS=', ' '$2 == "plans" {print $1; exit}' <<<"$line") + 0))
    done
    [ $plans -gt 0 ] || { echo "not ok replay: no plan stands in any trace of $LOCKSTEP_TRACES"; bad=1; }
    return $bad
}

# sanitized_e2e PRESET VARIABLE...: the end-to-end tests (E2E_SCRIPTS, all) with the preset's extender. Whether that ended
# badly shows in no exit code of a script, so its reports go to files; VARIABLE holds a sanitizer's options.
sanitized_e2e() {
    local preset=$1 reports=$PWD/build/test-logs/sanitizer.$1 variable scripts bad=0
    shift
    rm -f "$reports".*
    scripts=${E2E_SCRIPTS:-$(grep -l '^source tests/e2e/lib.sh' tests/e2e/*.sh)}
    build_preset release
    need_binaries --no-kubelet
    # shellcheck disable=SC2030,SC2086 - paths of this tree, without blanks
    (
        export LOCKSTEP_EXTENDER=$PWD/build/$preset/bin/lockstep-extender
        for variable in "$@"; do
            export "$variable=${!variable}:log_path=$reports"
        done
        record_traces "$preset" # what this build of the core did, the released build must do too
        run_script_files 900 $scripts || bad=1
        replay_traces || bad=1
        exit $bad
    ) || bad=1
    if compgen -G "$reports.*" >/dev/null; then
        cat "$reports".* >&2
        echo "not ok extender_reports: see $reports.*"
        return 1
    fi
    echo "ok extender_reports"
    return $bad
}
