#!/bin/bash
# The shipped Deployment on a real kubelet: images made here, Pod Security "restricted", probes over HTTPS,
# mounted certificates and tokens; and a gang that the stock kube-scheduler and the extender in it start.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=d$$ # of its own: runs beside others, and after one that was killed
work=$(mktemp -d)
failed=0

finish() {
    bash deploy/local/down.sh --name $NAME >&2
    rm -rf "$work"
}
trap finish EXIT

inside() { bash deploy/local/in.sh $NAME "$@"; }
kube() { inside kubectl "$@"; }
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >&2; then echo "ok deployment.$name"; else
        echo "not ok deployment.$name: $*"
        failed=1
    fi
}
# The cluster's own variables: RUN, BIN, API_ADDRESS, API_PORT.
cluster_value() { (source deploy/local/lib.sh && cluster_vars $NAME && source "$RUN/env.sh" && echo "${!1}"); }

images_are_made_and_loaded() {
    local socket image
    bash deploy/image.sh "$work/extender.tar" lockstep-extender:0.1.0 build/release/bin/lockstep-extender &&
        bash deploy/image.sh "$work/scheduler.tar" registry.k8s.io/kube-scheduler:v1.37.2 \
            "$(cluster_value BIN)/kube-scheduler" || return 1
    socket=$(cluster_value RUN)/real-1/containerd.sock
    for image in extender scheduler; do
        ctr -a "$socket" -n k8s.io images import "$work/$image.tar" || return 1
    done
}

# No Service network and no DNS here: the API server's address instead of kubernetes.default.svc. It is
# set before there are pods: a rollout needs room for one pod more than the node of a small machine has.
deployment_becomes_available() {
    local api
    api=$(cluster_value API_ADDRESS)
    kube apply -f deploy/manifests/namespace.yaml &&
        bash deploy/certs.sh "$work/tls" --secret | kube apply -f - &&
        kube kustomize deploy/manifests | sed -e 's/^  replicas: 2$/  replicas: 0/' \
            -e "s#https://kubernetes.default.svc#https://$api:$(cluster_value API_PORT)#" | kube apply -f - &&
        kube set env -n lockstep-system deployment/lockstep -c lockstep-extender \
            KUBERNETES_SERVICE_HOST="$api" KUBERNETES_SERVICE_PORT="$(cluster_value API_PORT)" &&
        kube scale -n lockstep-system deployment/lockstep --replicas 2 &&
        kube rollout status -n lockstep-system deployment/lockstep --timeout 120s && return
    kube get pods -n lockstep-system -o wide
    kube describe pods -n lockstep-system | tail -n 30
    kube logs -n lockstep-system deployment/lockstep --all-containers --tail 20
    return 1
}

gang_starts() {
    sed -e 's#registry.k8s.io/pause:3.10#lockstep.test/pause:1#' -e 's/\(completions\|parallelism\): 4/\1: 2/' \
        -e 's/nvidia.com\/gpu: "8"/nvidia.com\/gpu: "4"/' -e 's/cpu: "4", memory: 8Gi/cpu: 10m, memory: 16Mi/' \
        configs/examples/job.yaml | kube apply -f - || return 1
    kube wait --for=jsonpath='{.status.ready}'=2 job/train --timeout 150s && return
    kube get pods,gangplacements -o wide
    kube logs -n lockstep-system deployment/lockstep -c lockstep-extender --tail 30
    return 1
}
placement_says_so() {
    kube wait --for=jsonpath='{.status.state}'=Running gangplacement/train --timeout 30s
    kube get gangplacements -o wide
    [ "$(kube get gangplacement train -o jsonpath='{.status.bound} {.status.nodes[0].count}')" = "2 2" ]
}
nothing_restarted() {
    local counts
    counts=$(kube get pods -n lockstep-system -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}')
    [ "$counts" = "0 0 0 0" ] || { echo "restarts: $counts"; return 1; }
}

bash deploy/local/up.sh --name $NAME --nodes 0 --real 1 --lockstep no >&2 || exit 1
check images_are_made_and_loaded images_are_made_and_loaded
check deployment_becomes_available deployment_becomes_available
check gang_starts gang_starts
check placement_says_so placement_says_so
check nothing_restarted nothing_restarted
exit $failed
