/* plan_parts_internal.h - the search for places of unlike pods. */
#pragma once

#include "scheduler/plan/plan_internal.h"
#include "scheduler/plan/plan_parts.h"

struct plan_parts_scratch {
    struct plan_scratch *plans; /* of one part after the other */
    struct plan_scratch *mine;
    struct plan_index *tree; /* of all nodes, for the domains and their order */
};

struct score { /* smaller is better, in this order */
    uint32_t domains[PLAN_LEVELS_MAX], nodes;
    uint64_t squares;
};

struct trial {
    const struct plan_parts_request *request;
    struct plan_parts_scratch *scratch;
    uint32_t *subset, n; /* nodes that may be used, in name order */
    uint32_t *tried; /* of the subset: where a leader was tried */
    struct plan_node *nodes; /* of the subset */
    int64_t *left; /* [subset][resource] */
    uint32_t *counts; /* [part][subset]: the placement under way */
    struct plan_pin *pins;
    uint32_t npins;
    uint32_t *best; /* [part][node of the cluster] */
    uint64_t *keys; /* for sorting */
    uint32_t *seen; /* by domain: when it was last counted */
    uint32_t now;
    struct score least;
    bool found;
    bool complete; /* nothing is possible that was not tried */
    uint32_t tries;
    uint64_t work;
    bool out_of_memory;
};

static inline const int64_t *free_of(const struct plan_parts_request *request, uint32_t node)
{
    return request->free + (size_t)node * request->nresources;
}

/* plan_parts_try.c: every placement of the subset that is worth a try; the best of all so far is kept. */
void parts__try_subset(struct trial *trial);
void parts__begin(struct trial *trial); /* nothing has its place; counts as a try */
uint32_t parts__room_for(const struct trial *trial, uint32_t i, uint32_t part);
bool parts__is_better(const struct score *a, const struct score *b);
uint32_t parts__fits(const struct plan_parts_request *request, const int64_t *left, uint32_t part);

uint32_t parts__count_ids(const struct plan_parts_request *request); /* above all domains' */

/* plan_parts.c: no placement uses fewer; raises the lower bounds. The scratch's tree stays or is built anew alike. */
int parts__bounds(const struct plan_parts_request *request, struct plan_parts_scratch *scratch,
                  struct plan_level_use *use);
