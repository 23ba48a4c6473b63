# Every fuzz target for LOCKSTEP_FUZZ_S seconds (20), from tests/fuzz/corpus/NAME and what was found before.
source tests/suites/lib.sh
seconds=${LOCKSTEP_FUZZ_S:-20}

names=()
for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] && names+=("$(basename "$source" .c)")
done
if [ ${#names[@]} -eq 0 ]; then
    echo "skip fuzz: tests/fuzz holds no target yet"
    exit 0
fi
if ! bash deploy/packages.sh ensure fuzz; then
    echo "skip fuzz: $(bash deploy/packages.sh have fuzz 2>&1)"
    exit 0
fi
build_preset fuzz "${names[@]}"

# One target; what breaks it stays in build/fuzz-found/NAME for a replay by hand.
fuzz_one() {
    local name=$1 corpus=build/fuzz-corpus/$1 found=build/fuzz-found/$1 log=build/test-logs/fuzz.$1.log
    local -a seeds=()
    mkdir -p "$corpus" "$found"
    [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
    if build/fuzz/bin/"$name" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$found/" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
        echo "ok $name"
        grep -E 'number_of_executed_units|DONE' "$log" | tr '\n' ' ' | sed "s/^/$name: /; s/\$/\n/" >&2
    else
        tail -n 40 "$log" >&2
        echo "not ok $name: $(grep -m1 -E 'ERROR|SUMMARY' "$log"), input in $found/"
    fi
}

progress "fuzzing ${#names[@]} targets for $seconds s each, $LOCKSTEP_JOBS at a time"
export -f fuzz_one
export seconds
printf '%s\n' "${names[@]}" | xargs -P "$LOCKSTEP_JOBS" -I{} bash -c 'fuzz_one "$@"' _ {} | tee build/test-logs/fuzz.lines
! grep -q '^not ok' build/test-logs/fuzz.lines
