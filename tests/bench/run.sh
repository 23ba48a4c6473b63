#!/bin/bash
# tests/bench/run.sh NAME...   runs tests/bench/NAME.sh: a table for people on stderr, and on stdout one
# line per figure, "figure: number unit", such as "bind.vs_stock_500: 0.95 ratio".
#
# Without a name it lists what there is. A benchmark prints its own lines in that form; any other line on
# its stdout is an error, so that no figure gets lost. Exit: 0 all ran, 1 one failed, 2 bad usage.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
source tests/suites/lib.sh

names() {
    local file
    for file in tests/bench/*.sh; do
        [ "$(basename "$file")" = run.sh ] || basename "$file" .sh
    done
}

if [ $# -eq 0 ]; then
    echo "usage: tests/bench/run.sh NAME...; there is: $(names | tr '\n' ' ')" >&2
    exit 2
fi
for name in "$@"; do
    [[ " $(names | tr '\n' ' ')" == *" $name "* ]] || {
        echo "tests/bench/run.sh: no benchmark '$name'; there is: $(names | tr '\n' ' ')" >&2
        exit 2
    }
done

bash deploy/packages.sh ensure build || exit 1
(build_preset release) >&2 || exit 1
failed=0
for name in "$@"; do
    progress "benchmark $name"
    out=$(bash "tests/bench/$name.sh") || { progress "benchmark $name failed"; failed=1; }
    figures=$(grep -E '^[a-z0-9_.]+: -?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)? [^ ]+$' <<<"$out")
    other=$(grep -vxF -- "$figures" <<<"$out" | grep -v '^$')
    [ -z "$figures" ] || printf '%s\n' "$figures"
    if [ -z "$figures" ] || [ -n "$other" ]; then
        progress "benchmark $name: not a figure: '${other:-nothing at all}'"
        failed=1
    fi
done
exit $failed
