#!/usr/bin/env bash
# The main job, to watch: a gang that fits, one that does not, and what a user types and sees.
#   bash deploy/local/demo.sh [--nodes 64] [--real 4] [--keep]
# Real nodes need root; without it the demo runs on fake ones. Sets up what is missing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NODES=64 REAL=4 KEEP=
while [ $# -gt 0 ]; do
    case $1 in
    --nodes) NODES=${2:?} && shift 2 ;;
    --real) REAL=${2:?} && shift 2 ;;
    --keep) KEEP=yes && shift ;;
    *) die "unknown option '$1': --nodes N, --real N, --keep" 2 ;;
    esac
done
[[ $NODES =~ ^[0-9]+$ && $REAL =~ ^[04]$ ]] || die "--nodes takes a number, --real 4 or 0" 2
if [ "$REAL" -gt 0 ] && ! is_root; then
    say "not root: without the 4 real nodes"
    REAL=0
fi

k() { bash "$LOCAL_DIR/in.sh" demo kubectl "$@"; }
show() { # show COMMAND...: types it and runs it
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    if [ "$1" = kubectl ]; then k "${@:2}"; else "$@"; fi
}
tell() { printf '\n\033[36m# %s\033[0m\n' "$*"; }

finish() {
    local status=$?
    if [ -n "$KEEP" ] && [ $status -eq 0 ]; then
        tell "kept: bash deploy/local/in.sh demo kubectl get nodes; bash deploy/local/down.sh"
    else
        bash "$LOCAL_DIR/down.sh" --name demo
    fi
    exit $status
}

set_up() {
    bash "$SOURCE_DIR/deploy/packages.sh" ensure build || die "packages are missing" 2
    say "building lockstep"
    (cd "$SOURCE_DIR" && cmake --preset release >/dev/null && cmake --build --preset release >/dev/null) ||
        die "the build failed: cmake --preset release && cmake --build --preset release"
    bash "$LOCAL_DIR/down.sh" --name demo 2>/dev/null
    trap finish EXIT
    bash "$LOCAL_DIR/up.sh" --name demo --nodes "$NODES" --real "$REAL"
}

wait_state() { wait_for 60 "gang $1 in state $2" state_is "$1" "$2"; }
state_is() { [ "$(k get gp "$1" -o jsonpath='{.status.state}' 2>/dev/null)" = "$2" ]; }

# A gang of N pods with 8 GPUs each.
gang() {
    sed -e "s/name: train/name: $1/; s/gang: train/gang: $1/" \
        -e "s/\(completions\|parallelism\): 4/\1: $2/" "$SOURCE_DIR/configs/examples/job.yaml"
}

fits() {
    tell "A Job of 16 pods with 8 GPUs each. Its template says: schedulerName lockstep, label lockstep.dev/gang."
    gang train 16 | k apply -f -
    wait_state train Running
    show kubectl get gangplacements
    tell "Where each rank sits (racks and blocks are node labels):"
    k get nodes,pods -A -o json >"$LOCKSTEP_RUN/demo/snapshot.json"
    gang train 16 >"$LOCKSTEP_RUN/demo/train.yaml"
    show "$SOURCE_DIR/build/release/bin/lockstep" plan -f "$LOCKSTEP_RUN/demo/snapshot.json" \
        -g "$LOCKSTEP_RUN/demo/train.yaml" -c "$LOCKSTEP_RUN/demo/lockstep.yaml"
}

does_not_fit() {
    tell "A Job that is larger than what is left: nothing of it starts, and it says why."
    gang huge "$NODES" | k apply -f -
    wait_state huge Waiting
    sleep 2
    show kubectl get gangplacements -o wide
    show kubectl describe "$(k get pods -l lockstep.dev/gang=huge -o name | head -n 1)" | tail -n 5
    tell "The first Job leaves: the second starts, whole."
    k delete job train --cascade=foreground >/dev/null
    k wait --for=delete gangplacement/train --timeout 30s >/dev/null
    k delete job huge --cascade=foreground >/dev/null
    gang huge "$NODES" | k apply -f - >/dev/null
    wait_state huge Running
    show kubectl get gangplacements
    k delete job huge --cascade=foreground >/dev/null
}

real_pods() {
    tell "Four real pods on four real kubelets: each finds its peers by its stamp and talks to all of them."
    show kubectl apply -f "$LOCAL_DIR/ring.yaml"
    k wait --for=condition=Complete job/ring --timeout 60s >/dev/null
    show kubectl get pods -l lockstep.dev/gang=ring -o wide
    show kubectl logs -l lockstep.dev/gang=ring --prefix --tail 20
}

set_up
fits
does_not_fit
[ "$REAL" = 0 ] || real_pods
tell "done after $SECONDS s"
