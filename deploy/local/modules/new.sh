#!/usr/bin/env bash
# Makes modules/kubernetes-VERSION (go.mod, go.sum) for build.sh: bash deploy/local/modules/new.sh 1.36.3
# Needs Go of at least that release's version, and the Go module proxy.
set -euo pipefail
[[ ${1:-} =~ ^1\.([0-9]+\.[0-9]+)$ ]] || { echo "usage: new.sh VERSION, for example 1.36.3" >&2 && exit 2; }
version=$1
staging=v0.${BASH_REMATCH[1]} # k8s.io/api and the others: 1.36.3 is v0.36.3 there
export GOFLAGS=-mod=mod

upstream=$(go mod download -json "k8s.io/kubernetes@v$version" | jq -r .GoMod)
dir=$(dirname "${BASH_SOURCE[0]}")/kubernetes-$version
mkdir -p "$dir" && cd "$dir"

# Kubernetes names its staging modules at v0.0.0 and replaces them by folders, which a user of the module
# does not have: here they are replaced by their releases.
{
    printf 'module lockstep.dev/local/kubernetes\n\n'
    grep '^go ' "$upstream"
    grep '^godebug ' "$upstream"
    printf '\nrequire k8s.io/kubernetes v%s\n\ntool (\n' "$version"
    printf '\tk8s.io/kubernetes/cmd/%s\n' kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet
    printf ')\n\n'
    go mod edit -json "$upstream" | jq -r --arg v "$staging" '.Require[]
        | select(.Version == "v0.0.0" and (.Path | startswith("k8s.io/"))) | "replace \(.Path) => \(.Path) \($v)\n"'
} >go.mod
rm -f go.sum
go mod tidy
