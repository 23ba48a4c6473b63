# control.sh - certificates, etcd, API server, controller manager, the default kube-scheduler.
# shellcheck shell=bash

pki_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# pki_issue FILE COMMON-NAME ORGANISATION [ALT-NAMES]: signed by the cluster's CA.
pki_issue() {
    local file=$PKI/$1
    pki_key "$file.key"
    openssl req -new -key "$file.key" -subj "/O=$3/CN=$2" -out "$file.csr"
    openssl x509 -req -in "$file.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 30 \
        -set_serial "0x$(openssl rand -hex 8)" -out "$file.crt" \
        -extfile <(echo "subjectAltName=${4:-DNS:$1}") 2>/dev/null
    rm "$file.csr"
}

# kubeconfig FILE PKI-NAME: for a client certificate.
kubeconfig() {
    cat >"$1" <<YAML
apiVersion: v1
kind: Config
current-context: local
clusters: [{name: local, cluster: {server: "https://$API_ADDRESS:$API_PORT", certificate-authority: "$PKI/ca.crt"}}]
contexts: [{name: local, context: {cluster: local, user: local}}]
users: [{name: local, user: {client-certificate: "$PKI/$2.crt", client-key: "$PKI/$2.key"}}]
YAML
}

control_pki() {
    local who
    API_PORT=$(free_port)
    mkdir -p "$PKI"
    chmod 700 "$PKI"
    pki_key "$PKI/ca.key"
    openssl req -x509 -new -key "$PKI/ca.key" -days 30 -subj "/CN=local-ca" -out "$PKI/ca.crt"
    openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
    pki_issue apiserver kube-apiserver kubernetes \
        "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$API_ADDRESS,IP:10.96.0.1"
    pki_issue admin admin system:masters
    pki_issue controller system:kube-controller-manager kubernetes
    pki_issue scheduler system:kube-scheduler kubernetes
    pki_issue kubelet-client kube-apiserver-kubelet-client system:masters
    for who in admin controller scheduler; do
        kubeconfig "$RUN/$who.kubeconfig" "$who"
    done
}

kube() {
    if [ -n "$IN_NETNS" ]; then
        nsenter --net="/run/netns/$IN_NETNS" "$BIN/kubectl" --kubeconfig "$RUN/admin.kubeconfig" "$@"
    else
        "$BIN/kubectl" --kubeconfig "$RUN/admin.kubeconfig" "$@"
    fi
}

start_etcd() {
    ETCD_PORT=$(free_port)
    spawn etcd "$BIN/etcd" --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls "http://127.0.0.1:$ETCD_PORT" \
        --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
        --listen-peer-urls http://127.0.0.1:0
}

# Who wrote what, each write once, when it is answered.
audit_policy() {
    cat <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, verbs: [create, update, patch, delete]}, {level: None}]
YAML
}

start_apiserver() {
    local gates=() groups
    groups=$(pod_group_api)
    [ -z "$GATES" ] || gates=(--feature-gates "$GATES")
    [[ -z $groups || $GATES != *GenericWorkload=true* ]] ||
        gates+=(--runtime-config "scheduling.k8s.io/$groups=true")
    if [ "${AUDIT:-no}" = yes ]; then
        audit_policy >"$RUN/audit.yaml"
        gates+=(--audit-policy-file "$RUN/audit.yaml" --audit-log-path "$RUN/logs/audit.log")
    fi
    # shellcheck disable=SC2086 # more flags, apart by spaces
    spawn apiserver "$BIN/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD_PORT" \
        --bind-address "$API_ADDRESS" --advertise-address "$([ "$API_ADDRESS" = 127.0.0.1 ] &&
            echo 10.99.99.99 || echo "$API_ADDRESS")" \
        --secure-port "$API_PORT" --authorization-mode Node,RBAC --allow-privileged=true \
        --enable-admission-plugins NodeRestriction --client-ca-file "$PKI/ca.crt" \
        --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$PKI/sa.key" --service-account-signing-key-file "$PKI/sa.key" \
        --service-cluster-ip-range 10.96.0.0/16 --endpoint-reconciler-type none \
        --kubelet-client-certificate "$PKI/kubelet-client.crt" \
        --kubelet-client-key "$PKI/kubelet-client.key" \
        --kubelet-preferred-address-types InternalIP \
        --max-requests-inflight 3000 --max-mutating-requests-inflight 3000 "${gates[@]}" ${API_FLAGS:-}
}

control_start() {
    start_etcd
    start_apiserver
    wait_for_process apiserver 60 kube get --raw /readyz
    spawn controller "$BIN/kube-controller-manager" --kubeconfig "$RUN/controller.kubeconfig" \
        --authentication-kubeconfig "$RUN/controller.kubeconfig" \
        --authorization-kubeconfig "$RUN/controller.kubeconfig" \
        --service-account-private-key-file "$PKI/sa.key" --root-ca-file "$PKI/ca.crt" \
        --use-service-account-credentials --leader-elect=false --secure-port 0 \
        --kube-api-qps 1000 --kube-api-burst 2000 --concurrent-job-syncs 20 \
        ${GATES:+--feature-gates "$GATES"}
    # shellcheck disable=SC2086
    spawn scheduler "$BIN/kube-scheduler" --kubeconfig "$RUN/scheduler.kubeconfig" \
        --leader-elect=false --secure-port 0 ${SCHEDULER_FLAGS:-}
}
