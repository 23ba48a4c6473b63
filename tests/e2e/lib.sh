# lib.sh - what the end-to-end tests share; sourced by tests/e2e/*.sh and tests/cluster/*.sh from the root.
# shellcheck shell=bash
set -uo pipefail
source deploy/local/lib.sh
set +e

mkdir -p build/test-logs # a script may be run by itself, in a tree where no suite was
EXTENDER_BIN=${LOCKSTEP_EXTENDER:-$PWD/build/release/bin/lockstep-extender}
LOCKSTEP_BIN=${LOCKSTEP_CLI:-build/release/bin/lockstep}

# up NAME OPTION...: a cluster for this script, taken down when it ends. With LOCKSTEP_TRACES=FOLDER its
# extenders record there (replay_traces of tests/suites/lib.sh).
up() {
    cluster_vars "$1"
    shift
    if [ -n "${LOCKSTEP_TRACES:-}" ]; then
        LOCKSTEP_RECORD=$LOCKSTEP_TRACES/$(basename "$0" .sh)
        export LOCKSTEP_RECORD
    fi
    trap 'keep_logs; bash deploy/local/down.sh --name "$NAME" >&2' EXIT
    bash deploy/local/down.sh --name "$NAME" >&2
    bash deploy/local/up.sh --name "$NAME" --extender-bin "$EXTENDER_BIN" "$@" >&2 || exit 1
    source "$RUN/env.sh"
}

# The cluster's logs outlive it, for whoever looks into a failure.
keep_logs() {
    rm -rf "build/test-logs/cluster-$NAME"
    cp -r "$RUN/logs" "build/test-logs/cluster-$NAME" 2>/dev/null
}

k() { bash deploy/local/in.sh "$NAME" kubectl "$@"; }

# Each test is a function that says why on failure: check NAME FUNCTION.
check() {
    local name=$1 why
    if why=$("$2" 2>&1); then
        [ -z "$why" ] || printf '%s: %s\n' "$name" "$why" >&2
        echo "ok $name"
    else
        printf '%s\n' "$why" >&2
        echo "not ok $name: $(printf '%s' "$why" | tail -n 1)"
        k get pods,gp -A -o wide 2>/dev/null | tail -n 20 >&2
    fi
}

skip() { echo "skip $1: $2"; }

fail() {
    echo "$*"
    exit 1
}

# within SECONDS WHAT COMMAND...: or the test fails.
within() {
    local limit=$(($(date +%s%N) / 1000000 + $1 * 1000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $(($(date +%s%N) / 1000000)) -lt $limit ] || fail "$what: not within time"
        sleep 0.1
    done
}

# job NAME SIZE GPUS [JQ-FILTER]: an indexed Job that is a gang.
job_json() {
    jq -n --arg name "$1" --argjson n "$2" --arg gpus "$3" '{apiVersion: "batch/v1", kind: "Job",
        metadata: {name: $name}, spec: {completionMode: "Indexed", completions: $n, parallelism: $n,
        backoffLimit: 0, template: {metadata: {labels: {"lockstep.dev/gang": $name},
            annotations: {"kwok.x-k8s.io/hold": "true"}},
        spec: {schedulerName: "lockstep", restartPolicy: "Never", terminationGracePeriodSeconds: 0,
        containers: [{name: "c", image: "none.test/none", resources: {limits: {"nvidia.com/gpu": $gpus}}}]}}}}' |
        jq "${4:-.}"
}
job() { job_json "$@" | k create -f - >/dev/null || fail "cannot create job $1"; }

# member NAME GANG SIZE GPUS [JQ-FILTER]: a bare pod of a gang; GANG "" makes an ordinary pod.
member() {
    jq -n --arg name "$1" --arg gang "$2" --arg n "$3" --arg gpus "$4" '{apiVersion: "v1", kind: "Pod",
        metadata: {name: $name, labels: (if $gang == "" then {} else {"lockstep.dev/gang": $gang} end),
        annotations: (if $gang == "" then {} else {"lockstep.dev/gang-size": $n} end)},
        spec: {schedulerName: "lockstep", terminationGracePeriodSeconds: 0, containers: [{name: "c",
        image: "none.test/none", resources: {limits: {"nvidia.com/gpu": $gpus}}}]}}' |
        jq "${5:-.}" | k create -f - >/dev/null || fail "cannot create pod $1"
}

# fill GPUS NODE...: pods that are there already, put on the nodes by hand.
fill() {
    local gpus=$1
    shift
    printf '%s\n' "$@" | jq -R . | jq -s --arg gpus "$gpus" --arg class "${FILL_CLASS:-}" '{apiVersion: "v1", kind: "List", items: map({
        apiVersion: "v1", kind: "Pod", metadata: {name: "fill-\(.)", labels: {app: "fill"}},
        spec: {nodeName: ., priorityClassName: $class, terminationGracePeriodSeconds: 0, containers: [{name: "c", image: "none.test/none",
        resources: {limits: {"nvidia.com/gpu": $gpus}}}]}})}' | k create -f - >/dev/null ||
        fail "cannot fill nodes"
}

# nodes FIRST LAST: names of fake nodes.
nodes() { seq -f 'node-%03g' "$1" "$2"; }

state() { k get gp "$1" -o jsonpath='{.status.state}' 2>/dev/null; }
reason() { k get gp "$1" -o jsonpath='{.status.reason.message}' 2>/dev/null; }
is_state() { [ "$(state "$1")" = "$2" ]; }
# Number of the gang's pods that have a node.
bound() {
    k get pods -l "lockstep.dev/gang=$1" -o json |
        jq '[.items[] | select(.spec.nodeName != null)] | length'
}
all_bound() { [ "$(bound "$1")" = "$2" ]; }
metric() {
    bash deploy/local/in.sh "$NAME" curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" \
        "https://127.0.0.1:$HEALTH_PORT/metrics" | awk -v m="$1" '$1 == m {print $2}'
}

# An empty cluster again: all pods and jobs of the tests are gone, and lockstep has seen it.
clean() {
    k delete jobs --all --wait=false --cascade=background >/dev/null 2>&1
    k delete pods --all --force --grace-period=0 >/dev/null 2>&1
    k delete podgroups.scheduling.k8s.io --all >/dev/null 2>&1
    within 30 "pods gone" no_pods
    within 10 "gangs gone" no_gangs
}
no_pods() { [ "$(k get pods -o name | wc -l)" = 0 ]; }
no_gangs() { [ "$(metric lockstep_gangs)" = 0 ] && [ "$(metric lockstep_holds)" = 0 ]; }
