#!/usr/bin/env bash
# Gangs on 64 fake nodes (8 racks in 2 blocks) through a real control plane.
source tests/e2e/lib.sh
GROUPS_API=$(pod_group_api)
up e2e --nodes 64 --racks 8 ${GROUPS_API:+--feature-gates GenericWorkload=true}

# Free nodes per rack: 8 8 4 3 | 8 8 5 3. Filling one block first (it has 24) needs 5 racks.
fewest_racks() {
    clean
    fill 8 $(nodes 20 23) $(nodes 27 31) $(nodes 53 55) $(nodes 59 63)
    within 10 "fill is running" all_running_fill 17
    "$LOCKSTEP_BIN" plan -f <(k get nodes,pods -A -o json) -g <(job_json racks 32 8) \
        -c "$RUN/lockstep.yaml" -o json >"$RUN/plan.json" || fail "plan does not fit"
    job racks 32 8
    within 20 "32 pods bound" all_bound racks 32
    local racks
    racks=$(k get pods -l lockstep.dev/gang=racks -o json | jq -r '.items[].spec.nodeName' | sort -u |
        while read -r node; do echo $((10#${node#node-} / 8)); done | sort -u | wc -l)
    [ "$racks" = 4 ] || fail "the gang is on $racks racks, 4 are enough"
    [ "$(greedy_racks)" = 5 ] || fail "block by block would use $(greedy_racks) racks, expected 5"
    [ "$(k get gp racks -o jsonpath='{.status.hash}')" = "$(jq -r .hash "$RUN/plan.json")" ] ||
        fail "the plan made from a snapshot differs from the live one"
    echo "4 racks; block by block: 5; hash equals the one planned from the snapshot"
}
all_running_fill() { [ "$(k get pods -l app=fill --field-selector status.phase!=Pending -o name | wc -l)" = "$1" ]; }
# Racks that filling the roomiest block first and then the tightest rack would use.
greedy_racks() {
    jq -n '[[8, 8, 4, 3], [8, 8, 5, 3]] | sort_by(-add) | (.[0] | length) + (if 32 - (.[0] | add) <= 8 then 1 else 2 end)'
}

room_for_31() {
    clean
    fill 8 $(nodes 31 63)
    job want32 32 8
    within 10 "waiting" is_state want32 Waiting
    sleep 3
    [ "$(bound want32)" = 0 ] || fail "$(bound want32) pods are bound"
    case $(reason want32) in
    "31 of 32 pods"*"33 are full"*) ;;
    *) fail "the reason lacks the numbers: $(reason want32)" ;;
    esac
    k describe "$(k get pods -l lockstep.dev/gang=want32 -o name | head -n 1)" | grep -q "31 of 32 pods" || fail "no Event tells the reason"
    k delete pod fill-node-040 --force --grace-period=0 >/dev/null 2>&1
    local start=$SECONDS
    within 10 "32 pods bound" all_bound want32 32
    echo "bound within $((SECONDS - start)) s of room appearing"
}

# What would fit is asked of the live cluster, and is so.
what_would_fit() {
    clean
    fill 8 $(nodes 31 63)
    job tight 32 8
    within 10 "waiting" is_state tight Waiting
    within 10 "what would fit in the GangPlacement" says_would_fit tight "fits with 31 pods instead of 32"
    local code leaver
    ask explain tight -o json >"$RUN/why.json"
    code=$?
    [ $code = 3 ] || fail "explain ended with $code, expected 3"
    [ "$(jq -c '[.state, .stored.state, .would_fit[0].pods, .would_fit[1].pods]' "$RUN/why.json")" = '["Waiting","Waiting",31,1]' ] ||
        fail "explain says $(jq -c . "$RUN/why.json")"
    [ "$(ask fit --pod-gpus 8 -o json | jq '.levels[0].largest[0].pods')" = 31 ] || fail "fit counts otherwise"
    within 10 "the metric counts the same" largest_is 31 # it is counted every 5 s
    leaver=$(jq -r '.would_fit[1].leavers[0].name' "$RUN/why.json")
    k delete pod "${leaver#*/}" --force --grace-period=0 >/dev/null 2>&1
    within 10 "32 pods bound when $leaver has left" all_bound tight 32
    ask explain default/tight -o json | jq -e '.feasible and (.certificate | length) > 0 and .would_fit == null' >/dev/null ||
        fail "explain does not say where it is"
    [ "$(k get gp tight -o jsonpath='{.status.wouldFit}')" = "" ] || fail "what would fit is still told"
    echo "$leaver had to leave"
}
ask() { bash deploy/local/in.sh "$NAME" "$LOCKSTEP_BIN" "$@" --kubeconfig "$RUN/admin.kubeconfig" -c "$RUN/lockstep.yaml"; }
largest_is() { [ "$(metric 'lockstep_largest_gang_pods{level="anywhere",pod_gpus="8"}')" = "$1" ]; }
says_would_fit() { [ "$(k get gp "$1" -o jsonpath='{.status.wouldFit[0]}')" = "$2" ]; }

two_large_gangs() {
    clean
    job first 40 8
    job second 40 8
    within 20 "one gang bound" one_whole
    sleep 2
    local a b
    a=$(bound first) b=$(bound second)
    [ $((a + b)) = 40 ] || fail "first has $a pods bound, second $b"
    local winner=first loser=second
    [ "$a" = 40 ] || { winner=second loser=first; }
    k delete job $winner --cascade=foreground >/dev/null
    within 20 "$loser bound" all_bound $loser 40
    echo "$winner first, $loser after it left"
}
one_whole() { all_bound first 40 || all_bound second 40; }

last_member_late() {
    clean
    local i
    for i in 0 1 2 3 4 5 6; do
        member late-$i late 8 8
    done
    sleep 20
    [ "$(bound late)" = 0 ] || fail "bound before the gang was complete"
    [ "$(reason late)" = "7 of 8 pods exist" ] || fail "reason: $(reason late)"
    member late-7 late 8 8
    local start=$SECONDS
    within 10 "8 pods bound" all_bound late 8
    echo "bound $((SECONDS - start)) s after the last member came"
}

no_eviction_for_a_waiting_gang() {
    clean
    k create priorityclass high --value 1000 >/dev/null 2>&1
    fill 8 $(nodes 0 63)
    job proud 8 8 '.spec.template.spec.priorityClassName = "high"'
    within 10 "waiting" is_state proud Waiting
    sleep 8
    [ "$(k get pods -l app=fill -o name | wc -l)" = 64 ] || fail "a pod was evicted"
    [ -z "$(k get events --field-selector reason=Preempted -o name)" ] || fail "kube-scheduler preempted"
    [ "$(bound proud)" = 0 ] || fail "members are bound"
}

others_do_not_split_a_held_gang() {
    clean
    k create priorityclass high --value 1000 >/dev/null 2>&1
    k create priorityclass top --value 2000 >/dev/null 2>&1
    FILL_CLASS=top fill 8 $(nodes 8 63) # so that the pod of high priority can preempt none of them
    local i
    for i in 0 1 2 3 4 5 6; do
        member held-$i held 8 8
    done
    within 5 "planned" is_state held Planned
    member plain "" 0 8
    member vip "" 0 8 '.spec.priorityClassName = "high"'
    sleep 2
    [ -z "$(k get pod plain vip -o jsonpath='{.items[*].spec.nodeName}')" ] || fail "an ordinary pod took a held node"
    member held-7 held 8 8
    within 10 "8 pods bound" all_bound held 8
    [ -z "$(k get pod plain vip -o jsonpath='{.items[*].spec.nodeName}')" ] || fail "an ordinary pod got in between"
}

full_cluster_never_asked() {
    clean
    fill 8 $(nodes 0 63)
    within 10 "fill is running" all_running_fill 64
    sleep 1
    local before after
    before=$(metric 'lockstep_verb_seconds_count{verb="filter"}')
    job patient 8 8
    within 10 "waiting" is_state patient Waiting
    sleep 3
    after=$(metric 'lockstep_verb_seconds_count{verb="filter"}')
    [ "$before" = "$after" ] || fail "filter was called ($before, then $after)"
    k delete pods $(nodes 16 23 | sed s/^/fill-/) --force --grace-period=0 >/dev/null 2>&1
    within 15 "8 pods bound" all_bound patient 8
}

tainted_while_planned() {
    clean
    local i node
    for i in 0 1 2; do
        member taint-$i taint 4 8
    done
    within 5 "planned" is_state taint Planned
    node=$(k get gp taint -o jsonpath='{.status.nodes[0].name}')
    k taint node "$node" broken=yes:NoSchedule >/dev/null
    member taint-3 taint 4 8
    within 15 "4 pods bound" all_bound taint 4
    k get pods -l lockstep.dev/gang=taint -o json | jq -e --arg n "$node" 'all(.items[]; .spec.nodeName != $n)' >/dev/null ||
        fail "a pod is on the tainted node"
    k taint node "$node" broken- >/dev/null
}

# A leader of 2 GPUs and 9 workers of a node each, in one rack of 8 nodes they do not fit: two racks, and the
# leader beside nobody, as workers fill their nodes.
leader_and_workers() {
    clean
    local i
    member boss-0 boss 10 2 '.metadata.annotations["lockstep.dev/role"] = "leader"'
    for i in $(seq 8); do
        member boss-$i boss 10 8
    done
    sleep 3
    [ "$(bound boss)" = 0 ] || fail "bound before all members exist"
    [[ $(reason boss) == '9 of 10 pods exist'* ]] || fail "reason: $(reason boss)"
    member boss-9 boss 10 8
    within 10 "10 pods bound" all_bound boss 10
    k get pods -l lockstep.dev/gang=boss -o json | jq -e '
        [.items[] | {name: .metadata.name, node: .spec.nodeName, role: .metadata.annotations["lockstep.dev/role"]}]
        | (map(.node) | unique | length) == 10
          and all(.[]; .role == (if .name == "boss-0" then "leader" else "worker" end))' >/dev/null ||
        fail "roles or nodes are wrong"
    k delete pod boss-0 --force --grace-period=0 >/dev/null 2>&1
    member boss-0 boss 10 2 '.metadata.annotations["lockstep.dev/role"] = "leader"'
    within 10 "the leader is back" all_bound boss 10
}

# A volume that kube-scheduler may not attach on node-000: nothing in our model says so.
refused_in_tree() {
    clean
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteMany]
  storageClassName: local
  local: {path: /data}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [node-000]}]}]}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteMany], storageClassName: local, volumeName: data, resources: {requests: {storage: 1Gi}}}
