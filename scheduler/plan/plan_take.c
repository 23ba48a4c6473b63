/* From leaves to nodes: how many pods each node gets, and which of several equal nodes that is. */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

void plan__share(struct plan_solver *solver, uint32_t node, uint32_t count)
{
    struct plan *plan = solver->plan;

    plan->shares[plan->nshares++] = (struct plan_share){node, count, plan->pods};
    plan->pods += count;
}

/* ---- which node takes which count ----------------------------------------------------------------------- */

/* Falling counts that are to go to nodes of one leaf, and what was found. */
struct hand {
    uint32_t *counts, n;
    uint64_t *keys, *spare; /* nodes by capacity, free units, index */
    uint32_t *next; /* the first node from here on that is free */
    uint64_t *found; /* node, count */
    uint32_t nkeys, nfound;
    bool but_pinned; /* those have their share already */
};

static bool hand_alloc(struct plan_solver *solver, uint32_t leaf, struct hand *hand)
{
    size_t n = solver->index->domains[leaf].nnodes + (size_t)1;

    *hand = (struct hand){.counts = plan__alloc(solver->scratch, n, sizeof(uint32_t)),
                          .keys = plan__alloc(solver->scratch, n, sizeof(uint64_t)),
                          .spare = plan__alloc(solver->scratch, n, sizeof(uint64_t)),
                          .next = plan__alloc(solver->scratch, n, sizeof(uint32_t)),
                          .found = plan__alloc(solver->scratch, n, sizeof(uint64_t))};
    if (hand->counts && hand->keys && hand->spare && hand->next && hand->found)
        return true;
    solver->out_of_memory = true;
    return false;
}

static void sort_nodes(struct plan_solver *solver, uint32_t leaf, struct hand *hand)
{
    const struct plan_index *index = solver->index;
    const struct plan_domain *here = &index->domains[leaf];

    for (uint32_t i = 0; i < here->nnodes; i++) {
        uint32_t node = index->order[here->first_node + i];

        if (index->capacity[node] > 0 && !(hand->but_pinned && solver->pinned[node]))
            hand->keys[hand->nkeys++] = (uint64_t)index->capacity[node] << 48 |
                                        (uint64_t)index->free_units[node] << 32 | node;
    }
    plan__sort(hand->keys, hand->spare, hand->nkeys);
    for (uint32_t i = 0; i <= hand->nkeys; i++)
        hand->next[i] = i;
}

static uint32_t first_free(uint32_t *next, uint32_t at)
{
    uint32_t end = at;

    while (next[end] != end)
        end = next[end];
    while (next[at] != end) {
        uint32_t step = next[at];

        next[at] = end;
        at = step;
    }
    return end;
}

static uint32_t first_with_room(const struct hand *hand, uint32_t count)
{
    uint32_t low = 0, high = hand->nkeys;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (hand->keys[middle] >> 48 < count)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * Falling counts, each on the tightest free node that takes it: what takes a larger count takes a smaller one
 * too, so nothing is left without a node, and no other choice of nodes has less room left over in sum.
 */
static void deal(struct plan_solver *solver, uint32_t leaf, struct hand *hand)
{
    sort_nodes(solver, leaf, hand);
    for (uint32_t i = 0; i < hand->n; i++) {
        uint32_t at = first_free(hand->next, first_with_room(hand, hand->counts[i]));

        if (at == hand->nkeys)
            return; /* cannot be: the counts were made from these nodes */
        hand->found[hand->nfound++] = (hand->keys[at] & UINT32_MAX) << 32 | hand->counts[i];
        hand->next[at] = at + 1;
    }
}

static void share_found(struct plan_solver *solver, struct hand *hand)
{
    plan__sort(hand->found, hand->spare, hand->nfound);
    for (uint32_t i = 0; i < hand->nfound; i++)
        plan__share(solver, (uint32_t)(hand->found[i] >> 32), (uint32_t)hand->found[i]);
}

/* ---- one leaf, without pins -------------------------------------------------------------------------------- */

/* Of `n` nodes with this capacity: falls as the capacity does. `more`: nodes that get one above the rest. */
static void add_counts(struct hand *hand, const struct plan_fill *fill, uint32_t capacity, uint32_t n,
                       uint32_t *more)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = capacity;

        if (capacity >= fill->share_from) {
            count = fill->rest / fill->shared + (*more > 0);
            *more -= *more > 0;
        }
        hand->counts[hand->n++] = count;
    }
}

