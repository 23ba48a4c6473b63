/*
 * Several pods. Each pod is a host to NCCL, but pods that share an NVLink domain are one together; what follows
 * calls either a party. Parties are walked over twice: once for their number, the least NIC rate and the largest
 * of them, once a level for the uplinks.
 */
#include <math.h>

#include "topology/bandwidth_internal.h"

/* GB/s that software gets from 1 Gbit/s of a NIC: 12 of 100G, 24 of 200G, 48 of 400G (sjeaugey, nccl-tests#119). */
#define NIC_USABLE 0.12
/* NCCL 2.30 graph/tuning.cc: trees get at most .92 of the links; NVLSTree, where the switches reduce, all. */
#define TREE 0.92
/* NICs slower than a quarter of the fastest carry the host's own traffic. */
#define NIC_MAIN 0.25
/*
 * NICs of an NVLink domain that carry what leaves it: as many as NVLS has heads. Met by the rows of 144 and of
 * 1440 GPUs; no source of NCCL says so.
 */
#define DOMAIN_NICS 8

struct party {
    uint32_t first, end; /* pods */
    uint32_t gpus;
    double nic_gb_s;
    struct bandwidth whole, ring; /* within it; LIMIT_SINGLE: of one accelerator */
    bool nvls;
    unsigned sm;
    double channels; /* NICs in use; a part of one that others use too */
};

/* ---- NICs ------------------------------------------------------------------------------------------------ */

static double nic_gbit_s(const struct bandwidth_shape *shape, const struct machine *machine, uint32_t nic)
{
    return shape->nic_gbit_s > 0 ? shape->nic_gbit_s : machine->nics[nic].gbit_s;
}

static double fastest_nic(const struct machine *machine)
{
    double fastest = 0;

    for (uint32_t i = 0; i < machine->nnics; i++)
        fastest = fmax(fastest, machine->nics[i].gbit_s);
    return fastest;
}

/* The NICs nearest to one of its accelerators: those that NCCL gives it. */
static uint64_t nics_of(const struct machine *machine, uint32_t mask)
{
    double least = fastest_nic(machine) * NIC_MAIN;
    uint64_t nics = 0;

    for (; mask; mask &= mask - 1) {
        const uint8_t *class = machine->nic_class[__builtin_ctz(mask)];
        unsigned nearest = LINK_CLASSES;

        for (uint32_t i = 0; i < machine->nnics; i++)
            if (machine->nics[i].gbit_s >= least && class[i] != LINK_UNKNOWN && class[i] < nearest)
                nearest = class[i];
        for (uint32_t i = 0; i < machine->nnics; i++)
            if (machine->nics[i].gbit_s >= least && class[i] == nearest)
                nics |= UINT64_C(1) << i;
    }
    return nics;
}

static uint32_t mask_of(const struct bandwidth_pod *pod)
{
    const struct machine *machine = pod->machine;

    if (pod->mask)
        return bandwidth__clip(machine, pod->mask);
    /* Behind switches all sets are alike, but for NICs: those are as many for each on the machines that are. */
    if (pod->count && (pod->count >= machine->ngpus || machine->fabric == FABRIC_SWITCH || pod->count == 1))
        return bandwidth__clip(machine, pod->count >= 32 ? UINT32_MAX : (1u << pod->count) - 1);
    return 0;
}

/* Usable PCIe rate of the accelerators: through it all has to go. */
static double pcie_gb_s(const struct machine *machine, uint32_t mask)
{
    double sum = 0;

    for (; mask; mask &= mask - 1) {
        double rate = machine->gpus[__builtin_ctz(mask)].pcie_gb_s;

        sum += rate > 0 ? rate * BANDWIDTH__PCIE_USABLE : HUGE_VAL;
    }
    return sum;
}

/* GB/s of a pod's NICs, those that other pods of the gang on the machine use too in equal shares. 0: not known. */
static double pod_nics(const struct bandwidth_shape *shape, uint32_t index, double *ret_nics)
{
    const struct bandwidth_pod *pod = &shape->pods[index];
    const struct machine *machine = pod->machine;
    uint32_t mask = mask_of(pod), first = index, end = index + 1;
    uint64_t nics = nics_of(machine, mask);
    double sum = 0;

    *ret_nics = 0;
    if (machine->nnics == 0) {
        *ret_nics = __builtin_popcount(mask);
        return fmin(*ret_nics * shape->nic_gbit_s * NIC_USABLE, pcie_gb_s(machine, mask));
    }
    while (first > 0 && shape->pods[first - 1].host == pod->host)
        first--;
    while (end < shape->npods && shape->pods[end].host == pod->host)
        end++;
    for (; nics; nics &= nics - 1) {
        uint32_t nic = (uint32_t)__builtin_ctzll(nics), users = 0;

        for (uint32_t i = first; i < end && end - first > 1; i++)
            users += (nics_of(machine, mask_of(&shape->pods[i])) >> nic & 1) != 0;
        sum += nic_gbit_s(shape, machine, nic) * NIC_USABLE / (users ? users : 1);
        *ret_nics += 1.0 / (users ? users : 1);
    }
    return fmin(sum, pcie_gb_s(machine, mask));
}

