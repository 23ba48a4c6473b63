# lockstep.sh - lockstep in the local cluster: its objects, certificates, the extender, its kube-scheduler.
# With LOCKSTEP_RECORD=FILE each extender appends what it sees and does to FILE.trace (FILE.1.trace, ...).
# shellcheck shell=bash

lockstep_objects() {
    local file
    for file in namespace crds rbac; do
        kube apply -f "$SOURCE_DIR/deploy/manifests/$file.yaml" >/dev/null
    done
    # kube-scheduler is the cluster's own user here, by certificate; its Lease is lockstep's.
    [ "$REPLICAS" -le 1 ] || kube create rolebinding local-kube-scheduler -n lockstep-system \
        --role lockstep-kube-scheduler --user system:kube-scheduler >/dev/null
    kube wait --for condition=Established --timeout 30s crd/gangplacements.lockstep.dev >/dev/null
}

# The extender's identity here is the ServiceAccount of the shipped manifests, by a token; each replica has
# one of its own, so that an audit log tells them apart.
lockstep_identity() {
    local i=$1 token
    token=$(kube create token lockstep-extender -n lockstep-system --duration 24h)
    umask 077
    printf '%s\n' "$token" >"$RUN/extender$i.token"
    cat >"$RUN/extender$i.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "https://$API_ADDRESS:$API_PORT", certificate-authority: "$PKI/ca.crt"}}]
contexts: [{name: local, context: {cluster: local, user: local}}]
users: [{name: local, user: {tokenFile: "$RUN/extender$i.token"}}]
YAML
}

# lockstep_config REPLICA: the shipped configuration with this machine's paths and ports in it. One
# replica needs no leader election; several have it as shipped.
lockstep_config() {
    local i=$1 tls="s#/etc/lockstep/tls/#$RUN/tls/#" alone=()
    VERBS_PORT=$(free_port) HEALTH_PORT=$(free_port) SCHEDULER_PORT=$(free_port) PROBES_PORT=$(free_port)
    [ "$REPLICAS" -gt 1 ] || alone=(-e "s#^lease: .*#lease: off#" -e 's#leaderElect: true#leaderElect: false#')
    sed -e "$tls; s#127.0.0.1:9443#127.0.0.1:$VERBS_PORT#" \
        -e "s#metrics: .*:9440.*#metrics: 127.0.0.1:$HEALTH_PORT#" "${alone[@]}" \
        -e "s#probes: :9445#probes: $API_ADDRESS:$PROBES_PORT#" \
        -e '/^levels:/d; /^schedulerName:/a levels: [example.com/block, example.com/rack]' \
        "$SOURCE_DIR/configs/lockstep.yaml" >"$RUN/lockstep$i.yaml"
    grep -q ":$VERBS_PORT" "$RUN/lockstep$i.yaml" && grep -q ":$HEALTH_PORT" "$RUN/lockstep$i.yaml" &&
        grep -q ":$PROBES_PORT" "$RUN/lockstep$i.yaml" ||
        die "configs/lockstep.yaml has changed: its ports were not found"
    sed -e "$tls; s#127.0.0.1:9443#127.0.0.1:$VERBS_PORT#" "${alone[@]}" \
        -e "s#/etc/lockstep/kube-scheduler.kubeconfig#$RUN/scheduler.kubeconfig#" \
        -e "s#percentageOfNodesToScore: .*#percentageOfNodesToScore: $PERCENTAGE#" \
        "$SOURCE_DIR/configs/kube-scheduler.yaml" >"$RUN/kube-scheduler$i.yaml"
    declare -g "SCHEDULER_PORT$i=$SCHEDULER_PORT"
    echo "VERBS_PORT$i=$VERBS_PORT HEALTH_PORT$i=$HEALTH_PORT SCHEDULER_PORT$i=$SCHEDULER_PORT PROBES_PORT$i=$PROBES_PORT" >>"$RUN/env.sh"
}

# lockstep_host REPLICA COMMAND...: in the replica's own host name, as in a pod of its own.
lockstep_host() {
    local i=$1
    shift
    if [ -n "$i" ]; then
        HOSTED=(unshare --uts sh -c 'hostname "$0" && exec "$@"' "lockstep$i" "$@")
    else
        HOSTED=("$@")
    fi
}

lockstep_extender() {
    local i=${1:-}
    [ -x "$EXTENDER" ] || die "no extender at '$EXTENDER': cmake --preset release && cmake --build --preset release"
    lockstep_host "$i" "$EXTENDER" -c "$RUN/lockstep$i.yaml" --kubeconfig "$RUN/extender$i.kubeconfig" \
        --log-level debug ${LOCKSTEP_RECORD:+--record "$LOCKSTEP_RECORD${i:+.$i}.trace"}
    spawn "extender$i" "${HOSTED[@]}"
    wait_for_process "extender$i" 60 lockstep_answers
}

lockstep_answers() {
    local get=(curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:$HEALTH_PORT/readyz")
    ${IN_NETNS:+nsenter --net="/run/netns/$IN_NETNS"} "${get[@]}"
}

# Its metrics are for everybody on this machine: https://127.0.0.1:$SCHEDULER_PORT/metrics.
lockstep_scheduler() {
    local i=${1:-} port
    port=SCHEDULER_PORT$i
    lockstep_host "$i" "$BIN/kube-scheduler" --config "$RUN/kube-scheduler$i.yaml" -v 2 \
        --secure-port "${!port}" --bind-address 127.0.0.1 --authorization-always-allow-paths /metrics
    spawn "lockstep-scheduler$i" "${HOSTED[@]}"
}

# One replica's files and processes have no number, those of several have: extender1, extender2, ...
lockstep_start() {
    local i replicas=('')
    need_packages curl
    lockstep_objects
    bash "$SOURCE_DIR/deploy/certs.sh" "$RUN/tls" >/dev/null
    [ "$REPLICAS" -le 1 ] || mapfile -t replicas < <(seq "$REPLICAS")
    for i in "${replicas[@]}"; do
        lockstep_config "$i"
        lockstep_identity "$i"
        lockstep_extender "$i"
        lockstep_scheduler "$i"
    done
    say "lockstep is ready"
}
