#!/usr/bin/env bash
# LOCKSTEP_SOAK_MINUTES of random gangs (Jobs, bare pods, PodGroups of 1 to 40 members), deletions, failing
# members, cordoned and lost nodes, foreign pods; in the first two thirds also kube-scheduler, API server and
# etcd killed, and the extender killed and started again. Then all of it stops, and: every gang is in a final
# or an explained state, nothing is held for nobody, the recorder saw no GPU given twice and no partial gang
# outside its window, and the extender's memory does not grow. LOCKSTEP_SOAK_SEED: see tests/suites/soak.sh.
source tests/faults/lib.sh
source tests/soak/load.sh
FAULT_LOGS=$PWD/build/test-logs/soak
RECORD=$FAULT_LOGS/live.rec
ENDED=$FAULT_LOGS/live.ended
SAMPLES=$FAULT_LOGS/live.rss
MINUTES=${LOCKSTEP_SOAK_MINUTES:-30}
SEED=${LOCKSTEP_SOAK_SEED:-1}

# Memory per minute that is still no leak. Resident memory grows in steps of some 100 KiB whenever more lives
# at once than before, and malloc keeps what it has: in the second half of the last life (five of thirty
# minutes) that came to 100 KiB a minute once. A lost object per pod is more: some 130 pods a minute come and go
# here, and a pod that is known takes 2 KiB or more.
LIMIT_KIB_MIN=${LOCKSTEP_SOAK_LIMIT_KIB_MIN:-160}

GROUPS_API=$(pod_group_api)
[ -z "$GROUPS_API" ] || GATES=GenericWorkload=true
faults_up soak --nodes 64 --racks 8 ${GATES:+--feature-gates "$GATES"}
: >"$ENDED"
: >"$SAMPLES"

sample_memory() {
    local pid
    while :; do
        pid=$(pid_of extender)
        echo "$SECONDS $pid $(awk '/^VmRSS/ {print $2}' "/proc/$pid/status" 2>/dev/null)" >>"$SAMPLES"
        sleep 3
    done
}
sample_memory &
SAMPLER=$!
trap 'kill $SAMPLER 2>/dev/null; faults_down' EXIT

prepare() {
    k create priorityclass high --value 1000
    k create namespace evict
    k label namespace evict lockstep.dev/evict=allowed
    k apply -n evict -f deploy/manifests/rbac-evict.yaml
} >/dev/null

# ---- the load -------------------------------------------------------------------------------------

