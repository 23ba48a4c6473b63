# real.sh - real kubelets with real containers: one network namespace, containerd and kubelet per node.
# shellcheck shell=bash
# 10.99.0.1 is the control plane's end of the bridge, 10.99.0.(10+i) node i, 10.98.i.0/24 its pods.

real_node() { echo "real-$1"; }
real_ns() { echo "$NETNS-$1"; }

# ---- network ------------------------------------------------------------------------------------

real_network() {
    ip netns add "$NETNS"
    ip -n "$NETNS" link set lo up
    ip -n "$NETNS" link add br0 type bridge
    ip -n "$NETNS" addr add 10.99.0.1/24 dev br0
    ip -n "$NETNS" link set br0 up
    nsenter --net="/run/netns/$NETNS" sysctl -qw net.ipv4.ip_forward=1
    local i
    for i in $(seq "$REAL"); do
        real_network_node "$i"
    done
}

real_network_node() {
    local ns j
    ns=$(real_ns "$1")
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    ip -n "$NETNS" link add "v$1" type veth peer name eth0 netns "$ns"
    ip -n "$NETNS" link set "v$1" master br0 up
    ip -n "$ns" addr add "10.99.0.$((10 + $1))/24" dev eth0
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via 10.99.0.1
    nsenter --net="/run/netns/$ns" sysctl -qw net.ipv4.ip_forward=1
    for j in $(seq "$REAL"); do
        [ "$j" = "$1" ] || ip -n "$ns" route add "10.98.$j.0/24" via "10.99.0.$((10 + j))"
    done
    ip -n "$NETNS" route add "10.98.$1.0/24" via "10.99.0.$((10 + $1))"
}

real_network_stop() {
    local ns
    for ns in $(ip netns list 2>/dev/null | cut -d' ' -f1); do
        case $ns in
        "$NETNS" | "$NETNS"-[0-9]*) ip netns delete "$ns" || true ;;
        esac
    done
}

# ---- images ----------------------------------------------------------------------------------------

# busybox does for the pause image too: it sleeps until it is told to end.
real_images() {
    local root=$RUN/images/root
    mkdir -p "$root/bin" "$root/tmp" "$root/etc"
    cp "$(command -v busybox)" "$root/bin/busybox"
    "$root/bin/busybox" --install -s "$root/bin" 2>/dev/null || true
    find "$root/bin" -type l -exec ln -sf busybox {} \;
    chmod 1777 "$root/tmp"
    echo 'nobody:x:65534:65534::/:/bin/sh' >"$root/etc/passwd"
    printf '#!/bin/sh\ntrap "exit 0" TERM INT\nwhile :; do sleep 3600 & wait $!; done\n' >"$root/bin/pause"
    chmod 755 "$root/bin/pause"
    bash "$LOCAL_DIR/image.sh" "$RUN/images/busybox.tar" lockstep.test/busybox:1 "$root" /bin/sh
    bash "$LOCAL_DIR/image.sh" "$RUN/images/pause.tar" lockstep.test/pause:1 "$root" /bin/pause
}

# ---- containerd and kubelet ---------------------------------------------------------------------------

real_containerd() {
    local dir=$RUN/$(real_node "$1")
    mkdir -p "$dir/cni"
    cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.98.$1.0/24"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
    cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "lockstep.test/pause:1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
TOML
    IN_NETNS=$(real_ns "$1") spawn "containerd-$1" containerd --config "$dir/containerd.toml"
}

