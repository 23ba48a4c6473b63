# load.sh - the random turns of tests/soak/live.sh; sourced by it after tests/faults/lib.sh.
#
# Every draw comes from the one seeded RANDOM of the main shell (a subshell would have another), so a seed
# gives one order of turns; which objects they meet depends on time. ENDED lists the gangs that the test
# itself took apart and when, for the judge: what is left of such a gang is no start.
# shellcheck shell=bash

declare -A GANGS=() # ns/name of what lives -> job, brittle, bare or group
declare -A TURNS=() # name of a turn -> how often it was made
ENDED='' NUMBER=0 CORDONED=() HANDED=()

draw() { DRAWN=$((RANDOM % $1)); }
# chance PERCENT
chance() { draw 100 && [ $DRAWN -lt "$1" ]; }
# pick ARRAY-ELEMENT...: one of them in PICKED, "" of none.
pick() {
    PICKED=''
    [ $# -eq 0 ] && return 1
    draw $#
    PICKED=${*:$((DRAWN + 1)):1}
}
# A gang in PICKED (ns/name), its parts in NS and GANG, its kind in KIND.
pick_gang() {
    # Sorted: bash lists the keys in an order of its own.
    # shellcheck disable=SC2046
    pick $(printf '%s\n' "${!GANGS[@]}" | sort -V) || return 1
    NS=${PICKED%%/*} GANG=${PICKED#*/} KIND=${GANGS[$PICKED]}
}
ended() { echo "$1 $(now_ns)" >>"$ENDED"; }

# ---- gangs --------------------------------------------------------------------------------------

# How the members of a gang look; the recorder is told the gang and how many must start together.
POD_JQ='def pod: {metadata: {labels: {soak: $name}, annotations: ({"kwok.x-k8s.io/hold": "true",
        "test.lockstep.dev/gang": $name, "test.lockstep.dev/min": $min}
        + (if $topology == "" then {} else {"lockstep.dev/topology": $topology} end))},
    spec: {schedulerName: "lockstep", restartPolicy: "Never", priorityClassName: $class,
        terminationGracePeriodSeconds: $grace, containers: [{name: "c", image: "none.test/none",
        resources: {limits: {"nvidia.com/gpu": $gpus}}}]}};'

# SIZE, GPUS, TOPOLOGY, CLASS, GRACE, NS: half of the gangs are small.
draw_shape() {
    draw 40 && SIZE=$((DRAWN + 1))
    ! chance 50 || SIZE=$((SIZE % 8 + 1))
    pick 1 2 4 8 8 && GPUS=$PICKED
    TOPOLOGY=''
    ! chance 30 || { pick required=example.com/block preferred=example.com/rack required=example.com/rack && TOPOLOGY=$PICKED; }
    # A rack has 8 nodes, a block 32: what can never fit there waits for ever, which is right and dull.
    [[ $TOPOLOGY != required=*rack ]] || [ $((SIZE * GPUS)) -le 64 ] || TOPOLOGY=''
    [[ $TOPOLOGY != required=*block ]] || [ $((SIZE * GPUS)) -le 256 ] || TOPOLOGY=''
    CLASS='' && ! chance 20 || CLASS=high
    GRACE=0 && ! chance 30 || GRACE=2
    NS=default && ! chance 50 || NS=evict
}
render() { # NAME JQ
    jq -n --arg name "$1" --arg ns "$NS" --arg topology "$TOPOLOGY" --arg class "$CLASS" --arg gpus "$GPUS" \
        --arg min "$SIZE" --argjson n "$SIZE" --argjson grace "$GRACE" --argjson more "${MORE:-0}" \
        --argjson patience "${PATIENCE_OF_JOB:-0}" --arg groups "$GROUPS_API" "$POD_JQ $2"
}
job_of() {
    render "$1" 'pod as $pod | {apiVersion: "batch/v1", kind: "Job",
        metadata: {name: $name, namespace: $ns, labels: {soak: $name}},
        spec: {completionMode: "Indexed", completions: $n, parallelism: $n, backoffLimit: $patience,
        template: ($pod | .metadata.labels["lockstep.dev/gang"] = $name)}}'
}
bare_of() {
    render "$1" 'pod as $pod | {apiVersion: "v1", kind: "List", items: [range($n + $more) as $i | $pod
        + {apiVersion: "v1", kind: "Pod"} | .metadata += {name: "\($name)-\($i)", namespace: $ns}
        | .metadata.labels["lockstep.dev/gang"] = $name | .metadata.annotations["lockstep.dev/gang-size"] = $min]}'
}
group_of() {
    render "$1" 'pod as $pod | {apiVersion: "v1", kind: "List", items: ([{apiVersion: "scheduling.k8s.io/\($groups)",
        kind: "PodGroup", metadata: {name: $name, namespace: $ns}, spec: {schedulingPolicy: {gang: {minCount: $n}}}}]
        + [range($n + $more) as $i | $pod + {apiVersion: "v1", kind: "Pod"} | .metadata += {name: "\($name)-\($i)",
        namespace: $ns} | .spec.schedulingGroup = {podGroupName: $name}])}'
}

