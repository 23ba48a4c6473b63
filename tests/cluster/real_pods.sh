#!/usr/bin/env bash
# Real pods: an indexed Job of 4 on 4 real kubelets finds its peers by the stamp and talks to all of them.
source tests/e2e/lib.sh
up real --nodes 0 --real 4

bound_together() {
    k apply -f deploy/local/ring.yaml >/dev/null || fail "cannot create the Job"
    within 20 "4 pods bound" all_bound ring 4
    local spread
    spread=$(k get pods -l lockstep.dev/gang=ring -o json | jq '[.items[].status.conditions[]
        | select(.type == "PodScheduled") | .lastTransitionTime | fromdate] | max - min')
    [ "$spread" -le 1 ] || fail "$spread s between the first and the last binding"
    k get pods -l lockstep.dev/gang=ring -o json | jq -e '[.items[].spec.nodeName] | unique | length == 4' >/dev/null ||
        fail "two pods share a node"
}
job_completes() {
    k wait --for=condition=Complete job/ring --timeout 60s >/dev/null || fail "the Job did not complete"
    within 10 "state Done" is_state ring Done
}
logs_show_ranks_and_round_trips() {
    local rank log
    for rank in 0 1 2 3; do
        log=$(k logs -l "lockstep.dev/gang=ring,batch.kubernetes.io/job-completion-index=$rank")
        grep -q "^rank $rank on real-$((rank + 1)), placement real-\[1-4\]" <<<"$log" || fail "rank $rank: $log"
        [ "$(grep -c 'round trip ok' <<<"$log")" = 4 ] || fail "rank $rank did not reach all peers: $log"
        printf '%s\n' "$log" | head -n 1
    done
}
check four_pods_are_bound_together bound_together
check the_job_completes job_completes
check each_log_shows_rank_node_and_a_round_trip_to_each_peer logs_show_ranks_and_round_trips