static void take_pinned(struct plan_solver *solver, uint32_t leaf, uint32_t pods, struct hand *hand);

void plan__take_leaf(struct plan_solver *solver, uint32_t leaf, uint32_t pods)
{
    const uint32_t *hist = plan__hist(solver->index, leaf);
    struct plan_fill fill;
    struct hand hand;
    uint32_t more;

    if (!hand_alloc(solver, leaf, &hand))
        return;
    if (solver->has_pins && solver->has_pins[leaf]) {
        take_pinned(solver, leaf, pods, &hand);
        return;
    }
    fill = plan__fill(hist, solver->index->most, pods);
    more = fill.rest % fill.shared;
    for (uint32_t c = solver->index->most; c >= fill.lowest; c--)
        add_counts(&hand, &fill, c, c == fill.lowest ? fill.of_lowest : hist[c], &more);
    deal(solver, leaf, &hand);
    share_found(solver, &hand);
}

/* ---- one leaf with pins ------------------------------------------------------------------------------------ */

/* Nodes that take part: what each has, what it can take, what it gets. */
struct basin {
    uint32_t *node, *there, *room, *gets;
    uint32_t n, npinned;
};

static bool basin_alloc(struct plan_solver *solver, uint32_t n, struct basin *ret)
{
    *ret = (struct basin){.node = plan__alloc(solver->scratch, (size_t)n + 1, sizeof(uint32_t)),
                          .there = plan__alloc(solver->scratch, (size_t)n + 1, sizeof(uint32_t)),
                          .room = plan__alloc(solver->scratch, (size_t)n + 1, sizeof(uint32_t)),
                          .gets = plan__alloc(solver->scratch, (size_t)n + 1, sizeof(uint32_t))};
    if (ret->node && ret->there && ret->room && ret->gets)
        return true;
    solver->out_of_memory = true;
    return false;
}

static void add_to_basin(const struct plan_solver *solver, struct basin *basin, uint32_t node)
{
    basin->node[basin->n] = node;
    basin->there[basin->n] = solver->pinned[node];
    basin->room[basin->n++] = solver->index->capacity[node];
}

/* The pinned nodes, and as few others as must be, the largest first. */
static void fill_basin(struct plan_solver *solver, uint32_t leaf, uint32_t pods, struct basin *basin)
{
    const struct plan_index *index = solver->index;
    const struct plan_domain *here = &index->domains[leaf];
    struct plan_items items = plan__items(solver, leaf, 1);
    uint64_t room = 0;

    for (uint32_t i = 0; i < here->nnodes; i++) {
        uint32_t node = index->order[here->first_node + i];

        if (solver->pinned[node]) {
            room += index->capacity[node];
            add_to_basin(solver, basin, node);
        }
    }
    basin->npinned = basin->n;
    for (uint32_t i = 0; i < items.n && room < pods; i++) {
        uint32_t node = (uint32_t)items.keys[i] - index->ndomains;

        if (solver->pinned[node])
            continue;
        room += index->capacity[node];
        add_to_basin(solver, basin, node);
    }
}

static uint32_t reaches(const struct basin *basin, uint32_t level, uint32_t i)
{
    uint32_t rise = level > basin->there[i] ? level - basin->there[i] : 0;

    return rise < basin->room[i] ? rise : basin->room[i];
}

static uint64_t reached(const struct basin *basin, uint32_t level)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < basin->n; i++)
        sum += reaches(basin, level, i);
    return sum;
}

/* Water rises over the nodes, from what they have to what they can have, until all pods are in it. */
static uint64_t pour(struct basin *basin, uint32_t pods)
{
    uint32_t level = 0, left = pods;
    uint64_t squares = 0;

    while (reached(basin, level) < pods && reached(basin, level + 1) <= pods)
        level++;
    for (uint32_t i = 0; i < basin->n; i++)
        left -= basin->gets[i] = reaches(basin, level, i);
    for (uint32_t i = 0; i < basin->n; i++) {
        uint64_t there = basin->there[i], all;

        if (left > 0 && there <= level && basin->gets[i] < basin->room[i]) {
            basin->gets[i]++;
            left--;
        }
        all = there + basin->gets[i];
        squares += all * all - there * there;
    }
    return squares;
}

