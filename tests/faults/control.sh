#!/usr/bin/env bash
# The control plane fails while a gang is placed: kube-scheduler killed, API server and etcd killed, an
# API server that answers lockstep nothing but 429 for a minute.
source tests/faults/lib.sh
API_FLAGS='--request-timeout 3m' # a brownout ends when it is told to, not when its slow reader has had a minute
faults_up control --nodes 40 --racks 8 --apiserver-flags "$API_FLAGS"

votes_held() { [ "$(metric lockstep_held_votes)" -ge "$1" ]; }

# ---- kube-scheduler ----------------------------------------------------------------------------------------

scheduler_killed_amid_bind() {
    half_bound sched
    kill9 lockstep-scheduler
    free_bindings
    scheduler
    local start=$SECONDS
    whole sched 32 90
    echo "whole $((SECONDS - start)) s after the new start"
}

# Some votes are held then; the new kube-scheduler knows nothing of them.
scheduler_killed_amid_votes() {
    free_bindings
    clean
    gang_job votes 256 1
    within 20 "50 votes held" votes_held 50
    kill9 lockstep-scheduler
    echo "$(metric lockstep_held_votes) votes held after the kill, $(bound votes) bound"
    scheduler
    local start=$SECONDS
    whole votes 256 90
    echo "whole $((SECONDS - start)) s after the new start"
}

# ---- API server and etcd -------------------------------------------------------------------------------------

store_killed_amid_bind() {
    half_bound store
    kill9 apiserver etcd
    store_again
    all_bound store 16 || fail "$(bound store) pods are bound after the restart of etcd, 16 before"
    free_bindings
    local start=$SECONDS
    whole store 32 90
    echo "whole $((SECONDS - start)) s after the new start"
}

# At a random moment after the first binding, with many on their way.
store_killed_at_random() {
    local gang=store-$I left start
    free_bindings
    clean
    gang_job "$gang" 256 1
    until first_binding_seen "$gang"; do sleep 0.005; done
    sleep "$(printf '0.%03d' $((RANDOM % 400)))"
    kill9 apiserver etcd
    sleep 2
    store_again
    left=$(bound "$gang")
    start=$SECONDS
    whole "$gang" 256 90
    echo "$left of 256 bound soon after the new start, whole $((SECONDS - start)) s after it"
}

# ---- brownout ------------------------------------------------------------------------------------------------

# Everything that lockstep asks for is answered with 429; watches that are open stay so. A level without
# seats still lets one request in at a time, so a reader that takes its time over 16 MB has that seat.
brownout() {
    hog_exists || hog_setup
    k apply -f - >/dev/null <<YAML || fail "the API server refuses the FlowSchema"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: brownout}
spec:
  type: Limited
  limited: {nominalConcurrencyShares: 0, borrowingLimitPercent: 0, lendablePercent: 0, limitResponse: {type: Reject}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: brownout}
spec:
  priorityLevelConfiguration: {name: brownout}
  matchingPrecedence: 2
  rules:
  - subjects:
    - {kind: ServiceAccount, serviceAccount: {name: lockstep-extender, namespace: lockstep-system}}
    - {kind: ServiceAccount, serviceAccount: {name: hog, namespace: kube-public}}
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], clusterScope: true, namespaces: ["*"]}]
    nonResourceRules: [{verbs: ["*"], nonResourceURLs: ["*"]}]
