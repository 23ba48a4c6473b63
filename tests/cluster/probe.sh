#!/usr/bin/env bash
# A Job of 4 on 4 real kubelets is measured before it starts: the real probe in an init container of each pod, over the
# pod network, with the pod's own token; then the Job runs to its end. What that is beside a plain socket copy between
# the same two pods; and what becomes of a gang one of whose pods waits for an image, whose peers are killed and whose
# coordinator is.
#   PROBE_TESTS=pair: only the two pods and their socket copy (tests/bench/probe_pods.sh)
source tests/e2e/lib.sh
source deploy/local/lockstep.sh # the extender is started again
set +e
up probe --nodes 0 --real 4
PROBE_CPU=$(($(nproc) * 600))m # more than half of a node: one pod on each
PROBE='/lockstep/lockstep-probe --server-name lockstep-probes.lockstep-system.svc'

# load NODE TAR
load() { ctr -a "$RUN/real-$1/containerd.sock" -n k8s.io images import "$2" >/dev/null 2>&1 || fail "node $1 does not take $2"; }
# The image that real-4 lacks is the others' busybox by another name: of a registry that refuses at once, without DNS.
LATE=127.0.0.1:1/late:1
give_late_image() { ctr -a "$RUN/real-$1/containerd.sock" -n k8s.io images tag lockstep.test/busybox:1 $LATE >/dev/null; }

images_are_loaded() {
    local i
    bash deploy/image.sh "$RUN/images/lockstep.tar" lockstep-extender:0.1.0 build/release/bin/lockstep-probe 2>&1 || fail "no image"
    bash deploy/image.sh "$RUN/images/copy.tar" lockstep.test/copy:1 build/release/bin/socket-copy 2>&1 || fail "no image"
    for i in 1 2 3 4; do
        load $i "$RUN/images/lockstep.tar"
        load $i "$RUN/images/copy.tar"
        [ $i = 4 ] || give_late_image $i
    done
    bash deploy/certs.sh "$RUN/tls" --probe-ca 2>/dev/null | k apply -f - >/dev/null || fail "no ConfigMap of the CA"
}

# probed NAME POLICY JQ: the example's Job, with images and addresses of this cluster.
probed() {
    k create --dry-run=client -o json -f configs/examples/job-probe.yaml | jq --arg name "$1" --arg policy "$2" \
        --arg cpu "$PROBE_CPU" --arg at "$API_ADDRESS:$PROBES_PORT" --arg probe "$PROBE" '
        .metadata.name = $name | .spec.backoffLimit = 0 | .spec.template.metadata.labels += {"lockstep.dev/gang": $name, "lockstep.dev/probe": $policy}
        | .spec.template.spec |= (
            .terminationGracePeriodSeconds = 1
            | .initContainers[0] += {imagePullPolicy: "Never", resources: {}}
            | .initContainers[1] += {image: "lockstep.test/busybox:1", imagePullPolicy: "Never", resources: {requests: {cpu: $cpu}}}
            | .initContainers[1].command = ($probe | split(" "))
            | .initContainers[1].env |= map(if .name == "LOCKSTEP_COORDINATOR" then .value = $at else . end)
            | .containers[0] += {image: "lockstep.test/busybox:1", imagePullPolicy: "Never", command: ["/bin/sh", "-c", "echo trained"],
                resources: {requests: {cpu: $cpu}}})' | jq "${3:-.}" | k create -f - >/dev/null || fail "cannot create job $1"
}
measured() { k get gp "$1" -o jsonpath='{.status.measuredBusBandwidth}' 2>/dev/null; }
told() { k get gp "$1" -o jsonpath="{.status.probe.$2}" 2>/dev/null; }
verdict() { told "$1" verdict; }
has_verdict() { [ -n "$(verdict "$1")" ]; }
is_verdict() { [ "$(verdict "$1")" = "$2" ]; }
probe_logs() { k logs -l "lockstep.dev/gang=$1" -c lockstep-probe --tail 40 --prefix 2>/dev/null; }
# logged GANG REGEX: one of its probes has said so.
logged() { grep -qE "$2" <<<"$(probe_logs "$1")"; }
completes() { k wait --for=condition=Complete "job/$1" --timeout 90s >/dev/null || fail "Job $1 did not complete: $(probe_logs "$1" | tail -n 8)"; }
# pod_on GANG NODE FIELD; volume_of GANG NODE: its emptyDir "lockstep", on this machine.
pod_on() { k get pods -l "lockstep.dev/gang=$1" -o json | jq -r --arg node "$2" ".items[] | select(.spec.nodeName == \$node) | $3 // empty"; }
volume_of() { echo "$RUN/$2/kubelet/pods/$(pod_on "$1" "$2" .metadata.uid)/volumes/kubernetes.io~empty-dir/lockstep"; }
refused() { metric "lockstep_probe_refused_total{why=\"$1\"}"; }

