/* plan_internal.h - the domain tree that the planner's phases share. */
#pragma once

#include <stddef.h>

#include "scheduler/plan/plan.h"

/*
 * What a partial placement costs; compared lexicographically and added up over disjoint domains.
 * domains: 16 bits per level, outermost in the highest bits, nodes last; fine: sum of squared pods
 * per node (evenness) above the capacity left over in used innermost domains (fragments).
 */
struct cost {
    unsigned __int128 domains;
    uint64_t fine;
};

/* A domain: all nodes with room that share the path down to `level` levels. */
struct group {
    uint32_t *nodes; /* indices in name order */
    uint32_t nnodes, capacity; /* capacity in pods, cut at the request's */
    uint32_t level; /* levels that are decided on the way here */
    uint32_t domain; /* id at level - 1 */
    bool loose; /* nodes without a label here: each is a domain of its own on the levels below */
    struct group *children; /* next level; none in a leaf */
    uint32_t nchildren;
    struct group *single; /* solved by putting all pods into this child */
    struct cost *table; /* cost of exactly p pods, p = 0 .. capacity */
    uint16_t *choices; /* [child][p]: pods that go into the child when children 0..child take p */
    uint32_t *by_capacity; /* leaf: nodes by falling capacity, then index */
    uint64_t *prefix; /* leaf: capacity of the first k of them */
};

struct plan_solver {
    const struct plan_request *request;
    struct plan_scratch *scratch;
    uint32_t *seen; /* domain id -> child number, while one group is divided */
    uint32_t domains; /* ids are below this */
    bool out_of_memory;
};

/* plan_scratch.c: memory that lives until the next plan; zeroed; NULL: no memory. */
void *plan__alloc(struct plan_scratch *scratch, size_t n, size_t size);
void plan__scratch_reset(struct plan_scratch *scratch);

/* plan_tree.c */
struct group *plan__tree(struct plan_solver *solver);

/* plan_leaf.c: a domain without further levels */
void plan__leaf_prepare(struct plan_solver *solver, struct group *leaf);
struct cost plan__leaf_cost(const struct plan_solver *solver, const struct group *leaf, uint32_t pods);
/* Adds count per node to counts[node index]. */
void plan__leaf_place(struct plan_solver *solver, const struct group *leaf, uint32_t pods,
                      uint32_t *counts);

/* plan_solve.c */
struct cost plan__solve(struct plan_solver *solver, struct group *group, uint32_t pods);
void plan__place(struct plan_solver *solver, struct group *group, uint32_t pods, uint32_t *counts);

static inline bool cost_less(const struct cost *a, const struct cost *b)
{
    return a->domains != b->domains ? a->domains < b->domains : a->fine < b->fine;
}

static inline struct cost cost_sum(const struct cost *a, const struct cost *b)
{
    return (struct cost){a->domains + b->domains, a->fine + b->fine};
}

/* One more domain at `level` (nlevels: one more node). */
static inline unsigned __int128 cost_unit(uint32_t nlevels, uint32_t level)
{
    return (unsigned __int128)1 << (16 * (nlevels - level));
}
