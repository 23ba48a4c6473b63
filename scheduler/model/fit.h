/*
 * fit.h - the largest gang that would fit now, for operators: per level and for pods of K accelerators.
 *
 * Counted, not planned: O(nodes) a question. A pod is taken to ask for K of one resource and nothing else,
 * and to tolerate a taint whose key is that resource's name, as Kubernetes' ExtendedResourceToleration adds. It
 * would come now, last in the line: what is held for gangs or kept for the head of the line is not free.
 *
 * Fragmentation of a level: 1 - the largest gang's accelerators in one domain of it / all that are free. 0:
 * one domain has them all; near 1: they are scattered over many. Of one shape, with gangs of that shape;
 * of the level as such, the smallest of its shapes' (with one-accelerator pods: the most that are free in one domain).
 *
 * Queries of a const core: the read lock suffices.
 */
#pragma once

#include "scheduler/model/core.h"

#define FIT_SHAPES_MAX 8
#define FIT_LEVELS_MAX (PLAN_LEVELS_MAX + 2) /* anywhere, the cluster's levels, node */

struct fit_cell {
    uint64_t pods; /* of the largest gang; 0: none */
    const char *domain; /* where; "" anywhere or where nothing fits. Valid until the core is stepped */
};
struct fit_level {
    const char *name; /* "anywhere", a label's key, "node" */
    struct fit_cell cells[FIT_SHAPES_MAX];
};
struct fit_table {
    uint64_t free; /* accelerators, on nodes that take such pods */
    uint64_t nodes; /* that take such pods, full or not */
    int64_t shapes[FIT_SHAPES_MAX]; /* accelerators a pod */
    size_t nshapes, nlevels;
    struct fit_level levels[FIT_LEVELS_MAX]; /* from the outside */
};

/* 0; -EINVAL: no node has the resource; -ENOMEM. */
int core_fit(const struct core *core, const char *resource, const int64_t *shapes, size_t nshapes,
             struct fit_table *ret);
double fit_fragmentation(const struct fit_table *table, size_t level, size_t shape);
double fit_level_fragmentation(const struct fit_table *table, size_t level);
