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

# An API server with watchers takes minutes to end, so it is killed, as is its etcd; the rest may end by
# itself within a second.
end_all KILL lockstep-scheduler lockstep-scheduler1 lockstep-scheduler2
PATIENCE=15 end_all TERM extender extender1 extender2 # it ends in order, and a sanitizer looks for leaks then
end_all TERM scheduler controller kwok
real_stop
end_all KILL apiserver etcd
for file in "$RUN"/pids/*; do
    [ ! -f "$file" ] || end_all KILL "$(basename "$file")"
done
real_network_stop
rm -rf "$RUN"
say "cluster '$NAME' is gone"
