/* One machine: which way its accelerators are joined, and the sets behind switches and on meshes. */
#include <math.h>

#include "topology/bandwidth_internal.h"

/* Heads of NVLS: NCCL's own limit is 32 (NCCL_MAX_NVLS_ARITY). With 8 the rows of 16 to 72 GPUs are met. */
#define NVLS_HEADS 8

const struct bandwidth_constants bandwidth_constants = {{
    [FACTOR_NONE] = 1,
    [FACTOR_RING_SM80] = 0.972,
    [FACTOR_RING_SM90] = 0.990,
    [FACTOR_RING_SM100] = 0.939,
    [FACTOR_NVLS_SM90] = 0.828, /* NCCL 2.30 has 0.85, */
    [FACTOR_NVLS_SM100] = 0.750, /* and 0.74 (graph/tuning.cc) */
    [FACTOR_DOMAIN] = 0.907,
    [FACTOR_BRIDGE] = 0.867,
    [FACTOR_PCIE] = 0.780,
    [FACTOR_SOCKET] = 1.273,
}};

const char *bandwidth_limit_word(enum bandwidth_limit limit)
{
    static const char *const words[LIMIT_WORDS] = {
        [LIMIT_UNKNOWN] = "unknown",     [LIMIT_SINGLE] = "single gpu", [LIMIT_NVLINK] = "nvlink",
        [LIMIT_NVLS] = "nvls",           [LIMIT_XGMI] = "xgmi",         [LIMIT_PCIE] = "pcie",
        [LIMIT_HOST_MEMORY] = "host memory", [LIMIT_SOCKET] = "socket", [LIMIT_NIC] = "nic",
        [LIMIT_LEVEL] = "level",         [LIMIT_NVL_DOMAIN] = "nvl domain",
    };

    return limit < LIMIT_WORDS ? words[limit] : "unknown";
}

struct bandwidth bandwidth__unknown(const char *why)
{
    return (struct bandwidth){.limit = LIMIT_UNKNOWN, .why = why};
}

uint32_t bandwidth__clip(const struct machine *machine, uint32_t mask)
{
    return machine->ngpus >= MACHINE_GPUS_MAX ? mask : mask & ((1u << machine->ngpus) - 1);
}

/* NCCL 2.30 graph/topo.h SM*_NVLINK_BW; RCCL topo.h *_XGMI_WIDTH. */
double bandwidth__link_rate(const struct machine_gpu *gpu)
{
    unsigned sm = gpu->sm, gfx = gpu->gfx;

    if (sm >= 100)
        return 40.1;
    if (sm >= 90)
        return 20.6;
    if (sm == 86)
        return 12;
    if (sm >= 70)
        return 20;
    if (sm >= 60)
        return 18;
    if (gfx >= 940)
        return 48; /* MI300, MI350 */
    if (gfx >= 910)
        return 36; /* MI200: gfx90a is written 910 */
    return gfx >= 900 ? 24 : 0; /* Vega, MI100 */
}

/* ---- switches ------------------------------------------------------------------------------------------ */

static double ring_factor(const struct bandwidth_constants *constants, unsigned sm)
{
    if (sm >= 100)
        return constants->factor[FACTOR_RING_SM100];
    if (sm >= 90)
        return constants->factor[FACTOR_RING_SM90];
    return sm >= 80 ? constants->factor[FACTOR_RING_SM80] : 1;
}

struct bandwidth bandwidth__switch_ring(const struct bandwidth_constants *constants, unsigned sm,
                                        double links, bool domain)
{
    struct machine_gpu gpu = {.sm = (uint16_t)sm};

    return (struct bandwidth){
        .busbw_gb_s = links * bandwidth__link_rate(&gpu) * ring_factor(constants, sm),
        .limit = domain ? LIMIT_NVL_DOMAIN : LIMIT_NVLINK};
}

/*
 * NVLS: each of h heads reduces 1/h of the data in the switches, so that a GPU sends and receives (h+1)/h of it
 * (NCCL 2.30 graph/search.cc: (h+1) * s within the links); the algorithm bandwidth is therefore links * h/(h+1),
 * and busbw 2(n-1)/n of that for each byte.
 */
struct bandwidth bandwidth__switch(const struct bandwidth_constants *constants, unsigned sm,
                                   double links, unsigned n, bool nvls, bool domain)
{
    struct bandwidth ring = bandwidth__switch_ring(constants, sm, links, domain);
    struct machine_gpu gpu = {.sm = (uint16_t)sm};
    double heads = n < NVLS_HEADS ? n : NVLS_HEADS, reduced;

    if (!nvls || sm < 90 || n < 2)
        return ring;
    reduced = links * bandwidth__link_rate(&gpu) * heads / (heads + 1) * 2 * (n - 1) / n *
              constants->factor[sm >= 100 ? FACTOR_NVLS_SM100 : FACTOR_NVLS_SM90];
    if (domain)
        reduced *= constants->factor[FACTOR_DOMAIN];
    if (reduced <= ring.busbw_gb_s)
        return ring;
    return (struct bandwidth){.busbw_gb_s = reduced, .limit = domain ? LIMIT_NVL_DOMAIN : LIMIT_NVLS};
}

