/*
 * A ring over PCIe. Its order is depth-first: from the lowest accelerator always on to the nearest that was not
 * met yet, by class of path, then by number. Each hop loads edges of the tree of bridges:
 *   NVLink, xGMI     none
 *   up to PXB        up from one to the switch they share, down to the other (NCCL: P2P up to PXB, paths.cc)
 *   beyond           up to the host bridge and down again, through host memory; the link between sockets if
 *                    the two are on different ones. GeForce cards have no P2P: always so.
 * NCCL runs channels in both senses, so an edge carries (load of the ring + load of the ring reversed) / 2 of
 * what goes around, and the most loaded edge for its rate holds all.
 */
#include <math.h>
#include <string.h>

#include "topology/bandwidth_internal.h"

#define SOCKETS_MAX 8

struct load {
    unsigned sum; /* of both senses, up and down alike: they mirror each other */
    bool staged; /* by a hop through host memory */
};

struct ring {
    const struct machine *machine;
    uint8_t order[MACHINE_GPUS_MAX];
    unsigned n;
    struct load gpu[MACHINE_GPUS_MAX], bridge[MACHINE_BRIDGES_MAX];
    unsigned socket[SOCKETS_MAX][SOCKETS_MAX];
    const char *unknown;
};

static void put_in_order(struct ring *ring, uint32_t mask)
{
    unsigned at = (unsigned)__builtin_ctz(mask);

    ring->order[ring->n++] = (uint8_t)at;
    mask &= mask - 1;
    while (mask) {
        unsigned next = 0, nearest = UINT32_MAX;

        for (uint32_t rest = mask; rest; rest &= rest - 1) {
            unsigned b = (unsigned)__builtin_ctz(rest), class = ring->machine->link[at][b].class;

            if (class == LINK_UNKNOWN)
                class = LINK_CLASSES;
            if (class < nearest) {
                nearest = class;
                next = b;
            }
        }
        at = next;
        mask &= ~(1u << next);
        ring->order[ring->n++] = (uint8_t)next;
    }
}

/* Both edges of an accelerator's way to bridge `end` (-1: up to the host), in one sense each. */
static void load_way(struct ring *ring, unsigned gpu, int end, bool staged)
{
    ring->gpu[gpu].sum++;
    ring->gpu[gpu].staged |= staged;
    for (int b = ring->machine->gpus[gpu].bridge; b >= 0 && b != end;
         b = ring->machine->bridges[b].parent) {
        ring->bridge[b].sum++;
        ring->bridge[b].staged |= staged;
    }
}

static int common_bridge(const struct machine *machine, unsigned a, unsigned b)
{
    for (int x = machine->gpus[a].bridge; x >= 0; x = machine->bridges[x].parent)
        for (int y = machine->gpus[b].bridge; y >= 0; y = machine->bridges[y].parent)
            if (x == y)
                return x;
    return -1;
}

static int socket_of(const struct machine *machine, unsigned gpu)
{
    int numa = machine->gpus[gpu].numa;

    return numa < 0 || machine->numa[numa].socket >= SOCKETS_MAX ? -1 : (int)machine->numa[numa].socket;
}

static void load_hop(struct ring *ring, unsigned a, unsigned b)
{
    enum link_class class = ring->machine->link[a][b].class;
    bool direct = class <= LINK_PXB && !strstr(ring->machine->gpus[a].product, "GeForce");
    int from = socket_of(ring->machine, a), to = socket_of(ring->machine, b), end;

    if (class == LINK_UNKNOWN)
        ring->unknown = "the path between two accelerators is not known";
    if (class == LINK_NVLINK || class == LINK_XGMI)
        return;
    end = direct ? common_bridge(ring->machine, a, b) : -1;
    load_way(ring, a, end, !direct);
    load_way(ring, b, end, !direct);
    if (class != LINK_SYS)
        return;
    if (from < 0 || to < 0)
        ring->unknown = "the socket of an accelerator is not known";
    else if (from != to) {
        ring->socket[from][to]++;
        ring->socket[to][from]++;
    }
}

/*
 * NCCL 2.30 graph/topo.h and ncclTopoGetInterCpuBw(): Intel by model of family 6, AMD 16, POWER9 32, ARM 6,
 * Zhaoxin 6. Sapphire Rapids has a factor of its own, as its 22 was seen passed. 0: not known.
 */
static double socket_rate(const struct bandwidth_constants *constants, const struct machine *machine)
{
    switch (machine->cpu_vendor) {
    case CPU_INTEL:
        if (machine->cpu_model == 0)
            return 0;
        if (machine->cpu_model >= 0xCF)
            return 40;
        if (machine->cpu_model >= 0x8F)
            return 22 * constants->factor[FACTOR_SOCKET];
        return machine->cpu_model >= 0x55 ? 10 : 6;
    case CPU_AMD:
        return 16;
    case CPU_IBM:
        return 32;
    case CPU_ARM:
    case CPU_ZHAOXIN:
        return 6;
    default:
        return 0;
    }
}

static void hold(struct bandwidth *held, double rate, unsigned load, enum bandwidth_limit limit)
{
    double here = 2 * rate / load;

    if (here < held->busbw_gb_s) {
        held->busbw_gb_s = here;
        held->limit = limit;
    }
}

static void hold_edge(struct ring *ring, struct bandwidth *held, const struct load *load,
                      double nominal_gb_s, double factor)
{
    if (load->sum == 0)
        return;
    if (nominal_gb_s <= 0)
        ring->unknown = "the speed of a PCIe link is not known";
    hold(held, nominal_gb_s * BANDWIDTH__PCIE_USABLE * factor, load->sum,
         load->staged ? LIMIT_HOST_MEMORY : LIMIT_PCIE);
}

static void hold_sockets(struct ring *ring, struct bandwidth *held,
                         const struct bandwidth_constants *constants)
{
    double rate = socket_rate(constants, ring->machine);

    for (unsigned a = 0; a < SOCKETS_MAX; a++)
        for (unsigned b = 0; b < SOCKETS_MAX; b++) {
            if (ring->socket[a][b] == 0)
                continue;
            if (rate <= 0)
                ring->unknown = "the processor, and so the link between sockets, is not known";
            hold(held, rate, ring->socket[a][b], LIMIT_SOCKET);
        }
}

struct bandwidth bandwidth__pcie(const struct bandwidth_constants *constants,
                                 const struct machine *machine, uint32_t mask)
{
    struct ring ring = {.machine = machine};
    struct bandwidth held = {.busbw_gb_s = HUGE_VAL};
    double factor = constants->factor[FACTOR_PCIE];

    put_in_order(&ring, mask);
    for (unsigned i = 0; i < ring.n; i++)
        load_hop(&ring, ring.order[i], ring.order[(i + 1) % ring.n]);
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);

        hold_edge(&ring, &held, &ring.gpu[i], machine->gpus[i].pcie_gb_s, factor);
    }
    for (uint32_t b = 0; b < machine->nbridges; b++)
        if (machine->bridges[b].parent >= 0)
            hold_edge(&ring, &held, &ring.bridge[b], machine->bridges[b].up_gb_s, factor);
    hold_sockets(&ring, &held, constants);
    if (ring.unknown)
        return bandwidth__unknown(ring.unknown);
    return isinf(held.busbw_gb_s) ? bandwidth__unknown("no way between the accelerators is known") : held;
}
