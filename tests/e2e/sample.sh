#!/usr/bin/env bash
# 300 nodes of which kube-scheduler looks at a sample only: the planned node may be outside it.
source tests/e2e/lib.sh
up sample --nodes 300 --racks 30 --percentage 5

outside_the_sample() {
    # Only the last rack has room for four whole nodes: whatever the sample is, it misses some of them.
    fill 1 $(nodes 0 291) $(nodes 297 299)
    sleep 2
    job far 4 8
    local start=$SECONDS
    within 20 "4 pods bound" all_bound far 4
    grep -E 'planned node not offered pod=far-' "$RUN/logs/extender.log" >"$RUN/missed" ||
        fail "the planned node was always in the sample: nothing was shown"
    echo "bound in $((SECONDS - start)) s; $(wc -l <"$RUN/missed") times the planned node was not offered, e.g. $(head -n 1 "$RUN/missed" | cut -d' ' -f4-)"
}
check e_planned_node_outside_the_sample outside_the_sample
