/* plan_internal.h - what the planner's phases share. */
#pragma once

#include <stddef.h>

#include "scheduler/plan/plan.h"

/* A domain: all nodes that share the path down to `level` levels. */
struct plan_domain {
    uint32_t parent, first_child, nchildren; /* children in the order of their lowest node */
    uint32_t first_node, nnodes; /* in index->order */
    uint32_t capacity, with_room; /* pods that fit; nodes where one does */
    uint32_t level; /* levels decided on the way here: 0 for the root */
    uint32_t id; /* the caller's, at level - 1 */
    bool loose; /* nodes without a label here, the parent's last child: each is a domain on all levels below */
};

struct plan_index {
    uint32_t nlevels, nnodes, ndomains;
    uint32_t most; /* histograms count capacities up to this */
    struct plan_domain *domains; /* breadth first, the root is 0 */
    uint32_t level_first[PLAN_LEVELS_MAX + 2]; /* of the domains with that `level`; one more: their end */
    uint32_t *order; /* nodes depth-first, by index within a leaf */
    uint32_t *leaf; /* node -> the domain without children that it is in */
    uint16_t *capacity, *free_units; /* by node */
    uint32_t *hist; /* [domain][capacity]: how many nodes */
    /* sizes of the arrays above, and what building works in */
    uint32_t domains_size, nodes_size, seen_size;
    size_t hist_size;
    uint32_t *seen, *child_of, *sorted;
};

/* A leaf that takes part. */
struct plan_taken {
    uint32_t leaf;
    uint32_t nodes; /* of a loose one: so many of its largest; else PLAN_UNKNOWN, any */
};

/* What is asked, how far it is answered. */
struct plan_solver {
    const struct plan_index *index;
    const struct plan_request *request;
    struct plan_scratch *scratch;
    uint32_t pods;
    struct plan_taken *taken; /* by plan__fewest() */
    uint32_t ntaken;
    uint64_t steps_left; /* for plan__fewest() to count domains in */
    uint32_t *pinned; /* by node: pods that are there; NULL: no pins */
    bool *has_pins; /* by domain; NULL: no pins */
    struct plan_fine *fine; /* plan_fine.c's own */
    struct plan *plan; /* the answer as it grows */
    bool out_of_memory;
};

/* ---- plan_scratch.c ------------------------------------------------------------------------------- */

/* Memory that lives until the next plan; not zeroed; NULL: no memory. */
void *plan__alloc(struct plan_scratch *scratch, size_t n, size_t size);
void *plan__zalloc(struct plan_scratch *scratch, size_t n, size_t size);
void plan__scratch_reset(struct plan_scratch *scratch);
struct plan_index *plan__own_index(struct plan_scratch *scratch);

/* plan_index.c: as the other is now. The memory stays; -ENOMEM: it is empty then. */
int plan__index_copy(struct plan_index *copy, const struct plan_index *index);

/* plan_sort.c: rising. `spare` is as large. */
void plan__sort(uint64_t *keys, uint64_t *spare, uint32_t n);

/* plan_solve.c: fills the plan's shares; with pins and a required level all under `top`. */
void plan__choose(struct plan_solver *solver, uint32_t top);

/* ---- plan_leaf.c: the nodes of one histogram ------------------------------------------------------- */

struct plan_fill {
    uint32_t nodes; /* fewest that take all */
    uint32_t lowest, of_lowest; /* capacity of the smallest of them, and how many of that one are taken */
    uint32_t share_from; /* those with at least this capacity ... */
    uint32_t shared, rest; /* ... which are so many, share these pods evenly; the others are full */
    uint64_t squares;
};
/* The histogram has room for the pods, of which there is one at least. */
struct plan_fill plan__fill(const uint32_t *hist, uint32_t most, uint32_t pods);
uint64_t plan__even_squares(uint32_t pods, uint32_t nodes);
/* Of a leaf with pins: `nodes` and `squares` count what is added. */
struct basin;
struct plan_fill plan__fill_pinned(struct plan_solver *solver, uint32_t leaf, uint32_t pods,
                                   struct basin *ret_basin);

#define PLAN_STEPS_AT_ONCE 8 /* of those that count domains: their inner loop is made of vectors */
static inline uint64_t plan__work_max(const struct plan_solver *solver)
{
    return solver->request->work_max ? solver->request->work_max : PLAN_WORK;
}

static inline unsigned plan__bits_for(uint64_t most)
{
    unsigned bits = 1;

    while (most >> bits)
        bits++;
    return bits;
}

static inline const uint32_t *plan__hist(const struct plan_index *index, uint32_t domain)
{
    return index->hist + (size_t)domain * (index->most + 1);
}

/* ---- plan_count.c: fewest domains -------------------------------------------------------------------- */

/*
 * The least numbers of domains under `top`, level by level from the outside, that have room for the pods:
 * ret_counts[level], and which innermost ones: solver->taken. Proven below *ret_proven.
 */
void plan__fewest(struct plan_solver *solver, uint32_t top, uint32_t ret_counts[PLAN_LEVELS_MAX],
                  uint32_t *ret_proven);
uint32_t plan__fewest_children(struct plan_solver *solver, uint32_t top);

/* With room, the largest first: domains `depth` levels below `top`, and loose nodes above that; in a leaf, nodes. */
struct plan_items {
    uint64_t *keys; /* UINT32_MAX - capacity, then the domain or, from ndomains on, ndomains + node */
    uint32_t n;
};
struct plan_items plan__items(struct plan_solver *solver, uint32_t top, uint32_t depth);
/* How many of the first items take the pods; n + 1: all do not. */
uint32_t plan__fewest_items(const struct plan_items *items, uint64_t pods);

/* ---- plan_fine.c: all of the objective, by dynamic programming over pods ------------------------------ */

struct plan_cost {
    uint32_t counts[PLAN_LEVELS_MAX], nodes;
    uint64_t squares;
};
/* Steps that it would take; UINT64_MAX: costs do not fit into its numbers. */
uint64_t plan__fine_work(struct plan_solver *solver, uint32_t top);
/* The least cost under `top`; comparable between domains of one level. UINT64_MAX: no memory. */
uint64_t plan__fine_solve(struct plan_solver *solver, uint32_t top);
struct plan_cost plan__fine_cost(const struct plan_solver *solver, uint64_t cost);
void plan__fine_place(struct plan_solver *solver, uint32_t top); /* as solved, into the plan's shares */

/* ---- plan_take.c: from leaves to nodes ------------------------------------------------------------------ */

/* Puts the pods on the fewest nodes of the leaves that are taken, as evenly as those allow. */
void plan__take_set(struct plan_solver *solver);
struct plan_fill plan__fill_set(struct plan_solver *solver); /* the same, only asked */
void plan__take_leaf(struct plan_solver *solver, uint32_t leaf, uint32_t pods);
void plan__share(struct plan_solver *solver, uint32_t node, uint32_t count); /* in depth-first order */
