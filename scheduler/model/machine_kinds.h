/*
 * machine_kinds.h - the kinds of machines that a cluster's nodes are: thousands of nodes share a few.
 *
 * Two machines are of one kind when all that speed depends on is alike; what is one machine's own (UUIDs,
 * PCI addresses) is not kept. Owned by the core's thread; kinds are counted by reference.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "topology/machine.h"
#include "topology/numa_fit.h"

#define MACHINE_KINDS_MAX 256 /* some 30 KiB each */

struct machine_kind {
    struct machine machine;
    uint32_t refs;
    uint32_t number; /* of all kinds that ever were: two kinds never have the same one */
    float *kept; /* [set], by machine_speed.c; negative: not asked yet */
    struct subset_table *best; /* made when it is first asked */
    float ceiling; /* of sets of `ceiling_of`: none is faster */
    uint32_t ceiling_of;
};

/*
 * How fast pods of a gang are there, GB/s by bandwidth.h; 0: not known. The first one alone, by itself; then
 * as `gang_pods` pods (MACHINE_GPUS_MAX at most, which stand for more) of which these are on this machine, each
 * a host of its own to NCCL.
 */
bool machine_kind_is_answered(const struct machine_kind *kind); /* false: asking takes too long, so nothing is known */
float machine_kind_set_gb_s(struct machine_kind *kind, uint32_t set);
float machine_kind_gang_gb_s(struct machine_kind *kind, const uint32_t *sets, uint32_t pods,
                             uint32_t gang_pods);

/*
 * Which sets `pods` pods get of those that are free, which are enough for them (numa_pods()): each of one NUMA node
 * where it has to be. How fast the slowest is by itself.
 */
float machine_kind_split(struct machine_kind *kind, uint32_t free, struct numa_need need, uint32_t pods,
                         uint32_t *ret_sets);

/* The machine with so many of the product, as nodes' labels name it: 0, else it is not known. */
typedef int machine_finder(const char *product, uint32_t gpus, struct machine *ret);

struct machine_kinds {
    struct machine_kind *items[MACHINE_KINDS_MAX];
    uint32_t n, next_number;
};

/* A reference to the kind that this machine is of; NULL: there are too many kinds, or no memory. */
struct machine_kind *machine_kinds_take(struct machine_kinds *kinds, const struct machine *machine);
void machine_kind_drop(struct machine_kinds *kinds, struct machine_kind *kind); /* takes NULL */
void machine_kinds_release(struct machine_kinds *kinds);

/* All its accelerators, as a set. */
static inline uint32_t machine_kind_all(const struct machine_kind *kind)
{
    return kind->machine.ngpus >= 32 ? UINT32_MAX : (UINT32_C(1) << kind->machine.ngpus) - 1;
}
