/*
 * bandwidth.h - how fast accelerators reduce together: the bus bandwidth that a large all-reduce of NCCL or RCCL
 * reaches, and what holds it there. Pure: libc and libm only; no allocation, no global state, no clock; the same
 * question has the same answer. Any thread.
 *
 * busbw = bytes / time * 2(n-1)/n of n accelerators, in GB/s (10^9 bytes a second), the figure that nccl-tests
 * prints: the plateau of 2 GiB and more. Small messages are bound by latency and not foretold.
 *
 * On one machine
 *   switch (NVSwitch)   the faster of ring: links * rate, and NVLS: links * rate * 2(h-1)/(h+1), h = min(n, 8)
 *   mesh (NVLink, xGMI) directed Hamiltonian cycles of the set that share no link, times the rate of one link;
 *                       without such a cycle the ring goes over PCIe where it must
 *   PCIe                a ring in depth-first order, held by the most loaded edge of the tree of bridges, or by
 *                       the link between sockets; pairs beyond a common PCIe switch go through host memory
 * Between hosts, B being what the NICs next to a host's accelerators carry, B the least of all hosts
 *   2 hosts     min(2(n-1)/n * B * tree, what the larger part reaches by itself), or the ring if faster
 *   3 and more  min(B, the rings within the hosts)
 * A pod is a host: accelerators of two pods on one machine talk through the NICs, which they share. Pods of one
 * NVLink domain are one host together. Where uplinks of a level are oversubscribed, B is at most the gang's share.
 *
 * Rates and efficiencies, each with where it is from, stand in bandwidth_constants.h; how far all of it is from
 * what was measured: `bash tests/bench/run.sh predict`.
 *
 * What is not known is not guessed: the answer is then LIMIT_UNKNOWN, without a figure, and says why.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "topology/machine.h"

enum bandwidth_limit {
    LIMIT_UNKNOWN, /* no figure; `why` says what is missing */
    LIMIT_SINGLE, /* one accelerator: nothing to reduce, no figure */
    LIMIT_NVLINK,
    LIMIT_NVLS, /* NVLink with reduction in the switches */
    LIMIT_XGMI,
    LIMIT_PCIE,
    LIMIT_HOST_MEMORY, /* PCIe, on a way through host memory */
    LIMIT_SOCKET, /* the link between sockets */
    LIMIT_NIC,
    LIMIT_LEVEL, /* oversubscribed uplinks of the level `level` */
    LIMIT_NVL_DOMAIN, /* an NVLink domain of several machines */
    LIMIT_WORDS
};

struct bandwidth {
    double busbw_gb_s; /* 0: none */
    enum bandwidth_limit limit;
    uint32_t level; /* of LIMIT_LEVEL: which of the shape's levels */
    const char *why; /* of LIMIT_UNKNOWN: static text; else NULL */
};

/* "nvlink", "host memory", ...; of LIMIT_LEVEL "level", to be followed by its name. */
const char *bandwidth_limit_word(enum bandwidth_limit limit);

/*
 * Of the accelerators in `mask` (bit i: gpus[i]; those beyond ngpus are not looked at), all in one pod. Some ten
 * ns for a switch, a us for PCIe, up to a ms for a large mesh (its search is bounded): keep the answers of a mesh
 * in a subset table (subset.h).
 */
struct bandwidth bandwidth_of_gpus(const struct machine *machine, uint32_t mask);

#define BANDWIDTH_LEVELS_MAX 8
#define BANDWIDTH_PODS_MAX 20000

struct bandwidth_pod {
    const struct machine *machine;
    uint32_t mask; /* its accelerators; 0: `count` of them, not known which */
    uint32_t count; /* looked at where mask is 0 */
    uint32_t host; /* pods with the same number are on one machine */
    uint32_t nvl_domain; /* the NVLink domain that the machine is in; 0: none, or none that the pod may use */
    uint32_t domain[BANDWIDTH_LEVELS_MAX]; /* per level, outermost first */
};

/*
 * Pods in rank order: those of one machine stand together, and so do those of one NVLink domain and of one domain
 * of a level, as the planner gives ranks (depth-first over the tree).
 */
struct bandwidth_shape {
    const struct bandwidth_pod *pods;
    uint32_t npods;
    double nic_gbit_s; /* of each NIC, in the place of what the machines say, one for each accelerator where they
                          say nothing; 0: as they say */
    uint32_t nlevels;
    double oversubscription[BANDWIDTH_LEVELS_MAX]; /* down : up of a domain's uplinks; 0, 1: none, or not known */
};

/* Of all pods of a gang. LIMIT_UNKNOWN too for shapes beyond the limits. One or two us a pod on switch machines. */
struct bandwidth bandwidth_of_shape(const struct bandwidth_shape *shape);
