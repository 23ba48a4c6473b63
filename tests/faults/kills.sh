#!/usr/bin/env bash
# SIGKILL to the extender at random moments while a gang of 256 is placed, and a new start: whole within
# 90 s, as planned. Two of three kills are drawn from the time after the first binding, the rest from the
# whole placement; the record proves that at least half fell between first and last binding.
source tests/faults/lib.sh
faults_up kills --nodes 40 --racks 8

SIZE=256
KILLED=$FAULT_LOGS/kills.txt # a line per kill: gang, time of the kill, time of the new start
: >"$KILLED"

# ms FROM TO: between two times of the recorder's clock.
ms() { echo $((($2 - $1) / 1000000)); }

undisturbed() {
    local start
    start=$(now_ns)
    gang_job calm $SIZE 1
    whole calm $SIZE 60
    # Kept for the offsets: the whole placement and the part between first and last binding.
    echo "$(ms "$start" "$(gang_field calm whole)") $(ms "$(gang_field calm first)" "$(gang_field calm whole)")" \
        >"$RUN/calm"
    echo "$SIZE pods placed in $(cut -d ' ' -f 1 "$RUN/calm") ms, bound in $(cut -d ' ' -f 2 "$RUN/calm") ms"
}

kill_at_random() {
    local gang=kill-$I killed
    clean
    gang_job "$gang" $SIZE 1
    if [ $((I % 3)) != 2 ]; then
        until first_binding_seen "$gang"; do sleep 0.005; done
    fi
    sleep "$(printf '%d.%03d' $((OFFSET / 1000)) $((OFFSET % 1000)))"
    killed=$(now_ns)
    kill9 extender
    mark "$gang killed"
    sleep 0.2 # what was on its way has arrived
    echo "$gang $killed $(now_ns)" >>"$KILLED"
    extender
    local start=$SECONDS left
    left=$(bound "$gang")
    whole "$gang" $SIZE 90
    echo "after $OFFSET ms: $left of $SIZE bound soon after the new start, whole $((SECONDS - start)) s after it"
}

# Amid: the first binding was seen before the kill, the last one after the new start.
half_were_amid() {
    local gang killed again amid=0 all=0
    while read -r gang killed again; do
        all=$((all + 1))
        [ "$(gang_field "$gang" first)" -lt "$killed" ] && [ "$(gang_field "$gang" whole)" -gt "$again" ] &&
            amid=$((amid + 1)) && echo "$gang amid its bindings"
    done <"$KILLED"
    [ "$all" -gt 0 ] || fail "no kill was recorded"
    [ $((2 * amid)) -ge "$all" ] || fail "$amid of $all kills fell between first and last binding"
    echo "$amid of $all kills fell between first and last binding"
}

check placed_undisturbed undisturbed
read -r placing binding <"$RUN/calm"
kills=20
[ "$MATRIX" = all ] || kills=3
for I in $(seq $kills); do
    OFFSET=$((RANDOM % (I % 3 == 2 ? placing : binding / 4 + 1)))
    check "kill_$I" kill_at_random
done
check half_of_the_kills_fell_amid_bindings half_were_amid
finish
