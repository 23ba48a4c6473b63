#!/bin/bash
# Our declarations of NCCL, the CUDA driver and NVML against the real headers; the real NCCL, old and new, loads and makes a
# unique id on a machine without a GPU. Fetches them once (tests/gpu/fetch_nccl.sh); skipped where that cannot be.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ "$(uname -m)" = x86_64 ] || { echo "the packages are for x86_64" >&2; exit 77; }
# CI machines are new each time: half a gigabyte is too much to bring for each run there.
[ -z "${CI:-}" ] || [ -d "${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}/nccl" ] || {
    echo "573 MB are fetched by name only: bash tests/checks/nccl_abi.sh" >&2
    exit 77
}
cache=$(bash tests/gpu/fetch_nccl.sh) || exit
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

check() { # NAME COMMAND...: its last line of output goes with the result
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "ok nccl_abi.$name"
        [ -z "$out" ] || echo "# $name: $(tail -n 1 <<<"$out")"
    else
        echo "not ok nccl_abi.$name: $(tail -n 1 <<<"$out" | cut -c 1-200)"
        printf '%s\n' "$out" >&2
        failed=1
    fi
}

# NCCL's header wants the CUDA runtime's for two types.
echo 'typedef struct CUstream_st *cudaStream_t; typedef struct CUevent_st *cudaEvent_t;' >"$dir/cuda_runtime.h"
touch "$dir/cuda_fp16.h" "$dir/cuda_bf16.h" "$dir/cuda_fp8.h"
compiles() { # FOLDER MACRO
    ${CC:-cc} -std=gnu17 -Wall -Wextra -Werror -D_GNU_SOURCE -D"$2" -I. -isystem "$1" -isystem "$dir" \
        -fsyntax-only tests/unit/test_nccl_abi.c
}
# A declaration that is wrong must be found, or the comparison compares nothing.
finds_a_difference() { # FOLDER MACRO FROM TO
    mkdir -p "$dir/wrong"
    sed "s/$3/$4/" "$1" >"$dir/wrong/$(basename "$1")"
    ! cmp -s "$1" "$dir/wrong/$(basename "$1")" && ! compiles "$dir/wrong" "$2" 2>/dev/null
}
loads() { # FOLDER VERSION: no GPU, no network but the loopback
    env -u LOCKSTEP_NCCL_LIBRARY NCCL_SOCKET_IFNAME=lo NCCL_RAS_ENABLE=0 \
        timeout 60 build/release/bin/test_nccl_abi --load "$1/libnccl.so.2" | tee "$dir/out" && grep -q "^$2 " "$dir/out"
}

# A driver that NCCL cannot use, as the fake one lacks what it needs: a communicator fails at once, in the library's words.
fails_in_its_words() { # FOLDER
    local fake=$PWD/build/release/fake
    echo 'devices 1' >"$dir/gpu"
    LOCKSTEP_FAKE_GPU=$dir/gpu LOCKSTEP_CUDA_LIBRARY=$fake/libcuda.so.1 LOCKSTEP_NVML_LIBRARY=$fake/libnvidia-ml.so.1 \
        LOCKSTEP_NCCL_LIBRARY=$1/libnccl.so.2 NCCL_SOCKET_IFNAME=lo \
        timeout 60 build/release/bin/gpu_check ops 2 shared >"$dir/out"
    cat "$dir/out"
    grep -q 'connecting ranks: unhandled cuda error' "$dir/out"
}

for version in 2.18.3 2.32.3; do
    check "declarations_are_those_of_$version" compiles "$cache/nccl-$version" LOCKSTEP_REAL_NCCL_H
    check "loads_and_makes_a_unique_id_$version" loads "$cache/nccl-$version" "$version"
    check "fails_in_its_words_without_a_driver_$version" fails_in_its_words "$cache/nccl-$version"
done
check declarations_are_those_of_the_driver compiles "$cache/headers" LOCKSTEP_REAL_CUDA_H
check declarations_are_those_of_nvml compiles "$cache/headers" LOCKSTEP_REAL_NVML_H
check a_field_that_moved_is_found finds_a_difference "$cache/nccl-2.32.3/nccl.h" LOCKSTEP_REAL_NCCL_H \
    '^  int cgaClusterSize;' '  long cgaClusterSize;'
check an_argument_that_moved_is_found finds_a_difference "$cache/nccl-2.32.3/nccl.h" LOCKSTEP_REAL_NCCL_H \
    'ncclResult_t  ncclCommAbort(ncclComm_t comm);' 'ncclResult_t  ncclCommAbort(ncclComm_t comm, int how);'
exit $failed