YAML
    within 20 "the FlowSchema is used" flow_schema_used
    # The seat may be taken by a request of lockstep at that moment: then the reader tries again.
    spawn hog curl -s --noproxy '*' --cacert "$PKI/ca.crt" --limit-rate 1k -o /dev/null \
        --retry 1000 --retry-delay 1 --retry-max-time 80 -H "Authorization: Bearer $(cat "$RUN/hog.token")" \
        "https://$API_ADDRESS:$API_PORT/api/v1/namespaces/kube-public/configmaps"
    within 90 "lockstep gets nothing but 429" ten_times_429
    mark "brownout begins"
}
hog_exists() { [ -f "$RUN/hog.token" ]; }
hog_setup() {
    local i
    head -c 750000 /dev/urandom | base64 -w 0 >"$RUN/ballast"
    for i in $(seq 16); do
        k create configmap "ballast-$i" -n kube-public --from-file="ballast=$RUN/ballast" >/dev/null ||
            fail "no ballast"
    done
    k create serviceaccount hog -n kube-public >/dev/null
    k create role hog -n kube-public --verb list --resource configmaps >/dev/null
    k create rolebinding hog -n kube-public --role hog --serviceaccount kube-public:hog >/dev/null
    k create token hog -n kube-public >"$RUN/hog.token" || fail "no token"
}
flow_schema_used() {
    curl -s --noproxy '*' --cacert "$PKI/ca.crt" -D - -o /dev/null -H "Authorization: Bearer $(cat "$RUN/hog.token")" \
        "https://$API_ADDRESS:$API_PORT/api/v1/namespaces/kube-public/configmaps?limit=1" |
        grep -qi "flowschema-uid: $(k get flowschema brownout -o jsonpath='{.metadata.uid}')"
}
ten_times_429() {
    local i
    for i in $(seq 10); do
        lockstep_gets 429 || return 1
    done
}
brownout_ends() {
    ten_times_429 || fail "the brownout ended by itself"
    k get --raw /metrics | grep '^apiserver_flowcontrol_rejected_requests_total.*"brownout"' >&2
    mark "brownout ends"
    end_brownout
    within 30 "lockstep gets 200" lockstep_gets 200
}
# Also what a failed test left behind.
end_brownout() {
    end_all KILL hog
    k delete flowschema,prioritylevelconfiguration brownout >/dev/null 2>&1
}
lockstep_gets() {
    [ "$(curl -s --noproxy '*' --cacert "$PKI/ca.crt" -o /dev/null -w '%{http_code}' \
        -H "Authorization: Bearer $(cat "$RUN/extender.token")" \
        "https://$API_ADDRESS:$API_PORT/api/v1/namespaces/default/pods?limit=1")" = "$1" ]
}

early_member() {
    member "early-$1" early 4 8 '.metadata.annotations["test.lockstep.dev/min"] = "4"'
}

# One gang is planned when it begins, one comes while it lasts.
brownout_of_a_minute() {
    local i start
    free_bindings
    clean
    for i in 0 1 2; do
        early_member $i
    done
    within 5 "planned" is_state early Planned
    brownout
    start=$SECONDS
    early_member 3
    gang_job amid 32 8
    while [ $((SECONDS - start)) -lt 60 ]; do
        sleep 5
        [ "$(bound early)$(bound amid)" = 00 ] || fail "bound during the brownout: $(bound early) of 4, $(bound amid) of 32"
    done
    brownout_ends
    start=$SECONDS
    whole early 4 90
    whole amid 32 90
    echo "both whole $((SECONDS - start)) s after the brownout"
}

# Half of the bindings are written when it begins.
brownout_amid_bind() {
    local start
    half_bound brown
    brownout
    free_bindings
    sleep 20
    all_bound brown 16 || fail "$(bound brown) pods are bound during the brownout, 16 before"
    brownout_ends
    start=$SECONDS
    whole brown 32 60
    echo "whole $((SECONDS - start)) s after the brownout"
}

check h_brownout_of_a_minute brownout_of_a_minute
end_brownout
check h_brownout_amid_bind brownout_amid_bind
end_brownout
check g_store_killed_amid_bind store_killed_amid_bind
times=5
[ "$MATRIX" = all ] || times=1
for I in $(seq $times); do
    check "g_store_killed_at_random_$I" store_killed_at_random
done
check c_scheduler_killed_amid_bind scheduler_killed_amid_bind
check c_scheduler_killed_amid_votes scheduler_killed_amid_votes
finish
