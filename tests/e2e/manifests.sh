#!/bin/bash
# The shipped manifests on a real API server: they are taken whole, the schema refuses what is wrong, the
# rights are exactly those of architecture.md, and a stock kube-scheduler runs under its own identity.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=m$$ # of its own: runs beside others, and after one that was killed
SELF=system:serviceaccount:lockstep-system
work=$(mktemp -d)
scheduler='' failed=0

finish() {
    [ -z "$scheduler" ] || kill "$scheduler" 2>/dev/null
    bash deploy/local/down.sh --name $NAME >&2
    rm -rf "$work"
}
trap finish EXIT

kube() { bash deploy/local/in.sh $NAME kubectl "$@"; }
check() { # NAME COMMAND...: the test's verdict; its output goes to stderr
    local name=$1
    shift
    if "$@" >&2; then echo "ok manifests.$name"; else
        echo "not ok manifests.$name: $*"
        failed=1
    fi
}
# Every try for up to 30 s.
soon() {
    local i
    for i in $(seq 60); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.5
    done
    "$@"
}

applied_without_warning() {
    kube apply -f deploy/manifests/namespace.yaml 2>"$work/warnings" &&
        bash deploy/certs.sh "$work/tls" --secret 2>/dev/null | kube apply -f - 2>>"$work/warnings" &&
        kube apply -k deploy/manifests 2>>"$work/warnings"
    local code=$?
    cat "$work/warnings"
    [ $code -eq 0 ] && [ ! -s "$work/warnings" ]
}

# The Pod Security level, the quota and the priority class let the pod in.
pod_is_made() { kube get pod -n lockstep-system -l app.kubernetes.io/name=lockstep -o name | grep -q pod/; }

