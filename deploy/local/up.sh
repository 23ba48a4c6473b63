#!/usr/bin/env bash
# Brings up a local cluster: a real control plane, fake (kwok) nodes, real kubelets, lockstep.
#   bash deploy/local/up.sh [--name demo] [--nodes 64] [--racks 8] [--real 0] [--gpus 8]
#                           [--percentage 100] [--lockstep yes|no] [--extender-bin FILE] [--replicas 1]
#                           [--audit no|yes]     every write with its writer, in logs/audit.log
# With --real N (root): N kubelets with containerd, each in a network namespace of its own.
# Afterwards: bash deploy/local/in.sh demo kubectl get nodes ... bash deploy/local/down.sh --name demo
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$LOCAL_DIR/control.sh"
source "$LOCAL_DIR/kwok.sh"
source "$LOCAL_DIR/real.sh"
source "$LOCAL_DIR/lockstep.sh"

CLUSTER=demo NODES=64 RACKS=8 REAL=0 GPUS=8 PERCENTAGE=100 LOCKSTEP=yes GATES= REPLICAS=1 AUDIT=no API_FLAGS= SCHEDULER_FLAGS=
EXTENDER=${LOCKSTEP_EXTENDER:-$SOURCE_DIR/build/release/bin/lockstep-extender}

parse() {
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || die "$1: needs a value (see the head of this file)" 2
        case $1 in
        --name) CLUSTER=$2 ;;
        --nodes) NODES=$2 ;;
        --racks) RACKS=$2 ;;
        --real) REAL=$2 ;;
        --gpus) GPUS=$2 ;;
        --percentage) PERCENTAGE=$2 ;;
        --lockstep) LOCKSTEP=$2 ;;
        --replicas) REPLICAS=$2 ;; # above 1: leader election, each replica under a host name of its own
        --extender-bin) EXTENDER=$2 ;;
        --audit) AUDIT=$2 ;;
        --feature-gates) GATES=$2 ;; # of API server and controllers; GenericWorkload=true: PodGroups
        --apiserver-flags) API_FLAGS=$2 ;; # more of them, apart by spaces
        --scheduler-flags) SCHEDULER_FLAGS=$2 ;; # of the cluster's own kube-scheduler
        *) die "unknown option '$1' (see the head of this file)" 2 ;;
        esac
        shift 2
    done
    cluster_vars "$CLUSTER"
    for number in "$NODES" "$RACKS" "$REAL" "$GPUS" "$PERCENTAGE" "$REPLICAS"; do
        [[ $number =~ ^[0-9]+$ ]] || die "'$number': expected a number" 2
    done
}

prepare() {
    if [ -d "$RUN" ]; then
        die "cluster '$NAME' is up already (or was left behind): bash deploy/local/down.sh --name $NAME" 2
    fi
    need_packages openssl jq
    if [ "$REAL" -gt 0 ]; then
        is_root || die "--real needs root: it makes network namespaces and runs containers" 2
        need_packages containerd runc containernetworking-plugins iproute2 busybox-static
        IN_NETNS=$NETNS API_ADDRESS=10.99.0.1
    else
        IN_NETNS='' API_ADDRESS=127.0.0.1
    fi
    if [ "$REAL" -gt 0 ]; then bash "$LOCAL_DIR/build.sh"; else bash "$LOCAL_DIR/build.sh" --no-kubelet; fi
    mkdir -p "$RUN"
    trap on_exit EXIT
}

# A failed start leaves its logs and nothing else.
on_exit() {
    local status=$?
    [ "$status" -eq 0 ] && return
    say "failed; the ends of the logs:"
    tail -n 5 "$RUN"/logs/*.log >&2 2>/dev/null || true
    mkdir -p "$LOCKSTEP_CACHE/failed" && rm -rf "$LOCKSTEP_CACHE/failed/$NAME" &&
        cp -r "$RUN/logs" "$LOCKSTEP_CACHE/failed/$NAME" 2>/dev/null || true
    bash "$LOCAL_DIR/down.sh" --name "$NAME" || true
    exit "$status"
}

write_env() {
    cat >"$RUN/env.sh" <<ENV
NAME=$NAME K8S=$K8S IN_NETNS='$IN_NETNS' API_ADDRESS=$API_ADDRESS API_PORT=$API_PORT
REPLICAS=$REPLICAS NODES=$NODES RACKS=$RACKS REAL=$REAL GPUS=$GPUS EXTENDER='$EXTENDER' PERCENTAGE=$PERCENTAGE AUDIT=$AUDIT
export KUBECONFIG='$RUN/admin.kubeconfig' PATH='$BIN':\$PATH
ENV
}

main() {
    parse "$@"
    prepare
    [ "$REAL" -eq 0 ] || real_network
    control_pki
    write_env
    control_start
    say "API server is ready"
    [ "$NODES" -eq 0 ] || kwok_start
    [ "$REAL" -eq 0 ] || real_start
    [ "$NODES" -eq 0 ] || kwok_ready
    [ "$REAL" -eq 0 ] || real_ready
    [ "$LOCKSTEP" = no ] || lockstep_start
    say "cluster '$NAME' is up: bash deploy/local/in.sh $NAME kubectl get nodes"
}
main "$@"
