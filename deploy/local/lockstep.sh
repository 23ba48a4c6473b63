# lockstep.sh - lockstep in the local cluster: its objects, certificates, the extender, its kube-scheduler.
# shellcheck shell=bash

lockstep_objects() {
    local file
    for file in namespace crds rbac; do
        kube apply -f "$SOURCE_DIR/deploy/manifests/$file.yaml" >/dev/null
    done
    kube wait --for condition=Established --timeout 30s crd/gangplacements.lockstep.dev >/dev/null
}

# The extender's identity here is the ServiceAccount of the shipped manifests, by a token.
lockstep_identity() {
    local token
    token=$(kube create token lockstep-extender -n lockstep-system --duration 24h)
    umask 077
    printf '%s\n' "$token" >"$RUN/extender.token"
    cat >"$RUN/extender.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "https://$API_ADDRESS:$API_PORT", certificate-authority: "$PKI/ca.crt"}}]
contexts: [{name: local, context: {cluster: local, user: local}}]
users: [{name: local, user: {tokenFile: "$RUN/extender.token"}}]
YAML
}

# The shipped configuration with this machine's paths and ports in it.
lockstep_config() {
    VERBS_PORT=$(free_port) HEALTH_PORT=$(free_port)
    sed -e "s#/etc/lockstep/tls/#$RUN/tls/#; s#127.0.0.1:9443#127.0.0.1:$VERBS_PORT#" \
        -e "s#metrics: .*:9440.*#metrics: 127.0.0.1:$HEALTH_PORT#" \
        -e '/^levels:/d; /^schedulerName:/a levels: [example.com/block, example.com/rack]' \
        "$SOURCE_DIR/configs/lockstep.yaml" >"$RUN/lockstep.yaml"
    grep -q ":$VERBS_PORT" "$RUN/lockstep.yaml" && grep -q ":$HEALTH_PORT" "$RUN/lockstep.yaml" ||
        die "configs/lockstep.yaml has changed: its ports were not found"
    sed -e "s#/etc/lockstep/tls/#$RUN/tls/#; s#127.0.0.1:9443#127.0.0.1:$VERBS_PORT#" \
        -e "s#/etc/lockstep/kube-scheduler.kubeconfig#$RUN/scheduler.kubeconfig#" \
        -e "s#percentageOfNodesToScore: .*#percentageOfNodesToScore: $PERCENTAGE#" \
        -e 's#leaderElect: true#leaderElect: false#' \
        "$SOURCE_DIR/configs/kube-scheduler.yaml" >"$RUN/kube-scheduler.yaml"
    echo "VERBS_PORT=$VERBS_PORT HEALTH_PORT=$HEALTH_PORT" >>"$RUN/env.sh"
}

lockstep_extender() {
    [ -x "$EXTENDER" ] || die "no extender at '$EXTENDER': cmake --preset release && cmake --build --preset release"
    spawn extender "$EXTENDER" -c "$RUN/lockstep.yaml" --kubeconfig "$RUN/extender.kubeconfig" \
        --log-level debug
    wait_for_process extender 60 lockstep_answers
}

lockstep_answers() {
    local get=(curl -sf --noproxy '*' --cacert "$RUN/tls/ca.crt" "https://127.0.0.1:$HEALTH_PORT/readyz")
    ${IN_NETNS:+nsenter --net="/run/netns/$IN_NETNS"} "${get[@]}"
}

lockstep_scheduler() {
    spawn lockstep-scheduler "$BIN/kube-scheduler" --config "$RUN/kube-scheduler.yaml" --secure-port 0 -v 2
}

lockstep_start() {
    need_packages curl
    lockstep_objects
    bash "$SOURCE_DIR/deploy/certs.sh" "$RUN/tls" >/dev/null
    lockstep_identity
    lockstep_config
    lockstep_extender
    lockstep_scheduler
    say "lockstep is ready"
}
