#!/bin/bash
# image.sh OUT.tar NAME:TAG [BINARY...]   makes lockstep's image without a builder or a registry
#
# The image holds the binaries (default: those of build/release/bin), the shared libraries that they need,
# and a user "nonroot" (65532): no shell, no package manager, no CA bundle. The first binary is the
# entrypoint. Same input, same bytes. The result is a docker-archive: docker load -i, podman load -i,
# ctr -n k8s.io images import. With a builder at hand: deploy/Containerfile.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NONROOT=65532

die() {
    echo "image.sh: $1" >&2
    exit "${2:-1}"
}

# Its path in the image is its path here, so that the loader finds it where the binary says.
copy_library() {
    local library=$1
    [ -e "$FS$library" ] && return
    mkdir -p "$FS$(dirname "$library")"
    cp -L "$library" "$FS$library"
}

# /lib is a link to /usr/lib on this system: make it one in the image too, once.
merge_folders() {
    local folder
    mkdir -p "$FS/usr"
    for folder in bin lib lib64 lib32; do
        [ -L "/$folder" ] || continue
        mkdir -p "$FS/usr/$folder"
        ln -s "usr/$folder" "$FS/$folder"
    done
}

add_binary() {
    local binary=$1 name libraries
    name=$(basename "$binary")
    [ -f "$binary" ] && [ -x "$binary" ] || die "'$binary' is not a program: cmake --preset release && cmake --build --preset release" 2
    mkdir -p "$FS/usr/local/bin"
    cp "$binary" "$FS/usr/local/bin/$name"
    strip --strip-unneeded "$FS/usr/local/bin/$name"
    # A static program needs nothing more.
    libraries=$(ldd "$binary" 2>&1) || { grep -q 'not a dynamic executable' <<<"$libraries" && return; } ||
        die "ldd cannot read '$binary': $libraries"
    grep -q 'not found' <<<"$libraries" && die "'$binary' lacks a library: $(grep 'not found' <<<"$libraries")"
    # "name => /path (address)" and, for the loader, "/path (address)".
    awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\// {print $1}' <<<"$libraries" | while read -r library; do
        copy_library "$library"
    done
}

add_users() {
    mkdir -p "$FS/etc" "$FS/tmp" "$FS/etc/lockstep"
    chmod 1777 "$FS/tmp"
    printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n' $NONROOT $NONROOT >"$FS/etc/passwd"
    printf 'root:x:0:\nnonroot:x:%d:\n' $NONROOT >"$FS/etc/group"
    # kubernetes.default.svc by DNS, localhost by /etc/hosts.
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$FS/etc/nsswitch.conf"
}

[ $# -ge 2 ] || {
    sed -n '2s/^# //p' "$0" >&2
    exit 2
}
OUT=$1 TAG=$2
shift 2
[[ $TAG =~ ^[a-z0-9./_-]+(:[0-9]+/[a-z0-9./_-]+)?:[A-Za-z0-9_.-]+$ ]] || die "'$TAG': expected NAME:TAG, such as lockstep-extender:0.1.0" 2
if [ $# -eq 0 ]; then
    for name in lockstep-extender lockstep lockstep-probe lockstep-probe-nccl; do
        [ ! -x "$ROOT/build/release/bin/$name" ] || set -- "$@" "$ROOT/build/release/bin/$name"
    done
    [ $# -gt 0 ] || die "build/release/bin holds no program: cmake --preset release && cmake --build --preset release" 2
fi
bash "$ROOT/deploy/packages.sh" have build || die "install them: deploy/packages.sh ensure build"
FS=$(mktemp -d)
trap 'rm -rf "$FS"' EXIT
chmod 755 "$FS"
umask 022
merge_folders
for binary in "$@"; do
    add_binary "$binary"
done
add_users
bash "$ROOT/deploy/local/image.sh" "$OUT" "$TAG" "$FS" "/usr/local/bin/$(basename "$1")" "$NONROOT:$NONROOT"
echo "image.sh: $TAG with $(find "$FS" -type f | wc -l) files, $(du -sh "$FS" | cut -f1), in $OUT" >&2
