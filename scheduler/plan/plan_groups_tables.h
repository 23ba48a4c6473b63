/* plan_groups_tables.h - tables of the cost of each state: shared by what makes them and what reads the placement out. */
#pragma once

#include "scheduler/plan/plan_groups_internal.h"

#define KINDS_MAX 8

/* A state is mix + pods * mixes, where mix counts kinds in digits (kind k in steps of stride[k]). */
struct table {
    uint64_t *cost; /* [state] */
    uint32_t n;
    uint32_t *possible, npossible; /* states, rising, but the empty one */
    uint32_t *before; /* [state]: the state that became it; NULL: itself */
    uint32_t *choices; /* [child or node][state before]: what of it is in there */
    uint32_t width; /* states before */
};

struct made { /* subgroups that became complete */
    uint32_t kind, count, depth;
    struct place place;
};

struct tables {
    struct groups *groups;
    const struct plan_index *index;
    struct plan_scratch *scratch;
    uint32_t stride[KINDS_MAX + 1];
    uint32_t nkinds[PLAN_LEVELS_MAX + 2]; /* by depth (nodes: nlevels + 1): complete here; the others are pods */
    uint32_t pods[PLAN_LEVELS_MAX + 2]; /* by depth: at most so many for what is further outside */
    uint16_t *digits; /* [mix][kind] */
    uint64_t unit[PLAN_LEVELS_MAX + 1]; /* cost of one domain by level; of a node */
    unsigned squares_shift;
    bool with_left;
    struct table *tables; /* by domain */
    uint64_t work;
    size_t entries;
    bool too_much;
    /* the way back */
    uint32_t *placed; /* by node */
    struct made *made;
    uint32_t nmade;
    struct plan_solver solver;
    struct plan plan;
};

/* Combinations that are told apart at a depth; how many of a kind one has; pods in what is complete of it. */
static inline uint32_t tables__mixes(const struct tables *tables, uint32_t depth)
{
    return tables->stride[tables->nkinds[depth]];
}

static inline uint32_t tables__digit(const struct tables *tables, uint32_t mix, uint32_t kind)
{
    return tables->digits[(size_t)mix * tables->groups->nkinds + kind];
}

static inline uint32_t tables__pods(const struct tables *tables, uint32_t mix, uint32_t nkinds)
{
    uint32_t pods = 0;

    for (uint32_t k = 0; k < nkinds; k++)
        pods += tables__digit(tables, mix, k) * tables->groups->kinds[k].pods;
    return pods;
}

/* plan_groups_tables_back.c: how many pods each node has (placed) and what is complete where (made), by the choices that
 * led to the state. */
void tables__walk_back(struct tables *tables, uint32_t domain, uint32_t state);
/* Gives these pods to the gang's items. */
void tables__give(struct tables *tables, struct plan_groups_share *shares, uint32_t *nshares);