struct plan_fill plan__fill_pinned(struct plan_solver *solver, uint32_t leaf, uint32_t pods,
                                   struct basin *ret_basin)
{
    struct plan_fill fill = {0};
    struct basin basin;

    if (!basin_alloc(solver, solver->index->domains[leaf].nnodes, &basin))
        return fill;
    fill_basin(solver, leaf, pods, &basin);
    fill.squares = pour(&basin, pods);
    fill.nodes = basin.n - basin.npinned;
    if (ret_basin)
        *ret_basin = basin;
    return fill;
}

static void take_pinned(struct plan_solver *solver, uint32_t leaf, uint32_t pods, struct hand *hand)
{
    struct basin basin = {0};

    hand->but_pinned = true;
    plan__fill_pinned(solver, leaf, pods, &basin);
    if (solver->out_of_memory)
        return;
    for (uint32_t i = basin.npinned; i < basin.n; i++)
        hand->spare[hand->n++] = UINT32_MAX - basin.gets[i];
    plan__sort(hand->spare, hand->keys, hand->n);
    for (uint32_t i = 0; i < hand->n; i++)
        hand->counts[i] = UINT32_MAX - (uint32_t)hand->spare[i];
    deal(solver, leaf, hand);
    for (uint32_t i = 0; i < basin.npinned; i++)
        if (basin.gets[i] > 0)
            hand->found[hand->nfound++] = (uint64_t)basin.node[i] << 32 | basin.gets[i];
    share_found(solver, hand);
}

/* ---- a set of leaves ----------------------------------------------------------------------------------------- */

/* How many nodes of this capacity a leaf has to offer; of a loose one only its largest, `left` of them. */
static uint32_t offers(const struct plan_solver *solver, const struct plan_taken *taken, uint32_t capacity,
                       uint32_t *left)
{
    uint32_t n = plan__hist(solver->index, taken->leaf)[capacity];

    if (taken->nodes == PLAN_UNKNOWN)
        return n;
    n = n < *left ? n : *left;
    *left -= n;
    return n;
}

struct plan_fill plan__fill_set(struct plan_solver *solver)
{
    uint32_t most = solver->index->most;
    uint32_t *hist = plan__zalloc(solver->scratch, (size_t)most + 1, sizeof(*hist));

    if (!hist) {
        solver->out_of_memory = true;
        return (struct plan_fill){0};
    }
    for (uint32_t i = 0; i < solver->ntaken; i++) {
        uint32_t left = solver->taken[i].nodes;

        for (uint32_t c = most; c > 0; c--)
            hist[c] += offers(solver, &solver->taken[i], c, &left);
    }
    return plan__fill(hist, most, solver->pods);
}

static void take_part(struct plan_solver *solver, const struct plan_taken *taken,
                      const struct plan_fill *fill, uint32_t *lowest_left, uint32_t *more)
{
    uint32_t left = taken->nodes;
    struct hand hand;

    if (!hand_alloc(solver, taken->leaf, &hand))
        return;
    for (uint32_t c = solver->index->most; c >= fill->lowest; c--) {
        uint32_t n = offers(solver, taken, c, &left);

        if (c == fill->lowest) {
            n = n < *lowest_left ? n : *lowest_left;
            *lowest_left -= n;
        }
        add_counts(&hand, fill, c, n, more);
    }
    deal(solver, taken->leaf, &hand);
    share_found(solver, &hand);
}

void plan__take_set(struct plan_solver *solver)
{
    struct plan_fill fill = plan__fill_set(solver);
    uint64_t *order = plan__alloc(solver->scratch, (size_t)solver->ntaken * 2 + 1, sizeof(*order));
    uint32_t lowest_left = fill.of_lowest, more;

    if (!order || solver->out_of_memory) {
        solver->out_of_memory = true;
        return;
    }
    more = fill.rest % fill.shared;
    for (uint32_t i = 0; i < solver->ntaken; i++)
        order[i] = (uint64_t)solver->index->domains[solver->taken[i].leaf].first_node << 32 | i;
    plan__sort(order, order + solver->ntaken, solver->ntaken);
    for (uint32_t i = 0; i < solver->ntaken && !solver->out_of_memory; i++)
        take_part(solver, &solver->taken[(uint32_t)order[i]], &fill, &lowest_left, &more);
}
