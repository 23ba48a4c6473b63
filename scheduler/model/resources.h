/*
 * resources.h - amounts of resources as fixed vectors, so that fitting is a short loop.
 *
 * A table gives each resource name a column for the life of the core. cpu, memory and pods come
 * first; others are added as nodes and pods name them. A cluster with more than RES_MAX resource
 * names in use is shown as such: a pod that asks for one beyond the table is not placed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/model/objects.h"

#define RES_MAX 24
enum { RES_CPU, RES_MEMORY, RES_PODS, RES_KNOWN };

struct resource_table {
    char *names[RES_MAX];
    unsigned n;
};

struct resources {
    int64_t v[RES_MAX];
    int64_t own_cpus; /* of a request: pod_shape's; no amount, it is not added up */
};

int resource_table_init(struct resource_table *table);
void resource_table_release(struct resource_table *table);

/* Fills the vector; false: a name found no column (its amount is left out). */
bool resources_read(struct resource_table *table, const struct amounts *amounts,
                    struct resources *ret);
/* The column of a name, -1: not in the table. */
int resource_column(const struct resource_table *table, const char *name);
/* The same, given one if there is room; -1: there is none. */
int resource_column_add(struct resource_table *table, const char *name);

void resources_add(struct resources *sum, const struct resources *more);
void resources_sub(struct resources *sum, const struct resources *less);

/* How many times `request` fits into total - used - held; 0 when it asks for nothing. */
uint32_t resources_fit(const struct resources *total, const struct resources *used,
                       const struct resources *held, const struct resources *request);
