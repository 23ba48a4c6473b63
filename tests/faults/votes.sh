#!/usr/bin/env bash
# 2,000 bind calls held at once: a gang of 2,001 whose last member comes late, on 2,001 nodes.
source tests/faults/lib.sh
# An early plan must wait for the last member, and its hold for 2,000 votes on a slow machine.
faults_up votes --nodes 2001 --racks 63
sed -i 's/^earlyPlanDeadline: .*/earlyPlanDeadline: 5m/' "$RUN/lockstep.yaml"
grep -q '^earlyPlanDeadline: 5m' "$RUN/lockstep.yaml" || die "configs/lockstep.yaml has changed: no earlyPlanDeadline"

rss_mib() { awk '/^VmRSS/ {printf "%d", $2 / 1024}' "/proc/$(pid_of "$1")/status"; }
votes_held() { [ "$(metric lockstep_held_votes)" -ge "$1" ]; }

last_of_2001_late() {
    local before start whole
    extender_again
    before=$(rss_mib extender)
    start=$SECONDS
    # The Job makes 2,000 pods; its 2,001st index comes when its parallelism grows.
    gang_job crowd 2001 8 '.spec.parallelism = 2000
        | .spec.template.metadata.annotations["lockstep.dev/gang-size"] = "2001"'
    within 240 "2,000 votes held" votes_held 2000
    echo "2,000 votes held after $((SECONDS - start)) s; extender RSS $before MiB before, $(rss_mib extender) MiB now; kube-scheduler $(rss_mib lockstep-scheduler) MiB"
    [ "$(bound crowd)" = 0 ] || fail "$(bound crowd) pods are bound before the last member came"
    start=$SECONDS
    k patch job crowd --type=merge -p '{"spec": {"parallelism": 2001}}' >/dev/null || fail "cannot patch the Job"
    within 120 "2,001 pods bound" all_bound crowd 2001
    whole=$((SECONDS - start))
    whole crowd 2001 1
    echo "2,001 bound $whole s after the last member was asked for; extender RSS $(rss_mib extender) MiB"
}

check i_2000_votes_held_at_once last_of_2001_late
finish
