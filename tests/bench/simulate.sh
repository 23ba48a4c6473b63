#!/bin/bash
# lockstep simulate: three seeded traces of 2,000 gangs on 512 nodes of 8 GPUs (8 blocks of 8 racks of 8): how long gangs
# wait and how much is used, by lockstep, best-fit and first-fit. Virtual time: the figures are the same on every machine.
# The tables of all three seeds, also with the baselines keeping only nodes for the head of the line, go to stderr.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
levels=example.com/block,example.com/rack

for i in $(seq 0 511); do
    printf '{"kind":"Node","metadata":{"name":"n%04d","labels":{"example.com/block":"b%d","example.com/rack":"r%02d"}},' \
        "$i" $((i / 64)) $((i / 8))
    printf '"status":{"allocatable":{"cpu":"96","memory":"1000Gi","pods":"110","nvidia.com/gpu":"8"}}}\n'
done >"$work/cluster.json"

for seed in 1 2 3; do
    build/release/bin/lockstep simulate -f "$work/cluster.json" -l $levels --make-trace $seed,2000 >"$work/trace.csv"
    for keep in all nodes; do
        echo "seed $seed, --keep $keep" >&2
        build/release/bin/lockstep simulate -f "$work/cluster.json" -l $levels -t "$work/trace.csv" --keep $keep >&2
    done
    build/release/bin/lockstep simulate -f "$work/cluster.json" -l $levels -t "$work/trace.csv" -o json >"$work/result.json"
    jq -r --arg seed $seed '.policies[] | "simulate.seed_\($seed).\(.policy | gsub("-"; "_"))" as $name |
        "\($name).use: \(.use * 10000 | round / 100) %",
        "\($name).use_while_submitting: \(.use_while_submitting * 10000 | round / 100) %",
        (.wait_s | to_entries[] | "\($name).wait_\(.key): \(.value | round) s")' "$work/result.json"
done
