#!/bin/bash
# lockstep-probe-nccl runs in the workload's image: it wants no glibc newer than 2.28 (2018) and no other library.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
program=build/release/bin/lockstep-probe-nccl
command -v objdump >/dev/null || { echo "objdump is not installed" >&2; exit 77; }
[ -x $program ] || { echo "$program is not built" >&2; exit 1; }
newest=$(objdump -T $program | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
other=$(objdump -p $program | awk '$1 == "NEEDED" && $2 !~ /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|ld-linux.*)$/ {print $2}')
echo "$program wants $newest${other:+ and $other}" >&2
[ -z "$other" ] && [ "$(printf '%s\n' GLIBC_2.28 "$newest" | sort -V | tail -n 1)" = GLIBC_2.28 ]
