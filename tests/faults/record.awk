# record.awk - what a record of podwatch says, per gang and in total.
#
#   awk -f tests/faults/record.awk -v gpus=8 RECORD      the record sorted by `sort -n -k2,2 -s`
#
# A gang is partial while some, but fewer than min, of its live pods are bound and it has not been whole
# yet. That is allowed in its bind window only: from the first binding for at most 60 s, while the
# GangPlacement as last written says Binding. Prints one line per gang,
#   gang NAME min N bound N first NS whole NS inside S outside S below S
# (first, whole: CLOCK_MONOTONIC of the first binding and of the one that made it whole, 0: never;
# below: seconds below min afterwards), one "over" line per node and time with more GPUs than it has, and
#   total gangs N inside S outside S over N
BEGIN {
    FS = "\t"
    WINDOW = 60e9
    if (!gpus) gpus = 8
}

# Accounts for the time since the gang's last line.
function advance(g, now,    from, limit, partial) {
    from = last[g]
    if (now < from) now = from
    last[g] = now
    if (!from || !(g in min)) return
    partial = bound[g] > 0 && bound[g] < min[g]
    if (!partial) return
    if (whole[g]) {
        below[g] += now - from
        return
    }
    limit = state[g] == "Binding" ? first[g] + WINDOW : 0
    if (limit > now) limit = now
    if (limit < from) limit = from
    inside[g] += limit - from
    outside[g] += now - limit
}

function count(g, now, change) {
    if (!change) return
    bound[g] += change
    if (bound[g] > 0 && !first[g]) first[g] = now
    if (bound[g] >= min[g] && !whole[g]) whole[g] = now
}

function use(node, amount, now) {
    if (!amount) return
    used[node] += amount
    if (used[node] > gpus) {
        printf "over node %s has %d GPUs in use of %d at %.0f\n", node, used[node], gpus, now
        over++
    }
}

# A pod counts for its gang while it is bound, neither ended nor going; it uses GPUs until it ended.
function set_pod(uid, g, node, phase, amount, now,    ended, counts, uses) {
    ended = phase == "Failed" || phase == "Succeeded" || phase == "Gone"
    counts = node != "-" && !ended && phase != "Terminating"
    uses = node != "-" && !ended ? amount : 0
    if (g != "-") {
        advance(g, now)
        count(g, now, counts - counted[uid])
        counted[uid] = counts
    }
    if (node != "-") use(node, uses - using[uid], now)
    using[uid] = uses
    gang[uid] = g
    where[uid] = node
}

{
    now = $1
    if (now < newest) now = newest # sorted by version: two watches may bring them a little apart
    newest = now
}
$3 == "pod" {
    name = $4
    sub(/\/.*/, "", name)
    g = $6 == "-" ? "-" : name "/" $6
    if (g != "-" && $7 != "-") min[g] = $7
    set_pod($5, g, $8, $9, $10 == "-" ? 0 : $10, now)
}
$3 == "pod-gone" && ($5 in gang) {
    set_pod($5, gang[$5], where[$5], "Gone", 0, now)
}
$3 == "gp" {
    advance($4, now)
    state[$4] = $9
}
$3 == "gp-gone" {
    advance($4, now)
    delete state[$4]
}
END {
    for (g in min) {
        advance(g, newest)
        printf "gang %s min %d bound %d first %.0f whole %.0f inside %.3f outside %.3f below %.3f\n", g,
            min[g], bound[g], first[g], whole[g], inside[g] / 1e9, outside[g] / 1e9, below[g] / 1e9
        gangs++
        all_inside += inside[g]
        all_outside += outside[g]
    }
    printf "total gangs %d inside %.3f outside %.3f over %d\n", gangs, all_inside / 1e9,
        all_outside / 1e9, over
}
