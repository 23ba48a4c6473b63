#!/usr/bin/env bash
# Two replicas, each a kube-scheduler and an extender under a host name of its own, on a real control
# plane: who leads, what a stopped leader does when it wakes, and how long a failover takes. Each extender
# has a token of its own, so that the API server's audit log tells which of them wrote.
source tests/faults/lib.sh
faults_up leader --nodes 40 --racks 8 --replicas 2 --audit yes
# A new leader comes when the Lease has run out (30 s) and waits once more as long, so a gang that was half
# bound when its leader fell ill is whole within two Leases and some seconds.
WINDOW_S=90

# Which replica the Lease names: lockstep1 -> 1.
holder() {
    k get lease -n lockstep-system lockstep-kube-scheduler -o jsonpath='{.spec.holderIdentity}' 2>/dev/null |
        sed -n 's/^lockstep\([12]\)_.*/\1/p'
}
metric_of() { # REPLICA METRIC
    local port="HEALTH_PORT$1"
    curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:${!port}/metrics" |
        awk -v m="$2" '$1 == m {print $2}'
}
metric() { metric_of "$(holder)" "$1"; }
leads() { [ "$(metric_of "$1" lockstep_leader)" = 1 ]; }
held_by() { [ "$(holder)" = "$1" ]; }
other() { echo $((3 - $1)); }
one_leads() { [ -n "$(holder)" ] && leads "$(holder)"; }

# What the API server's audit log has of the replica: its writes, granted or refused, as lines.
written_by() {
    local id
    id=JTI=$(cut -d . -f 2 "$RUN/extender$1.token" | tr '_-' '/+' | sed 's/$/==/' | base64 -di 2>/dev/null | jq -r .jti)
    jq -r --arg id "$id" 'select((.user.extra["authentication.kubernetes.io/credential-id"] // [])[0] == $id)
        | "\(.stageTimestamp) \(.verb) \(.requestURI) \(.responseStatus.code)"' "$RUN/logs/audit.log"
}
writes() { written_by "$1" | wc -l; }
# wrote_nothing REPLICA BEFORE WHEN
wrote_nothing() {
    local now
    now=$(writes "$1")
    [ "$now" = "$2" ] || fail "the old leader wrote $((now - $2)) times $3: $(written_by "$1" | tail -n 3 | tr '\n' ';')"
}

one_leader_and_one_standby() {
    within 60 "a leader" one_leads
    ! leads "$(other "$(holder)")" || fail "both lead"
    gang_job first 8 8
    whole first 8 30
    [ "$(writes "$(holder)")" -ge 8 ] || fail "the audit log has $(writes "$(holder)") writes of the leader, 8 pods are bound"
    [ "$(writes "$(other "$(holder)")")" = 0 ] || fail "the standby wrote"
}

# stop REPLICA: both processes, until the other one has taken over. What was on its way has arrived then.
stop() {
    kill -STOP "$(pid_of "extender$1")" "$(pid_of "lockstep-scheduler$1")"
    mark "leader $1 stopped"
}
taken_over() { # FROM
    within 60 "the other takes the Lease" held_by "$(other "$1")"
    within 60 "the other leads" leads "$(other "$1")"
}
# A kube-scheduler that lost its Lease goes on until its renewal times out (its extender refuses
# meanwhile), then ends; kubelet would start it again, and here we do.
revive() {
    local i
    i=$(other "$(holder)")
    end_all KILL "lockstep-scheduler$i"
    lockstep_scheduler "$i"
}

# Stopped past its Lease while a gang waits for its last member, which comes meanwhile.
stopped_leader_with_a_plan() {
    local old before
    old=$(holder)
    late_member 0
    within 20 "late planned" is_state late Planned
    stop "$old"
    sleep 1
    before=$(writes "$old")
    late_member 1
    taken_over "$old"
    kill -CONT "$(pid_of "extender$old")"
    sleep 3
    wrote_nothing "$old" "$before" "after it went on"
    ! leads "$old" || fail "the old leader believes that it leads"
    kill -CONT "$(pid_of "lockstep-scheduler$old")"
    whole late 2 30
    wrote_nothing "$old" "$before" "while the new one bound"
}
late_member() { member "late-$1" late 2 8 '.metadata.annotations["test.lockstep.dev/min"] = "2"'; }

# Stopped with half of a gang bound and the rest to be tried again at once.
stopped_leader_amid_bind() {
    local old before start
    old=$(holder)
    half_bound torn
    stop "$old"
    start=$SECONDS
    sleep 1
    before=$(writes "$old")
    [ "$before" -gt 16 ] || fail "the audit log has $before writes of the leader, it bound 16 pods"
    taken_over "$old"
    kill -CONT "$(pid_of "extender$old")" "$(pid_of "lockstep-scheduler$old")"
    sleep 3
    wrote_nothing "$old" "$before" "after it went on"
    free_bindings
    whole torn 32 90
    wrote_nothing "$old" "$before" "while the new one finished the gang"
    echo "half bound, leader stopped: whole $((SECONDS - start)) s later by the other; $before writes of the old one before it was stopped, 0 afterwards"
}

# kill -9 of kube-scheduler and extender of the leader: how long until a gang starts again.
failover() {
    local old start
    old=$(holder)
    clean
    start=$(now_ns)
    kill9 "extender$old" "lockstep-scheduler$old"
    gang_job after 8 8
    whole after 8 100
    echo "failover: a gang created when the leader was killed was bound $((($(gang_field after whole) - start) / 1000000)) ms after the kill"
}

check one_leader_and_one_standby one_leader_and_one_standby
check stopped_leader_writes_nothing stopped_leader_with_a_plan
revive
check stopped_leader_amid_bind_writes_nothing stopped_leader_amid_bind
revive
check failover failover
finish
