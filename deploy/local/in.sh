#!/usr/bin/env bash
# Runs a command in a local cluster's network with its kubectl: bash deploy/local/in.sh demo kubectl get pods
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -ge 2 ] || die "usage: in.sh NAME COMMAND..." 2
cluster_vars "$1"
[ -f "$RUN/env.sh" ] || die "no cluster '$1': bash deploy/local/up.sh --name $1" 2
shift
source "$RUN/env.sh"
if [ -n "$IN_NETNS" ]; then
    exec nsenter --net="/run/netns/$IN_NETNS" "$@"
fi
exec "$@"
