/*
 * numa_fit.h - which accelerators one pod may have together where kubelet's Topology Manager aligns what it
 * gives: under "single-numa-node" those of one NUMA node only, under "restricted" too wherever one NUMA node has
 * enough of them. kubelet refuses other pods (TopologyAffinityError) after they were bound, so who plans has
 * to know. Where the machine does not say its policy, or the NUMA node of an accelerator, nothing is aligned.
 * Source: Kubernetes, "Control Topology Management Policies on a node", 1.37.
 *
 * CPUs count where the CPU manager gives some to containers alone: so many pods share a NUMA node as it has such
 * CPUs for. Those that kubelet keeps for itself and that other pods have are not known, so this is never too few.
 *
 * Pure. Sets are masks as in bandwidth.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "topology/machine.h"

/* What a pod asks for: accelerators, and whole CPUs of its own (0: it shares them). */
struct numa_need {
    uint32_t gpus, cpus;
};

/* Must all that such a pod gets be of one NUMA node? */
bool numa_aligns(const struct machine *machine, struct numa_need need);

/* The accelerators of NUMA node `numa` among the free ones, and how many such pods they are enough for. */
uint32_t numa_pods_of(const struct machine *machine, uint32_t numa, uint32_t free,
                      struct numa_need need, uint32_t *ret_gpus);

/* How many such pods the free accelerators are enough for, each aligned as it must be; need.gpus is not 0. */
uint32_t numa_pods(const struct machine *machine, uint32_t free, struct numa_need need);

/* "single-numa-node", as kubelet's own words; NULL: not known. */
const char *numa_policy_name(enum numa_policy policy);
bool numa_policy_from_name(const char *name, enum numa_policy *ret_policy);
