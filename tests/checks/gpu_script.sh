#!/bin/bash
# tests/gpu/run.sh itself, on fake GPUs: two, and one that two ranks share. Where there is a GPU, that script is for it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
LOCKSTEP_GPU_FAKE=1 LOCKSTEP_GPU_FAKE_DEVICES=2 bash tests/gpu/run.sh || exit 1
LOCKSTEP_GPU_FAKE=1 LOCKSTEP_GPU_FAKE_DEVICES=1 bash tests/gpu/run.sh
