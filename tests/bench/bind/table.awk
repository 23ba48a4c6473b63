# table.awk - what tests/bench/bind.sh measured ($RESULTS): a table for people, or with -v figures=1 the
# figures. Of repeated runs the median counts (of an even number the mean of the middle two).
#
#   run      CONTENDER NODES created-ms bound-ms attempts seconds   (of scheduling; - for the null binder)
#   phases   NODES voted-ms last201-ms writes-per-member            (lockstep)
#   memory   NODES VmRSS VmHWM    MiB    block  bound-ms    block-stock  bound-ms    verdict  seen-ms reason-ms writes quiet-writes
#   rss      HOW VmRSS VmHWM      MiB
BEGIN { FS = "\t"; pods = 500 }
function add(key, value) { n[key]++; values[key, n[key]] = value + 0 }
function sort(key,    i, j, x) {
    for (i = 2; i <= n[key]; i++) {
        x = values[key, i]
        for (j = i - 1; j > 0 && values[key, j] > x; j--) values[key, j + 1] = values[key, j]
        values[key, j + 1] = x
    }
}
function median(key,    half) {
    sort(key)
    half = int((n[key] + 1) / 2)
    return n[key] % 2 ? values[key, half] : (values[key, half] + values[key, half + 1]) / 2
}
function least(key) { sort(key); return values[key, 1] }
function most(key) { sort(key); return values[key, n[key]] }

$1 == "run" {
    key = $2 " " $3
    add("rate " key, pods * 1000 / $5)
    add("created " key, $4)
    add("bound " key, $5)
    if ($6 != "-") { add("attempts " key, $6 / pods); add("cycle " key, $7 * 1000 / $6) }
}
$1 == "phases" { add("voted " $2, $3); add("last201 " $2, $4); add("writes " $2, $5) }
$1 == "memory" { add("rss " $2, $3); add("hwm " $2, $4) }
$1 == "block" || $1 == "block-stock" { add($1, $2) }
$1 == "verdict" {
    add("verdict", $3 > $2 ? $3 - $2 : 0)
    add("reason", $3); add("seen", $2); add("told", $4); add("quiet", $5)
}
$1 == "rss" { add("rss 15000", $3); add("hwm 15000", $4); how = how sprintf("  %s %.1f (peak %.1f)", $2, $3, $4) }

function ratio(nodes, other) {
    if (!(("rate lockstep " nodes) in n) || !(("rate " other " " nodes) in n)) return
    printf "bind.vs_%s_%s: %.3f ratio\n", other, nodes,
        median("rate lockstep " nodes) / median("rate " other " " nodes)
}
function print_figures() {
    ratio(500, "stock"); ratio(500, "gang"); ratio(500, "null"); ratio(5000, "stock"); ratio(5000, "gang")
    if ("rss 15000" in n) printf "bind.rss_15000_mib: %.1f MiB\n", most("rss 15000")
    if ("writes 500" in n || "writes 5000" in n) {
        w = "writes 500" in n ? median("writes 500") : 0
        if ("writes 5000" in n && median("writes 5000") > w) w = median("writes 5000")
        printf "bind.writes_per_member: %.3f writes\n", w
    }
    if ("block" in n) printf "bind.block_100_s: %.3f s\n", median("block") / 1000
    if ("block-stock" in n) printf "bind.block_100_stock_s: %.3f s\n", median("block-stock") / 1000
    if ("verdict" in n) printf "bind.verdict_501_ms: %.1f ms\n", median("verdict")
}
function row(who, nodes,    key) {
    key = who " " nodes
    if (!(("rate " key) in n)) return
    printf "%5d  %-9s %4d  %6.1f  %5.1f - %5.1f  %8.0f  ", nodes, who, n["rate " key], median("rate " key),
        least("rate " key), most("rate " key), median("created " key)
    if (who == "lockstep") printf "%8.0f  %8.0f", median("voted " nodes), median("last201 " nodes)
    else printf "%8s  %8s", "-", "-"
    printf "  %8.0f", median("bound " key)
    if (("cycle " key) in n) printf "  %6.2f  %8.2f", median("cycle " key), median("attempts " key)
    else printf "  %6s  %8s", "-", "-"
    if (who == "lockstep") printf "  %6.3f  %5.1f (%5.1f)", median("writes " nodes), median("rss " nodes), median("hwm " nodes)
    printf "\n"
}
function rows(nodes) { row("lockstep", nodes); row("stock", nodes); row("gang", nodes); row("null", nodes) }
function print_table() {
    print "500 pods x 8 GPUs, medians; times in ms from the first create; writes: by the extender beyond"
    print "bindings, per member; cycle: kube-scheduler's, ms an attempt; memory: the extender's, MiB, and peak"
    printf "%5s  %-9s %4s  %6s  %13s  %8s  %8s  %8s  %8s  %6s  %8s  %6s  %s\n", "nodes", "", "runs", "pods/s", "min - max",
        "created", "voted", "last 201", "bound", "cycle", "attempts", "writes", "memory"
    rows(500); rows(5000)
    if ("block" in n) printf "100 pods required in one block of 128: bound after %.0f ms (%.0f - %.0f)\n",
        median("block"), least("block"), most("block")
    if ("block-stock" in n) printf "100 single pods anywhere by stock kube-scheduler: bound after %.0f ms (%.0f - %.0f)\n",
        median("block-stock"), least("block-stock"), most("block-stock")
    if ("verdict" in n) printf "501 pods on 500 nodes: last pod seen after %.0f ms, reason after %.0f ms, which is %.1f ms later; " \
        "the extender had made %d writes by then and 4 s more, and %d in 10 s afterwards\n", median("seen"), median("reason"),
        median("verdict"), median("told"), most("quiet")
    if ("rss 15000" in n) print "15,000 nodes, 15,000 bound pods: MiB" how
}
END { if (figures) print_figures(); else print_table() }
