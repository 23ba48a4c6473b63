#!/usr/bin/env bash
# Live = offline: before each of many random gangs is created the cluster is frozen, and `lockstep plan` says
# from that snapshot which hash, or which reason with which numbers, its GangPlacement will show.
#   LOCKSTEP_OFFLINE_GANGS=40   how many gangs; 200 is the full form
#   LOCKSTEP_OFFLINE_SEED=1     which ones
# A difference keeps snapshot, manifest and offline answer in build/test-logs/offline-GANG.*.json.
source tests/e2e/lib.sh
GANGS=${LOCKSTEP_OFFLINE_GANGS:-40}
SEED=${LOCKSTEP_OFFLINE_SEED:-1}
CLUSTER_NODES=54
SETTLE_S=60
up offline --nodes $CLUSTER_NODES --racks 9

declare -A pods=() percent=() waits=() # of the gangs that exist: pods, GPUs of 100 that they use, "yes"
plain=0 expected=0          # ordinary pods; all pods of the namespace
used=0 high=90              # GPUs of 100 in the last snapshot; from how many on gangs go
answer=

# pick N: REPLY is a number below N. In this shell, not in $(...), which would draw the same one again.
pick() { REPLY=$((RANDOM % $1)); }

# A cluster that is not all alike: nodes that are cordoned, tainted, of no rack; use by others and by us.
uneven() {
    local i
    k cordon node-007 >/dev/null
    k taint node node-020 node-021 broken=yes:NoSchedule >/dev/null
    k label node node-041 example.com/rack- >/dev/null
    fill 3 $(nodes 2 5)
    fill 8 $(nodes 26 27)
    for i in 1 2 3 4; do
        ordinary
    done
    expected=$((expected + 6))
}

ordinary() {
    plain=$((plain + 1))
    expected=$((expected + 1))
    member plain-$plain "" 0 2
}

# wish: a jq filter that gives a Job something random to ask for.
wish() {
    local level=rack where='.spec.template.metadata'
    pick 2
    [ "$REPLY" = 0 ] || level=block
    pick 4
    [ "$REPLY" != 0 ] || where=.metadata # what the Job says stands in for what its template does not
    pick 8
    case $REPLY in
    0 | 1) WISH="$where.annotations[\"lockstep.dev/topology\"] = \"required=example.com/$level\"" ;;
    2) WISH="$where.annotations[\"lockstep.dev/topology\"] = \"preferred=example.com/$level\"" ;;
    3) WISH="$where.annotations[\"lockstep.dev/topology\"] = \"required=example.com/block,preferred=example.com/rack\"" ;;
    4) WISH='.spec.template.spec.tolerations = [{key: "broken", operator: "Exists"}]' ;;
    5) WISH='.spec.template.spec.nodeSelector = {"example.com/block": "block-001"}' ;;
    6) WISH='.spec.template.spec.containers[0].resources.requests = {cpu: "20"} | .spec.template.metadata.annotations["lockstep.dev/role"] = "trainer"' ;;
    *) WISH=. ;;
    esac
}

# random_gang NAME: its manifest in $RUN/gang.json; most have up to 24 pods, some more than fit.
random_gang() {
    local name=$1 n gpus
    pick 24
    n=$((REPLY + 1))
    pick 4
    gpus=$((1 << REPLY))
    pick 12
    [ "$REPLY" != 0 ] || n=60 gpus=8
    wish
    job_json "$name" $n $gpus "$WISH" >"$RUN/gang.json"
    pods[$name]=$n
    percent[$name]=$((n * gpus * 100 / (CLUSTER_NODES * 8)))
}

# What the extender knows, in one line: pods, gangs, holds.
known() {
    bash deploy/local/in.sh "$NAME" curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:$HEALTH_PORT/metrics" |
        awk '$1 == "lockstep_pods" {pods = $2} $1 == "lockstep_gangs" {gangs = $2} $1 == "lockstep_holds" {holds = $2}
            END {print pods, gangs, holds}'
}

# api PATH [CURL-OPTION...]: what kubectl would do, without its start.
api() {
    local path=$1
    shift
    bash deploy/local/in.sh "$NAME" curl -sf --noproxy '*' --cacert "$PKI/ca.crt" --cert "$PKI/admin.crt" \
        --key "$PKI/admin.key" "https://$API_ADDRESS:$API_PORT$path" "$@"
}