/* ---- parties --------------------------------------------------------------------------------------------- */

/* NVLink links of an accelerator to the switches of its domain: as many as it has to a neighbour. */
static unsigned domain_links(const struct machine *machine, uint32_t mask)
{
    unsigned least = UINT8_MAX;

    for (; mask; mask &= mask - 1) {
        unsigned most = 0;

        for (uint32_t b = 0; b < machine->ngpus; b++)
            if (machine->link[__builtin_ctz(mask)][b].class == LINK_NVLINK &&
                machine->link[__builtin_ctz(mask)][b].links > most)
                most = machine->link[__builtin_ctz(mask)][b].links;
        least = most < least ? most : least;
    }
    return least;
}

static bool in_domain(const struct bandwidth_pod *pod)
{
    return pod->nvl_domain != 0 && pod->machine->nvl_domain_gpus > 0 &&
           pod->machine->fabric == FABRIC_SWITCH;
}

static void set_domain(const struct bandwidth_constants *constants, const struct bandwidth_shape *shape,
                       struct party *party)
{
    unsigned links = UINT8_MAX, nics = 0;

    for (uint32_t i = party->first; i < party->end; i++) {
        const struct machine *machine = shape->pods[i].machine;
        unsigned here = domain_links(machine, mask_of(&shape->pods[i]));

        links = here < links ? here : links;
        nics += machine->nnics ? (unsigned)__builtin_popcountll(nics_of(machine, mask_of(&shape->pods[i])))
                               : (unsigned)__builtin_popcount(mask_of(&shape->pods[i]));
    }
    if (links == 0 || party->sm < 60) {
        party->whole = party->ring = bandwidth__unknown("links of an accelerator of the NVLink domain are not known");
        return;
    }
    party->whole = bandwidth__switch(constants, party->sm, links, party->gpus, party->nvls, true);
    party->ring = bandwidth__switch_ring(constants, party->sm, links, true);
    if (nics > DOMAIN_NICS)
        party->nic_gb_s *= (double)DOMAIN_NICS / nics;
}

/* The party that begins at pod `first`; -1: an accelerator's number is not known where it matters. */
static int take_party(const struct bandwidth_constants *constants, const struct bandwidth_shape *shape,
                      uint32_t first, struct party *ret)
{
    const struct bandwidth_pod *pod = &shape->pods[first];

    *ret = (struct party){.first = first, .end = first, .nvls = true, .sm = UINT16_MAX};
    do {
        const struct bandwidth_pod *next = &shape->pods[ret->end];
        uint32_t mask = mask_of(next);
        double nics;

        if (mask == 0)
            return -1;
        ret->gpus += (uint32_t)__builtin_popcount(mask);
        ret->nic_gb_s += pod_nics(shape, ret->end, &nics);
        ret->channels += nics;
        ret->nvls &= next->machine->nvls;
        for (; mask; mask &= mask - 1)
            if (next->machine->gpus[__builtin_ctz(mask)].sm < ret->sm)
                ret->sm = next->machine->gpus[__builtin_ctz(mask)].sm;
        ret->end++;
    } while (ret->end < shape->npods && in_domain(pod) && in_domain(&shape->pods[ret->end]) &&
             shape->pods[ret->end].nvl_domain == pod->nvl_domain);
    if (ret->end > first + 1) {
        set_domain(constants, shape, ret);
    } else {
        ret->whole = bandwidth_of_gpus_with(constants, pod->machine, mask_of(pod));
        ret->ring = bandwidth__ring(constants, pod->machine, mask_of(pod));
    }
    return 0;
}

struct parties { /* of the whole gang */
    uint32_t n, gpus;
    double nic_gb_s; /* the least */
    struct bandwidth ring; /* the slowest within a party */
    struct party largest;
    bool nvls; /* all reduce in their switches, and have enough accelerators to */
    double tree_cap;
    const char *unknown;
};

/* GB/s that one channel of a tree carries between two nodes (NCCL 2.30 graph/tuning.cc perChMaxTreeBws). */
static double tree_channel(unsigned sm)
{
    if (sm >= 100)
        return 42.8;
    if (sm >= 90)
        return 41.4;
    return sm >= 80 ? 23.6 : 18.5;
}

/* A channel for each NIC, two where it is fast (NCCL 2.30 graph/search.cc, after the first pass). */
static double tree_channels(const struct party *party)
{
    double rate = party->nic_gb_s / party->channels;

    return rate >= 25 && !(party->sm > 80 && rate < 50 && party->channels > 4) ? 2 * party->channels
                                                                               : party->channels;
}

