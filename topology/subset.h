/*
 * subset.h - which accelerators of one machine a pod should get: for each set of free ones and each count, looked up
 * in a table that is made once for each type of machine.
 *
 * The best set, in this order:
 *   1. the highest bus bandwidth foretold (bandwidth.h); sets without a figure, as where the fabric is not known,
 *      are all equal
 *   2. what it leaves: the best bandwidth of all that remain together, then of the best set of one less of those,
 *      and so on down to two; compared in this order
 *   3. the lowest mask
 * Bandwidths are compared in steps of SUBSET_STEP_GB_S, so that rounding decides nothing.
 *
 * A table is of one of three forms, by the machine:
 *   up to SUBSET_TABLE_GPUS accelerators: the answers to all questions; a look-up reads one of them
 *   behind switches, as many links from each: sets of one size are alike and the lowest mask is the best; the
 *     look-up counts bits
 *   else (a mesh or PCIe with more): each look-up searches: all sets where those of that count are at most
 *     SUBSET_SEARCH_SETS (by 1 and 3 only), else those that grow from each one by taking the nearest to what is
 *     taken, which can miss the best
 *
 * Pure but for the memory of the table. A table is read by any number of threads.
 */
#pragma once

#include <stdint.h>

#include "topology/machine.h"

#define SUBSET_TABLE_GPUS 10
#define SUBSET_SEARCH_SETS 500
#define SUBSET_STEP_GB_S 0.01

struct subset_table;

/* The machine is copied where it is needed later. -ENOMEM; -EINVAL: more accelerators than a machine may have. */
int subset_table_new(const struct machine *machine, struct subset_table **ret);
void subset_table_free(struct subset_table *table);
uint64_t subset_table_bytes(const struct subset_table *table);

/* The best `count` of `free`, as a mask; 0: there are not so many, or count is 0. */
uint32_t subset_best(const struct subset_table *table, uint32_t free, unsigned count);
