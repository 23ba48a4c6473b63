#!/usr/bin/env bash
# Writes a container image without a builder: bash deploy/local/image.sh OUT.tar NAME:TAG ROOTFS [ENTRYPOINT [USER]]
# The format is docker-archive: manifest.json, the configuration, one layer.
set -euo pipefail
[ $# -ge 3 ] || {
    echo "usage: image.sh OUT.tar NAME:TAG ROOTFS [ENTRYPOINT [USER]]" >&2
    exit 2
}
OUT=$1 TAG=$2 ROOTFS=$3 ENTRYPOINT=${4:-} RUN_AS=${5:-}
case $(uname -m) in
aarch64) ARCH=arm64 ;;
*) ARCH=amd64 ;;
esac
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

tar -C "$ROOTFS" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$WORK/layer.tar" .
diff=$(sha256sum "$WORK/layer.tar" | cut -d' ' -f1)
entry='null'
[ -z "$ENTRYPOINT" ] || entry="[\"$ENTRYPOINT\"]"
printf '{"architecture":"%s","os":"linux","config":{"User":"%s","Entrypoint":%s,"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"image.sh"}]}' \
    "$ARCH" "$RUN_AS" "$entry" "$diff" >"$WORK/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$TAG" >"$WORK/manifest.json"
tar -C "$WORK" --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$OUT" manifest.json config.json layer.tar
