/* An innermost domain: fewest nodes for p pods, evenly over them, on the nodes that fit tightest. */
#include <stdlib.h>

#include "scheduler/plan/plan_internal.h"

struct ranked {
    uint32_t capacity, node;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;

    if (left->capacity != right->capacity)
        return left->capacity > right->capacity ? -1 : 1;
    return left->node < right->node ? -1 : left->node > right->node;
}

void plan__leaf_prepare(struct plan_solver *solver, struct group *leaf)
{
    struct ranked *ranked;

    if (leaf->by_capacity)
        return;
    ranked = plan__alloc(solver->scratch, leaf->nnodes + 1, sizeof(*ranked));
    leaf->prefix = plan__alloc(solver->scratch, leaf->nnodes + 1, sizeof(uint64_t));
    leaf->by_capacity = plan__alloc(solver->scratch, leaf->nnodes + 1, sizeof(uint32_t));
    if (!ranked || !leaf->prefix || !leaf->by_capacity) {
        leaf->by_capacity = NULL;
        solver->out_of_memory = true;
        return;
    }
    for (uint32_t i = 0; i < leaf->nnodes; i++)
        ranked[i] = (struct ranked){solver->request->nodes[leaf->nodes[i]].capacity,
                                    leaf->nodes[i]};
    qsort(ranked, leaf->nnodes, sizeof(*ranked), compare_ranked);
    for (uint32_t i = 0; i < leaf->nnodes; i++) {
        leaf->by_capacity[i] = ranked[i].node;
        leaf->prefix[i + 1] = leaf->prefix[i] + ranked[i].capacity;
    }
}

/* Fewest nodes that hold p pods. */
static uint32_t nodes_for(const struct group *leaf, uint32_t pods)
{
    uint32_t low = 1, high = leaf->nnodes;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (leaf->prefix[middle] >= pods)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint32_t capacity_of(const struct plan_solver *solver, const struct group *leaf, uint32_t k)
{
    return solver->request->nodes[leaf->by_capacity[k]].capacity;
}

/*
 * p pods over the k largest nodes, as level as their capacities allow: the small ones are full, the
 * others share the rest evenly. Returns how many nodes share; the full ones come after them.
 */
static uint32_t level_out(const struct plan_solver *solver, const struct group *leaf, uint32_t pods,
                          uint32_t k, uint32_t *ret_rest)
{
    uint32_t sharing = k, rest = pods;

    while (sharing > 1 &&
           (uint64_t)capacity_of(solver, leaf, sharing - 1) * sharing < rest) {
        rest -= capacity_of(solver, leaf, sharing - 1);
        sharing--;
    }
    *ret_rest = rest;
    return sharing;
}

static uint64_t squares(const struct plan_solver *solver, const struct group *leaf, uint32_t pods,
                        uint32_t k)
{
    uint32_t rest, sharing = level_out(solver, leaf, pods, k, &rest);
    uint64_t base = rest / sharing, more = rest % sharing;
    uint64_t sum = more * (base + 1) * (base + 1) + (sharing - more) * base * base;

    for (uint32_t i = sharing; i < k; i++) {
        uint64_t full = capacity_of(solver, leaf, i);

        sum += full * full;
    }
    return sum;
}

struct cost plan__leaf_cost(const struct plan_solver *solver, const struct group *leaf, uint32_t pods)
{
    uint32_t nlevels = solver->request->nlevels, k;
    struct cost cost = {0, 0};
    uint64_t left;

    if (pods == 0)
        return cost;
    k = nodes_for(leaf, pods);
    cost.domains = cost_unit(nlevels, nlevels) * k;
    if (leaf->loose) /* the parent counts the group once; the other nodes are domains too */
        for (uint32_t level = leaf->level - 1; level < nlevels; level++)
            cost.domains += cost_unit(nlevels, level) * (k - (level == leaf->level - 1));
    left = leaf->prefix[leaf->nnodes] - pods;
    cost.fine = squares(solver, leaf, pods, k) << 32 | (left > UINT32_MAX ? UINT32_MAX : left);
    return cost;
}

/* The tightest free node that takes `count`; equal capacity: fewest free units, then lowest index. */
static uint32_t tightest(const struct plan_solver *solver, const struct group *leaf, uint32_t count,
                         const uint32_t *counts)
{
    const struct plan_node *nodes = solver->request->nodes;
    uint32_t best = PLAN_UNKNOWN;

    for (uint32_t i = 0; i < leaf->nnodes; i++) {
        uint32_t node = leaf->nodes[i];

        if (counts[node] || nodes[node].capacity < count)
            continue;
        if (best == PLAN_UNKNOWN || nodes[node].capacity < nodes[best].capacity ||
            (nodes[node].capacity == nodes[best].capacity &&
             nodes[node].free_units < nodes[best].free_units))
            best = node;
    }
    return best;
}

void plan__leaf_place(struct plan_solver *solver, const struct group *leaf, uint32_t pods,
                      uint32_t *counts)
{
    uint32_t k, sharing, rest, base, more, node;

    if (pods == 0)
        return;
    k = nodes_for(leaf, pods);
    sharing = level_out(solver, leaf, pods, k, &rest);
    base = rest / sharing;
    more = rest % sharing;
    /* Falling counts, each on the tightest node: what takes a larger count takes a smaller one too. */
    for (uint32_t i = 0; i < k; i++) {
        uint32_t count = i < more      ? base + 1
                         : i < sharing ? base
                                       : capacity_of(solver, leaf, i);

        node = tightest(solver, leaf, count, counts);
        if (node != PLAN_UNKNOWN)
            counts[node] = count;
    }
}
