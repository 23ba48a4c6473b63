#!/usr/bin/env bash
# Nodes of three types of machines, told by NodeTopology objects that `lockstep machine` makes: each pod of a gang
# gets the best set of accelerators that is free there, is stamped with it, and the gang's bandwidth is foretold.
source tests/e2e/lib.sh
up machines --nodes 12 --racks 3
TYPES=(dgx-1v dgx-a100 rtx4090-pcie-8) # of the nodes of one rack each

# type_of NODE: what machine it is.
type_of() {
    local rack
    rack=$(k get node "$1" -o jsonpath='{.metadata.labels.example\.com/rack}')
    echo "${TYPES[$((10#${rack##*[!0-9]} % 3))]}"
}
declare -A type=()
for node in $(k get nodes -o name | sed 's,node/,,'); do
    type[$node]=$(type_of "$node")
    "$LOCKSTEP_BIN" machine "${type[$node]}" --cpu-manager-policy static --topology-manager-policy best-effort -o nodetopology --name "$node"
    echo ---
done >"build/test-logs/machines.yaml"

# stamps GANG: node, rank and accelerators of its pods, by rank.
stamps() {
    k get pods -l "lockstep.dev/gang=$1" -o json | jq -r '.items[] | [.spec.nodeName, .metadata.annotations["lockstep.dev/rank"],
        .metadata.annotations["lockstep.dev/gpus"] // "?", .metadata.annotations["lockstep.dev/gpus-are"] // "?"] | @tsv' | sort -k2n
}
# members SET: "0-2,5" as "0 1 2 5".
members() {
    local part
    for part in ${1//,/ }; do seq -s ' ' "${part%-*}" "${part#*-}"; done | tr '\n' ' '
}
on_type() { printf '.spec.template.spec.nodeSelector = {"kubernetes.io/hostname": "%s"}' "$1"; }
first_of() { # TYPE: its first node
    local node
    for node in $(printf '%s\n' "${!type[@]}" | sort); do
        [ "${type[$node]}" != "$1" ] || { echo "$node"; return; }
    done
}

objects_are_taken() {
    k apply -f build/test-logs/machines.yaml >/dev/null || fail "the objects are refused"
    [ "$(k get nodetopologies -o name | wc -l)" = 12 ] || fail "not 12 of them"
}
# Gangs of one pod, one after the other on one node: `lockstep subset` says of what is free then which set is best.
pods_get_the_best_free_set() {
    local machine node free gpus n=0 set are best
    for machine in "${TYPES[@]}"; do
        node=$(first_of "$machine")
        free="0 1 2 3 4 5 6 7"
        for gpus in 2 4 2; do
            n=$((n + 1))
            job "one-$n" 1 "$gpus" "$(on_type "$node")"
            within 20 "one-$n bound" all_bound "one-$n" 1
            read -r _ _ set are < <(stamps "one-$n")
            best=$("$LOCKSTEP_BIN" subset -m "$machine" --free "${free// /,}" --count "$gpus" -o json | jq -c .gpus)
            [ "[$(members "$set" | xargs | tr ' ' ',')]" = "$best" ] || fail "$machine: of $free the pod got $set, the best is $best"
            [ "$are" = predicted ] || fail "they are said to be $are"
            free=$(for i in $free; do [[ " $(members "$set") " == *" $i "* ]] || echo "$i"; done | xargs)
        done
        [ -z "$free" ] || fail "$machine: $free are left"
    done
    echo "$n pods on ${#TYPES[@]} types of machines"
}
gangs_share_nodes_without_overlap() {
    local size gpus text node
    clean
    for gpus in 2 4; do
        size=$((16 / gpus)) # two whole nodes
        job "many-$gpus" "$size" "$gpus" '.spec.template.metadata.annotations["lockstep.dev/topology"] = "required=example.com/rack"'
        within 20 "many-$gpus bound" all_bound "many-$gpus" "$size"
    done
    for gpus in 2 4; do stamps "many-$gpus"; done | awk '{print $1, $3}' | sort >"$RUN/given"
    while read -r node text; do
        for i in $(members "$text"); do echo "$node $i"; done
    done <"$RUN/given" | sort | uniq -d | grep . && fail "given twice"
    [ "$(while read -r node text; do members "$text"; done <"$RUN/given" | wc -w)" = 32 ] || fail "not 32 of them: $(cat "$RUN/given")"
    text=$(k get gp many-4 -o jsonpath='{.status.predictedBusBandwidth}')
    [[ $text =~ ^[0-9]+[GM]$ ]] || fail "predicted: '$text'"
    echo "many-2: $(k get gp many-2 -o jsonpath='{.status.predictedBusBandwidth}'), many-4: $text"
}
# Of racks with as much room the fastest machines are taken.
the_fastest_rack_is_taken() {
    clean
    job fast 4 8 '.spec.template.metadata.annotations["lockstep.dev/topology"] = "required=example.com/rack"'
    within 20 "fast bound" all_bound fast 4
    stamps fast | while read -r node _ set are; do
        [ "${type[$node]}" = dgx-a100 ] || fail "$node is a ${type[$node]}"
        [ "$set $are" = "0-7 exact" ] || fail "a whole node is $set, $are"
    done
}
offline_says_the_same() {
    local gang
    clean
    job_json what 4 2 >"$RUN/what.json"
    k get nodes,nodetopologies -o json >"$RUN/cluster.json"
    "$LOCKSTEP_BIN" plan -f "$RUN/cluster.json" -g "$RUN/what.json" -c "$RUN/lockstep.yaml" -o json >"$RUN/what.plan" || fail "no plan"
    k create -f "$RUN/what.json" >/dev/null
    within 20 "what bound" all_bound what 4
    gang=$(stamps what | while read -r node rank set _; do echo "$node $rank $(members "$set" | xargs)"; done)
    [ "$gang" = "$(jq -r '.placement[] | "\(.node) \(.rank) \(.gpus | map(tostring) | join(" "))"' "$RUN/what.plan")" ] ||
        fail "live: $gang; offline: $(jq -c '.placement[] | [.node, .rank, .gpus]' "$RUN/what.plan" | xargs)"
    echo "$(jq -c .predicted "$RUN/what.plan")"
}

check nodetopologies_are_taken objects_are_taken
check pods_get_the_best_free_set pods_get_the_best_free_set
check gangs_share_nodes_without_overlap gangs_share_nodes_without_overlap
check the_fastest_rack_is_taken the_fastest_rack_is_taken
check offline_says_the_same offline_says_the_same
