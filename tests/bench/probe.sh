#!/bin/bash
# The probe: its tcp all-reduce beside a plain socket copy (collective.sh), two real probes from their start to the verdict,
# and 1,000 ranks without payload from 8 processes on one service: the time from the last join to the verdict.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bench=build/release/bin/bench_probe
failed=0

line=$(bash tests/bench/collective.sh | awk '$1 == "collective.vs_socket:" || $1 == "collective.vs_socket_netns:" {print}') || failed=1
sed -n 's/^collective.vs_socket: /probe.vs_socket: /p; s/^collective.vs_socket_netns: /probe.vs_socket_netns: /p' <<<"$line"
if read -r _ total _ < <("$bench" two build/release/bin/lockstep-probe); then
    echo "probe.two_ranks_s: $total s"
else
    failed=1
fi
if read -r reported _ rss descriptors < <("$bench" 1000 8); then
    echo "probe.1000_ranks_s: $reported s"
    echo "probe.1000_ranks_mib: $rss MiB"
    echo "probe.1000_ranks_descriptors: $descriptors files"
else
    failed=1
fi
exit $failed
