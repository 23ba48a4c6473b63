#!/usr/bin/env bash
# Ends a local cluster and everything it started: bash deploy/local/down.sh [--name demo]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$LOCAL_DIR/real.sh"

CLUSTER=demo
if [ $# -gt 0 ]; then
    { [ "$1" = --name ] && [ $# -eq 2 ]; } || die "usage: down.sh [--name NAME]" 2
    CLUSTER=$2
fi
cluster_vars "$CLUSTER"
if [ ! -d "$RUN" ]; then
    say "cluster '$NAME' is not up"
    exit 0
fi
REAL=0
[ ! -f "$RUN/env.sh" ] || source "$RUN/env.sh"

# Watchers first: an API server with watchers takes minutes to end, so it is killed, as is its etcd.
for label in lockstep-scheduler extender scheduler controller kwok; do
    stop_one "$label"
done
real_stop
stop_one apiserver KILL
stop_one etcd KILL
for file in "$RUN"/pids/*; do
    [ ! -f "$file" ] || stop_one "$(basename "$file")"
done
real_network_stop
rm -rf "$RUN"
say "cluster '$NAME' is gone"