YAML
    within 45 "claim bound" claim_bound # the controller looks again every 15 s
    job volume 4 8 '.spec.template.spec.volumes = [{name: "d", persistentVolumeClaim: {claimName: "data"}}]'
    local start=$SECONDS
    within 60 "4 pods bound" all_bound volume 4
    k get pods -l lockstep.dev/gang=volume -o json | jq -e 'all(.items[]; .spec.nodeName != "node-000")' >/dev/null ||
        fail "a pod is on the node that refuses"
    echo "replanned and bound in $((SECONDS - start)) s"
}
claim_bound() { [ "$(k get pvc data -o jsonpath='{.status.phase}')" = Bound ]; }

native_group() {
    clean
    k apply -f - >/dev/null <<YAML || fail "the API server refuses the PodGroup"
apiVersion: scheduling.k8s.io/$GROUPS_API
kind: PodGroup
metadata: {name: native}
spec: {schedulingPolicy: {gang: {minCount: 4}}}
YAML
    local i
    for i in 0 1 2; do
        member native-$i "" 0 8 '.spec.schedulingGroup = {podGroupName: "native"} | .metadata.labels = {"lockstep.dev/test": "native"}'
    done
    sleep 7
    [ "$(native_bound)" = 0 ] || fail "bound before the gang was complete"
    member native-3 "" 0 8 '.spec.schedulingGroup = {podGroupName: "native"} | .metadata.labels = {"lockstep.dev/test": "native"}'
    within 15 "4 pods bound" native_has 4
    within 5 "placement" is_kind native PodGroup.scheduling.k8s.io
}
native_bound() { k get pods -l lockstep.dev/test=native -o json | jq '[.items[] | select(.spec.nodeName != null)] | length'; }
native_has() { [ "$(native_bound)" = "$1" ]; }
is_kind() { [ "$(k get gp "$1" -o jsonpath='{.spec.gang.kind}')" = "$2" ]; }