# The node's cgroup in every v1 controller; cpuset needs its values before anything can enter.
real_cgroup() {
    local controller path
    for controller in /sys/fs/cgroup/*/; do
        path=$controller$NETNS-$1
        mkdir -p "$path" 2>/dev/null || continue
        if [ -f "$path/cpuset.cpus" ]; then
            cat "$controller/cpuset.cpus" >"$path/cpuset.cpus"
            cat "$controller/cpuset.mems" >"$path/cpuset.mems"
        fi
    done
}

real_kubelet_config() {
    local dir=$1 number=$2
    cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: "$PKI/ca.crt"}
authorization: {mode: Webhook}
tlsCertFile: "$PKI/kubelet-$number.crt"
tlsPrivateKeyFile: "$PKI/kubelet-$number.key"
cgroupDriver: cgroupfs
cgroupRoot: "/$NETNS-$number"
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
resolvConf: ""
podLogsDir: "$dir/pod-logs"
containerRuntimeEndpoint: "unix://$dir/containerd.sock"
imageGCHighThresholdPercent: 100
maxPods: 60
registerNode: true
staticPodPath: ""
YAML
}

real_kubelet() {
    local name dir
    name=$(real_node "$1")
    dir=$RUN/$name
    pki_issue "kubelet-$1" "system:node:$name" system:nodes "DNS:$name,IP:10.99.0.$((10 + $1))"
    kubeconfig "$dir/kubeconfig" "kubelet-$1"
    real_cgroup "$1"
    real_kubelet_config "$dir" "$1"
    IN_NETNS=$(real_ns "$1") spawn "kubelet-$1" "$BIN/kubelet" --config "$dir/kubelet.yaml" \
        --kubeconfig "$dir/kubeconfig" --hostname-override "$name" --node-ip "10.99.0.$((10 + $1))" \
        --root-dir "$dir/kubelet" --cert-dir "$dir/certs" \
        --node-labels "example.com/block=real,example.com/rack=real-$(((($1) + 1) / 2))"
}

real_start() {
    local i
    say "starting $REAL real nodes (containerd, kubelet)"
    real_images
    for i in $(seq "$REAL"); do
        real_containerd "$i"
    done
    for i in $(seq "$REAL"); do
        wait_for 30 "containerd of node $i" test -S "$RUN/$(real_node "$i")/containerd.sock"
        real_import "$i" "$RUN/images/busybox.tar"
        real_import "$i" "$RUN/images/pause.tar"
        real_kubelet "$i"
    done
}

# real_import NUMBER TAR: an image into one node.
real_import() {
    ctr -a "$RUN/$(real_node "$1")/containerd.sock" -n k8s.io images import "$2" >/dev/null
}

# No device plugin here: the GPUs of a real node are an extended resource set by hand.
real_give_gpus() {
    kube patch node "$1" --subresource status --type merge -p \
        "{\"status\": {\"capacity\": {\"nvidia.com/gpu\": \"$GPUS\"}}}" >/dev/null
}

real_node_ready() {
    kube get node "$1" -o json | jq -e --arg gpus "$GPUS" '.spec.taints == null
        and .status.allocatable["nvidia.com/gpu"] == $gpus
        and any(.status.conditions[]; .type == "Ready" and .status == "True")'
}

real_ready() {
    local i name
    for i in $(seq "$REAL"); do
        name=$(real_node "$i")
        wait_for 60 "node $name" kube get node "$name"
        real_give_gpus "$name"
    done
    for i in $(seq "$REAL"); do
        wait_for 60 "node $(real_node "$i")" real_node_ready "$(real_node "$i")"
    done
}

# ---- ending -------------------------------------------------------------------------------------------

real_stop() {
    local i
    [ "${REAL:-0}" -gt 0 ] || return 0
    # shellcheck disable=SC2046
    end_all KILL $(seq -f 'kubelet-%g' "$REAL")
    for i in $(seq "$REAL"); do
        real_kill_pods "$i"
        real_kill_shims "$i"
    done
    # shellcheck disable=SC2046
    end_all TERM $(seq -f 'containerd-%g' "$REAL")
    for i in $(seq "$REAL"); do
        real_unmount "$RUN/$(real_node "$i")"
        real_remove_cgroup "$i"
    done
}

# Processes of the node's pods: those in its cgroups, and in no other.
real_kill_pods() {
    local procs pid
    for procs in $(find "/sys/fs/cgroup/pids/$NETNS-$1" -name cgroup.procs 2>/dev/null); do
        while read -r pid; do
            kill -KILL "$pid" 2>/dev/null || true
        done <"$procs"
    done
}

# containerd's shims outlive it: they are told by the address of their containerd.
real_kill_shims() {
    local cmdline pid
    for cmdline in $(grep -lazE "^$RUN/$(real_node "$1")/containerd.sock\$" /proc/[0-9]*/cmdline 2>/dev/null); do
        grep -qaz containerd-shim "$cmdline" 2>/dev/null || continue
        pid=${cmdline#/proc/}
        kill -KILL "${pid%/cmdline}" 2>/dev/null || true
    done
}

real_unmount() {
    local mount
    for _ in 1 2 3; do
        for mount in $(awk -v dir="$1/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort -r); do
            umount -l "$mount" 2>/dev/null || true
        done
    done
}

real_remove_cgroup() {
    local controller
    for controller in /sys/fs/cgroup/*/; do
        [ -d "$controller$NETNS-$1" ] || continue
        find "$controller$NETNS-$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}
