#!/usr/bin/env bash
# LOCKSTEP_SOAK_STEPS simulated steps or more with 0 violations, on all cores: blocks of seeds, by turns
# with short lives (5,000 random steps) and long ones (20,000). Prints the step rate and
# the coverage: how many cells of the table state x event x fault were met by any block.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
SIM=$PWD/build/release/bin/sim
STEPS=${LOCKSTEP_SOAK_STEPS:-100000000}
SEED=${LOCKSTEP_SOAK_SEED:-1}
JOBS=${LOCKSTEP_JOBS:-$(nproc)}
BLOCK=1000000 # random steps at least; those of calm come on top
OUT=build/test-logs/soak/steps
rm -rf "$OUT"
mkdir -p "$OUT"

# block NUMBER: seeds of its own; 255 ends xargs at the first violation. (The exit code of sim also tells
# of cells that a single block did not meet.)
block() {
    local i=$1 life=5000 runs
    [ $((i % 2)) -eq 0 ] || life=20000
    runs=$((BLOCK / life))
    "$SIM" --seed $((SEED * 1000000 + i * BLOCK / 5000 + 1)) --runs "$runs" --steps "$life" --table \
        >"$OUT/$i" 2>&1
    grep -q ': 0 violations;' "$OUT/$i" || exit 255
}
export -f block
export SIM SEED BLOCK OUT

# The blocks' own words added up: "N seeds, N steps, N bindings, N crashes, N failovers, ...".
add_up() {
    cat "$OUT"/[0-9]* | awk -v s="$1" '/^[0-9]+ seeds, [0-9]+ steps/ {
            seeds += $1; steps += $3; bindings += $5; crashes += $7; failovers += $9
        }
        END {
            printf "%d seeds, %d steps, %d bindings, %d crashes, %d failovers in %d s: %.0f steps/s\n", seeds, steps,
                bindings, crashes, failovers, s, steps / (s ? s : 1)
        }'
}

# The blocks' tables laid over each other. Rows end with the counts of the 9 states: a number (met), a
# letter (a reason why not), "?" (no reason) or a number with "!" (met against its reason).
coverage() {
    cat "$OUT"/[0-9]* | awk '
        /^event, fault/ { table = 1; next }
        /cells met/ || /^  [a-z]  / { table = 0 }
        table && NF > 9 {
            name = ""
            for (i = 1; i <= NF - 9; i++) name = name $i " "
            for (i = NF - 8; i <= NF; i++) {
                cell = name i - NF + 9
                if (!(cell in best)) { cells++; best[cell] = 0 }
                kind = $i ~ /!/ ? 3 : $i ~ /^[0-9]/ ? 2 : $i == "?" ? 0 : 1
                if (kind > best[cell]) best[cell] = kind
                if (kind == 3 && !told[name]++) print "met against its reason: " name > "/dev/stderr"
            }
        }
        END {
            for (cell in best) n[best[cell]]++
            printf "%d of %d cells met, %d explained, %d neither, %d met against their reason\n",
                n[2] + n[3], cells, n[1], n[0], n[3]
        }'
}

blocks=$(((STEPS + BLOCK - 1) / BLOCK))
start=$SECONDS
seq 0 $((blocks - 1)) | xargs -P "$JOBS" -I{} bash -c 'block {}' 2>/dev/null
elapsed=$((SECONDS - start))
failed=$(grep -L ': 0 violations;' "$OUT"/[0-9]* | head -n 1)
if [ -n "$failed" ]; then
    tail -n 5 "$failed" >&2
    echo "not ok simulated_steps: $(grep -m1 '^seed' "$failed" || echo "a block ended early"), see $failed"
    exit 1
fi
total=$(add_up "$elapsed")
echo "0 violations: $total on $JOBS cores" >&2
steps=$(sed -E 's/.*seeds, ([0-9]+) steps.*/\1/' <<<"$total")
if [ "$steps" -ge "$STEPS" ]; then echo "ok simulated_steps"; else
    echo "not ok simulated_steps: $steps steps were made, expected $STEPS"
fi
cells=$(coverage)
echo "coverage: $cells" >&2
case $cells in
*", 0 met against their reason") echo "ok simulated_coverage" ;;
*) echo "not ok simulated_coverage: $cells" ;;
esac
