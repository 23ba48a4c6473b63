#!/bin/bash
# The planner links libc and libm only, and of libc only what has no side effect: no clock, no file,
# no socket, no thread, no random source. Every symbol it takes from outside must be on this list.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
archive=build/release/scheduler/liblockstep_plan.a
[ -f "$archive" ] || { echo "$archive does not exist: build the preset release first" >&2; exit 1; }
allowed='^(malloc|calloc|realloc|free|memcpy|memmove|memset|memcmp|memchr|strlen|strcmp|strncmp|strchr|strrchr|strdup|snprintf|qsort|qsort_r|bsearch|abs|abort|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(memcpy|memmove|memset|snprintf|vsnprintf)_chk|(sqrt|floor|ceil|log|log2|exp|pow|fmin|fmax|fabs|round|lround|llround|isnan|isinf)f?)$'
whole=$(mktemp --suffix=.o)
trap 'rm -f "$whole"' EXIT
# One relocatable object: calls between the planner's own files are then defined in it.
ld -r -o "$whole" --whole-archive "$archive"
wrong=$(nm -u "$whole" | awk '{print $2}' | grep -vE "$allowed" || true)
[ "$(nm --defined-only "$whole" | wc -l)" -gt 0 ] || { echo "$archive defines nothing" >&2; exit 1; }
[ -z "$wrong" ] && exit 0
echo "the planner calls from outside what is not on the list of pure functions: $(tr '\n' ' ' <<<"$wrong")" >&2
exit 1
