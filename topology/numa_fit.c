#include "topology/numa_fit.h"

#include <string.h>

static const char *const names[] = {
    [NUMA_POLICY_NONE] = "none",
    [NUMA_POLICY_BEST_EFFORT] = "best-effort",
    [NUMA_POLICY_RESTRICTED] = "restricted",
    [NUMA_POLICY_SINGLE] = "single-numa-node",
};

const char *numa_policy_name(enum numa_policy policy)
{
    return names[policy];
}

bool numa_policy_from_name(const char *name, enum numa_policy *ret_policy)
{
    for (unsigned i = NUMA_POLICY_NONE; i < NUMA_POLICIES; i++)
        if (strcmp(names[i], name) == 0) {
            *ret_policy = (enum numa_policy)i;
            return true;
        }
    return false;
}

static uint32_t all_of(const struct machine *machine)
{
    return machine->ngpus >= 32 ? UINT32_MAX : (UINT32_C(1) << machine->ngpus) - 1;
}

uint32_t numa_pods_of(const struct machine *machine, uint32_t numa, uint32_t free,
                      struct numa_need need, uint32_t *ret_gpus)
{
    uint32_t set = 0, cpus = machine->numa[numa].cpus, pods;

    for (uint32_t left = free & all_of(machine); left; left &= left - 1)
        if (machine->gpus[__builtin_ctz(left)].numa == (int)numa)
            set |= left & -left;
    *ret_gpus = set;
    pods = (uint32_t)__builtin_popcount(set) / need.gpus;
    if (machine->own_cpus && need.cpus > 0 && cpus > 0 && cpus / need.cpus < pods)
        pods = cpus / need.cpus;
    return pods;
}

static bool all_are_placed(const struct machine *machine)
{
    for (uint32_t i = 0; i < machine->ngpus; i++)
        if (machine->gpus[i].numa < 0)
            return false;
    return machine->ngpus > 0;
}

/* On the machine when nothing runs there. */
static bool one_could_do(const struct machine *machine, struct numa_need need)
{
    uint32_t unused;

    for (uint32_t i = 0; i < machine->nnuma; i++)
        if (numa_pods_of(machine, i, all_of(machine), need, &unused) > 0)
            return true;
    return false;
}

bool numa_aligns(const struct machine *machine, struct numa_need need)
{
    if (need.gpus == 0 || !all_are_placed(machine))
        return false;
    return machine->numa_policy == NUMA_POLICY_SINGLE ||
           (machine->numa_policy == NUMA_POLICY_RESTRICTED && one_could_do(machine, need));
}

uint32_t numa_pods(const struct machine *machine, uint32_t free, struct numa_need need)
{
    uint32_t pods = 0, unused;

    if (!numa_aligns(machine, need))
        return (uint32_t)__builtin_popcount(free & all_of(machine)) / need.gpus;
    for (uint32_t i = 0; i < machine->nnuma; i++)
        pods += numa_pods_of(machine, i, free, need, &unused);
    return pods;
}
