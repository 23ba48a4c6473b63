#!/usr/bin/env bash
# A Job of 4 on 4 real kubelets is measured before it starts: the real probe in an init container of each pod, over the
# pod network, with the pod's own token; then the Job runs to its end. And how fast that is beside a plain socket copy
# between two of the same nodes.
source tests/e2e/lib.sh
up probe --nodes 0 --real 4
PROBE_CPU=$(($(nproc) * 600))m # more than half of a node: one pod on each

images_are_loaded() {
    local i
    bash deploy/image.sh "$RUN/images/lockstep.tar" lockstep-extender:0.1.0 build/release/bin/lockstep-probe 2>&1 || fail "no image"
    for i in 1 2 3 4; do
        ctr -a "$RUN/real-$i/containerd.sock" -n k8s.io images import "$RUN/images/lockstep.tar" >/dev/null 2>&1 ||
            fail "node $i does not take the image"
    done
}

# probed NAME POLICY JQ: the example's Job, with images and addresses of this cluster.
probed() {
    bash deploy/certs.sh "$RUN/tls" --probe-ca 2>/dev/null | k apply -f - >/dev/null || fail "no ConfigMap of the CA"
    k create --dry-run=client -o json -f configs/examples/job-probe.yaml | jq --arg name "$1" --arg policy "$2" \
        --arg cpu "$PROBE_CPU" --arg at "$API_ADDRESS:$PROBES_PORT" '
        .metadata.name = $name | .spec.backoffLimit = 0 | .spec.template.metadata.labels += {"lockstep.dev/gang": $name, "lockstep.dev/probe": $policy}
        | .spec.template.spec |= (
            .terminationGracePeriodSeconds = 1
            | .initContainers[0] += {imagePullPolicy: "Never", resources: {}}
            | .initContainers[1] += {image: "lockstep.test/busybox:1", imagePullPolicy: "Never", resources: {requests: {cpu: $cpu}}}
            | .initContainers[1].command = ["/lockstep/lockstep-probe", "--server-name", "lockstep-probes.lockstep-system.svc"]
            | .initContainers[1].env |= map(if .name == "LOCKSTEP_COORDINATOR" then .value = $at else . end)
            | .containers[0] += {image: "lockstep.test/busybox:1", imagePullPolicy: "Never", command: ["/bin/sh", "-c", "echo trained"],
                resources: {requests: {cpu: $cpu}}})' | jq "${3:-.}" | k create -f - >/dev/null || fail "cannot create job $1"
}
measured() { k get gp "$1" -o jsonpath='{.status.measuredBusBandwidth}' 2>/dev/null; }
verdict() { k get gp "$1" -o jsonpath='{.status.probe.verdict}' 2>/dev/null; }
has_verdict() { [ -n "$(verdict "$1")" ]; }
is_verdict() { [ "$(verdict "$1")" = "$2" ]; }
probe_logs() { k logs -l "lockstep.dev/gang=$1" -c lockstep-probe --tail 20 --prefix 2>/dev/null; }

a_job_is_measured() {
    probed train warn
    within 90 "a verdict" has_verdict train
    probe_logs train
    k get gangplacements -o wide
    is_verdict train unknown || fail "verdict '$(verdict train)', expected unknown: nothing was foretold of sockets"
    [[ $(measured train) =~ ^[0-9]+[MG]$ ]] || fail "measured '$(measured train)'"
    k wait --for=condition=Complete job/train --timeout 60s >/dev/null || fail "the Job did not complete"
    [ "$(k get gp train -o jsonpath='{.status.state}')" = Done ] || within 10 "state Done" is_state train Done
    printf 'measured %s: %s\n' "$(measured train)" "$(k get gp train -o jsonpath='{.status.probe.message}')"
}
nodes_differ() {
    k get pods -l lockstep.dev/gang=train -o json | jq -e '[.items[].spec.nodeName] | unique | length == 4' >/dev/null ||
        fail "two pods share a node"
}
# Who does not come is named, and nobody waits for ever.
a_rank_that_never_comes_is_named() {
    local config=$RUN/lockstep.yaml
    grep -q '^probeDeadline: 10m' "$config" || fail "the configuration has no probeDeadline of 10m"
    probed lost warn '.spec.template.spec.initContainers[1].command = ["/bin/sh", "-c",
        "[ $(hostname | cut -d- -f2) = 2 ] && exec sleep 600; exec /lockstep/lockstep-probe --limit 30s --server-name lockstep-probes.lockstep-system.svc"]'
    within 60 "three probes end by their own limit" probes_ended lost 3
    probe_logs lost
    k delete job lost --wait=false >/dev/null
}
probes_ended() { [ "$(k get pods -l "lockstep.dev/gang=$1" -o json | jq '[.items[].status.initContainerStatuses[]? | select(.name == "lockstep-probe" and .state.terminated != null)] | length')" -ge "$2" ]; }
check images_are_loaded images_are_loaded
check a_job_is_measured_before_it_starts a_job_is_measured
check each_pod_has_a_node_of_its_own nodes_differ
check who_never_comes_holds_nobody_for_ever a_rank_that_never_comes_is_named
