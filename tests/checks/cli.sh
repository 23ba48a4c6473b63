#!/bin/bash
# The lockstep command on the example cluster: exit codes, and the JSON that programs read.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v jq >/dev/null || (source deploy/local/lib.sh && need_packages jq) || { echo "jq is not installed" >&2; exit 77; }
bin=build/release/bin/lockstep
examples=configs/examples
levels=example.com/block,example.com/rack
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
unset KUBECONFIG KUBERNETES_SERVICE_HOST
export HOME=$dir # no kubeconfig

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >&2; then echo "ok cli.$name"; else
        echo "not ok cli.$name: '$*'"
        failed=1
    fi
}
# answers CODE JQ-TEST COMMAND OPTION...: the exit code, and whether the JSON on stdout is so.
answers() {
    local code=$1 test=$2 found
    shift 2
    "$bin" "$@" -o json >"$dir/out"
    found=$?
    [ $found = "$code" ] || { echo "exit $found, expected $code"; return 1; }
    jq -e "$test" "$dir/out" >/dev/null || { cat "$dir/out"; return 1; }
}
# says CODE PATTERN COMMAND OPTION...: the same of the text on stdout and stderr.
says() {
    local code=$1 pattern=$2 found
    shift 2
    "$bin" "$@" >"$dir/out" 2>&1
    found=$?
    [ $found = "$code" ] || { echo "exit $found, expected $code"; return 1; }
    grep -q -- "$pattern" "$dir/out" || { cat "$dir/out"; return 1; }
}
# A cluster in which a gang of N pods with 8 GPUs waits in full, beside the example's own pods.
with_gang() {
    jq -n --argjson n "$1" '{apiVersion: "v1", kind: "List", items: [range($n) | {apiVersion: "v1", kind: "Pod",
        metadata: {name: "big-\(.)", namespace: "default", uid: "u-\(.)", labels: {"lockstep.dev/gang": "big"},
            annotations: {"lockstep.dev/gang-size": "\($n)"}},
        spec: {schedulerName: "lockstep", containers: [{name: "c", image: "none.test/none",
            resources: {limits: {"nvidia.com/gpu": "8"}}}]}}]}' >"$dir/gang.json"
}
on=(-f "$examples/cluster.yaml" -l "$levels")

printf 'a slots=2\nb\na\n' >"$dir/hostfile"
check probe_names_the_line_of_a_hostfile says 2 'hostfile:3: host a comes twice' probe --hostfile "$dir/hostfile"
check probe_wants_hosts_or_ranks says 2 '--ranks N, --hosts LIST or --hostfile FILE, one of them' probe --hosts a --ranks 2
check probe_wants_time_for_people says 2 'expected 10 s or more with hosts' probe --hosts a --timeout 5s
check probe_starts_only_a_host_of_the_list says 2 "here 'd': expected one of the hosts" probe --hosts a --here d

check plan_fits answers 0 '.feasible and (.placement | length) == 4 and .domains["example.com/rack"] == 1' \
    plan "${on[@]}" -g $examples/job.yaml
check plan_keeps_subgroups answers 0 '.domains["example.com/block"] == 2 and .domains["example.com/rack"] == 2 and
    ([.placement[].pod] == ["serve-0-0", "serve-0-1", "serve-1-0", "serve-1-1"]) and all(.certificate[]; .optimal)' \
    plan "${on[@]}" -g $examples/subgroups.yaml
check plan_says_what_would_fit answers 3 '.reason.code == "NoDomainFits" and
    ([.would_fit[].change] == ["empty", "preferred", "pods"]) and (.would_fit[0].fits | not) and
    .would_fit[1].level == "example.com/block" and .would_fit[2].pods == 7' \
    plan "${on[@]}" -g $examples/job-one-block.yaml
check plan_says_it_in_words says 3 'fits with preferred=example.com/block instead of required=example.com/block' \
    plan "${on[@]}" -g $examples/job-one-block.yaml
check plan_draws_the_placement says 0 'b2-1 0000|0000   b2-2 0000|0000   b2-3 0000|0000   b2-4 0000|0000' \
    plan "${on[@]}" -g $examples/job.yaml
check plan_needs_a_cluster says 2 "cannot read kubeconfig" plan -g $examples/job.yaml

with_gang 14
check explain_waiting answers 3 '.gang == "default/big" and .state == "Waiting" and .reason.fit == 11 and
    ([.would_fit[].change] == ["pods", "leave", "empty"]) and .would_fit[0].pods == 11 and
    .would_fit[1].pods == 3 and (.would_fit[1].leavers | length) == 3' explain "${on[@]}" -f "$dir/gang.json" big
