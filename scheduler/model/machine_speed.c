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

static float split(struct machine_kind *kind, uint32_t free, uint32_t gpus, uint32_t pods,
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

/* ---- one NUMA node for each pod ------------------------------------------------------------------------------ */

struct zone {
    uint32_t gpus, pods; /* free ones; how many pods they are enough for */
};

struct zones {
    struct zone items[MACHINE_NUMA_MAX];
    uint32_t n;
    uint8_t taken[MACHINE_NUMA_MAX][MACHINE_GPUS_MAX + 1]; /* pods in this zone, of so many in it and those before */
};

/* Those with the fewest free come first: where it makes no difference, they are used up. */
static void list_zones(const struct machine *machine, uint32_t free, struct numa_need need,
                       struct zones *zones)
{
    zones->n = 0;
    for (uint32_t numa = 0; numa < machine->nnuma; numa++) {
        struct zone zone;
        uint32_t at = zones->n;

        zone.pods = numa_pods_of(machine, numa, free, need, &zone.gpus);
        if (zone.pods == 0)
            continue;
        for (; at > 0 && __builtin_popcount(zones->items[at - 1].gpus) > __builtin_popcount(zone.gpus); at--)
            zones->items[at] = zones->items[at - 1];
        zones->items[at] = zone;
        zones->n++;
    }
}

/* Of each number of pods in the zones so far the way whose slowest pod is the fastest; ties: more of them here. */
static float share_out(struct machine_kind *kind, struct zones *zones, uint32_t gpus, uint32_t pods)
{
    float best[MACHINE_GPUS_MAX + 1], speed[MACHINE_GPUS_MAX + 1];
    uint32_t unused[MACHINE_GPUS_MAX];

    for (uint32_t p = 0; p <= pods; p++)
        best[p] = p ? -1 : INFINITY;
    for (uint32_t z = 0; z < zones->n; z++) {
        uint32_t most = zones->items[z].pods < pods ? zones->items[z].pods : pods;

        speed[0] = INFINITY;
        for (uint32_t k = 1; k <= most; k++)
            speed[k] = split(kind, zones->items[z].gpus, gpus, k, unused);
        for (uint32_t p = pods + 1; p-- > 0;) {
            float found = -1;

            for (uint32_t k = (most < p ? most : p) + 1; k-- > 0;)
                if (best[p - k] >= 0 && fminf(best[p - k], speed[k]) > found) {
                    found = fminf(best[p - k], speed[k]);
                    zones->taken[z][p] = (uint8_t)k;
                }
            best[p] = found;
        }
    }
    return best[pods];
}

float machine_kind_split(struct machine_kind *kind, uint32_t free, struct numa_need need, uint32_t pods,
                         uint32_t *ret_sets)
{
    struct zones zones = {0};
    float speed;

    if (!numa_aligns(&kind->machine, need))
        return split(kind, free, need.gpus, pods, ret_sets);
    list_zones(&kind->machine, free, need, &zones);
    speed = share_out(kind, &zones, need.gpus, pods);
    for (uint32_t z = zones.n; z-- > 0 && speed >= 0;) {
        uint32_t here = zones.taken[z][pods];

        if (here > 0)
            split(kind, zones.items[z].gpus, need.gpus, here, ret_sets + pods - here);
        pods -= here;
    }
    return speed;
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