/* The slowest generation and the fewest links of the set: what a ring through all of them has. */
static struct bandwidth on_switch(const struct bandwidth_constants *constants,
                                  const struct machine *machine, uint32_t mask, bool nvls)
{
    unsigned sm = UINT16_MAX, links = UINT8_MAX;

    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        unsigned a = (unsigned)__builtin_ctz(rest);

        if (machine->gpus[a].sm < sm)
            sm = machine->gpus[a].sm;
        for (uint32_t others = rest & (rest - 1); others; others &= others - 1) {
            const struct machine_link *link = &machine->link[a][__builtin_ctz(others)];

            if (link->class != LINK_NVLINK || link->links == 0)
                return bandwidth__unknown("links of a pair behind the switch are not known");
            if (link->links < links)
                links = link->links;
        }
    }
    if (sm < 60)
        return bandwidth__unknown("the generation of an accelerator is not known");
    return bandwidth__switch(constants, sm, links, (unsigned)__builtin_popcount(mask), nvls, false);
}

/* ---- meshes -------------------------------------------------------------------------------------------- */

/*
 * NVLink of V100 without a switch: 22 a link (SM70_NVLINK_BW of NCCL up to 2.16; now 20). 93 sets of a DGX-1V
 * that have a ring: mean error 6.1 %, median 2.9 %.
 */
#define MESH_SM70_RATE 22.0

/* A card with an NVLink bridge: one partner and no more on the whole machine. */
static bool is_bridged(const struct machine *machine, unsigned gpu)
{
    unsigned partners = 0;

    for (unsigned other = 0; other < machine->ngpus; other++)
        partners += machine->link[gpu][other].class == LINK_NVLINK;
    return partners == 1 && machine->gpus[gpu].sm >= 80;
}

static double mesh_rate(const struct bandwidth_constants *constants, const struct machine *machine,
                        uint32_t mask)
{
    double least = HUGE_VAL;

    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest), sm = machine->gpus[i].sm;
        double rate = bandwidth__link_rate(&machine->gpus[i]);

        if (sm >= 70 && sm < 80)
            rate = MESH_SM70_RATE;
        if (is_bridged(machine, i))
            rate *= constants->factor[FACTOR_BRIDGE];
        least = fmin(least, rate);
    }
    return least;
}

static struct bandwidth on_mesh(const struct bandwidth_constants *constants,
                                const struct machine *machine, uint32_t mask)
{
    double rate = mesh_rate(constants, machine, mask);
    bool xgmi = machine->gpus[__builtin_ctz(mask)].gfx > 0;
    unsigned cycles;

    if (rate <= 0)
        return bandwidth__unknown("the generation of an accelerator is not known");
    cycles = bandwidth__cycles(machine, mask);
    if (cycles == 0)
        return bandwidth__pcie(constants, machine, mask);
    return (struct bandwidth){.busbw_gb_s = cycles * rate, .limit = xgmi ? LIMIT_XGMI : LIMIT_NVLINK};
}

/* ---- the doors ------------------------------------------------------------------------------------------ */

static struct bandwidth of_gpus(const struct bandwidth_constants *constants,
                                const struct machine *machine, uint32_t mask, bool nvls)
{
    mask = bandwidth__clip(machine, mask);
    if (mask == 0)
        return bandwidth__unknown("no accelerator is named");
    if ((mask & (mask - 1)) == 0)
        return (struct bandwidth){.limit = LIMIT_SINGLE};
    switch (machine->fabric) {
    case FABRIC_SWITCH:
        return on_switch(constants, machine, mask, nvls);
    case FABRIC_MESH:
        return on_mesh(constants, machine, mask);
    case FABRIC_NONE:
        return bandwidth__pcie(constants, machine, mask);
    default:
        return bandwidth__unknown("what joins the accelerators is not known");
    }
}

struct bandwidth bandwidth_of_gpus_with(const struct bandwidth_constants *constants,
                                        const struct machine *machine, uint32_t mask)
{
    return of_gpus(constants, machine, mask, machine->nvls);
}

struct bandwidth bandwidth__ring(const struct bandwidth_constants *constants,
                                 const struct machine *machine, uint32_t mask)
{
    return of_gpus(constants, machine, mask, false);
}

struct bandwidth bandwidth_of_gpus(const struct machine *machine, uint32_t mask)
{
    return bandwidth_of_gpus_with(&bandwidth_constants, machine, mask);
}
