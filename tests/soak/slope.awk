# slope.awk - how the memory of a process grows: least squares over lines "seconds pid rss-KiB".
#
#   awk -f tests/soak/slope.awk SAMPLES
#
# Prints one line per life of a process (a pid) with its slope over the second half of that life, where
# caches, pools and the allocator's own reserves have had time to fill:
#   life PID seconds N samples N first KIB last KIB slope KIB-PER-MINUTE
function slope(pid, from,    i, n, sx, sy, sxx, sxy) {
    for (i = 1; i <= count[pid]; i++) {
        if (at[pid, i] < from) continue
        n++
        sx += at[pid, i]
        sy += rss[pid, i]
        sxx += at[pid, i] ^ 2
        sxy += at[pid, i] * rss[pid, i]
    }
    return n > 1 && n * sxx > sx ^ 2 ? 60 * (n * sxy - sx * sy) / (n * sxx - sx ^ 2) : 0
}
NF == 3 {
    if (!($2 in count)) order[++lives] = $2
    i = ++count[$2]
    at[$2, i] = $1
    rss[$2, i] = $3
}
END {
    for (l = 1; l <= lives; l++) {
        pid = order[l]
        n = count[pid]
        printf "life %d seconds %d samples %d first %d last %d slope %.1f\n", pid, at[pid, n] - at[pid, 1], n,
            rss[pid, 1], rss[pid, n], slope(pid, (at[pid, 1] + at[pid, n]) / 2)
    }
}