# Made true: those that it names have ended (all of them; all but the first).
end_pods() { # NAME...: the example cluster in which these have ended
    local script=
    for name in "$@"; do script+="/{name: ${name#*/},/,/status:/s/Running/Succeeded/;"; done
    sed "$script" $examples/cluster.yaml
}
mapfile -t leavers < <("$bin" explain "${on[@]}" -f "$dir/gang.json" big -o json |
    jq -r '.would_fit[] | select(.change == "leave") | .leavers[].name')
end_pods "${leavers[@]}" >"$dir/ended.yaml"
end_pods "${leavers[@]:1}" >"$dir/ended-but-one.yaml"
check explain_is_right_about_who_must_leave answers 0 .feasible \
    explain -l $levels -f "$dir/ended.yaml" -f "$dir/gang.json" big
check explain_names_no_pod_that_could_stay answers 3 '.reason.fit == 13' \
    explain -l $levels -f "$dir/ended-but-one.yaml" -f "$dir/gang.json" big
with_gang 11
check explain_placed answers 0 '.feasible and .state == "Planned" and (.certificate[2].optimal)' \
    explain "${on[@]}" -f "$dir/gang.json" default/big
check explain_names_the_nearest says 2 "no gang 'default/bog'; did you mean default/big" \
    explain "${on[@]}" -f "$dir/gang.json" bog
check explain_needs_a_name says 2 'expected a gang' explain "${on[@]}"

check fit_counts answers 0 '.free == 92 and [.levels[] | {l: .level, p: .largest[0].pods}] ==
    [{l: "anywhere", p: 11}, {l: "example.com/block", p: 7}, {l: "example.com/rack", p: 4}, {l: "node", p: 1}]' \
    fit "${on[@]}" --pod-gpus 8
check fit_has_four_shapes answers 0 '[.levels[0].largest[].pod_gpus] == [1, 2, 4, 8]' fit "${on[@]}"
check fit_of_nothing answers 3 '.levels[0].largest[0].pods == 0' fit "${on[@]}" --pod-gpus 16
check fit_names_the_resource says 2 "resource 'amd.com/gpu'" fit "${on[@]}" --resource amd.com/gpu
check fit_refuses_a_word says 2 "expected a number" fit "${on[@]}" --pod-gpus many

data=tests/data/machines
check machine_json answers 0 '(keys == ["bandwidth_gb_s", "gpus", "links", "model", "nics", "numa", "sockets"]) and
    (.gpus[0] | keys == ["index", "numa", "pci", "uuid"]) and .links[0] == ["X", "NV18", "NV18", "NV18"] and
    .bandwidth_gb_s[0] == [null, 450, 450, 450]' machine $data/nccl-4h100-vm.xml
check machine_from_stdin answers 0 '(.gpus | length) == 8 and .sockets == null' machine - <$data/topo-8a100-nics.txt
check machine_of_the_catalogue answers 0 '.model == "DGX-1 V100" and .links[0][3] == "NV2"' machine dgx-1v
check machine_live answers 0 '.sockets >= 1 and (.numa | length) >= 1' machine
check machine_names_the_nearest says 2 "did you mean 'dgx-h100'?" machine dgx-h10
check machine_refuses says 2 "README.md:1: found none of the formats" machine README.md
check machine_without_colour says 0 'fabric: mesh' machine dgx-1v
check machine_draws says 0 '^<svg xmlns=' machine dgx-a100 -o svg
check machine_object bash -c "'$bin' machine gb200-nvl72-tray -o nodetopology --name n1 |
    jq -e '.kind == \"NodeTopology\" and .metadata.name == \"n1\" and .spec.fabric.nvlDomainGpus == 72'"
check machine_wants_a_node_name says 2 "expected the name of a node" machine dgx-1v -o nodetopology --name 'A b'
check machine_wants_a_format says 2 "expected text, json, svg or nodetopology" machine -o yaml
# What is foretold: NCCL's own figures are in tests/unit/test_bandwidth.c.
check predict_one_machine answers 0 '.busbw_gb_s > 460 and .busbw_gb_s < 495 and .limited_by == "nvls"' predict -m dgx-h100 --gpus 0-7
check predict_even answers 0 '.busbw_gb_s > 308 and .busbw_gb_s < 376 and .limited_by == "nic"' \
    predict -m dgx-h100 --nic-gbit-s 400 --shape 5,4
