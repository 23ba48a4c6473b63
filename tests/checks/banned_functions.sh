#!/bin/bash
# Functions that the house style bans, called anywhere in the C sources.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
banned='strcpy|strcat|sprintf|vsprintf|atoi|atol|atoll|atof|strtok|strtok_r|gets|alloca|system|popen|tmpnam|mktemp|asctime|ctime|gmtime|localtime'
found=$(git ls-files -co --exclude-standard -- '*.c' '*.h' | while read -r f; do [ -f "$f" ] && echo "$f"; done |
    xargs -r grep -nE "(^|[^A-Za-z0-9_])($banned)[[:space:]]*\(" |
    grep -vE '^[^:]*:[0-9]+:[[:space:]]*(\*|/\*|//)' || true)
[ -z "$found" ] && exit 0
echo "$found" >&2
echo "banned functions are called (style.md: no strcpy, sprintf, atoi, strtok, alloca and the like)" >&2
exit 1
