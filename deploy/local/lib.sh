# lib.sh - what the scripts of the local cluster share; sourced, never run.
# shellcheck shell=bash
set -euo pipefail

LOCAL_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(cd "$LOCAL_DIR/../.." && pwd)
K8S=${K8S:-1.37.2}
LOCKSTEP_CACHE=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
LOCKSTEP_RUN=${LOCKSTEP_RUN:-$LOCKSTEP_CACHE/run}
BIN=$LOCKSTEP_CACHE/k8s-$K8S/bin
START=$SECONDS

# pod_group_api: the newest version of scheduling.k8s.io that this Kubernetes has behind its feature gate
# GenericWorkload; "" before there was one. 1.35's has Workload, but no PodGroup of its own.
pod_group_api() {
    case $K8S in
    1.3[0-4].*) ;;
    1.35.*) echo v1alpha1 ;;
    1.36.*) echo v1alpha2 ;;
    *) echo v1beta1 ;;
    esac
}

say() { printf '[%4ds] %s\n' $((SECONDS - START)) "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit "${2:-1}"
}

is_root() { [ "$(id -u)" = 0 ]; }

# need_packages PACKAGE...: Debian packages; root gets them installed, others are told the command.
need_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    is_root || die "missing packages, as root: apt-get install -y --no-install-recommends ${missing[*]}" 2
    say "installing Debian packages: ${missing[*]}"
    apt-get update -qq >&2 || die "apt-get update failed"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get install failed: ${missing[*]}"
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || die "$what: not there in time"
        sleep 0.1
    done
}

# wait_for_process LABEL SECONDS COMMAND...: like wait_for, but a process that ended is not waited for.
wait_for_process() {
    local label=$1 limit=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$(cat "$RUN/pids/$label")" 2>/dev/null || die "$label ended: $(tail -n 3 "$RUN/logs/$label.log")"
        [ $SECONDS -lt $limit ] || die "$label: not ready in time (see $RUN/logs/$label.log)"
        sleep 0.1
    done
}

# free_port: a TCP port of the loopback that nobody listens on, below the ephemeral range.
free_port() {
    local port
    for _ in $(seq 200); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port found"
}

# cluster_vars NAME: where the cluster's files are.
cluster_vars() {
    [[ $1 =~ ^[a-z][a-z0-9-]{0,8}$ ]] ||
        die "cluster name '$1': expected up to 9 lower-case letters, digits and '-'" 2
    NAME=$1
    RUN=$LOCKSTEP_RUN/$NAME
    PKI=$RUN/pki
    NETNS=ls-$NAME
}

# spawn LABEL COMMAND...: starts in the cluster's network, in a session of its own, id in pids/.
spawn() {
    local label=$1
    shift
    mkdir -p "$RUN/pids" "$RUN/logs"
    if [ -n "${IN_NETNS:-}" ]; then
        setsid nsenter --net="/run/netns/$IN_NETNS" "$@" >"$RUN/logs/$label.log" 2>&1 </dev/null &
    else
        setsid "$@" >"$RUN/logs/$label.log" 2>&1 </dev/null &
    fi
    echo $! >"$RUN/pids/$label"
    disown
}

# end_all SIGNAL LABEL...: ends what spawn started under the labels; what is left after PATIENCE (1 s) is killed.
end_all() {
    local signal=$1 label pid pids=()
    shift
    for label in "$@"; do
        [ -f "$RUN/pids/$label" ] || continue
        pid=$(cat "$RUN/pids/$label")
        kill "-$signal" "$pid" 2>/dev/null && pids+=("$pid")
        rm -f "$RUN/pids/$label"
    done
    for _ in $(seq $((${PATIENCE:-1} * 20))); do
        alive "${pids[@]}" || return 0
        sleep 0.05
    done
    kill -KILL "${pids[@]}" 2>/dev/null || true
}
alive() {
    local pid
    for pid in "$@"; do
        kill -0 "$pid" 2>/dev/null && return 0
    done
    return 1
}