# Each file that the pod mounts is in what certs.sh and the cluster make.
mounted_keys_exist() {
    local secret key
    while read -r secret key; do
        [ -n "$(kube get secret -n lockstep-system "$secret" -o json | jq -r --arg k "$key" '.data[$k] // ""')" ] ||
            { echo "Secret $secret has no key $key"; return 1; }
    done < <(kube get deployment -n lockstep-system lockstep -o json | jq -r '.spec.template.spec.volumes[].projected.sources[]
        | select(.secret) | .secret.name as $n | .secret.items[] | "\($n) \(.key)"')
}

placement() { # NAME: one with nothing but a spec
    printf '{"apiVersion":"lockstep.dev/v1alpha1","kind":"GangPlacement","metadata":{"name":"%s","namespace":"default"},"spec":{"gang":{"kind":"Job","name":"train"}}}' "$1"
}
# The status as the extender writes it, with every field and with the nulls of its merge patches.
full_status() {
    cat <<'JSON'
{"status":{"state":"Planned","reason":null,"generation":3,"pods":4,"min":4,"bound":0,"nodeCount":2,
"nodes":[{"name":"a","first":0,"count":2},{"name":"b","first":2,"count":2}],
"hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
"predictedBusBandwidth":"342G","measuredBusBandwidth":340000000000,"observedGeneration":1,
"probe":{"generation":3,"verdict":null,"message":null,"startedAt":"2026-01-02T03:04:05Z","endedAt":null},
"conditions":[{"type":"Placed","status":"False","reason":"Planned","message":"","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}
JSON
}
patch() { kube patch gangplacement g --subresource status --type merge -p "$1"; }
schema_takes_a_full_status() {
    placement g | kube create -f - && patch "$(full_status)" &&
        patch '{"status":{"reason":{"code":"InsufficientRoom","message":"2 of 4 fit"},"nodes":[],"nodeCount":null,"hash":null}}' &&
        [ "$(kube get gp g -o jsonpath='{.status.reason.code} {.status.hash}')" = "InsufficientRoom " ] &&
        patch "$(full_status)"
}
columns_are_printed() {
    kube get gangplacements | tee "$work/table"
    head -n 1 "$work/table" | grep -qE '^NAME +PODS +NODES +PREDICTED +MEASURED +STATE +AGE' &&
        grep -qE '^g +4 +2 +342G +340000000000 +Planned' "$work/table"
}
schema_refuses() { # PATCH TEXT: with this text in the message
    local out
    out=$(patch "$1" 2>&1) && { echo "was taken: $1"; return 1; }
    grep -qF "$2" <<<"$out" || { echo "$out"; return 1; }
}
schema_refuses_what_is_wrong() {
    schema_refuses '{"status":{"state":"Sleeping"}}' status.state &&
        schema_refuses '{"status":{"nodes":[{"name":"a","first":0,"count":0}]}}' 'status.nodes[0].count' &&
        schema_refuses '{"status":{"nodes":[{"name":"a","count":1}]}}' 'status.nodes[0].first' &&
        schema_refuses '{"status":{"hash":"abc"}}' status.hash &&
        schema_refuses '{"status":{"reason":{"code":"Full"}}}' status.reason.message &&
        schema_refuses '{"status":{"predictedBusBandwidth":"fast"}}' status.predictedBusBandwidth &&
        schema_refuses '{"status":{"probe":{"startedAt":"yesterday"}}}' status.probe.startedAt &&
        schema_refuses '{"status":{"conditions":[{"type":"A","status":"Maybe","reason":"B","message":"","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}' status.conditions &&
        ! kube patch gangplacement g --type merge -p '{"spec":{"gang":{"name":"other"}}}' &&
        ! placement h | sed 's/,"name":"train"//' | kube create -f -
}

# What the command writes of a machine is taken without a warning and given back as it was; what is wrong is refused.
node_topology_comes_back() { # FILE-OR-NAME
    build/release/bin/lockstep machine "$1" -o nodetopology --name t >"$work/sent.json" || return 1
    kube apply -f "$work/sent.json" 2>"$work/warnings" && [ ! -s "$work/warnings" ] &&
        kube get nodetopology t -o json | jq -S .spec >"$work/got.json" &&
        jq -S .spec "$work/sent.json" | diff - "$work/got.json"
}
node_topologies_come_back() {
    node_topology_comes_back dgx-h100 && node_topology_comes_back dgx-1v &&
        node_topology_comes_back tests/data/machines/topo-8a100-nics.txt &&
        kube get nodetopologies | tee "$work/table" && grep -qE '^NAME +MODEL +FABRIC +AGE' "$work/table" &&
        ! kube patch nodetopology t --type merge -p '{"spec":{"fabric":{"kind":"Ring"}}}' &&
        ! kube patch nodetopology t --type merge -p '{"spec":{"gpus":[{"index":32}]}}'
}

all_rights() { # SERVICEACCOUNT NAMESPACE
    kube auth can-i --list --as "$SELF:$1" --as-group system:serviceaccounts --as-group system:authenticated \
        -n "$2" --no-headers | sed 's/  */ /g' | LC_ALL=C sort
}
# The whole list, in the words of `kubectl auth can-i --list`, without what every ServiceAccount may.
rights_of() { LC_ALL=C comm -23 <(all_rights "$1" "$2") <(all_rights nobody "$2"); }
extender_rights_are_these() {
    cat >"$work/want" <<'RIGHTS'
events.events.k8s.io [] [] [create]
gangplacements.lockstep.dev [] [] [get list watch create delete]
gangplacements.lockstep.dev/status [] [] [patch]
jobs.batch [] [] [get list watch]
namespaces [] [] [get list watch]
nodes [] [] [get list watch]
nodetopologies.lockstep.dev [] [] [list watch]
podgroups.scheduling.k8s.io [] [] [get list watch]
podgroups.scheduling.x-k8s.io [] [] [get list watch]
pods [] [] [get list watch]
pods/binding [] [] [create]
pods/status [] [] [patch]
tokenreviews.authentication.k8s.io [] [] [create]
RIGHTS
    rights_of lockstep-extender default >"$work/have"
    diff "$work/want" "$work/have" || return 1
    { cat "$work/want"; echo "leases.coordination.k8s.io [] [lockstep-kube-scheduler] [get list watch]"; } | LC_ALL=C sort >"$work/want.own"
    rights_of lockstep-extender lockstep-system | diff "$work/want.own" -
}
may() { [ "$(kube auth can-i "$@" --as $SELF:lockstep-extender 2>/dev/null)" = yes ]; }
evicting_is_per_namespace() {
    ! may create pods --subresource eviction -n default && kube create namespace tenant &&
        kube apply -n tenant -f deploy/manifests/rbac-evict.yaml &&
        may create pods --subresource eviction -n tenant && ! may create pods --subresource eviction -n default &&
        ! may delete pods -n tenant
}

# The shipped profile with this machine's paths, the shipped identity by its Secret's token.
start_scheduler() {
    local bin
    mkdir -p "$work/kube-scheduler"
    kube get secret -n lockstep-system lockstep-kube-scheduler -o json >"$work/secret.json"
    jq -r .data.token "$work/secret.json" | base64 -d >"$work/kube-scheduler/token"
    jq -r '.data["ca.crt"]' "$work/secret.json" | base64 -d >"$work/kube-scheduler/ca.crt"
    sed "s#/etc/lockstep#$work#g; s#https://kubernetes.default.svc#$(kube config view -o jsonpath='{.clusters[0].cluster.server}')#" \
        configs/kube-scheduler.kubeconfig >"$work/kube-scheduler.kubeconfig"
    sed "s#/etc/lockstep#$work#g" configs/kube-scheduler.yaml >"$work/kube-scheduler.yaml"
    bin=$(bash deploy/local/in.sh $NAME bash -c 'command -v kube-scheduler')
    "$bin" --config "$work/kube-scheduler.yaml" --authentication-kubeconfig "$work/kube-scheduler.kubeconfig" \
        --authorization-kubeconfig "$work/kube-scheduler.kubeconfig" --authentication-tolerate-lookup-failure=true \
        --secure-port 0 -v 2 >"$work/scheduler.log" 2>&1 &
    scheduler=$!
}
scheduler_leads() {
    start_scheduler
    soon grep -q 'successfully acquired lease\|Successfully acquired lease' "$work/scheduler.log" || { tail "$work/scheduler.log"; return 1; }
    kube get lease -n lockstep-system lockstep-kube-scheduler -o jsonpath='{.spec.holderIdentity}' | grep -q .
}
# A pod of ours comes to it (and stays, there is no node); nothing that it asks for is refused.
scheduler_is_allowed_all_it_needs() {
    kube run p --image none --overrides '{"spec":{"schedulerName":"lockstep"}}' || return 1
    soon grep -q '"default/p"' "$work/scheduler.log" || { tail "$work/scheduler.log"; return 1; }
    soon kube get events --field-selector involvedObject.name=p,reason=FailedScheduling -o name
    ! grep -v ' FLAG: ' "$work/scheduler.log" | grep -iE 'forbidden|unauthorized|cannot (list|get|watch|create|update|patch)'
}

bash deploy/local/up.sh --name $NAME --nodes 0 --lockstep no >&2 || exit 1
check applied_without_warning applied_without_warning
check pod_is_made soon pod_is_made
check mounted_keys_exist soon mounted_keys_exist
check schema_takes_a_full_status soon schema_takes_a_full_status
check columns_are_printed columns_are_printed
check schema_refuses_what_is_wrong schema_refuses_what_is_wrong
check node_topologies_come_back node_topologies_come_back
check extender_rights_are_these extender_rights_are_these
check evicting_is_per_namespace evicting_is_per_namespace
check scheduler_leads scheduler_leads
check scheduler_is_allowed_all_it_needs scheduler_is_allowed_all_it_needs
exit $failed