# ---- a gang of four ----------------------------------------------------------------------------------

a_job_is_measured() {
    probed train warn
    within 90 "a verdict" has_verdict train
    probe_logs train
    k get gangplacements -o wide
    is_verdict train unknown || fail "verdict '$(verdict train)', expected unknown: nothing was foretold of sockets"
    [[ $(measured train) =~ ^[0-9]+[MG]$ ]] || fail "measured '$(measured train)'"
    completes train
    [ "$(k get gp train -o jsonpath='{.status.state}')" = Done ] || within 10 "state Done" is_state train Done
    printf 'measured %s: %s\n' "$(measured train)" "$(told train message)"
}
nodes_differ() {
    k get pods -l lockstep.dev/gang=train -o json | jq -e '[.items[].spec.nodeName] | unique | length == 4' >/dev/null ||
        fail "two pods share a node"
}
# Each of the 4 showed its token some times: for a question, a join and a report. Half a minute later it is asked about
# again, as a slow machine's report may be.
tokens_are_asked_about_once() {
    local asked found
    asked=$(metric 'lockstep_probe_tokens_total{by="api-server"}') found=$(metric 'lockstep_probe_tokens_total{by="cache"}')
    [ "$asked" -ge 4 ] && [ "$asked" -le 8 ] && [ $((asked + found)) -ge 12 ] ||
        fail "$asked tokens were reviewed and $found were known, expected 4 to 8 of 12 or more"
    echo "$asked TokenReviews for $((asked + found)) calls of 4 pods"
}

# ---- two pods, and a socket copy between them ----------------------------------------------------------

