# parts.sh - the parts of tests/bench/bind.sh; each adds its lines to $RESULTS.
# shellcheck shell=bash

GANG_PODS=500

pod_group() {
    kubectl create -f - >/dev/null <<YAML
apiVersion: $GANG_API
kind: PodGroup
metadata: {name: bench, namespace: default}
spec: {schedulingPolicy: {gang: {minCount: $GANG_PODS}}}
YAML
}

# bind_once CONTENDER NODES ROUND
bind_once() {
    local contender=$1 nodes=$2 key=$1-$2-$3 attempts=- seconds=-
    bench_up "$contender" "$nodes"
    [ "$contender" != gang ] || pod_group
    load "$key" --for "$contender" --pods $GANG_PODS
    requests >"$BENCH/$key.requests"
    [ "$contender" = null ] || read -r attempts seconds < <(cycle)
    printf 'run\t%s\t%s\t%s\t%s\t%s\t%s\n' "$contender" "$nodes" "$(of_load "$key" created)" \
        "$(of_load "$key" bound)" "$attempts" "$seconds" >>"$RESULTS"
    [ "$contender" != lockstep ] || lockstep_phases "$key" "$nodes"
    say "$contender on $nodes nodes, round $3: bound after $(of_load "$key" bound) ms"
    bench_down
}

# When all had voted, when the last binding was answered, other writes by the extender's identity, memory.
lockstep_phases() {
    local key=$1 nodes=$2
    sleep 2 # what it writes when all is bound counts too
    writes >"$BENCH/$key.writes"
    awk -v start="$(of_load "$key" start_unix_us)" -v nodes="$nodes" -v pods=$GANG_PODS '
        $1 == "pods/binding" {bindings++; if (!first || $3 < first) first = $3; if ($4 > last) last = $4; next}
        {other++}
        $1 ~ /^gangplacements/ {stored[$3]}
        END {
            if (bindings != pods) {print "bindings in the audit log: " bindings ", expected " pods | "cat >&2"; exit 1}
            for (t in stored) if (t + 0 < first && t + 0 > voted) voted = t + 0
            printf "phases\t%s\t%.1f\t%.1f\t%.3f\n", nodes, (voted - start) / 1000, (last - start) / 1000, other / pods
        }' "$BENCH/$key.writes" >>"$RESULTS"
    printf 'memory\t%s\t%s\n' "$nodes" "$(memory extender | tr ' ' '\t')" >>"$RESULTS"
}

# 100 pods, required in one block of 128 of 500 nodes, three times; and single pods by stock kube-scheduler,
# as many and anywhere: what this machine needs for them at all.
part_block() {
    local i blocks
    bench_up lockstep 500
    for i in 1 2 3; do
        load "block-$i" --for lockstep --pods 100 --topology required=example.com/block
        blocks=$(kubectl get pods -o json | jq '[.items[].spec.nodeName | ltrimstr("node-") | tonumber
            / 128 | floor] | unique | length')
        [ "$blocks" = 1 ] || die "block: the pods are in $blocks blocks, expected 1"
        printf 'block\t%s\n' "$(of_load "block-$i" bound)" >>"$RESULTS"
        clean
    done
    bench_up stock 500
    for i in 1 2 3; do
        load "block-stock-$i" --for stock --pods 100
        printf 'block-stock\t%s\n' "$(of_load "block-stock-$i" bound)" >>"$RESULTS"
        clean
    done
    bench_down
}

# 501 pods on 500 nodes: when the reason stands, counted from when a watch brought the last pod (0: it
# stood already), and what the extender writes in 10 s of quiet. The Events that tell waiting pods' people
# the reason after a second come before that.
part_verdict() {
    local i base before after
    bench_up lockstep 500
    for i in 1 2 3; do
        base=$(writes | wc -l)
        load "verdict-$i" --for lockstep --pods 501 --until refused
        sleep 5
        before=$(writes | wc -l)
        sleep 10
        after=$(writes | wc -l)
        printf 'verdict\t%s\t%s\t%s\t%s\n' "$(of_load "verdict-$i" seen)" \
            "$(of_load "verdict-$i" reason)" $((before - base)) $((after - before)) >>"$RESULTS"
        [ "$after" = "$before" ] ||
            die "verdict: the extender made $((after - before)) writes in 10 s in which nothing changed"
        clean
    done
    bench_down
}

# The extender's memory with 15,000 nodes and as many pods that are bound: as they came by the watches,
# and once more after a start that listed them all; the larger one counts.
part_rss() {
    local n=15000
    bench_up lockstep 0
    # Nobody reports for these nodes: the controllers would give them taints and end their pods.
    end_all TERM controller
    "$GENERATOR" fill --kubeconfig "$KUBECONFIG" --nodes $n --pods $n || die "rss: the objects were not made"
    extender_has_all $n
    printf 'rss\twatched\t%s\n' "$(memory extender | tr ' ' '\t')" >>"$RESULTS"
    PATIENCE=10 end_all TERM extender
    EXTENDER=$EXTENDER_BIN
    # shellcheck source=deploy/local/lockstep.sh
    source deploy/local/lockstep.sh
    lockstep_extender
    extender_has_all $n
    printf 'rss\tlisted\t%s\n' "$(memory extender | tr ' ' '\t')" >>"$RESULTS"
    bench_down
}

extender_has_all() {
    wait_for 120 "extender with $1 nodes and pods" extender_has "$1"
    sleep 5 # GangPlacements are written, what was freed is given back
}
extender_has() {
    curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:$HEALTH_PORT/metrics" | awk -v n="$1" '
        $1 == "lockstep_nodes" {nodes = $2} $1 == "lockstep_pods" {pods = $2}
        END {exit !(nodes == n && pods == n)}'
}