check predict_lopsided answers 0 '.busbw_gb_s < 90' predict -m dgx-h100 --nic-gbit-s 400 --shape 8,1
check predict_pods_share_a_node answers 0 '.busbw_gb_s < 200' predict -m dgx-h100 --shape 4+4,8
check predict_one_gpu answers 0 '.busbw_gb_s == null and .limited_by == "single gpu"' predict -m dgx-h100 --gpus 3
check predict_too_many answers 3 '.reason.code == "TooFewGpus"' predict -m dgx-h100 --shape 5+4
check predict_no_such_gpu says 2 "found 8, expected numbers below 8" predict -m dgx-h100 --gpus 7,8
check predict_no_such_list says 2 "found '0-x'" predict -m dgx-h100 --gpus 0-x
check predict_needs_a_question says 2 "expected one of --gpus and --shape" predict -m dgx-h100
check predict_says_it_in_words says 0 "192 GB/s .* limited by nic" predict -m dgx-h100 --shape 8,8,4
cat >"$dir/nodes.yaml" <<'END'
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3, nvidia.com/gpu.count: "8"}}
---
apiVersion: v1
kind: Node
metadata: {name: n3}
END
"$bin" machine dgx-h100 -o nodetopology --name n2 >"$dir/n2.json" && { echo ---; cat "$dir/n2.json"; } >>"$dir/nodes.yaml"
check predict_nodes answers 0 '.busbw_gb_s > 300 and .limited_by == "nic"' predict -f "$dir/nodes.yaml" --gpus n1:0-3,n2:0-3
check predict_unknown_node answers 0 '.busbw_gb_s == null and .limited_by == "unknown" and (.why | length) > 0' \
    predict -f "$dir/nodes.yaml" --gpus n1:0-3,n3:0-3
check predict_no_such_node says 2 "node 'n4' is not in" predict -f "$dir/nodes.yaml" --gpus n1:0,n4:0
check subset_best answers 0 '.gpus == [0, 4] and .busbw_gb_s == 44' subset -m dgx-1v --free 0,1,4,5 --count 2
check subset_too_few answers 3 '.reason.free == 4 and .gpus == []' subset -m dgx-1v --free 0,1,4,5 --count 5
check subset_no_such_gpu says 2 "found 9, expected numbers below 8" subset -m dgx-1v --free 0,9 --count 1
check subset_no_such_machine says 2 "dgx-1v" subset -m dgx-1w --count 1

# Ranks of this machine; the figures themselves are nobody's promise.
check probe_json answers 0 '.op == "all_reduce" and .backend == "tcp" and .ranks == 3 and .verdict == "unknown" and
    (.rows | length) == 3 and ([.rows[].wrong] | add) == 0 and .rows[1].bytes == 65532 and .busbw_gb_s > 0 and
    (.rows[2] | .algbw_gb_s > 0 and .time_s > 0)' probe --ranks 3 --sizes 4K:1M:16
check probe_slope answers 0 '(.rows | length) >= 3 and .latency_s >= 0' probe --ranks 2
check probe_pairs answers 0 '(.pairs_gb_s | length) == 3 and .pairs_gb_s[0][0] == null and .pairs_gb_s[2][1] > 0' \
    probe --ranks 3 --op all_to_all --sizes 64K --pairs
check probe_table says 0 '^# *size *count *type *redop *time *algbw *busbw *#wrong' probe --ranks 2 --sizes 64K --op all_gather
"$bin" probe --ranks 2 --sizes 1M -o json >"$dir/now.json"
jq '.busbw_gb_s *= 1000' "$dir/now.json" >"$dir/fast.json"
jq '.busbw_gb_s /= 1000' "$dir/now.json" >"$dir/slow.json"
check probe_is_slower answers 3 '.verdict == "slow" and .against.ratio < 0.1' probe --ranks 2 --sizes 1M --against "$dir/fast.json"
check probe_is_not_slower answers 0 '.verdict == "ok"' probe --ranks 2 --sizes 1M --against "$dir/slow.json" --tolerance 50
check probe_compares_like_with_like says 2 'found all_reduce over tcp of 2 ranks, expected all_reduce over tcp of 3' \
    probe --ranks 3 --sizes 1M --against "$dir/now.json"
check probe_needs_memory answers 3 '.verdict == "skipped" and (.reason.message | test("memory is short"))' probe --ranks 2 --sizes 512G
check probe_needs_ranks says 2 'expected --ranks' probe
check probe_refuses_sizes says 2 'the smaller size first' probe --ranks 2 --sizes 2M:1M
check probe_knows_its_ops says 2 'did you mean all_gather?' probe --ranks 2 --op all_gathr
check probe_leaves_nobody bash -c "! pgrep -f '^$PWD/$bin probe --child' >/dev/null"

exit $failed
