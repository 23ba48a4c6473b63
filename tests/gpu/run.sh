#!/bin/bash
# The nccl backend on this machine's GPUs, in one command: builds what it needs, then one rank, several ranks (on several
# GPUs; else on one, in the two ways that NCCL may allow), a rank that is killed, one that stands still, one that never
# comes; data, deadlines and memory are checked, figures are printed as "# ..." lines. Takes a few minutes.
# Exit code: 0, 1 failed, 77 skipped (no GPU, no NCCL).
#
#   tests/gpu/run.sh                     LOCKSTEP_NCCL_LIBRARY may name libnccl.so.2; LOCKSTEP_GPU_MIB the largest op (256)
#   LOCKSTEP_GPU_FAKE=1 tests/gpu/run.sh  the same steps on the fake libraries of tests/fake: proves this script, no GPU
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
preset=${LOCKSTEP_GPU_PRESET:-release}
check=build/$preset/bin/gpu_check
failed=0

build() {
    local log
    log=$(mktemp)
    if cmake --preset "$preset" >"$log" 2>&1 &&
        cmake --build --preset "$preset" -j "$(nproc)" --target gpu_check lockstep-probe-nccl fake_gpu >>"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 40 "$log" >&2
    rm -f "$log"
    echo "not ok gpu.build"
    exit 1
}

use_fakes() {
    local dir
    dir=$(mktemp -d)
    # shellcheck disable=SC2064 - the folder of now
    trap "rm -rf '$dir'" EXIT
    echo "devices ${LOCKSTEP_GPU_FAKE_DEVICES:-2}" >"$dir/gpu"
    export LOCKSTEP_FAKE_GPU=$dir/gpu LOCKSTEP_GPU_LABEL=fake_gpu LOCKSTEP_GPU_MIB=16
    export LOCKSTEP_NCCL_LIBRARY=$PWD/build/$preset/fake/libnccl.so.2
    export LOCKSTEP_CUDA_LIBRARY=$PWD/build/$preset/fake/libcuda.so.1
    export LOCKSTEP_NVML_LIBRARY=$PWD/build/$preset/fake/libnvidia-ml.so.1
    echo "# FAKE GPUs: what follows is a test of this script, and says nothing about any hardware"
}

# step ARGUMENTS OF gpu_check: its code, failures remembered.
step() {
    "$check" "$@"
    local code=$?
    [ $code -eq 0 ] || [ $code -eq 77 ] || failed=1
    return $code
}

build
[ -z "${LOCKSTEP_GPU_FAKE:-}" ] || use_fakes
gpus=$("$check" list)
code=$?
if [ $code -ne 0 ]; then
    echo "nothing was run on a GPU" >&2
    "$check" list >/dev/null # its reason is the last line
    exit $code
fi
sed 's/^/# GPU /' <<<"$gpus"
n=$(wc -l <<<"$gpus")
[ "$n" -le 8 ] || n=8

step ops 1
first=$?
[ $first -ne 77 ] || exit 77

ranks=$n way=
if [ "$n" -lt 2 ]; then
    ranks=2
    export LOCKSTEP_NCCL_SHARE_GPU=1
    # NCCL 2.30.3 and later may put two ranks on one GPU; older ones only if they take them for two hosts.
    if NCCL_MULTI_RANK_GPU_ENABLE=1 NCCL_NVLS_ENABLE=0 step ops 2 shared; then
        export NCCL_MULTI_RANK_GPU_ENABLE=1 NCCL_NVLS_ENABLE=0
        way=shared
    fi
    if NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo NCCL_MNNVL_ENABLE=0 step ops 2 apart && [ -z "$way" ]; then
        export NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo NCCL_MNNVL_ENABLE=0
        way=apart
    fi
    if [ -z "$way" ]; then
        echo "skip ${LOCKSTEP_GPU_LABEL:-gpu}.faults: this NCCL does not run two ranks on one GPU, and there is one GPU"
        exit $failed
    fi
else
    step ops "$ranks"
fi
step killed "$ranks" $way
step frozen "$ranks" $way
step missing "$ranks" $way
[ $failed -eq 0 ] && [ -n "${LOCKSTEP_GPU_FAKE:-}" ] && echo "# FAKE GPUs: all steps of this script work"
exit $failed
