#!/bin/bash
# longest.sh [N] - the N (10) longest and most complex functions and largest files, to see them grow.
#
# Complexity counts the ways through a function: 1 + each if, for, while, case, &&, || and ?. The
# house style makes reading easy: a function's braces stand alone in the first column.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
n=${1:-10}

sources() { git ls-files -co --exclude-standard -- '*.c' '*.h' | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

functions() {
    sources | grep '\.c$' | xargs -r awk '
        FNR == 1 { inside = 0; head = "" }
        !inside && /^[A-Za-z_].*\(/ && !/;[ \t]*$/ { head = $0; first = FNR }
        /^\{/ && head != "" {
            inside = 1; complexity = 1; name = head
            sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
            next
        }
        /^\}/ && inside {
            printf "%d %d %s %s:%d\n", FNR - first + 1, complexity, name, FILENAME, first
            inside = 0; head = ""; next
        }
        inside {
            line = $0
            gsub(/"([^"\\]|\\.)*"/, "\"\"", line); gsub(/\047([^\047\\]|\\.)*\047/, "0", line)
            sub(/\/\/.*/, "", line); gsub(/\/\*.*\*\//, "", line)
            if (line ~ /^[ \t]*\*/ || line ~ /^[ \t]*\/\*/) next
            complexity += gsub(/(^|[^A-Za-z_])(if|for|while|case|json_object_foreach|json_array_foreach)([^A-Za-z_0-9]|$)/, " ", line)
            complexity += gsub(/&&/, " ", line) + gsub(/\|\|/, " ", line) + gsub(/\?/, " ", line)
        }'
}

list=$(functions)
echo "longest functions (lines):"
sort -rn -k1,1 <<<"$list" | awk -v n="$n" 'NR <= n {printf "  %4d  %-32s %s\n", $1, $3, $4}'
echo "most complex functions (ways through):"
sort -rn -k2,2 <<<"$list" | awk -v n="$n" 'NR <= n {printf "  %4d  %-32s %s\n", $2, $3, $4}'
echo "largest files (lines; above 600 wants splitting):"
sources | xargs -r wc -l | grep -v ' total$' | sort -rn | awk -v n="$n" 'NR <= n {printf "  %4d  %s\n", $1, $2}'
