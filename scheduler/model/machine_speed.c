/* What bandwidth.h says of the sets of a kind of machine, kept where the same is asked again and again. */
#include <math.h>
#include <stdlib.h>

#include "scheduler/model/machine_kinds.h"
#include "topology/bandwidth.h"
#include "topology/split.h"
#include "topology/subset.h"

#define KEPT_MAX 16 /* accelerators: 65,536 sets, 256 KiB */
#define MESH_MAX 8

static bool is_kept(const struct machine_kind *kind)
{
    return kind->machine.ngpus <= KEPT_MAX;
}

/* The search for rings in a larger mesh takes too long for so many sets. */
bool machine_kind_is_answered(const struct machine_kind *kind)
{
    return kind->machine.fabric == FABRIC_SWITCH ||
           kind->machine.ngpus <= (kind->machine.fabric == FABRIC_MESH ? MESH_MAX : KEPT_MAX);
}

static float ask(const struct machine_kind *kind, uint32_t set)
{
    return (float)bandwidth_of_gpus(&kind->machine, set).busbw_gb_s;
}

float machine_kind_set_gb_s(struct machine_kind *kind, uint32_t set)
{
    size_t n = (size_t)1 << kind->machine.ngpus;

    if (!machine_kind_is_answered(kind))
        return 0;
    if (!kind->kept && is_kept(kind)) {
        kind->kept = malloc(n * sizeof(*kind->kept));
        for (size_t i = 0; kind->kept && i < n; i++)
            kind->kept[i] = -1;
    }
    if (!kind->kept)
        return ask(kind, set);
    if (kind->kept[set] < 0)
        kind->kept[set] = ask(kind, set);
    return kind->kept[set];
}

static float of_set(void *kind, uint32_t set)
{
    return machine_kind_set_gb_s(kind, set);
}

/* All may be there, and no set of them is faster than the fastest of that size. */
static float ceiling(struct machine_kind *kind, uint32_t gpus)
{
    uint32_t set;

    return split_machine(machine_kind_all(kind), gpus, 1, INFINITY, of_set, kind, &set);
}

float machine_kind_split(struct machine_kind *kind, uint32_t free, uint32_t gpus, uint32_t pods,
                         uint32_t *ret_sets)
{
    if (!machine_kind_is_answered(kind))
        return split_machine(free, gpus, pods, 0, of_set, kind, ret_sets); /* the first ones */
    if (!kind->best)
        subset_table_new(&kind->machine, &kind->best); /* without memory: by speed alone */
    if (pods == 1 && kind->best) {
        ret_sets[0] = subset_best(kind->best, free, gpus);
        return machine_kind_set_gb_s(kind, ret_sets[0]);
    }
    if (kind->ceiling_of != gpus) {
        kind->ceiling = ceiling(kind, gpus);
        kind->ceiling_of = gpus;
    }
    return split_machine(free, gpus, pods, kind->ceiling, of_set, kind, ret_sets);
}

/* These pods on one machine; the others, as fast as the first of them, each on a machine of its own. */
float machine_kind_gang_gb_s(struct machine_kind *kind, const uint32_t *sets, uint32_t pods,
                             uint32_t gang_pods)
{
    struct bandwidth_pod list[MACHINE_GPUS_MAX + 2];
    struct bandwidth_shape shape = {.pods = list, .npods = gang_pods};

    if (!machine_kind_is_answered(kind))
        return 0;
    if (gang_pods == 1)
        return machine_kind_set_gb_s(kind, sets[0]);
    for (uint32_t i = 0; i < gang_pods; i++)
        list[i] = (struct bandwidth_pod){.machine = &kind->machine,
                                         .mask = sets[i < pods ? i : 0],
                                         .host = i < pods ? 0 : i};
    return (float)bandwidth_of_shape(&shape).busbw_gb_s;
}
