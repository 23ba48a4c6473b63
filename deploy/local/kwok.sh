# kwok.sh - fake nodes: Ready, with GPUs, in racks and blocks; their pods "run" at once.
# shellcheck shell=bash

# Racks of NODES/RACKS nodes, four racks a block; names and labels grow together.
kwok_nodes() {
    local per_rack=$(((NODES + RACKS - 1) / RACKS))
    seq 0 $((NODES - 1)) | jq -s --argjson per "$per_rack" --argjson gpus "$GPUS" '
        def pad: tostring | ("000" + .)[-([3, length] | max):];
        {apiVersion: "v1", kind: "List", items: map({
            apiVersion: "v1", kind: "Node",
            metadata: {name: "node-\(pad)", annotations: {"kwok.x-k8s.io/node": "fake"}, labels: {
                "kubernetes.io/hostname": "node-\(pad)", "kubernetes.io/os": "linux",
                "example.com/rack": "rack-\(. / $per | floor | pad)",
                "example.com/block": "block-\(. / $per / 4 | floor | pad)"}},
            status: {allocatable: {cpu: "96", memory: "1Ti", pods: "110", "nvidia.com/gpu": "\($gpus)"},
                     capacity: {cpu: "96", memory: "1Ti", pods: "110", "nvidia.com/gpu": "\($gpus)"}}})}'
}

kwok_start() {
    say "creating $NODES fake nodes in $RACKS racks"
    kwok_nodes >"$RUN/nodes.json"
    kube create -f "$RUN/nodes.json" >/dev/null
    kwok_run
}

kwok_run() {
    spawn kwok "$BIN/kwok" --kubeconfig "$RUN/admin.kubeconfig" --config "$BIN/../kwok-stages-1.yaml" \
        --manage-all-nodes=false --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake \
        --node-ip 127.0.0.1 --node-lease-duration-seconds 40 --server-address 127.0.0.1:0
}

kwok_all_ready() {
    local ready
    ready=$(kube get nodes -o json | jq '[.items[]
        | select(.metadata.annotations["kwok.x-k8s.io/node"] == "fake")
        | select(.spec.taints == null)
        | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length')
    [ "$ready" -eq "$NODES" ]
}

kwok_ready() { wait_for $((120 + NODES / 10)) "fake nodes" kwok_all_ready; }