static void add_party(struct parties *all, const struct party *party)
{
    if (party->whole.limit == LIMIT_UNKNOWN)
        all->unknown = party->whole.why;
    if (party->nic_gb_s <= 0)
        all->unknown = "the speed of the NICs is not known";
    if (party->gpus > all->largest.gpus)
        all->largest = *party;
    if (all->n == 0 || party->nic_gb_s < all->nic_gb_s)
        all->nic_gb_s = party->nic_gb_s;
    if (party->ring.limit != LIMIT_SINGLE && party->ring.busbw_gb_s < all->ring.busbw_gb_s)
        all->ring = party->ring;
    if (party->sm < UINT16_MAX && party->sm >= 60)
        all->tree_cap = fmin(all->tree_cap, tree_channels(party) * tree_channel(party->sm));
    all->nvls &= party->nvls && party->gpus > 2;
    all->gpus += party->gpus;
    all->n++;
}

/* ---- uplinks --------------------------------------------------------------------------------------------- */

/* The least share of a level's uplinks that the gang has in one of its domains: what its NICs bring / the ratio. */
static double uplink_share(const struct bandwidth_constants *constants, const struct bandwidth_shape *shape,
                           uint32_t level)
{
    double least = HUGE_VAL, sum = 0;
    uint32_t domain = shape->pods[0].domain[level], domains = 1;
    struct party party;

    for (uint32_t i = 0; i < shape->npods; i = party.end) {
        if (take_party(constants, shape, i, &party) < 0)
            return HUGE_VAL;
        if (shape->pods[i].domain[level] != domain) {
            least = fmin(least, sum);
            domain = shape->pods[i].domain[level];
            domains++;
            sum = 0;
        }
        sum += party.nic_gb_s;
    }
    least = fmin(least, sum);
    return domains > 1 ? least / shape->oversubscription[level] : HUGE_VAL;
}

/* The gang's least share of all levels' uplinks, if less than its NICs carry. */
static double between(const struct bandwidth_constants *constants, const struct bandwidth_shape *shape,
                      double nic_gb_s, struct bandwidth *held)
{
    held->limit = LIMIT_NIC;
    for (uint32_t level = 0; level < shape->nlevels; level++) {
        double share;

        if (shape->oversubscription[level] <= 1)
            continue;
        share = uplink_share(constants, shape, level);
        if (share < nic_gb_s) {
            nic_gb_s = share;
            held->limit = LIMIT_LEVEL;
            held->level = level;
        }
    }
    return nic_gb_s;
}

/* ---- the answer ------------------------------------------------------------------------------------------ */

static struct bandwidth lesser(struct bandwidth a, struct bandwidth b)
{
    return b.limit == LIMIT_SINGLE || a.busbw_gb_s <= b.busbw_gb_s ? a : b;
}

static struct bandwidth answer(const struct parties *all, struct bandwidth net)
{
    struct bandwidth ring = lesser(net, all->ring), tree = net;
    double n = all->gpus;

    if (all->n > 2)
        return ring; /* NVLSTree of Hopper comes to the same: 8 channels of 45.5 (tuning.cc) against 365 */
    /* Of two, each sends its sum to the other once: 1 byte crosses where a ring has 2(n-1)/n. */
    tree.busbw_gb_s = 2 * (n - 1) / n * net.busbw_gb_s;
    if (!all->nvls)
        tree.busbw_gb_s = fmin(tree.busbw_gb_s * TREE, all->tree_cap * (n - 1) / n);
    tree = lesser(tree, all->largest.whole);
    return tree.busbw_gb_s > ring.busbw_gb_s ? tree : ring;
}

struct bandwidth bandwidth_of_shape_with(const struct bandwidth_constants *constants,
                                         const struct bandwidth_shape *shape)
{
    struct parties all = {.nvls = true, .tree_cap = HUGE_VAL, .ring = {.busbw_gb_s = HUGE_VAL}};
    struct bandwidth net = {0};
    struct party party;

    if (shape->npods == 0 || shape->npods > BANDWIDTH_PODS_MAX || shape->nlevels > BANDWIDTH_LEVELS_MAX)
        return bandwidth__unknown("no pod, or more pods or levels than are looked at");
    for (uint32_t i = 0; i < shape->npods; i = party.end) {
        if (take_party(constants, shape, i, &party) < 0)
            return bandwidth__unknown("which accelerators a pod has is not known");
        add_party(&all, &party);
    }
    if (all.n == 1)
        return all.largest.whole;
    if (all.unknown)
        return bandwidth__unknown(all.unknown);
    net.busbw_gb_s = between(constants, shape, all.nic_gb_s, &net);
    return answer(&all, net);
}

struct bandwidth bandwidth_of_shape(const struct bandwidth_shape *shape)
{
    return bandwidth_of_shape_with(&bandwidth_constants, shape);
}