# Of a snapshot: is all at rest, GPUs used of 100, and what GangPlacement $gang says. At rest nothing is going,
# each gang is bound or waits for room, and only pods of those that wait have no node.
READ_SNAPSHOT='
    def of(kind): [.[] | select(.kind == "\(kind)List") | .items[]];
    def gpus: [.spec.containers[].resources.limits["nvidia.com/gpu"] // "0" | tonumber] | add;
    def answer: if . == null then "" elif .state == "Waiting" then "\(.reason.code): \(.reason.message)"
        else "hash \(.hash)" end;
    of("Pod") as $pods
    | (of("GangPlacement") | map({key: .metadata.name, value: .status}) | from_entries) as $status
    | (all(.[].items[]; .metadata.deletionTimestamp == null) and ($pods | length) == $expected
        and all(of("Job")[]; $status[.metadata.name] | (.state | IN("Bound", "Running")) or
            (.state == "Waiting" and (.reason.code | IN("InsufficientRoom", "NoDomainFits"))))
        and all($pods[]; .spec.nodeName != null or
            $status[.metadata.labels["lockstep.dev/gang"] // ""].state == "Waiting")) as $rest
    | [$pods[] | select(.spec.nodeName != null) | gpus] as $used
    | "\($rest) \($used | add * 100 / $total | floor) \($status[$gang] | answer)"'

at_rest() {
    local rest
    [ "$(known)" = "$expected ${#pods[@]} 0" ] || return 1
    api "/api/v1/{nodes,pods,namespaces}" >"$RUN/snapshot.json" &&
        api "/apis/{batch/v1/jobs,lockstep.dev/v1alpha1/gangplacements}" >>"$RUN/snapshot.json" || return 1
    read -r rest used answer < <(jq -sr --arg gang "$1" --argjson expected $expected \
        --argjson total $((CLUSTER_NODES * 8)) "$READ_SNAPSHOT" "$RUN/snapshot.json")
    [ "$rest" = true ]
}

# freeze [GANG]: a snapshot of the cluster at rest in $RUN/snapshot.json; answer is what it says of the gang.
freeze() {
    local limit=$((SECONDS + SETTLE_S))
    until at_rest "${1:-}"; do
        [ $SECONDS -lt $limit ] || fail "gang ${1:-}: not at rest within $SETTLE_S s; known: $(known), expected: $expected ${#pods[@]} 0"
        sleep 0.02
    done
}

# doom NAME: it goes with the others of make_room().
doom() {
    doomed+=("$1")
    expected=$((expected - pods[$1]))
    unset "pods[$1]" "percent[$1]" "waits[$1]"
}

# make_room TARGET: deletes most gangs that wait, and random ones until at most TARGET of 100 GPUs are in use.
make_room() {
    local target=$1 left=$used name doomed=()
    for name in $(printf '%s\n' "${!pods[@]}" | sort -V); do
        pick 3
        if [ -n "${waits[$name]:-}" ]; then
            [ "$REPLY" = 0 ] || doom "$name"
        elif [ "$left" -gt "$target" ] && [ "$REPLY" != 0 ]; then
            left=$((left - percent[$name]))
            doom "$name"
        fi
    done
    [ ${#doomed[@]} -eq 0 ] || k delete jobs "${doomed[@]}" --wait=false >/dev/null || fail "cannot delete ${doomed[*]}"
}

# Between two gangs the cluster may change, and then it is frozen anew: when it is as full as this time it was to
# become, and now and then before, gangs go; or an ordinary pod comes.
stir() {
    local i=$1
    pick 12
    if [ "$used" -ge $high ] || [ "$REPLY" = 0 ]; then
        pick 34
        high=$((REPLY + 62))
        pick 60
        make_room $((REPLY + 5))
    elif [ "$used" -lt 60 ] && [ $((i % 10)) = 9 ]; then
        ordinary
    else
        return
    fi
    freeze
}

# What lockstep plan says of $RUN/gang.json beside $RUN/snapshot.json, as READ_SNAPSHOT puts it.
ask_offline() {
    "$LOCKSTEP_BIN" plan -f "$RUN/snapshot.json" -g "$RUN/gang.json" -c "$RUN/lockstep.yaml" -o json \
        >"$RUN/offline.json" 2>"$RUN/offline.err" || [ $? = 3 ] || fail "gang $1: lockstep plan: $(cat "$RUN/offline.err")"
    jq -r 'if .feasible then "hash \(.hash)" else "\(.reason.code): \(.reason.message)" end' "$RUN/offline.json"
}

keep() {
    local kept=build/test-logs/offline-$1
    mkdir -p build/test-logs
    mv "$RUN/before.json" "$kept.snapshot.json"
    cp "$RUN/gang.json" "$kept.gang.json"
    cp "$RUN/offline.json" "$kept.plan.json"
    cp "$RUN/snapshot.json" "$kept.after.json"
}

# one GANG: asked offline, then live.
one() {
    local name=$1 offline
    random_gang "$name"
    offline=$(ask_offline "$name") || fail "$offline"
    mv "$RUN/snapshot.json" "$RUN/before.json"
    api /apis/batch/v1/namespaces/default/jobs --json @"$RUN/gang.json" >/dev/null || fail "cannot create gang $name"
    expected=$((expected + pods[$name]))
    freeze "$name"
    case $answer in
    hash*) placed=$((placed + 1)) ;;
    *) waits[$name]=yes ;;
    esac
    [ "$answer" != "$offline" ] || return
    differ+=("$name")
    keep "$name"
    echo "gang $name: offline '$offline', live '$answer'; its snapshot is kept in build/test-logs"
}

live_is_offline() {
    local i least=100 most=0 placed=0 differ=() start=$SECONDS
    RANDOM=$SEED
    rm -f build/test-logs/offline-*.json
    uneven
    freeze
    for ((i = 1; i <= GANGS; i++)); do
        one "g$i"
        least=$((used < least && i > 10 ? used : least)) most=$((used > most ? used : most))
        stir "$i"
    done
    echo "seed $SEED: $((GANGS - ${#differ[@]})) of $GANGS gangs as planned offline, $placed placed and $((GANGS - placed))" \
        "not; $least to $most of 100 GPUs in use; $((SECONDS - start)) s"
    [ ${#differ[@]} -eq 0 ] || fail "live and offline differ for ${differ[*]} (seed $SEED), see build/test-logs/offline-*.json"
}

check m_live_is_what_plan_said_offline live_is_offline