# Kubernetes 1.35 alone: a pod names a Workload, which lockstep does not read.
workload_of_1_35() {
    clean
    k apply -f - >/dev/null <<YAML || fail "the API server refuses the Workload"
apiVersion: scheduling.k8s.io/v1alpha1
kind: Workload
metadata: {name: work}
spec: {podGroups: [{name: workers, policy: {gang: {minCount: 2}}}]}
YAML
    local i
    for i in 0 1; do
        member work-$i "" 0 8 '.spec.workloadRef = {name: "work", podGroup: "workers"}'
    done
    within 10 "the reason" says_unsupported work
    [ -z "$(k get pods -o jsonpath='{.items[*].spec.nodeName}')" ] || fail "a pod of it started alone"
    echo "$(reason work)"
}
says_unsupported() { [ "$(k get gp "$1" -o jsonpath='{.status.reason.code}')" = Unsupported ]; }

foreign_group() {
    clean
    k apply -f tests/e2e/podgroup-crd.yaml >/dev/null
    k wait --for condition=Established crd/podgroups.scheduling.x-k8s.io --timeout 10s >/dev/null
    k apply -f - >/dev/null <<YAML || fail "no PodGroup"
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: PodGroup
metadata: {name: foreign}
spec: {minMember: 3}
YAML
    local i
    for i in 0 1 2; do
        member foreign-$i "" 0 8 '.metadata.labels = {"scheduling.x-k8s.io/pod-group": "foreign", "lockstep.dev/test": "native"}'
    done
    # The kind came after the extender: it asks for it again every 60 s.
    within 75 "3 pods bound" native_has 3
    is_kind foreign PodGroup.scheduling.x-k8s.io || fail "no GangPlacement of that kind"
}

