#!/bin/bash
# The tcp backend's all-reduce beside plain full-duplex socket copies between the same processes, in turns within one
# run (bench_collective.c): over loopback with 2 and 4 ranks, and, as root, with 2 ranks in network namespaces of their
# own that a veth pair joins. `vs_socket` is against the best copy from memory to memory, `vs_socket_in_cache` against one
# from a small buffer over and over, as iperf does. One connection per direction, 64 MiB, medians.
#
# COLLECTIVE_ROUNDS (9), COLLECTIVE_MIB (64). On two processors that others share, ratios move by 0.1 from run to run.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bench=build/release/bin/bench_collective
rounds=${COLLECTIVE_ROUNDS:-9}
mib=${COLLECTIVE_MIB:-64}
failed=0

# measure TITLE SUFFIX RANKS STREAMS [NETNS...]
measure() {
    local title=$1 suffix=$2 ranks=$3 streams=$4 line
    shift 4
    echo "$title" >&2
    line=$("$bench" "$ranks" "$streams" "$mib" "$rounds" "$@") || { failed=1; return; }
    read -r memory cache _ <<<"$line"
    echo "collective.vs_socket$suffix: $memory ratio"
    echo "collective.vs_socket_in_cache$suffix: $cache ratio"
}

# Two namespaces of this process's own names, joined; gone at the end.
namespaces() {
    a=lockstep-a-$$ b=lockstep-b-$$
    [ "$(id -u)" = 0 ] && command -v ip >/dev/null || return 1
    trap 'ip netns del "$a" 2>/dev/null; ip netns del "$b" 2>/dev/null' EXIT
    ip netns add "$a" && ip netns add "$b" && ip link add la type veth peer name lb netns "$b" &&
        ip link set la netns "$a" || return 1
    ip -n "$a" addr add 10.213.0.1/24 dev la && ip -n "$a" link set la up || return 1
    ip -n "$b" addr add 10.213.0.2/24 dev lb && ip -n "$b" link set lb up
}

measure "2 ranks, loopback" "" 2 1
measure "4 ranks, loopback" _4_ranks 4 1
if namespaces 2>/dev/null; then
    measure "2 ranks, two network namespaces" _netns 2 1 "/run/netns/$a,10.213.0.1" "/run/netns/$b,10.213.0.2"
else
    echo "no network namespaces here: left out" >&2
fi
exit $failed