load() {
    local faults_until=$((MINUTES * 40)) until=$((MINUTES * 60)) start=$SECONDS told=0 elapsed
    while elapsed=$((SECONDS - start)) && [ $elapsed -lt $until ]; do
        if [ $elapsed -lt $faults_until ]; then turn yes; else turn no; fi
        if [ $elapsed -ge $((told + 60)) ]; then
            told=$elapsed
            printf 'minute %d: %d gangs here, %s\n' $((elapsed / 60)) ${#GANGS[@]} "$(states)" >&2
        fi
        draw 1200 && sleep "$((DRAWN / 1000)).$(printf '%03d' $((DRAWN % 1000)))"
    done
}
states() {
    k get gp -A -o json 2>/dev/null | jq -r '[.items[].status.state] | group_by(.) | map("\(length) \(.[0])") | join(", ")'
}
count_turns() {
    local name
    for name in "${!TURNS[@]}"; do echo "${TURNS[$name]} $name"; done | sort -rn | tr '\n' ' '
}

calm() {
    local node
    for node in "${CORDONED[@]}"; do
        k uncordon "$node"
    done
    k delete pods -n default -l app=hand --force --grace-period=0
    k get pods -o name | grep '^pod/plain-' | xargs -r kubectl delete --force --grace-period=0
    k create -f "$RUN/nodes.json" # those that did not come back
} >/dev/null 2>&1

# ---- the verdicts ------------------------------------------------------------------------------------

# GangPlacements with a state that must not last, or that ask for a reason and have none, or that say what
# their pods do not show; one line each.
unexplained() {
    jq -nr --slurpfile gps <(k get gp -A -o json) --slurpfile pods <(k get pods -A -l soak -o json) '
        ($pods[0].items | group_by(.metadata.namespace + "/" + .metadata.labels.soak)
            | map({key: (.[0].metadata.namespace + "/" + .[0].metadata.labels.soak), value: .}) | from_entries) as $of
        | ($gps[0].items | map({key: "\(.metadata.namespace)/\(.metadata.name)", value: .status}) | from_entries) as $gp
        | ($gp | to_entries[] | .key as $name | .value.state as $state | (.value.reason.code // "") as $code
            | ([$of[$name] // [] | .[] | select(.spec.nodeName != null and .status.phase != "Failed"
                and .metadata.deletionTimestamp == null)] | length) as $bound
            | (($of[$name] // [{}])[0].metadata.annotations["test.lockstep.dev/min"] // "0" | tonumber) as $min
            | if $state == "Done" then empty # whoever deletes its pods afterwards
              elif ($state | IN("Running", "Bound")) then
                if $bound < $min then "\($name) is \($state) with \($bound) of \($min) pods bound" else empty end
              elif ($state | IN("Waiting", "Forming", "Broken")) then
                if $code == "" then "\($name) is \($state) without a reason" else empty end
              else "\($name) is \($state) (\($code)) still" end),
          ($of | to_entries[] | select(any(.value[]; .status.phase == "Pending")) | select($gp[.key] == null)
            | "\(.key) has pending pods and no GangPlacement")'
}
explained() { [ -z "$(unexplained)" ]; }
every_gang_is_explained() {
    local limit=$((SECONDS + 240))
    until explained; do
        [ $SECONDS -lt $limit ] || fail "$(unexplained | head -n 20)"
        sleep 2
    done
    echo "at rest: $(states)"
    k get gp -A -o json | jq -r '.items[] | select(.status.reason != null)
        | "\(.metadata.namespace)/\(.metadata.name) \(.status.state): \(.status.reason.message)"'
}

# Room for those that wait: what runs is taken away, again and again, until each has had its turn.
everybody_gets_a_turn() {
    local gone before limit waves=0
    while [ -n "$(in_state Waiting)" ]; do
        waves=$((waves + 1))
        gone=$(in_state Running Bound Done Broken)
        before=$(in_state Waiting | wc -l)
        # shellcheck disable=SC2086
        take_away $gone
        limit=$((SECONDS + 90))
        until [ "$(in_state Waiting | wc -l)" -lt "$before" ]; do
            [ $SECONDS -lt $limit ] || fail "$before gangs wait though everybody else is gone: $(k get gp -A -o wide | grep Waiting | head -n 3)"
            sleep 1
        done
        sleep 3
    done
    echo "all that waited have started after $waves rounds"
}
# A GangPlacement whose pods are gone is no gang any more: it goes when the garbage collector comes to it, which
# on a busy machine can take minutes.
in_state() { # STATE...: ns/name of the gangs
    jq -nr --arg states "$*" --slurpfile gps <(k get gp -A -o json) --slurpfile pods <(k get pods -A -l soak -o json) '
        ([$pods[0].items[] | "\(.metadata.namespace)/\(.metadata.labels.soak)"] | unique) as $there
        | $gps[0].items[] | select(.status.state | IN(($states | split(" "))[]))
        | "\(.metadata.namespace)/\(.metadata.name)" | select(IN($there[]))'
}
take_away() {
    local gang
    [ $# -gt 0 ] || return 0
    for gang in "$@"; do
        ended "$gang"
        echo "${gang#*/}"
    done | paste -sd, >"$RUN/gone"
    k delete jobs -A -l "soak in ($(cat "$RUN/gone"))" --wait=false >/dev/null 2>&1
    k delete pods -A -l "soak in ($(cat "$RUN/gone"))" --force --grace-period=0 >/dev/null 2>&1
}

no_holds() { [ "$(metric lockstep_holds)" = 0 ] && [ "$(metric lockstep_held_votes)" = 0 ]; }
nothing_is_held() {
    within 90 "$(metric lockstep_holds) holds and $(metric lockstep_held_votes) votes left while nothing is placed" no_holds
}

nothing_is_left() {
    k delete jobs,podgroups.scheduling.k8s.io --all -A --wait=false >/dev/null 2>&1
    k delete jobs --all -A --cascade=foreground --timeout 120s >/dev/null 2>&1
    k delete pods --all -A --force --grace-period=0 >/dev/null 2>&1
    within 60 "$(k get pods -A -o name | wc -l) pods are left" none_left pods
    within 30 "$(metric lockstep_gangs) gangs are left in the extender" no_gangs
    within 30 "GangPlacements are left: $(k get gp -A | tail -n 5)" none_left gp
}
none_left() { [ -z "$(k get "$1" -A -o name)" ]; }

judged() {
    awk -F '\t' '$2 > 0' "$RECORD" | sort -n -k2,2 -s |
        awk -f tests/faults/record.awk -v gpus=8 -v ended="$ENDED" -v by_hand='/hand-' >"$FAULT_LOGS/live.sum"
    JUDGED=$(tail -n 1 "$FAULT_LOGS/live.sum")
}
field() { awk -v f="$1" '{for (i = 1; i < NF; i++) if ($i == f) print $(i + 1)}' <<<"$JUDGED"; }
# What a Broken gang or one whose pods are being evicted says of itself is no silent half-start.
no_gang_was_partial() {
    local whole
    whole=$(awk '$1 == "gang" && $10 != 0' "$FAULT_LOGS/live.sum" | wc -l)
    echo "$whole of $(field gangs) gangs were whole; partial inside windows $(field inside) s, outside $(field outside) s, of it $(field told) s Broken or Replacing"
    [ "$whole" -ge "$MINUTES" ] || fail "only $whole gangs became whole in $MINUTES minutes"
    awk '$1 == "gang" && $14 != $18' "$FAULT_LOGS/live.sum" | cut -c 1-200
    [ "$(field outside)" = "$(field told)" ] || fail "partial outside of windows: $(field outside) s, told of them: $(field told) s"
}
no_gpu_was_given_twice() {
    echo "$(field raced) times a pod put there by hand and one of ours met on a node"
    [ "$(field over)" = 0 ] || fail "$(grep -c '^over' "$FAULT_LOGS/live.sum") times: $(grep -m1 '^over' "$FAULT_LOGS/live.sum")"
}
no_invariant_broke() {
    ! cat "$RUN/logs/extender.log" "$FAULT_LOGS/$SCRIPT/extender.before.log" 2>/dev/null | grep -m5 'broken invariant' ||
        fail "the extender saw a broken invariant"
}

# The life without kills is long enough to be judged; of the others the slopes are printed.
memory_stays() {
    local pods slope seconds
    awk -f tests/soak/slope.awk "$SAMPLES"
    pods=$(awk -F '\t' '$3 == "pod" {seen[$5] = 1} END {print length(seen)}' "$RECORD")
    read -r seconds slope < <(awk -f tests/soak/slope.awk "$SAMPLES" | awk '$5 != 0 {s = $4; v = $NF} END {print s, v}')
    echo "$((pods / MINUTES)) pods a minute; last life: $seconds s, $slope KiB a minute, limit $LIMIT_KIB_MIN"
    awk -v s="$slope" -v limit="$LIMIT_KIB_MIN" 'BEGIN {exit !(s <= limit)}' ||
        fail "memory grows by $slope KiB a minute, limit $LIMIT_KIB_MIN"
}

prepare || die "the cluster cannot be prepared"
echo "seed $SEED, $MINUTES minutes" >&2
RANDOM=$SEED
load
kill $SAMPLER
echo "turns: $(count_turns)" >&2
calm
check every_gang_is_explained every_gang_is_explained
check nothing_is_held nothing_is_held
check everybody_gets_a_turn everybody_gets_a_turn
check nothing_is_left nothing_is_left
recorder_stop
judged
check no_gang_was_partial no_gang_was_partial
check no_gpu_was_given_twice no_gpu_was_given_twice
check no_invariant_broke no_invariant_broke
check memory_stays memory_stays
