#!/usr/bin/env bash
# 300 nodes of which kube-scheduler looks at a sample only: the planned node may be outside it.
source tests/e2e/lib.sh
up sample --nodes 300 --racks 30 --percentage 5

outside_the_sample() {
    # All nodes have room for one pod, four of the last rack for two: fewest nodes are those four, while
    # kube-scheduler stops looking after 100 feasible ones.
    fill 4 $(nodes 0 291) $(nodes 296 299)
    sleep 2
    job far 8 4
    local start=$SECONDS
    within 20 "8 pods bound" all_bound far 8
    [ "$(k get pods -l lockstep.dev/gang=far -o json | jq -r '.items[].spec.nodeName' | sort -u | tr '\n' ' ')" = "node-292 node-293 node-294 node-295 " ] ||
        fail "the gang is not on the four best nodes"
    grep -E 'planned node not offered pod=far-' "$RUN/logs/extender.log" >"$RUN/missed" ||
        fail "the planned node was always in the sample: nothing was shown"
    echo "bound in $((SECONDS - start)) s; $(wc -l <"$RUN/missed") times the planned node was not offered, e.g. $(head -n 1 "$RUN/missed" | cut -d' ' -f4-)"
}
check e_planned_node_outside_the_sample outside_the_sample
