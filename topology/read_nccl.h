/* read_nccl.h - what NCCL's XML holds, before it is a machine: internal to its reader. */
#pragma once

#include "topology/gpu_model.h"
#include "topology/machine.h"

#define NCCL_LINKS_MAX 64 /* entries of one accelerator */

struct nccl_place { /* where an element stands: indexes, -1: none */
    int16_t numa, bridge;
    int gpu, nic;
};

struct nccl_link {
    uint64_t target;
    uint32_t class, count;
};

struct nccl_gpu {
    uint64_t pci;
    const struct gpu_model *model;
    struct machine_gpu gpu;
    uint32_t nlinks;
    struct nccl_link links[NCCL_LINKS_MAX];
};

struct nccl_nic {
    uint64_t pci;
    struct machine_nic nic;
};

struct nccl_machine {
    struct machine machine; /* its NUMA nodes and bridges */
    uint32_t ngpus, nnics;
    struct nccl_gpu gpus[MACHINE_GPUS_MAX];
    struct nccl_nic nics[MACHINE_NICS_MAX];
};

/* Devices in PCI order, and the links between them. */
void nccl__take(struct nccl_machine *from, struct machine *ret);