new_gang() {
    local name kind
    NUMBER=$((NUMBER + 1)) name=soak-$NUMBER MORE=0
    draw_shape
    pick job job job brittle bare group && kind=$PICKED
    [ "$kind" != group ] || [ -n "$GROUPS_API" ] || kind=bare
    case $kind in
    job) PATIENCE_OF_JOB=10000 && job_of "$name" ;;
    brittle) PATIENCE_OF_JOB=0 && job_of "$name" ;;
    bare)
        ! chance 15 || [ "$SIZE" = 1 ] || MORE=-1 # one never comes
        bare_of "$name"
        ;;
    group)
        ! chance 40 || MORE=2 # more than must start together
        group_of "$name"
        ;;
    esac >"$RUN/gang.json"
    k create -f "$RUN/gang.json" >/dev/null 2>&1 && GANGS[$NS/$name]=$kind
}

end_gang() {
    pick_gang || return 0
    ended "$PICKED"
    unset "GANGS[$PICKED]"
    case $KIND in
    job | brittle) k delete job -n "$NS" "$GANG" --cascade=background --wait=false ;;
    group) k delete podgroup.scheduling.k8s.io -n "$NS" "$GANG" --wait=false
        k delete pods -n "$NS" -l "soak=$GANG" --force --grace-period=0 ;;
    *) k delete pods -n "$NS" -l "soak=$GANG" --force --grace-period=0 ;;
    esac >/dev/null 2>&1
}

