/*
 * plan.h - where the pods of one gang go. Pure: no I/O, clock, randomness or global state; links
 * libc and libm only.
 *
 * The caller says for each node how many pods of the gang's shape fit there now and which domain of
 * each level it is in; the planner answers with shares, or with the numbers of what is missing.
 * Equal pods only. Ties end at the lowest node index: same question, same answer.
 *
 * Objective, in order: what is required; fewest domains level by level from the outside; fewest nodes;
 * most even over them (least sum of squared pods per node). Beyond that, without proof: least room left
 * over in the innermost domains and on the nodes used, lowest node. A node without a label is a domain of
 * its own at that level and below.
 *
 * Two doors to one solver: an index that the caller keeps up to date as nodes change, so that a question
 * costs what it is about and not the cluster's size; or an array of nodes, of which an index is made first.
 *
 * Memory: the scratch (one thread at a time) grows until nothing more is asked of it; from then on planning
 * allocates nothing. A plan's shares are the scratch's and live until its next plan.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PLAN_LEVELS_MAX 6
#define PLAN_PODS_MAX 20000
#define PLAN_NODES_MAX 200000
#define PLAN_NODE_PODS_MAX 1023 /* of one gang on one node; room for more counts as this */
#define PLAN_UNKNOWN UINT32_MAX /* the node lacks the label of this level or of one outside it */

struct plan_node {
    /* Dense ids, outermost level first; path-qualified: a domain has exactly one parent. */
    uint32_t domain[PLAN_LEVELS_MAX];
    uint32_t capacity; /* pods of this gang that fit now; 0: none, or not eligible */
    uint32_t free_units; /* free accelerators, for the tie-break on fragments */
};

/* Pods of the gang that are there already and stay: their domains and nodes cost nothing more. */
struct plan_pin {
    uint32_t node, count;
};

struct plan_request {
    uint32_t nlevels, nnodes;
    const struct plan_node *nodes; /* in name order; plan_on_index() does not look at these three */
    uint32_t pods; /* to be placed, pinned ones apart */
    uint32_t min_pods; /* elastic: as many of `pods` as fit in one domain, at least these; 0: all */
    int required_level; /* all pods in one domain of it; nlevels: on one node; -1: none */
    int preferred_level; /* likewise; the plan says whether it was met */
    const struct plan_pin *pins;
    uint32_t npins;
    uint64_t work_max; /* steps of some ns; beyond them the plan is good, and not all of it proven. 0: the default */
};
#define PLAN_WORK UINT64_C(20000000)

struct plan_share { /* ranks first_rank .. first_rank + count - 1 on one node */
    uint32_t node, count, first_rank;
};

struct plan_level_use {
    uint32_t used; /* domains of this level that the gang uses, those of its pins included */
    uint32_t lower_bound; /* no placement uses fewer, whatever it uses of other levels */
    bool proven; /* none that is as good at the levels outside of this one uses fewer */
};

struct plan {
    struct plan_share *shares; /* depth-first over the tree, so that ranks near each other are near */
    uint32_t nshares, pods;
    struct plan_level_use use[PLAN_LEVELS_MAX + 1]; /* per level; at index nlevels: nodes */
    bool even; /* proven: none that is as good at all levels is more even */
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

/* ---- the index -------------------------------------------------------------------------------- */

struct plan_index;
struct plan_index *plan_index_new(void);
void plan_index_free(struct plan_index *index);

/* From nothing; keeps its memory. 0; -EINVAL: beyond the limits; -ENOMEM: the index is empty then. */
int plan_index_build(struct plan_index *index, uint32_t nlevels, const struct plan_node *nodes,
                     uint32_t nnodes);

/* The node's room is this now: some steps for each level. false: more than it counts to, build anew. */
bool plan_index_set(struct plan_index *index, uint32_t node, uint32_t capacity, uint32_t free_units);
uint32_t plan_index_capacity(const struct plan_index *index, uint32_t node);

/* ---- plans ------------------------------------------------------------------------------------- */

/* 0; -ENOSPC: does not fit (ret_shortage is filled); -EINVAL: beyond the limits; -ENOMEM. */
int plan_on_index(const struct plan_index *index, const struct plan_request *request,
                  struct plan_scratch *scratch, struct plan *ret_plan,
                  struct plan_shortage *ret_shortage);
int plan_gang(const struct plan_request *request, struct plan_scratch *scratch,
              struct plan *ret_plan, struct plan_shortage *ret_shortage);
