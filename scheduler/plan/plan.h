/*
 * plan.h - where the pods of one gang go. Pure: no I/O, clock, randomness or global state; links
 * libc and libm only.
 *
 * The caller says for each node how many pods of the gang's shape fit there now and which domain of
 * each level it is in; the planner answers with shares, or with the numbers of what is missing.
 * Equal pods only. Ties end at the lowest node index: same question, same answer.
 *
 * Memory: plan_gang() allocates its answer (plan_release) and works in the scratch, which may be
 * reused by one thread at a time. Limits: PLAN_PODS_MAX pods, PLAN_NODES_MAX nodes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PLAN_LEVELS_MAX 6
#define PLAN_PODS_MAX 20000
#define PLAN_NODES_MAX 200000
#define PLAN_UNKNOWN UINT32_MAX /* the node lacks the label of this level or of one outside it */

struct plan_node {
    /* Dense ids, outermost level first; path-qualified: a domain has exactly one parent. */
    uint32_t domain[PLAN_LEVELS_MAX];
    uint32_t capacity; /* pods of this gang that fit now; 0: none, or not eligible */
    uint32_t free_units, total_units; /* accelerators, for the tie-break on fragments */
};

struct plan_request {
    uint32_t nlevels, nnodes;
    const struct plan_node *nodes; /* in name order */
    uint32_t pods;
    uint32_t units_per_pod; /* accelerators one pod takes */
    int required_level; /* all pods in one domain of it; nlevels: on one node; -1: none */
    int preferred_level; /* likewise; the plan says whether it was met */
};

struct plan_share { /* ranks first_rank .. first_rank + count - 1 on one node */
    uint32_t node, count, first_rank;
};

struct plan_level_use {
    uint32_t used; /* domains of this level that the plan uses */
    uint32_t lower_bound; /* no placement uses fewer; equal to used: proven optimal alone */
};

struct plan {
    struct plan_share *shares; /* depth-first over the tree, so that ranks near each other are near */
    uint32_t nshares;
    struct plan_level_use use[PLAN_LEVELS_MAX + 1]; /* per level; at index nlevels: nodes */
    bool preferred_met;
};

struct plan_shortage { /* why it does not fit */
    uint32_t fits; /* pods that fit: in the best domain of the required level, else anywhere */
    uint32_t fits_anywhere; /* ignoring the required level */
    uint32_t best_domain; /* of the required level, PLAN_UNKNOWN: none */
    uint32_t nodes_with_room;
};

struct plan_scratch;
struct plan_scratch *plan_scratch_new(void);
void plan_scratch_free(struct plan_scratch *scratch);

/* 0; -ENOSPC: does not fit (ret_shortage is filled); -EINVAL: beyond the limits; -ENOMEM. */
int plan_gang(const struct plan_request *request, struct plan_scratch *scratch,
              struct plan *ret_plan, struct plan_shortage *ret_shortage);
void plan_release(struct plan *plan);
