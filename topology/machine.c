#include "topology/machine.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const char *const class_names[LINK_CLASSES] = {"?",   "X",   "NV",   "XGMI", "PIX",
                                                      "PXB", "PHB", "NODE", "SYS"};

const char *link_class_name(enum link_class class)
{
    return (unsigned)class < LINK_CLASSES ? class_names[class] : "?";
}

void machine_join(struct machine *machine, uint32_t a, uint32_t b, struct machine_link link)
{
    machine->link[a][b] = link;
    machine->link[b][a] = link;
}

/* ---- paths over PCIe ---------------------------------------------------------------------------------- */

/* One end of a path: an accelerator or a NIC. */
struct end {
    int bridge, numa;
    float gb_s;
};

static int parent_of(const struct machine *machine, int bridge)
{
    return machine->bridges[bridge].parent;
}

static int root_of(const struct machine *machine, int bridge)
{
    while (bridge >= 0 && parent_of(machine, bridge) >= 0)
        bridge = parent_of(machine, bridge);
    return bridge;
}

static bool is_above(const struct machine *machine, int bridge, int below)
{
    while (below >= 0 && below != bridge)
        below = parent_of(machine, below);
    return below >= 0;
}

/* The innermost bridge that is above both; -1: none. */
static int common_bridge(const struct machine *machine, const struct end *a, const struct end *b)
{
    int bridge = a->bridge;

    while (bridge >= 0 && !is_above(machine, bridge, b->bridge))
        bridge = parent_of(machine, bridge);
    return bridge;
}

static int numa_of(const struct machine *machine, const struct end *end)
{
    int root = root_of(machine, end->bridge);

    if (end->numa >= 0 || root < 0)
        return end->numa;
    return machine->bridges[root].numa;
}

static enum link_class class_over_numa(const struct machine *machine, const struct end *a,
                                       const struct end *b)
{
    int numa_a = numa_of(machine, a), numa_b = numa_of(machine, b);

    if (numa_a < 0 || numa_b < 0)
        return LINK_UNKNOWN;
    if (numa_a != numa_b)
        return LINK_SYS;
    return a->bridge >= 0 && b->bridge >= 0 ? LINK_NODE : LINK_UNKNOWN;
}

/* A hop that is not known could be the narrowest: then the whole is not known. */
static float narrower(float a, float b)
{
    return a > 0 && b > 0 ? fminf(a, b) : 0;
}

/* Upwards from one end to below `top` (-1: past its host bridge). */
static float narrowest(const struct machine *machine, const struct end *end, int top)
{
    float gb_s = end->gb_s;

    for (int at = end->bridge; at >= 0 && at != top; at = parent_of(machine, at))
        if (parent_of(machine, at) >= 0)
            gb_s = narrower(gb_s, machine->bridges[at].up_gb_s);
    return gb_s;
}

static struct machine_link path_of(const struct machine *machine, const struct end *a,
                                   const struct end *b)
{
    int top = a->bridge >= 0 && b->bridge >= 0 ? common_bridge(machine, a, b) : -1;
    struct machine_link link = {LINK_UNKNOWN, 0, 0};

    if (top < 0)
        link.class = (uint8_t)class_over_numa(machine, a, b);
    else if (parent_of(machine, top) < 0)
        link.class = LINK_PHB;
    else
        link.class = a->bridge == top && b->bridge == top ? LINK_PIX : LINK_PXB;
    if (link.class != LINK_UNKNOWN && a->bridge >= 0 && b->bridge >= 0)
        link.gb_s = narrower(narrowest(machine, a, top), narrowest(machine, b, top));
    return link;
}

static struct end gpu_end(const struct machine *machine, uint32_t i)
{
    const struct machine_gpu *gpu = &machine->gpus[i];

    return (struct end){gpu->bridge, gpu->numa, gpu->pcie_gb_s};
}

static struct end nic_end(const struct machine *machine, uint32_t i)
{
    const struct machine_nic *nic = &machine->nics[i];

    return (struct end){nic->bridge, nic->numa, nic->pcie_gb_s};
}

void machine_derive_paths(struct machine *machine)
{
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        struct end gpu = gpu_end(machine, i);

        machine->link[i][i] = (struct machine_link){LINK_SELF, 0, 0};
        for (uint32_t k = i + 1; k < machine->ngpus; k++) {
            struct end other = gpu_end(machine, k);

            if (machine->link[i][k].class == LINK_UNKNOWN)
                machine_join(machine, i, k, path_of(machine, &gpu, &other));
        }
        for (uint32_t k = 0; k < machine->nnics; k++) {
            struct end nic = nic_end(machine, k);

            if (machine->nic_class[i][k] == LINK_UNKNOWN)
                machine->nic_class[i][k] = path_of(machine, &gpu, &nic).class;
        }
    }
}
