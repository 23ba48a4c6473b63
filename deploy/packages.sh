#!/bin/bash
# packages.sh - the Debian packages that building, testing and the local cluster need: the one list.
#
#   packages.sh list [GROUP...]    their names, for apt-get install
#   packages.sh ensure [GROUP...]  installs what is missing (root), else names the command
#   packages.sh have GROUP...      exit 0: all there; 1: names what is missing on stderr
#
# Groups: build (with what image.sh needs), fuzz, lint, valgrind, cluster (real kubelets); none named = all. What is already there in
# another way (say, libcurl's other flavour) counts: the probe decides, not the package's name.
set -euo pipefail

# group  package  probe: pc = pkg-config module, cmd = program, file = path or pattern
table() {
    cat <<'TABLE'
build   gcc                        cmd:gcc
build   libc6-dev                  file:/usr/include/stdio.h
build   cmake                      cmd:cmake
build   ninja-build                cmd:ninja
build   pkg-config                 cmd:pkg-config
build   libjansson-dev             pc:jansson
build   libyaml-dev                pc:yaml-0.1
build   libmicrohttpd-dev          pc:libmicrohttpd
build   libnghttp2-dev             pc:libnghttp2
build   libcurl4-gnutls-dev        pc:libcurl
build   libgnutls28-dev            pc:gnutls
build   libhwloc-dev               pc:hwloc
build   libexpat1-dev              pc:expat
build   libgrpc-dev                pc:grpc
build   libprotobuf-c-dev          pc:libprotobuf-c
build   protobuf-c-compiler        cmd:protoc-c
build   libcmocka-dev              pc:cmocka
build   openssl                    cmd:openssl
build   binutils                   cmd:nm
fuzz    clang                      cmd:clang
fuzz    libclang-rt-14-dev         file:/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a
lint    clang                      cmd:clang
lint    clang-tidy                 cmd:clang-tidy
valgrind valgrind                  cmd:valgrind
cluster ca-certificates            file:/etc/ssl/certs/ca-certificates.crt
cluster curl                       cmd:curl
cluster containerd                 cmd:containerd
cluster runc                       cmd:runc
cluster containernetworking-plugins file:/usr/lib/cni/bridge
cluster iproute2                   cmd:ip
cluster busybox-static             file:/bin/busybox
TABLE
}

say() { echo "$*" >&2; }

there() {
    local what=${1#*:}
    case ${1%%:*} in
    cmd) command -v "$what" >/dev/null ;;
    pc) command -v pkg-config >/dev/null && pkg-config --exists "$what" ;;
    file) compgen -G "$what" >/dev/null ;;
    esac
}

# Rows of the named groups; all when none is named.
rows() {
    local group package probe
    while read -r group package probe; do
        [ $# -eq 0 ] || [[ " $* " == *" $group "* ]] || continue
        echo "$package $probe"
    done < <(table)
}

missing() {
    local package probe
    while read -r package probe; do
        there "$probe" || echo "$package"
    done < <(rows "$@") | sort -u
}

ensure() {
    local -a want
    mapfile -t want < <(missing "$@")
    [ ${#want[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say "missing packages; install them with:"
        say "  sudo apt-get install --no-install-recommends ${want[*]}"
        return 1
    fi
    say "installing ${want[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # A fresh machine has no package lists, an old one has outdated ones.
    apt-get install -y -q --no-install-recommends "${want[@]}" >&2 2>/dev/null ||
        { apt-get update -q >&2 && apt-get install -y -q --no-install-recommends "${want[@]}" >&2; } ||
        { say "apt-get could not install: ${want[*]}"; return 1; }
    mapfile -t want < <(missing "$@")
    [ ${#want[@]} -eq 0 ] || { say "still missing after installing: ${want[*]}"; return 1; }
}

verb=${1:-}
[ $# -gt 0 ] && shift
known=" $(table | awk '{print $1}' | sort -u | tr '\n' ' ')"
for name in "$@"; do
    [[ $known == *" $name "* ]] || { say "packages.sh: unknown group '$name', known:$known"; exit 2; }
done
case $verb in
list) rows "$@" | awk '{print $1}' | sort -u ;;
have)
    lacking=$(missing "$@" | tr '\n' ' ')
    [ -z "$lacking" ] || { say "missing: $lacking"; exit 1; }
    ;;
ensure) ensure "$@" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
