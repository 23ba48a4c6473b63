#!/usr/bin/env bash
# The extender ends itself right after the k-th binding of a gang of 32 was acknowledged, and is started
# again: the gang is whole within 90 s, as it was planned. Bindings are written one by one, so that
# exactly k have arrived; and once more all at once, where the crash leaves others on their way.
source tests/faults/lib.sh
faults_up crash --nodes 40 --racks 8

crash_after_k() {
    local gang=crash-$K-$WRITES left start
    clean
    kill9 extender
    LOCKSTEP_FAILPOINT=bind:$K LOCKSTEP_FAILPOINT_WRITES=$WRITES extender "$FAILPOINTS_BIN"
    gang_job "$gang" 32 8
    within 60 "the extender ended itself" ended extender
    mark "$gang"
    left=$(bound "$gang")
    [ "$left" -ge "$K" ] || fail "$left pods are bound, expected at least $K"
    [ "$WRITES" != 1 ] || [ "$left" -eq "$K" ] || fail "$left pods are bound, expected $K"
    keep_log extender
    extender
    start=$SECONDS
    whole_or_unbound "$gang" 32
    echo "$left of 32 bound at the crash, whole $((SECONDS - start)) s after the restart"
}

# A bound pod cannot be unbound, so "unbound" is met only where the crash came before all bindings.
whole_or_unbound() {
    local limit=$((SECONDS + 90)) bound
    until all_bound "$1" "$2" || [ $SECONDS -ge $limit ]; do
        sleep 0.1
    done
    bound=$(bound "$1")
    [ "$bound" -eq "$2" ] || [ "$bound" -eq 0 ] || fail "$bound of $2 pods are bound 90 s after the restart"
    [ "$bound" -eq 0 ] || whole "$1" "$2" 1
}

ks=$(seq 1 31)
[ "$MATRIX" = all ] || ks="1 16 31"
WRITES=1
for K in $ks; do
    check "crash_after_binding_$K" crash_after_k
done
K=1 WRITES=48
check crash_with_bindings_on_their_way crash_after_k
finish
