#!/usr/bin/env bash
# Members that go and rooms that are taken in the middle of a placement, and members that fail later.
source tests/faults/lib.sh
faults_up members --nodes 40 --racks 8

# ---- a member deleted while the gang is bound -----------------------------------------------------------

# deleted_amid GANG INDEX...: pods of a half bound gang are deleted; the Job makes them anew.
deleted_amid() {
    local gang=$1 index names=()
    shift
    # A deleted pod counts as a failed one; the Job's patience is to be counted for each index.
    half_bound "$gang" '.spec.backoffLimitPerIndex = 5 | del(.spec.backoffLimit)'
    for index in "$@"; do
        names+=("$(member_of "$gang" "$index")")
    done
    k delete pod "${names[@]}" --force --grace-period=0 >/dev/null 2>&1
    for index in "${!names[@]}"; do
        within 40 "${names[$index]} recreated" recreated "$gang" "${@:$((index + 1)):1}" "${names[$index]}"
    done
    free_bindings
    local start=$SECONDS
    whole "$gang" 32 90
    echo "deleted ${names[*]}, whole $((SECONDS - start)) s after the bindings were let go"
}
recreated() { [ -n "$(member_of "$1" "$2")" ] && [ "$(member_of "$1" "$2")" != "$3" ]; }
bound_member_deleted() { deleted_amid gone-bound 3; }
unbound_member_deleted() { deleted_amid gone-unbound 20; }
both_deleted() { deleted_amid gone-both 0 15 16 31; }

# ---- a foreign pod on a planned node -----------------------------------------------------------------------

# Planned early with 3 of its 4 pods; then somebody takes a planned node.
node_taken_before_bind() {
    clean
    local i node
    for i in 0 1 2; do
        early_member $i
    done
    within 5 "planned" is_state taken Planned
    node=$(planned_node taken 1)
    fill 8 "$node"
    early_member 3
    whole taken 4 60
    k get pods -l lockstep.dev/gang=taken -o json | jq -e --arg n "$node" 'all(.items[]; .spec.nodeName != $n)' >/dev/null ||
        fail "a member is on $node, which was taken"
}
early_member() {
    member taken-$1 taken 4 8 '.metadata.annotations["test.lockstep.dev/min"] = "4"'
}

# Half bound; then somebody takes the node of a member that is not. Eight nodes are free.
node_taken_amid_bind() {
    local node start
    half_bound amid
    node=$(planned_node amid 20)
    fill 8 "$node"
    sleep 1
    free_bindings
    start=$SECONDS
    whole amid 32 90
    [ "$(member_of amid 20 spec.nodeName)" != "$node" ] || fail "rank 20 is on $node, which was taken"
    echo "rank 20 went from $node to $(member_of amid 20 spec.nodeName), whole $((SECONDS - start)) s after the bindings were let go"
}

# The same without a free node: the gang cannot be finished and says so; when room appears it is.
node_taken_amid_bind_without_room() {
    local node
    half_bound stuck
    node=$(planned_node stuck 20)
    fill 8 "$node" $(free_nodes)
    sleep 1
    free_bindings
    within 20 "all but one bound" all_bound stuck 31
    within 20 "told why" told_why stuck
    echo "told: $(reason stuck)"
    [ -z "$(member_of stuck 20 spec.nodeName)" ] || fail "rank 20 is bound to $(member_of stuck 20 spec.nodeName), all nodes are taken"
    k delete pod "fill-$(k get pods -l app=fill -o json | jq -r --arg n "$node" '[.items[] | select(.spec.nodeName != $n)][0].spec.nodeName')" \
        --force --grace-period=0 >/dev/null 2>&1
    whole stuck 32 90
}
free_nodes() {
    k get nodes,pods -o json | jq -r --slurpfile gp <(k get gp stuck -o json) '
        ([.items[] | select(.kind == "Node").metadata.name] - [$gp[0].status.nodes[].name])[]'
}
# Something else than what the API server said while the test held the bindings.
told_why() { [ -n "$(reason "$1")" ] && [[ $(reason "$1") != *'the test holds'* ]]; }

# ---- a member of a running gang fails ------------------------------------------------------------------------

# fails GANG INDEX: the Job replaces the member; the others and the rank stay. Leaves the new node in NODE.
fails() {
    local gang=$1 index=$2 size=$3 before old
    before=$(uids_but "$gang" "$index")
    old=$(member_of "$gang" "$index")
    k patch pod "$old" --subresource=status --type=merge -p '{"status": {"phase": "Failed"}}' >/dev/null ||
        fail "cannot patch the status of $old"
    within 40 "$old replaced" replaced "$gang" "$index" "$old"
    whole "$gang" "$size" 30
    NODE=$(member_of "$gang" "$index" spec.nodeName)
    [ "$(k get pod "$(member_of "$gang" "$index")" -o json | jq -r '.metadata.annotations["lockstep.dev/rank"]')" = "$index" ] ||
        fail "the replacement has another rank"
    [ "$(uids_but "$gang" "$index")" = "$before" ] || fail "other members changed"
    within 10 "running again" is_state "$gang" Running
}
replaced() { [ -n "$(member_of "$1" "$2")" ] && [ "$(member_of "$1" "$2")" != "$3" ]; }

member_fails() {
    clean
    gang_job again 8 8 '.spec.backoffLimit = 6'
    whole again 8 30
    within 10 "running" is_state again Running
    local node
    node=$(member_of again 5 spec.nodeName)
    fails again 5 8
    [ "$NODE" = "$node" ] || fail "rank 5 came back on $NODE, its node $node is free"
    echo "rank 5 is back on $node"
}

# Its former node is cordoned meanwhile: another node of the rack, though another rack fits as tightly.
member_fails_on_a_cordoned_node() {
    clean
    fill 8 $(nodes 0 3)
    gang_job near 4 8 '.spec.backoffLimit = 6'
    whole near 4 30
    within 10 "running" is_state near Running
    local node rack
    node=$(member_of near 2 spec.nodeName)
    rack=$(rack_of "$node")
    k cordon "$node" >/dev/null
    fails near 2 4
    k uncordon "$node" >/dev/null
    [ "$NODE" != "$node" ] || fail "rank 2 is on the cordoned node"
    [ "$(rack_of "$NODE")" = "$rack" ] || fail "rank 2 went from $node ($rack) to $NODE ($(rack_of "$NODE")), its rack has a free node"
    echo "rank 2 went from $node to $NODE in $rack"
}

check d_bound_member_deleted_amid_bind bound_member_deleted
check d_unbound_member_deleted_amid_bind unbound_member_deleted
check d_four_members_deleted_amid_bind both_deleted
check e_node_taken_before_bind node_taken_before_bind
check e_node_taken_amid_bind node_taken_amid_bind
check e_node_taken_amid_bind_without_room node_taken_amid_bind_without_room
k delete validatingadmissionpolicybinding,validatingadmissionpolicy hold-bindings >/dev/null 2>&1
check f_failed_member_is_replaced_in_its_place member_fails
check f_failed_member_of_a_cordoned_node_stays_in_its_rack member_fails_on_a_cordoned_node
finish
