#!/bin/bash
# Two replicas, each a kube-scheduler and an extender under a host name of its own, on a real control
# plane: who leads, what a stopped leader does when it wakes, and how long a failover takes.
source tests/e2e/lib.sh

up leader --nodes 40 --replicas 2

# Which replica the Lease names: lockstep1 -> 1.
holder() {
    k get lease -n lockstep-system lockstep-kube-scheduler -o jsonpath='{.spec.holderIdentity}' 2>/dev/null |
        sed -n 's/^lockstep\([12]\)_.*/\1/p'
}
leads() { # REPLICA: its own metric
    local port="HEALTH_PORT$1"
    [ "$(curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:${!port}/metrics" |
        awk '$1 == "lockstep_leader" {print $2}')" = 1 ]
}
other() { echo $((3 - $1)); }
# POSTs, PATCHes and the like that the extender's log says it sent, so far.
writes() { grep -cE ' act  *"?(bind|nominate|placement|evict)' "$RUN/logs/extender$1.log"; }
one_leads() { [ -n "$(holder)" ] && leads "$(holder)"; }

one_leader_and_one_standby() {
    within 30 "a leader" one_leads
    ! leads "$(other "$(holder)")" || fail "both lead"
    job first 8 8
    within 20 "first bound" all_bound first 8
    [ "$(writes "$(other "$(holder)")")" = 0 ] || fail "the standby wrote"
}

# Both of the leader's processes are stopped in the middle of a gang's start, past the Lease, then go on.
stopped_leader_writes_nothing() {
    local old new before
    old=$(holder)
    member late-0 late 2 8
    within 20 "late planned" is_state late Planned
    kill -STOP "$(cat "$RUN/pids/extender$old")" "$(cat "$RUN/pids/lockstep-scheduler$old")"
    before=$(writes "$old")
    member late-1 late 2 8
    within 60 "the other takes the Lease" held_by "$(other "$old")"
    within 60 "the other leads" leads "$(other "$old")"
    new=$(holder)
    kill -CONT "$(cat "$RUN/pids/extender$old")"
    sleep 3
    [ "$(writes "$old")" = "$before" ] || fail "the old leader wrote $(($(writes "$old") - before)) times"
    ! leads "$old" || fail "the old leader believes that it leads"
    kill -CONT "$(cat "$RUN/pids/lockstep-scheduler$old")"
    within 30 "late bound by replica $new" all_bound late 2
    [ "$(writes "$old")" = "$before" ] || fail "the old leader wrote"
}
held_by() { [ "$(holder)" = "$1" ]; }

# kill -9 of kube-scheduler and extender of the leader: how long until a gang starts again.
failover() {
    local old start
    old=$(holder)
    start=$(date +%s%N)
    kill -KILL "$(cat "$RUN/pids/extender$old")" "$(cat "$RUN/pids/lockstep-scheduler$old")"
    rm -f "$RUN/pids/extender$old" "$RUN/pids/lockstep-scheduler$old"
    job after 8 8
    within 100 "after bound" all_bound after 8
    echo "failover: a gang created when the leader was killed was bound $((($(date +%s%N) - start) / 1000000)) ms later"
}

check one_leader_and_one_standby one_leader_and_one_standby
check stopped_leader_writes_nothing stopped_leader_writes_nothing
# A kube-scheduler that lost its Lease goes on scheduling until its renewal times out (its extender refuses
# meanwhile), then ends; kubelet would start it again, and here we do.
revive() {
    source deploy/local/lib.sh; cluster_vars "$NAME"; source "$RUN/env.sh"; source deploy/local/lockstep.sh
    local i=$1
    end_all KILL "lockstep-scheduler$i"
    lockstep_scheduler "$i"
}
revive "$(other "$(holder)")"
set +e
check failover failover