have_addresses() { [ "$(k get pods -l "lockstep.dev/gang=$1" -o json | jq '[.items[] | select(.status.podIP != null)] | length')" = "$2" ]; }
# Each is told where the other one is.
introduce() {
    local nodes
    read -r -a nodes < <(k get pods -l "lockstep.dev/gang=$1" -o json | jq -r '[.items[].spec.nodeName] | join(" ")')
    [ ${#nodes[@]} = 2 ] && [ "${nodes[0]}" != "${nodes[1]}" ] || fail "the two pods are on ${nodes[*]}"
    pod_on "$1" "${nodes[0]}" .status.podIP >"$(volume_of "$1" "${nodes[1]}")/peer"
    pod_on "$1" "${nodes[1]}" .status.podIP >"$(volume_of "$1" "${nodes[0]}")/peer"
}

# A copy before the probe and one after it, as the machine has other things to do, too.
two_pods_and_a_socket_copy() {
    local log probe copy cache op
    probed pair warn '{image: "lockstep.test/copy:1", command: ["/usr/local/bin/socket-copy", "7777", "@/lockstep/peer", "64", "3"],
            imagePullPolicy: "Never", volumeMounts: [{name: "lockstep", mountPath: "/lockstep", readOnly: true}]} as $copy
        | .spec.completions = 2 | .spec.parallelism = 2 | .spec.template.spec |= (.containers[0] += $copy
            | .initContainers = [.initContainers[0], ({name: "copy"} + $copy), .initContainers[1]])'
    within 60 "two pods have addresses" have_addresses pair 2
    introduce pair
    within 60 "a verdict" has_verdict pair
    completes pair
    log=$(probe_logs pair)
    copy=$(k logs -l lockstep.dev/gang=pair -c copy --prefix && k logs -l lockstep.dev/gang=pair -c worker --prefix)
    printf '%s\n' "$copy"
    grep -E 'took|measured' <<<"$log"
    probe=$(sed -n 's/.*measured \([0-9.e+-]*\) GB\/s bus bandwidth.*/\1/p' <<<"$log" | head -n 1)
    read -r copy cache op < <(awk '$2 == "socket_copy.memory:" {m += $3; n++} $2 == "socket_copy.cache:" {c += $3}
        $2 == "socket_copy.all_reduce:" {o += $3} END {if (n == 4) print m / n, c / n, o / n}' <<<"$copy")
    [ "$(grep -cE 'took [0-9.]+ s, [0-9.]+ s of it measuring; sent [0-9.]*[1-9][0-9]* GB; used [0-9.]+ s of CPU time' <<<"$log")" = 2 ] ||
        fail "the two probes do not say what they cost: $log"
    awk -v p="$probe" -v c="${copy:-0}" -v i="${cache:-0}" -v o="${op:-0}" 'BEGIN {
        if (!(p > 0 && c > 0 && i > 0 && o > 0)) exit 1
        printf "2 pods, one stream a direction: probe %.3f GB/s, socket copy %.3f GB/s (within the cache %.3f)%s\n", p, c, i,
            p / c < 0.85 ? "; the aim is 0.85 of it, missed in this run" : ""
        printf "in turns with the copies, by the same processes: all_reduce %.3f GB/s\n", o
        printf "probe.vs_socket_pods: %.3f ratio\nprobe.vs_socket_pods_in_turns: %.3f ratio\n", p / c, o / c
        exit p / c < 0.2 }' || fail "probe '$probe' GB/s, socket copy '$copy' and '$cache' GB/s, all_reduce '$op': that cannot be"
}

# ---- a pod that waits, and what is killed meanwhile -------------------------------------------------------

# probe_pid POD [child]: of its lockstep-probe, or of the rank that this one runs, on this machine.
probe_pid() {
    local file args
    for file in $(grep -lzxF "POD_NAME=$1" /proc/[0-9]*/environ 2>/dev/null); do
        mapfile -d '' args <"${file%environ}cmdline" 2>/dev/null
        [[ ${args[0]:-} == */lockstep-probe ]] || continue
        if [ "${2:-}" = child ]; then [ "${args[1]:-}" = --child ]; else [ "${args[1]:-}" != --child ]; fi &&
            file=${file#/proc/} && echo "${file%/environ}" && return
    done
    return 1
}
pod_name() { pod_on held "real-$1" .metadata.name; }
restarts() { pod_on held "real-$1" '[.status.initContainerStatuses[] | select(.name == "lockstep-probe") | .restartCount][0]'; }
has_restarted() { [ "$(restarts "$1")" = 1 ]; }
streams() { metric lockstep_probe_streams; }
are_streams() { [ "$(streams)" = "$1" ]; }

held_says_why() { [[ $(told held message) == '1 of 4 pods cannot begin: container data: '@(ErrImagePull|ImagePullBackOff)' (pod held-'*' on real-4)' ]]; }

# The pod on real-4 lacks an image, and then a file: nobody measures before the test lets it.
who_waits_is_told_why() {
    probed held warn '.spec.backoffLimit = 6 | .spec.template.spec |= (.restartPolicy = "OnFailure"
        | .initContainers = [.initContainers[0], {name: "data", image: "'$LATE'", imagePullPolicy: "IfNotPresent",
            command: ["/bin/true"]}, .initContainers[1]]
        | .initContainers[2].command = ["/bin/sh", "-c",
            "[ $NODE_NAME != real-4 ] || until [ -e /lockstep/go ]; do sleep 0.1; done; exec '"$PROBE"'"])'
    within 60 "its peers know at what the pod on real-4 waits" logged held \
        'waiting: 3 of 4 .*missing: rank [0-9] \(pod held-[0-9]-[a-z0-9]+ on real-4: container data: (ErrImagePull|ImagePullBackOff)\)'
    within 10 "status.probe.message says so too" held_says_why
    probe_logs held | grep 'waiting: 3' | head -n 1
    told held message
}

a_killed_extender_comes_back() {
    local began pid
    began=$(told held startedAt) pid=$(cat "$RUN/pids/extender")
    give_late_image 4
    kill -KILL "$pid" || fail "no extender"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    cp "$RUN/logs/extender.log" "$RUN/logs/extender.before.log"
    lockstep_extender
    within 30 "the three probes are back" are_streams 3
    has_verdict held && fail "a verdict was given without the pod on real-4: $(told held message)"
    [ "$(told held startedAt)" = "$began" ] || fail "it began at $(told held startedAt), not at $began as before"
}

# A Job's pod with a good token of its own says that it is the pod that is missing.
a_strangers_token_is_refused() {
    local uid log
    uid=$(pod_on held real-4 .metadata.uid)
    k get job held -o json | jq --arg pod "$(pod_name 4)" --arg uid "$uid" '.spec.template.spec as $spec | {apiVersion: "batch/v1", kind: "Job",
        metadata: {name: "stranger"}, spec: {backoffLimit: 0, template: {spec: {restartPolicy: "Never", nodeName: "real-1",
        terminationGracePeriodSeconds: 1, volumes: $spec.volumes, containers: [$spec.initContainers[2]
            | .name = "stranger" | .image = "lockstep-extender:0.1.0" | .resources = {}
            | .command = ["/usr/local/bin/lockstep-probe", "--server-name", "lockstep-probes.lockstep-system.svc"]
            | .env |= map(if .name == "POD_NAME" then {name, value: $pod} elif .name == "POD_UID" then {name, value: $uid} else . end)]}}}}' |
        k create -f - >/dev/null || fail "cannot create the stranger"
    k wait --for=condition=Complete job/stranger --timeout 40s >/dev/null || fail "the stranger has not ended"
    log=$(k logs job/stranger)
    grep -q "not measured: .*the token is another pod's" <<<"$log" || fail "the stranger says: $log"
    [ "$(refused identity)" = 1 ] || fail "lockstep_probe_refused_total of identity is '$(refused identity)', expected 1"
    grep "refused join .*uid=$uid: the token is another pod's" "$RUN/logs/extender.log" || fail "the extender's log has no line of it"
    within 10 "the three others are connected still" are_streams 3
}

