# record.awk - what a record of podwatch says, per gang and in total.
#
#   awk -f tests/faults/record.awk -v gpus=8 RECORD      the record sorted by `sort -n -k2,2 -s`
#
# A gang is partial while some, but fewer than min, of its live pods are bound and it has not been whole
# yet. That is allowed in its bind window only: from the first binding for at most 60 s (-v window=S), while the
# GangPlacement as last written says Binding. Prints one line per gang,
#   gang NAME min N bound N first NS whole NS inside S outside S below S told S
# (first, whole: CLOCK_MONOTONIC of the first binding and of the one that made it whole, 0: never;
# below: seconds below min afterwards; told: the part of outside in which the gang was Broken or
# Replacing, and so said what is wrong), one "over" line per node and time with more GPUs than it has, and
#   total gangs N inside S outside S over N told S raced N
#
# -v ended=FILE names gangs that the test itself took apart and when, a line "ns/name NS" each: what is
# left of them is no start. -v by_hand=REGEX names pods ("ns/name") that were put on a node past any scheduler:
# by them a node is not overfull, nor by one of ours within RACE of them, as nobody could know; these
# are counted as raced.
BEGIN {
    FS = "\t"
    WINDOW = (window ? window : 60) * 1e9
    RACE = 2e9
    if (!gpus) gpus = 8
    while (ended && (getline line < ended) > 0) {
        split(line, part, " ")
        if (!(part[1] in apart)) apart[part[1]] = part[2]
    }
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
    if (g in apart && now > apart[g]) now = apart[g] > from ? apart[g] : from
    limit = state[g] == "Binding" ? first[g] + WINDOW : 0
    if (limit > now) limit = now
    if (limit < from) limit = from
    inside[g] += limit - from
    outside[g] += now - limit
    if (state[g] == "Broken" || state[g] == "Replacing") told[g] += now - limit
}

function count(g, now, change) {
    if (!change) return
    bound[g] += change
    if (bound[g] > 0 && !first[g]) first[g] = now
    if (bound[g] >= min[g] && !whole[g]) whole[g] = now
}

function use(node, amount, now, hand) {
    if (!amount) return
    used[node] += amount
    if (hand && amount > 0) handed[node] = now
    if (used[node] <= gpus || (by_hand && amount < 0)) return
    if (hand || (node in handed && now - handed[node] < RACE)) {
        raced++
        return
    }
    printf "over node %s has %d GPUs in use of %d at %.0f\n", node, used[node], gpus, now
    over++
}

# A pod counts for its gang while it is bound, neither ended nor going; it uses GPUs until it ended.
function set_pod(uid, g, node, phase, amount, now, hand,    done, counts, uses) {
    done = phase == "Failed" || phase == "Succeeded" || phase == "Gone"
    counts = node != "-" && !done && phase != "Terminating"
    uses = node != "-" && !done ? amount : 0
    if (g != "-") {
        advance(g, now)
        count(g, now, counts - counted[uid])
        counted[uid] = counts
    }
    if (node != "-") use(node, uses - using[uid], now, hand)
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
    set_pod($5, g, $8, $9, $10 == "-" ? 0 : $10, now, by_hand && $4 ~ by_hand)
}
$3 == "pod-gone" && ($5 in gang) {
    set_pod($5, gang[$5], where[$5], "Gone", 0, now, 0)
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
        printf "gang %s min %d bound %d first %.0f whole %.0f inside %.3f outside %.3f below %.3f told %.3f\n", g,
            min[g], bound[g], first[g], whole[g], inside[g] / 1e9, outside[g] / 1e9, below[g] / 1e9,
            told[g] / 1e9
        gangs++
        all_inside += inside[g]
        all_outside += outside[g]
        all_told += told[g]
    }
    printf "total gangs %d inside %.3f outside %.3f over %d told %.3f raced %d\n", gangs,
        all_inside / 1e9, all_outside / 1e9, over, all_told / 1e9, raced
}
