# lib.sh - what the fault tests share; sourced by tests/faults/*.sh from the root.
#
# Each script brings up a cluster of its own with a recorder (podwatch) beside it, which sees every pod
# and GangPlacement as they are written: build/test-logs/faults/SCRIPT.rec. What is left of the logs
# goes to build/test-logs/faults/SCRIPT/. LOCKSTEP_FAULTS=ci runs a part of the matrix, all the whole.
# shellcheck shell=bash
source tests/e2e/lib.sh
source deploy/local/control.sh
source deploy/local/lockstep.sh
set +e

MATRIX=${LOCKSTEP_FAULTS:-all}
PODWATCH=$PWD/build/release/bin/podwatch
SCRIPT=$(basename "$0" .sh)
FAULT_LOGS=$PWD/build/test-logs/faults
RECORD=$FAULT_LOGS/$SCRIPT.rec
EXTENDER_BIN=${LOCKSTEP_EXTENDER:-$PWD/build/release/bin/lockstep-extender}
FAILPOINTS_BIN=$PWD/build/release/bin/lockstep-extender-failpoints
GATES='' # control.sh: no feature gates here
RANDOM=${LOCKSTEP_FAULT_SEED:-17} # one seed gives one run's offsets

# bound GANG: its live pods that have a node (a failed member stays as a pod).
bound() {
    k get pods -l "lockstep.dev/gang=$1" -o json | jq '[.items[] | select(.spec.nodeName != null
        and .status.phase != "Failed" and .metadata.deletionTimestamp == null)] | length'
}

# The API server here is on the loopback: kubectl needs no shell around it.
k() { kubectl "$@"; }

