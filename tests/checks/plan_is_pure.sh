#!/bin/bash
# The planner, and the predictor of bandwidth with the subset tables, link libc and libm only, and of libc only what
# has no side effect: no clock, no file, no socket, no thread, no random source. Every symbol that they take from
# outside must be on this list; of the predictor itself, without the tables, memory is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
no_memory='memcpy|memmove|memset|memcmp|memchr|strlen|strcmp|strncmp|strchr|strrchr|strstr|snprintf|bsearch|abs|abort|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(memcpy|memmove|memset|snprintf|vsnprintf)_chk|__popcountdi2|(sqrt|floor|ceil|log|log2|exp|pow|fmin|fmax|fabs|round|lround|llround|isnan|isinf)f?'
whole=$(mktemp --suffix=.o)
trap 'rm -f "$whole"' EXIT

check() { # NAME SYMBOLS FILE...
    local name=$1 allowed=$2 wrong
    shift 2
    for file in "$@"; do
        [ -f "$file" ] || { echo "$file does not exist: build the preset release first" >&2; exit 1; }
    done
    # One relocatable object: calls between its own files are then defined in it.
    ld -r -o "$whole" --whole-archive "$@"
    wrong=$(nm -u "$whole" | awk '{print $2}' | grep -vE "^($allowed)\$" || true)
    [ "$(nm --defined-only "$whole" | wc -l)" -gt 0 ] || { echo "$name defines nothing" >&2; exit 1; }
    [ -z "$wrong" ] && return
    echo "$name calls from outside what is not on the list of pure functions: $(tr '\n' ' ' <<<"$wrong")" >&2
    exit 1
}

memory='malloc|calloc|realloc|free|strdup|qsort|qsort_r'
objects=build/release/topology/CMakeFiles/lockstep_topology.dir
check "the planner" "$memory|$no_memory" build/release/scheduler/liblockstep_plan.a
check "the predictor" "$no_memory" $objects/bandwidth*.c.o
check "the predictor with the subset tables" "$memory|$no_memory" $objects/bandwidth*.c.o $objects/subset.c.o
