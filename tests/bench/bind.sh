#!/bin/bash
# How fast a gang of 500 pods x 8 GPUs is bound, on 500 and on 5,000 fake nodes of a real control plane,
# beside what else there is, all on this machine in one run:
#
#   lockstep   as deployed: deploy/local/up.sh, mutual TLS, the shipped kube-scheduler profile, and the
#              cluster's own kube-scheduler beside it
#   stock      the cluster's own kube-scheduler, single pods, qps and burst 5000 as in our profile
#   gang       the same with GenericWorkload on API server, controllers and kube-scheduler: one PodGroup
#   null       no scheduler: the load generator posts a binding for each pod itself (the machine's ceiling)
#
# Each contender of each round gets an API server, etcd and nodes of its own, and the order turns from
# round to round. The pods are the same, so are the 32 connections. The figure is pods per second from the first
# create to the last pod that a watch shows with its node; medians are compared. Further parts: 100 pods
# required in one block of 128 nodes, beside 100 single pods by stock kube-scheduler; a gang of 501 pods on
# 500 nodes: from the last pod seen to its reason
# (0: it stood before, as the size is known from the first pod on), and that nothing is written afterwards;
# memory of the extender with 15,000 nodes and 15,000 bound pods.
#
# BIND_PARTS="500 5000 block verdict rss" chooses parts (only their figures are printed), BIND_ROUNDS_500
# (3) and BIND_ROUNDS_5000 (2) how often, BIND_CONTENDERS="lockstep stock gang null" who takes part.
# LOCKSTEP_EXTENDER: another extender than build/release/bin/lockstep-extender. What was measured and the
# logs of each run stay in build/bench/bind/. All parts take about a quarter of an hour.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
source deploy/local/lib.sh
source tests/bench/bind/cluster.sh
source tests/bench/bind/parts.sh

PARTS=${BIND_PARTS:-500 5000 block verdict rss}
CONTENDERS=${BIND_CONTENDERS:-lockstep stock gang null}
ROUNDS_500=${BIND_ROUNDS_500:-3}
ROUNDS_5000=${BIND_ROUNDS_5000:-2}

# compare NODES ROUNDS: every contender in every round.
compare() {
    local nodes=$1 rounds=$2 round i contenders
    read -ra contenders <<<"$CONTENDERS"
    for ((round = 0; round < rounds; round++)); do
        for ((i = 0; i < ${#contenders[@]}; i++)); do
            bind_once "${contenders[(i + round) % ${#contenders[@]}]}" "$nodes" "$round"
        done
    done
}

main() {
    local part
    for part in $PARTS; do
        [[ $part =~ ^(500|5000|block|verdict|rss)$ ]] || die "BIND_PARTS: unknown part '$part'" 2
    done
    need_packages curl jq
    bash deploy/local/build.sh --no-kubelet >&2
    bench_prepare
    for part in $PARTS; do
        case $part in
        500) compare 500 "$ROUNDS_500" ;;
        5000) compare 5000 "$ROUNDS_5000" ;;
        *) "part_$part" ;;
        esac
    done
    awk -f tests/bench/bind/table.awk "$RESULTS" >&2
    awk -v figures=1 -f tests/bench/bind/table.awk "$RESULTS"
}
main