a_rank_killed_in_rendezvous_comes_again() {
    local pid
    pid=$(probe_pid "$(pod_name 1)") || fail "no probe on real-1"
    kill -KILL "$pid"
    within 40 "kubelet has started it again" has_restarted 1
    within 20 "it has joined again" are_streams 3
    has_verdict held && fail "a verdict was given without the pod on real-4: $(told held message)"
    true
}

# Connections of the process's pod with other pods, as the kernel lists them: state 01 and a remote in 10.98.0.0/16.
peers_connected() {
    local _ remote state n=0
    while read -r _ _ remote state _; do
        [[ $remote == ????620A:* ]] && [ "$state" = 01 ] && n=$((n + 1))
    done <"/proc/$1/net/tcp"
    [ $n -ge 2 ]
}

a_rank_killed_in_the_op_holds_nobody() {
    local pid child i
    pid=$(probe_pid "$(pod_name 2)") && child=$(probe_pid "$(pod_name 2)" child) || fail "no probe on real-2"
    [ -d "$(volume_of held real-4)" ] || fail "no volume on real-4"
    touch "$(volume_of held real-4)/go"
    for ((i = 0; i < 20000; i++)); do
        peers_connected "$child" 2>/dev/null && break
        sleep 0.002
    done
    kill -KILL "$pid"
    [ $i -lt 20000 ] || fail "the rank on real-2 never connected"
    within 60 "a verdict" has_verdict held
    is_verdict held unknown || fail "verdict '$(verdict held)': $(told held message)"
    [[ $(measured held) =~ ^[0-9]+[MG]$ ]] || fail "measured '$(measured held)'"
    completes held
    [ "$(restarts 2)" = 1 ] || fail "the probe on real-2 was started again $(restarts 2) times, expected once"
    grep -E 'gang default/held is unknown: .*rounds [2-9]' "$RUN/logs/extender.log" || fail "nothing was broken off: $(grep 'gang default/held' "$RUN/logs/extender.log")"
    for i in 1 2 3 4; do
        probe_pid "$(pod_name $i)" && fail "a probe on real-$i has not ended"
    done
    true
}

# ---- who does not come is named, and nobody waits for ever ------------------------------------------------------

a_rank_that_never_comes_is_named() {
    local config=$RUN/lockstep.yaml
    grep -q '^probeDeadline: 10m' "$config" || fail "the configuration has no probeDeadline of 10m"
    probed lost warn '.spec.template.spec.initContainers[1].command = ["/bin/sh", "-c",
        "[ $(hostname | cut -d- -f2) = 2 ] && exec sleep 600; exec '"$PROBE"' --limit 12s"]'
    within 60 "three probes end by their own limit" probes_ended lost 3
    probe_logs lost
    k delete job lost --wait=false >/dev/null
}
probes_ended() { [ "$(k get pods -l "lockstep.dev/gang=$1" -o json | jq '[.items[].status.initContainerStatuses[]? | select(.name == "lockstep-probe" and .state.terminated != null)] | length')" -ge "$2" ]; }

check images_are_loaded images_are_loaded
if [ "${PROBE_TESTS:-all}" = all ]; then
    check a_job_is_measured_before_it_starts a_job_is_measured
    check each_pod_has_a_node_of_its_own nodes_differ
    check a_token_is_not_asked_about_each_time tokens_are_asked_about_once
fi
check two_pods_are_held_against_a_socket_copy two_pods_and_a_socket_copy
[ "${PROBE_TESTS:-all}" = all ] || exit 0
check who_waits_is_told_at_what_a_pod_waits who_waits_is_told_why
check a_killed_extender_goes_on_with_a_rendezvous a_killed_extender_comes_back
check another_jobs_pod_with_a_token_of_its_own_is_refused a_strangers_token_is_refused
check a_rank_killed_in_rendezvous_comes_again a_rank_killed_in_rendezvous_comes_again
check a_rank_killed_in_the_op_holds_nobody a_rank_killed_in_the_op_holds_nobody
check who_never_comes_holds_nobody_for_ever a_rank_that_never_comes_is_named
