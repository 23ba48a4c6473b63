/*
 * plan.h - where a gang of equal pods goes: the best nodes, or why there are none.
 *
 * The planner is pure: the same request gives the same plan on every machine; it reads no clock,
 * file or global, logs nothing, and links libc and libm only. It knows nodes as capacities in a tree
 * of domains (levels, outermost first: zone, spine, rack, NVLink domain, ...), nothing of Kubernetes.
 *
 * What is best, in this order, exactly (the proof sketch is above the solver, plan_solve.c):
 *   1. fewest domains, level by level from the outermost inward
 *   2. fewest nodes
 *   3. evenly: least sum of squares of the pods per node (5 + 4, not 8 + 1)
 *   4. least fragmentation: fewest accelerators left free on the nodes used; fewest wholly free nodes
 *      touched; least room for such pods left over on the nodes used, then in the domains used, the
 *      innermost level first. (These sums are rounded down to fit 128 bits where a cluster has many
 *      levels and much room; rules 1 to 3 never are.)
 *   5. then by a fixed order, in which the lower node index wins among equals
 *
 * A preferred level needs no rule of its own: one domain of any level lies in one domain of every
 * level outside it, so rules 1 and 2 find it whenever there is one, and the plan says so.
 *
 * Threads: calls with different scratches may run at once. Errors are numbers only, as the caller
 * words them: 0; -ENOSPC, the gang does not fit (the shortage is filled); -ENOMEM; -EINVAL, the
 * request is outside the limits below, names a level that is not there, gives a domain two parents,
 * or has so many domains on so many levels that the cost does not fit 128 bits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PLAN_LEVELS_MAX 6
#define PLAN_NODES_MAX 20000
#define PLAN_PODS_MAX 20000
#define PLAN_UNKNOWN UINT32_MAX

/* Nodes are given in name order: ties are broken by index. */
struct plan_node {
    /* Id per level, outermost first. Ids are path-qualified: a domain has exactly one parent. Any
     * numbers will do, also one space for all levels. PLAN_UNKNOWN: the node lacks the label of this
     * level or of one outside it (ids further inward are then ignored). Such a node is not eligible
     * under a required level there; else it counts as a domain of its own on those levels. */
    uint32_t domain[PLAN_LEVELS_MAX];
    uint32_t capacity; /* pods of this gang's shape that fit now; 0: none, or not eligible */
    uint32_t free_units, total_units; /* accelerators free now and in all, for rule 4 */
};

struct plan_request {
    uint32_t nlevels, nnodes;
    const struct plan_node *nodes;
    uint32_t pods; /* to place, at least 1 */
    uint32_t units_per_pod; /* accelerators a pod takes, 0: none */
    int required_level; /* all in one domain of this level; nlevels: on one node; -1: none */
    int preferred_level; /* the same, but only reported */
};

struct plan_share {
    uint32_t node; /* index into the request's nodes */
    uint32_t count; /* pods there, at least 1 */
    uint32_t first_rank; /* ranks first_rank .. first_rank + count - 1 */
};

/* The certificate of a level: no allowed placement that uses as few domains on the levels outside
 * it uses less than lower_bound here. The bound is counted, largest first, without the solver. */
struct plan_level_use {
    uint32_t used, lower_bound;
};

struct plan {
    /* In rank order: depth first over the tree, the domains of a level in the order of their lowest
     * node index (of all nodes given), so that a ring of ranks enters and leaves each domain once. */
    struct plan_share *shares;
    uint32_t nshares;
    struct plan_level_use use[PLAN_LEVELS_MAX + 1]; /* per level, then at [nlevels] for nodes */
    bool preferred_met; /* true when no level is preferred */
};

struct plan_shortage {
    uint32_t fits; /* pods that fit: in all, or with a required level in its best single domain */
    uint32_t fits_anywhere; /* pods that fit in all, the required level ignored */
    uint32_t best_domain; /* that best domain's id (a node's index if the required level is nlevels);
                             PLAN_UNKNOWN: no level is required, or nothing fits */
    uint32_t nodes_with_room; /* nodes where at least one pod fits, the required level ignored */
};

/* Memory that calls reuse, grown on demand and kept until freed. One call at a time. */
struct plan_scratch;
struct plan_scratch *plan_scratch_new(void); /* NULL: no memory */
void plan_scratch_free(struct plan_scratch *scratch);

/* The plan's shares belong to the caller: plan_release(). ret_plan is written on 0 only, and
 * ret_shortage on -ENOSPC only (it may be NULL). scratch may be NULL: memory for this call only. */
int plan_gang(const struct plan_request *request, struct plan_scratch *scratch,
              struct plan *ret_plan, struct plan_shortage *ret_shortage);

void plan_release(struct plan *plan); /* frees the shares and zeroes it; NULL is fine */