# Members of a gang in MEMBERS: up to MOST of those in a state that jq's FILTER takes.
draw_members() { # MOST FILTER
    local all=() i n
    MEMBERS=()
    pick_gang || return 1
    mapfile -t all < <(k get pods -n "$NS" -l "soak=$GANG" -o json 2>/dev/null |
        jq -r ".items[] | select(.metadata.deletionTimestamp == null) | select($2).metadata.name" | sort -V)
    [ ${#all[@]} -gt 0 ] || return 1
    draw "$1" && n=$((DRAWN + 1))
    for ((i = 0; i < n; i++)); do
        pick "${all[@]}" && MEMBERS+=("$PICKED")
    done
    # Only Jobs make them anew.
    [ "$KIND" = job ] || ended "$NS/$GANG"
}
delete_members() {
    draw_members 3 true || return 0
    if chance 50; then
        k delete pod -n "$NS" "${MEMBERS[@]}" --force --grace-period=0 >/dev/null 2>&1
    else
        k delete pod -n "$NS" "${MEMBERS[@]}" --wait=false >/dev/null 2>&1
    fi
}
fail_members() {
    draw_members 2 '.status.phase == "Running"' || return 0
    end_phase Failed
}
finish_gang() {
    draw_members 1 '.status.phase == "Running"' || return 0
    mapfile -t MEMBERS < <(k get pods -n "$NS" -l "soak=$GANG" -o json | jq -r '.items[] | select(.status.phase == "Running").metadata.name')
    [ ${#MEMBERS[@]} -eq 0 ] || end_phase Succeeded
}
end_phase() {
    k patch pod -n "$NS" "${MEMBERS[@]}" --subresource=status --type=merge -p "{\"status\": {\"phase\": \"$1\"}}" >/dev/null 2>&1
}

# ---- what others do -------------------------------------------------------------------------------

random_node() { draw "$NODES" && NODE=$(printf 'node-%03d' $DRAWN); }

cordon_or_not() {
    if [ ${#CORDONED[@]} -gt 6 ] || { [ ${#CORDONED[@]} -gt 0 ] && chance 50; }; then
        k uncordon "${CORDONED[0]}" >/dev/null 2>&1
        CORDONED=("${CORDONED[@]:1}")
    else
        random_node
        k cordon "$NODE" >/dev/null 2>&1 && CORDONED+=("$NODE")
    fi
}
# A node leaves, with its pods some time later, and comes back as new.
node_away() {
    random_node
    k delete node "$NODE" --wait=false >/dev/null 2>&1
    ! chance 50 || sleep 2
    node_back
}
node_back() {
    jq --arg n "$NODE" '.items[] | select(.metadata.name == $n)' "$RUN/nodes.json" | k create -f - >/dev/null 2>&1
}
# A pod that somebody puts on a node by hand, whether there is room or not.
foreign_pod() {
    random_node
    NUMBER=$((NUMBER + 1))
    pick 1 4 8
    jq -n --arg name "hand-$NUMBER" --arg node "$NODE" --arg gpus "$PICKED" '{apiVersion: "v1", kind: "Pod",
        metadata: {name: $name, labels: {app: "hand"}}, spec: {nodeName: $node, terminationGracePeriodSeconds: 0,
        containers: [{name: "c", image: "none.test/none", resources: {limits: {"nvidia.com/gpu": $gpus}}}]}}' |
        k create -f - >/dev/null 2>&1 && HANDED+=("hand-$NUMBER")
}
ordinary_pod() {
    NUMBER=$((NUMBER + 1))
    pick 1 2 8
    (member "plain-$NUMBER" "" 0 "$PICKED") >/dev/null 2>&1
    HANDED+=("plain-$NUMBER")
}
other_away() {
    [ ${#HANDED[@]} -gt 0 ] || return 0
    k delete pod "${HANDED[0]}" --force --grace-period=0 >/dev/null 2>&1
    HANDED=("${HANDED[@]:1}")
}

# ---- faults ----------------------------------------------------------------------------------------

# Half of the time something is being placed.
amid() {
    ! chance 50 || new_gang
    draw 1000 && sleep "0.$(printf '%03d' $DRAWN)"
}
kill_extender() {
    amid
    kill9 extender
    ! chance 30 || sleep 3
    extender
}
kill_scheduler() {
    amid
    kill9 lockstep-scheduler
    scheduler
}
kill_store() {
    amid
    kill9 apiserver etcd
    store_again
}

# ---- turns -------------------------------------------------------------------------------------------

# Weights. Without faults the last three are not drawn.
WEIGHTS=(new_gang 30 end_gang 17 delete_members 10 fail_members 7 finish_gang 5 cordon_or_not 8 node_away 3
    foreign_pod 5 ordinary_pod 5 other_away 9 kill_extender 7 kill_scheduler 3 kill_store 1)

turn() { # WITH-FAULTS: yes or no
    local i sum=0 last=${#WEIGHTS[@]} name
    [ "$1" = yes ] || last=$((last - 6))
    for ((i = 1; i < last; i += 2)); do
        sum=$((sum + WEIGHTS[i]))
    done
    draw $sum
    for ((i = 0; DRAWN >= WEIGHTS[i + 1]; i += 2)); do
        DRAWN=$((DRAWN - WEIGHTS[i + 1]))
    done
    name=${WEIGHTS[i]}
    [ "$name" != new_gang ] || [ ${#GANGS[@]} -lt 30 ] || name=end_gang
    [ "$name" != end_gang ] || [ ${#GANGS[@]} -gt 5 ] || name=new_gang
    TURNS[$name]=$((${TURNS[$name]:-0} + 1))
    "$name"
}
