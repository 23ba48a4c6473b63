/*
 * Which nodes of a domain without further levels take p pods: the fewest (the largest ones), as level as
 * their capacities allow. Told from the histogram of capacities alone.
 */
#include "scheduler/plan/plan_internal.h"

uint64_t plan__even_squares(uint32_t pods, uint32_t nodes)
{
    uint64_t base = pods / nodes, more = pods % nodes;

    return more * (base + 1) * (base + 1) + (nodes - more) * base * base;
}

static void fewest_nodes(const uint32_t *hist, uint32_t most, uint32_t pods, struct plan_fill *fill)
{
    uint32_t left = pods;

    for (uint32_t c = most; c > 0; c--) {
        uint32_t need = (left + c - 1) / c;

        if (hist[c] == 0)
            continue;
        fill->lowest = c;
        fill->of_lowest = need < hist[c] ? need : hist[c];
        fill->nodes += fill->of_lowest;
        if (need <= hist[c])
            return;
        left -= hist[c] * c;
    }
}

/* The small ones are full, the others share what is left; all of one capacity are treated alike. */
static void level_out(const uint32_t *hist, uint32_t most, uint32_t pods, struct plan_fill *fill)
{
    fill->shared = fill->nodes;
    fill->rest = pods;
    for (uint32_t c = fill->lowest; c <= most; c++) {
        uint32_t n = c == fill->lowest ? fill->of_lowest : hist[c];

        fill->share_from = c;
        if ((uint64_t)c * fill->shared >= fill->rest)
            break;
        fill->squares += (uint64_t)n * c * c;
        fill->rest -= n * c;
        fill->shared -= n;
    }
    fill->squares += plan__even_squares(fill->rest, fill->shared);
}

struct plan_fill plan__fill(const uint32_t *hist, uint32_t most, uint32_t pods)
{
    struct plan_fill fill = {0};

    fewest_nodes(hist, most, pods, &fill);
    level_out(hist, most, pods, &fill);
    return fill;
}
