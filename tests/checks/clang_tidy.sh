#!/bin/bash
# clang-tidy (.clang-tidy) over all sources: no finding. LOCKSTEP_TIDY_NODES: how far the analyzer follows one function;
# 225000 is its own limit and takes more than twice the time.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v clang-tidy >/dev/null || { echo "clang-tidy is not installed" >&2; exit 77; }
cmake --preset tidy >/dev/null && cmake --build --preset tidy --target probe_proto >/dev/null || exit 1 # its header is generated
out=$(printf '%s\n' base/*.c topology/*.c collective/*.c scheduler/*/*.c | xargs -P "$(nproc)" -n 8 \
    clang-tidy -p build/tidy --quiet --extra-arg=-Xclang --extra-arg=-analyzer-config \
    --extra-arg=-Xclang --extra-arg=max-nodes="${LOCKSTEP_TIDY_NODES:-60000}" 2>/dev/null)
[ -z "$(grep -E 'error:|warning:' <<<"$out")" ] && exit 0
printf '%s\n' "$out" >&2
exit 1
