# cluster.sh - a cluster for one contender of tests/bench/bind.sh, and what can be read of it afterwards.
# shellcheck shell=bash

BENCH=$SOURCE_DIR/build/bench/bind
RESULTS=$BENCH/results.tsv # KIND KEY VALUE..., see table.awk
GENERATOR=$SOURCE_DIR/build/release/bin/bench_bind
EXTENDER_BIN=${LOCKSTEP_EXTENDER:-$SOURCE_DIR/build/release/bin/lockstep-extender}
EXTENDER_USER=system:serviceaccount:lockstep-system:lockstep-extender
GANG_API=scheduling.k8s.io/$(pod_group_api)
IN_NETNS='' # control.sh: everything is on the loopback
source deploy/local/kwok.sh

bench_prepare() {
    [ -x "$GENERATOR" ] || die "no $GENERATOR: cmake --preset release && cmake --build --preset release"
    cluster_vars bench
    rm -rf "$BENCH"
    mkdir -p "$BENCH"
    : >"$RESULTS"
    cat >"$BENCH/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, users: ["$EXTENDER_USER"], verbs: [create, update, patch, delete]}
  - {level: None}
YAML
    trap bench_down EXIT
}

# bench_up CONTENDER NODES: all contenders get the same API server (the gang's has its gate on).
bench_up() {
    local contender=$1 nodes=$2 lockstep=no gates=() flags
    bench_down
    rm -f "$BENCH/audit.log"
    flags="--kube-api-qps=5000 --kube-api-burst=5000 --secure-port=$(free_port) --bind-address=127.0.0.1"
    flags+=" --authorization-always-allow-paths=/metrics"
    [ "$contender" != lockstep ] || lockstep=yes
    if [ "$contender" = gang ]; then
        gates=(--feature-gates GenericWorkload=true)
        flags+=" --feature-gates=GenericWorkload=true"
    fi
    bash deploy/local/up.sh --name "$NAME" --nodes 0 \
        --lockstep "$lockstep" --extender-bin "$EXTENDER_BIN" "${gates[@]}" --scheduler-flags "$flags" \
        --apiserver-flags "--audit-policy-file=$BENCH/audit.yaml --audit-log-path=$BENCH/audit.log" >&2 ||
        die "no cluster for $contender on $nodes nodes"
    source "$RUN/env.sh"
    [ "$contender" = lockstep ] || SCHEDULER_PORT=$(sed -E 's/.*--secure-port=([0-9]+).*/\1/' <<<"$flags")
    wait_for 30 "service account of the namespace" kubectl get serviceaccount default
    [ "$nodes" -eq 0 ] || bench_nodes "$nodes"
}

# Fake nodes: kwok reports for them and runs their pods.
bench_nodes() {
    kwok_run
    "$GENERATOR" nodes --kubeconfig "$KUBECONFIG" --nodes "$1" || die "no $1 nodes"
    say "$1 nodes are there"
    sleep 5 # what that has left in queues is done
}

bench_down() {
    [ ! -d "$RUN/logs" ] || cp "$RUN"/logs/*.log "$BENCH/" 2>/dev/null || true
    bash deploy/local/down.sh --name "$NAME" 2>/dev/null
}

# load KEY OPTION...: the generator's lines go to build/bench/bind/KEY.load.
load() {
    local key=$1
    shift
    "$GENERATOR" load --kubeconfig "$KUBECONFIG" "$@" >"$BENCH/$key.load" ||
        die "$key: the load failed (logs: $BENCH)"
}
# of_load KEY NAME: such as "bound", in ms.
of_load() { awk -v name="$2" '$1 == name {print $2}' "$BENCH/$1.load"; }

# cycle: "ATTEMPTS SECONDS" of scheduling by the contender's kube-scheduler since its start.
cycle() {
    curl -sf --noproxy '*' -k "https://127.0.0.1:$SCHEDULER_PORT/metrics" | awk '
        /^scheduler_scheduling_algorithm_duration_seconds_sum/ {sum = $2}
        /^scheduler_scheduling_algorithm_duration_seconds_count/ {count = $2}
        END {if (count == "") exit 1; print count, sum}'
}

# writes: the extender's requests so far, "TYPE VERB START-us END-us" by the API server's audit log.
writes() {
    jq -r 'def us: (.[0:19] + "Z" | fromdate) * 1000000 + (.[20:26] | tonumber);
        [.objectRef.resource + (if .objectRef.subresource then "/" + .objectRef.subresource else "" end),
         .verb, (.requestReceivedTimestamp | us), (.stageTimestamp | us)] | map(tostring) | join(" ")' \
        "$BENCH/audit.log"
}

# requests: all that was written since the start, by anybody: "COUNT VERB RESOURCE".
requests() {
    kubectl get --raw /metrics | sed -nE 's#^apiserver_request_total\{.*resource="([^"]*)".*subresource="([^"]*)".*verb="(POST|PATCH|PUT|DELETE)".*\} (.*)#\4 \3 \1/\2#p' | sort -rn
}

# memory LABEL: "VmRSS VmHWM" in MiB of what runs under the label.
memory() {
    awk '/^VmRSS:/ {rss = $2 / 1024} /^VmHWM:/ {hwm = $2 / 1024} END {printf "%.1f %.1f\n", rss, hwm}' \
        "/proc/$(cat "$RUN/pids/$1")/status"
}

# clean: no pods and no gangs again, and lockstep knows it.
clean() {
    kubectl delete pods --all --force --grace-period=0 --wait=false >/dev/null 2>&1
    wait_for 60 "pods are gone" nothing_left pods
    wait_for 60 "gangs are gone" nothing_left gangplacements
}
nothing_left() { [ "$(kubectl get "$1" -o name | wc -l)" = 0 ]; }
