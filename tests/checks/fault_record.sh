#!/usr/bin/env bash
# The judge of the fault tests (tests/faults/record.awk) sees what it is there to see.
set -euo pipefail

# record LINE...: lines of "second version kind name uid gang min node phase gpus" judged.
record() {
    printf '%s\n' "$@" | awk -v OFS='\t' '{$1 = sprintf("%.0f", $1 * 1e9); $11 = "-"; $1 = $1; print}' |
        sort -n -k2,2 -s | awk -f tests/faults/record.awk -v gpus=8 "${OPTIONS[@]}" | tail -n 1
}
# says EXPECTED LINE...: without what is 0 most of the time.
OPTIONS=()
says() {
    local expected=$1 got
    shift
    got=$(record "$@")
    got=${got% told 0.000 raced 0}
    [ "$got" = "$expected" ] || {
        echo "judged '$got', expected '$expected'" >&2
        exit 1
    }
}

binding="1 10 gp d/g u g - - Binding -"
first="2 11 pod d/p1 a g 2 n1 Pending 8"
second="5 12 pod d/p2 b g 2 n2 Pending 8"
says "total gangs 1 inside 3.000 outside 0.000 over 0" "$binding" "$first" "$second"
# No persisted Binding before the first binding; the watch of placements may still be the slower one.
says "total gangs 1 inside 0.000 outside 3.000 over 0" "$first" "$second"
says "total gangs 1 inside 2.900 outside 0.000 over 0" "$first" "$second" "2.1 10 gp d/g u g - - Binding -"
# A window lasts 60 s at most, and ends when the state is another one.
says "total gangs 1 inside 60.000 outside 20.000 over 0" "$binding" "$first" "82 12 pod d/p2 b g 2 n2 Pending 8"
says "total gangs 1 inside 1.000 outside 2.000 over 0 told 2.000 raced 0" "$binding" "$first" "3 12 gp d/g u g - - Broken -" \
    "5 13 pod d/p2 b g 2 n2 Pending 8"
# A gang that nobody finishes counts to the end of the record.
says "total gangs 1 inside 60.000 outside 38.000 over 0" "$binding" "$first" "100 12 mark -/end - - - - - -"
# A member that goes before the gang was whole; one that goes later is no start.
says "total gangs 1 inside 3.000 outside 0.000 over 0" "$binding" "$first" "5 12 pod-gone d/p1 a - - - - -" \
    "9 13 mark -/end - - - - - -"
says "total gangs 1 inside 3.000 outside 0.000 over 0" "$binding" "$first" "$second" \
    "6 13 gp d/g u g - - Running -" "7 14 pod d/p1 a g 2 n1 Failed 8" "9 15 gp d/g u g - - Broken -"
# A node with more in use than it has; a failed pod uses nothing.
says "total gangs 1 inside 3.000 outside 0.000 over 1" "$binding" "$first" "5 12 pod d/p2 b g 2 n1 Pending 8"
says "total gangs 1 inside 0.000 outside 0.000 over 0" "1 10 pod d/p1 a g 1 n1 Running 8" \
    "2 11 pod d/p1 a g 1 n1 Failed 8" "3 12 pod d/p2 b g 1 n1 Pending 8"
# A gang that the test takes apart at 4 s; one of which it does so when it is long whole.
apart=$(mktemp)
trap 'rm -f "$apart"' EXIT
echo "d/g 4000000000" >"$apart"
OPTIONS=(-v ended="$apart")
says "total gangs 1 inside 0.000 outside 2.000 over 0" "$first" "9 13 mark -/end - - - - - -"
says "total gangs 1 inside 2.000 outside 0.000 over 0" "$binding" "$first" "90 13 mark -/end - - - - - -"
# A node that somebody fills by hand: nobody could know within 2 s, later one could.
OPTIONS=(-v by_hand=/hand-)
hand="2.5 12 pod d/hand-1 c - - n2 Running 8"
says "total gangs 1 inside 2.000 outside 0.000 over 0 told 0.000 raced 1" "$binding" "$first" "$hand" \
    "4 13 pod d/p2 b g 2 n2 Pending 8"
says "total gangs 1 inside 3.000 outside 0.000 over 1" "$binding" "$first" "$hand" "5 13 pod d/p2 b g 2 n2 Pending 8"
says "total gangs 1 inside 0.000 outside 0.000 over 0 told 0.000 raced 1" "1 10 pod d/p1 a g 1 n2 Running 8" "$hand"
