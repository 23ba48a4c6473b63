/*
 * plan_parts.h - where the pods of a gang go that are not all alike: a leader and its workers, or several
 * roles, each of equal pods. Pure, as plan.h, whose objective this is; evenness counts pods of all parts alike.
 *
 * Each part in turn is planned by the planner of equal pods, beside what has its place already, in every
 * order of the parts that is worth a try, in each domain that might do, from the innermost level outwards.
 * With one leader, every place that a leader can have is tried: that is exact, unless it takes more tries
 * or more work than are allowed. Otherwise the answer says how far it can be from the best: used and lower bound per level.
 *
 * Memory: the scratch (one thread at a time); an answer's shares live until its next plan.
 */
#pragma once

#include "scheduler/plan/plan.h"

#define PLAN_PARTS_MAX 8
#define PLAN_TRIES 512 /* placements looked at for one answer */
#define PLAN_PARTS_WORK UINT64_C(40000000) /* ... as long as they have not taken so many steps of about a ns */

struct plan_part {
    uint32_t pods;
    const int64_t *requests; /* [nresources] of one pod */
};

struct plan_parts_request {
    uint32_t nlevels, nnodes, nresources, nparts;
    const struct plan_node *nodes; /* in name order; only their domains and free units are looked at */
    const int64_t *free; /* [node][resource] */
    const uint8_t *eligible; /* by node: bit p says that part p may go there */
    const struct plan_part *parts;
    int required_level, preferred_level; /* as in plan.h */
    uint32_t tries_max; /* 0: PLAN_TRIES */
};

struct plan_parts_share {
    uint32_t node, part, count;
};

struct plan_parts {
    struct plan_parts_share *shares; /* depth-first over the nodes, on each node by part */
    uint32_t nshares;
    struct plan_level_use use[PLAN_LEVELS_MAX + 1];
    bool even; /* as in plan.h */
    bool preferred_met;
};

struct plan_parts_scratch;
struct plan_parts_scratch *plan_parts_scratch_new(void);
void plan_parts_scratch_free(struct plan_parts_scratch *scratch);

/*
 * 0; -ENOSPC: no place was found, and *ret_certain says whether that proves that there is none; -EINVAL:
 * beyond the limits; -ENOMEM.
 */
int plan_parts(const struct plan_parts_request *request, struct plan_parts_scratch *scratch,
               struct plan_parts *ret_plan, bool *ret_certain);