forbidden_rights() {
    local list
    list=$(k auth can-i --list --as system:serviceaccount:lockstep-system:lockstep-extender --no-headers)
    [ -n "$list" ] || fail "no list"
    echo "$list" | awk '$1 == "pods" || $1 == "nodes" || $1 == "secrets" || $1 == "configmaps" || $1 == "*.*"' |
        grep -E 'create|update|patch|delete|\*' && fail "a forbidden right"
    echo "$list" | grep -E '^(secrets|configmaps)' && fail "it may read what it need not"
    local what
    for what in "update pods" "patch pods" "delete pods" "patch nodes" "get secrets" "create pods" "delete nodes" \
        "escalate clusterroles" "bind clusterroles" "impersonate users" "deletecollection pods"; do
        # shellcheck disable=SC2086
        k auth can-i $what -A --as system:serviceaccount:lockstep-system:lockstep-extender >/dev/null 2>&1 &&
            fail "it may $what"
    done
    k auth can-i create pods --subresource binding -A --as system:serviceaccount:lockstep-system:lockstep-extender >/dev/null ||
        fail "it may not bind"
}

check a_fewest_racks_where_best_fit_needs_one_more fewest_racks
check b_waits_with_numbers_and_starts_when_room_appears room_for_31
check b_says_what_would_fit_and_it_does what_would_fit
check c_two_gangs_over_half_one_after_the_other two_large_gangs
check d_last_member_20_s_late last_member_late
check f_nobody_is_evicted_for_a_waiting_gang no_eviction_for_a_waiting_gang
check g_others_do_not_split_a_held_gang others_do_not_split_a_held_gang
check h_starts_though_never_asked_on_a_full_cluster full_cluster_never_asked
check i_replans_when_a_planned_node_is_tainted tainted_while_planned
check i_replans_when_a_volume_forbids_the_node refused_in_tree
check j_a_leader_and_its_workers leader_and_workers
check k_forbidden_rights_are_not_held forbidden_rights
case $GROUPS_API in
'') skip l_native_pod_group "Kubernetes $K8S has no PodGroup" ;;
v1alpha1)
    skip l_native_pod_group "Kubernetes $K8S has no PodGroup of its own, only a Workload"
    check l_workload_of_1_35_is_named_as_unsupported workload_of_1_35
    ;;
*) check l_native_pod_group native_group ;;
esac
check l_foreign_pod_group foreign_group