# faults_up NAME OPTION...: the cluster, its recorder, and what ends both.
faults_up() {
    mkdir -p "$FAULT_LOGS/$SCRIPT"
    rm -rf "$RECORD" "$FAULT_LOGS/$SCRIPT"/*
    up "$@"
    trap faults_down EXIT
    recorder_start
}

faults_down() {
    recorder_stop
    cp "$RUN"/logs/*.log "$FAULT_LOGS/$SCRIPT/" 2>/dev/null
    bash deploy/local/down.sh --name "$NAME" >&2
}

recorder_start() {
    spawn podwatch "$PODWATCH" --kubeconfig "$RUN/admin.kubeconfig" --out "$RECORD"
    within 20 "recorder has listed" recorder_listed
}
recorder_listed() { [ "$(grep -c '/listed' "$RECORD")" -ge 2 ]; }
recorder_stop() { PATIENCE=5 end_all TERM podwatch; }
mark() { "$PODWATCH" --mark "$1" --out "$RECORD"; }
# The time in the recorder's clock, ns.
now_ns() { "$PODWATCH" --mark now --out /dev/stdout | cut -f 1; }
first_binding_seen() { awk -F '\t' -v g="$1" '$6 == g && $8 != "-" {f = 1; exit} END {exit !f}' "$RECORD"; }
# analysis: the record so far, see record.awk.
analysis() { awk -F '\t' '$2 > 0' "$RECORD" | sort -n -k2,2 -s | awk -f tests/faults/record.awk -v gpus=8 -v window="${WINDOW_S:-60}"; }
# gang_field GANG FIELD: such as first, whole, outside.
gang_field() {
    analysis | awk -v g="default/$1" -v field="$2" '$1 == "gang" && $2 == g {
        for (i = 3; i < NF; i += 2) if ($i == field) print $(i + 1)}'
}

# ---- processes --------------------------------------------------------------------------------------

pid_of() { cat "$RUN/pids/$1" 2>/dev/null; }
# ended LABEL: also true of a process that nobody has reaped yet. Its first thread may be dead while others
# still are not, and with them its ports.
ended() {
    local state
    state=$(awk '/^State:/ {print $2}' "/proc/$(pid_of "$1")/status" 2>/dev/null)
    [ -z "$state" ] || { [ "$state" = Z ] && [ "$(ls "/proc/$(pid_of "$1")/task" 2>/dev/null | wc -l)" -le 1 ]; }
}
# kill9 LABEL...: all at once, and waits until they are gone; keeps what they have logged.
kill9() {
    local label pids=()
    for label in "$@"; do
        pids+=("$(pid_of "$label")")
    done
    kill -KILL "${pids[@]}" 2>/dev/null
    for label in "$@"; do
        within 10 "$label killed" ended "$label"
        keep_log "$label"
    done
}
keep_log() { cat "$RUN/logs/$1.log" >>"$FAULT_LOGS/$SCRIPT/$1.before.log" 2>/dev/null; }

# extender [BINARY]: starts it and waits until it has read the cluster.
extender() { EXTENDER=${1:-$EXTENDER_BIN} lockstep_extender; }
extender_again() { kill9 extender && extender "$@"; }
scheduler() { lockstep_scheduler; }
# etcd keeps its data: without fsync it is in the page cache, which survives the process. On a busy machine
# the killed API server's port may be taken for a moment longer than its process is there.
store_again() {
    start_etcd
    for _ in $(seq 20); do
        start_apiserver
        (wait_for_process apiserver 60 kube get --raw /readyz) && return
        grep -q 'address already in use' "$RUN/logs/apiserver.log" || fail "the API server does not start again"
        sleep 0.5
    done
    fail "the port of the API server stays taken"
}

# ---- gangs ------------------------------------------------------------------------------------------

# An empty cluster again. Foreground: deleting 256 pods by force one by one takes kubectl 45 s.
clean() {
    k delete jobs --all --cascade=foreground --timeout 120s >/dev/null 2>&1
    k delete pods --all --force --grace-period=0 >/dev/null 2>&1
    within 30 "pods gone" no_pods
    within 10 "gangs gone" no_gangs
}

# gang_job NAME SIZE GPUS [JQ]: an indexed Job; its pods tell the recorder how many must start together.
gang_job() {
    job "$1" "$2" "$3" '.spec.template.metadata.annotations["test.lockstep.dev/min"] = "'"$2"'"'"${4:+ | $4}"
}

# wrongly_placed GANG SIZE: why the live pods of the gang are not where GangPlacement.status.nodes has
# their ranks, or which node has more than 8 GPUs in use; nothing when all is right.
wrongly_placed() {
    jq -nr --argjson size "$2" --arg gang "$1" --slurpfile pods <(k get pods -A -o json) \
        --slurpfile gp <(k get gp "$1" -o json) '
        def gpus: [.spec.containers[].resources.limits["nvidia.com/gpu"] // "0" | tonumber] | add;
        def ended: .status.phase == "Failed" or .status.phase == "Succeeded";
        $pods[0].items as $all
        | [$all[] | select(.metadata.labels["lockstep.dev/gang"] == $gang and (ended | not)
            and .metadata.deletionTimestamp == null)] as $members
        | ($gp[0].status.nodes // [] | map(. as $e | range($e.first; $e.first + $e.count)
            | {key: tostring, value: $e.name}) | from_entries) as $plan
        | (if ($members | length) != $size then "\($members | length) live pods, expected \($size)"
            else empty end),
          ($members[] | .metadata.annotations["lockstep.dev/rank"] as $rank
            | .metadata.annotations["batch.kubernetes.io/job-completion-index"] as $index
            | if $rank == null then "\(.metadata.name) has no rank"
              elif $index != null and $index != $rank then "\(.metadata.name) has rank \($rank)"
              elif $plan[$rank] != .spec.nodeName then
                "rank \($rank) is on \(.spec.nodeName), its plan says \($plan[$rank])"
              else empty end),
          ($members | group_by(.metadata.annotations["lockstep.dev/rank"])[] | select(length > 1)
            | "rank \(.[0].metadata.annotations["lockstep.dev/rank"]) twice"),
          ($all | map(select(.spec.nodeName != null and (ended | not))) | group_by(.spec.nodeName)[]
            | (map(gpus) | add) as $used | select($used > 8)
            | "\(.[0].spec.nodeName) has \($used) GPUs in use")' | head -n 5
}
rightly_placed() { [ -z "$(wrongly_placed "$1" "$2")" ]; }

# whole GANG SIZE SECONDS: all bound within the time, each where the plan has it, nothing overused.
whole() {
    within "$3" "$2 pods of $1 bound ($(bound "$1") before)" all_bound "$1" "$2"
    local limit=$((SECONDS + 10))
    until rightly_placed "$1" "$2"; do
        [ $SECONDS -lt $limit ] || fail "$(wrongly_placed "$1" "$2" | tr '\n' ';')"
        sleep 0.2
    done
}

# The last line of a script: what the record says, on stderr; tests/suites/faults.sh adds them up.
finish() {
    recorder_stop
    analysis >"$FAULT_LOGS/$SCRIPT.sum"
    grep -v '^total' "$FAULT_LOGS/$SCRIPT.sum" | sort -V | cut -c 1-200 >&2
    tail -n 1 "$FAULT_LOGS/$SCRIPT.sum" >&2
}

# ---- a gang stopped in the middle of its bindings -------------------------------------------------------

# The API server refuses the bindings of the members with an index from 16 on, until free_bindings: so a
# fault can be put between the first and the last binding without luck.
hold_bindings() {
    k apply -f - >/dev/null <<YAML || fail "the API server refuses the policy"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: hold-bindings}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods/binding]}]
  validations:
  - expression: '!object.metadata.name.matches("-(1[6-9]|[2-9][0-9])-[a-z0-9]+$")'
    message: the test holds this binding
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: hold-bindings}
spec: {policyName: hold-bindings, validationActions: [Deny]}
YAML
    within 20 "bindings are held" bindings_are_held
}
bindings_are_held() { [[ $(try_binding) == *'the test holds'* ]]; }
try_binding() {
    echo '{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "none-16-x"}, "target": {"kind": "Node", "name": "x"}}' |
        k create --raw '/api/v1/namespaces/default/pods/none-16-x/binding?dryRun=All' -f - 2>&1
}
free_bindings() {
    k delete validatingadmissionpolicybinding,validatingadmissionpolicy hold-bindings >/dev/null 2>&1
    within 20 "bindings are free" bindings_are_free
}
bindings_are_free() { [[ $(try_binding) == *'not found'* ]]; }

# half_bound GANG [JQ]: a gang of 32 of which the lower half is bound and the upper half is held up.
half_bound() {
    free_bindings
    clean
    hold_bindings
    gang_job "$1" 32 8 "${2:-}"
    within 40 "16 of 32 bound" all_bound "$1" 16
    is_state "$1" Binding || fail "16 pods are bound and the state is $(state "$1")"
}

# member_of GANG INDEX [FIELD]: name (or another jq path) of the live pod with the index.
member_of() {
    k get pods -l "lockstep.dev/gang=$1" -o json | jq -r --arg i "$2" --arg f "${3:-metadata.name}" '
        .items[] | select(.metadata.annotations["batch.kubernetes.io/job-completion-index"] == $i
            and .status.phase != "Failed" and .metadata.deletionTimestamp == null)
        | getpath($f | split(".")) // empty'
}
# planned_node GANG RANK: where GangPlacement.status.nodes has the rank.
planned_node() {
    k get gp "$1" -o json | jq -r --argjson r "$2" '.status.nodes[] | select(.first <= $r and $r < .first + .count).name'
}
# uids GANG: of its live pods but those with the INDEX.
uids_but() {
    k get pods -l "lockstep.dev/gang=$1" -o json | jq -r --arg i "$2" '.items[] | select(.status.phase != "Failed"
        and .metadata.annotations["batch.kubernetes.io/job-completion-index"] != $i).metadata.uid' | sort
}
rack_of() { k get node "$1" -o json | jq -r '.metadata.labels["example.com/rack"]'; }
