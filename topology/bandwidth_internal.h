/* bandwidth_internal.h - what the parts of the predictor share. */
#pragma once

#include <stdbool.h>

#include "topology/bandwidth.h"
#include "topology/bandwidth_constants.h"

/* The doors of bandwidth.h with other constants: for the evaluation that fits them. */
struct bandwidth bandwidth_of_gpus_with(const struct bandwidth_constants *constants,
                                        const struct machine *machine, uint32_t mask);
struct bandwidth bandwidth_of_shape_with(const struct bandwidth_constants *constants,
                                         const struct bandwidth_shape *shape);

/* What a set reaches by ring alone: between hosts the other algorithms are not used as they are on one. */
struct bandwidth bandwidth__ring(const struct bandwidth_constants *constants,
                                 const struct machine *machine, uint32_t mask);
/* n accelerators behind switches, each with `links` of them; domain: of several machines. */
struct bandwidth bandwidth__switch(const struct bandwidth_constants *constants, unsigned sm,
                                   double links, unsigned n, bool nvls, bool domain);
struct bandwidth bandwidth__switch_ring(const struct bandwidth_constants *constants, unsigned sm,
                                        double links, bool domain);

/* GB/s of one NVLink or xGMI link; 0: not known. */
double bandwidth__link_rate(const struct machine_gpu *gpu);
/* Directed Hamiltonian cycles of the set that share no link. */
unsigned bandwidth__cycles(const struct machine *machine, uint32_t mask);
/* A ring that goes over PCIe where the set is not joined by links. */
struct bandwidth bandwidth__pcie(const struct bandwidth_constants *constants,
                                 const struct machine *machine, uint32_t mask);

struct bandwidth bandwidth__unknown(const char *why);
uint32_t bandwidth__clip(const struct machine *machine, uint32_t mask);
/* The usable part of a nominal PCIe rate: NCCL takes x16 of Gen3, 4, 5 for 12, 24, 48 (topo.cc), of 15.75, 31.5, 63. */
#define BANDWIDTH__PCIE_USABLE (12.0 / 15.754)
