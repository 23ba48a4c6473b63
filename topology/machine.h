/*
 * machine.h - what one machine is: sockets, NUMA nodes, accelerators, NICs, and how each pair of
 * accelerators is joined. A value type: plain data without pointers, copied by assignment; all zero is a
 * machine without anything. Readers (machine_read.h) fill it, `bandwidth` and `subset` ask it.
 *
 * Nothing is guessed: what a source does not say is UNKNOWN (a class), 0 (a speed, a size, a generation),
 * -1 (an index) or empty (a text), and is shown so.
 *
 * Speeds are in GB/s (10^9 bytes a second), one direction, nominal as in the data sheet: an NVLink of
 * Ampere or Hopper is 25, PCIe Gen5 x16 is 63. What software reaches of them is bandwidth.h's matter.
 * Accelerators are numbered as the machine's own tools number them (by PCI address), NICs in PCI order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define MACHINE_GPUS_MAX 32 /* 24 are seen: MI300A in TPX mode */
#define MACHINE_NICS_MAX 64 /* 32 are seen: one for each 100 Gbit/s port of a p5 */
#define MACHINE_NUMA_MAX 32
#define MACHINE_BRIDGES_MAX 128
#define MACHINE_TEXT_MAX 64
#define MACHINE_SPEED_MAX 1e6 /* GB/s, and Gbit/s of a NIC: more is a fault of who says it */

/* How two devices reach each other, best first; the words are those of `nvidia-smi topo -m`. */
enum link_class {
    LINK_UNKNOWN,
    LINK_SELF,
    LINK_NVLINK, /* NVLink, directly or through switches: "NV<links>" */
    LINK_XGMI, /* AMD's */
    LINK_PIX, /* at most one PCIe switch between them */
    LINK_PXB, /* several switches, no host bridge */
    LINK_PHB, /* through one host bridge */
    LINK_NODE, /* several host bridges of one NUMA node */
    LINK_SYS, /* between NUMA nodes */
    LINK_CLASSES
};

enum machine_fabric { /* what joins the accelerators beyond PCIe */
    FABRIC_UNKNOWN,
    FABRIC_NONE,
    FABRIC_MESH, /* links from one to another; not all pairs need have one */
    FABRIC_SWITCH, /* all to all at each one's full rate: NVSwitch */
};

enum cpu_vendor { CPU_UNKNOWN, CPU_INTEL, CPU_AMD, CPU_IBM, CPU_ARM, CPU_ZHAOXIN };

/* How kubelet's Topology Manager gives out what a pod asks for (numa_fit.h). */
enum numa_policy {
    NUMA_POLICY_UNKNOWN,
    NUMA_POLICY_NONE,
    NUMA_POLICY_BEST_EFFORT,
    NUMA_POLICY_RESTRICTED,
    NUMA_POLICY_SINGLE,
    NUMA_POLICIES
};

struct machine_numa {
    uint32_t os_index, socket;
    uint32_t cpus; /* hardware threads; 0: not known */
    uint64_t memory_bytes; /* 0: not known */
};

/*
 * A PCIe switch or a host bridge. Parents stand before their children. A host bridge (parent -1) hangs on a
 * NUMA node; the speed is that of the link towards the parent, for a host bridge 0.
 */
struct machine_bridge {
    int16_t parent, numa; /* indexes into bridges and numa; -1: none, not known */
    float up_gb_s;
};

struct machine_gpu {
    char uuid[MACHINE_TEXT_MAX], pci[MACHINE_TEXT_MAX], product[MACHINE_TEXT_MAX];
    uint16_t sm; /* NVIDIA's compute capability times ten: 90 is Hopper; 0: another vendor, or not known */
    uint16_t gfx; /* AMD's: 942 is MI300; 0 likewise */
    int16_t numa, bridge; /* indexes; bridge: the innermost above it */
    float pcie_gb_s;
    uint64_t memory_bytes;
};

struct machine_nic {
    char name[MACHINE_TEXT_MAX], pci[MACHINE_TEXT_MAX];
    int16_t numa, bridge;
    float pcie_gb_s;
    float gbit_s; /* 10^9 bits a second, all ports; 0: not known */
};

struct machine_link {
    uint8_t class; /* enum link_class */
    uint8_t links; /* of NVLink or xGMI between the two; through switches: those of the one with fewer */
    float gb_s; /* of the best path: all its links together, or the narrowest PCIe hop */
};

struct machine {
    char model[MACHINE_TEXT_MAX];
    uint32_t sockets; /* 0: not known; all NUMA nodes then say socket 0 */
    uint32_t nnuma, nbridges, ngpus, nnics;
    enum cpu_vendor cpu_vendor;
    uint32_t cpu_family, cpu_model; /* as CPUID tells; 0: not known */
    enum machine_fabric fabric;
    char fabric_from[MACHINE_TEXT_MAX]; /* how that is known, for people: "matrix of hwloc 2.12.2" */
    bool nvls; /* the switches reduce in flight (SHARP): third generation NVSwitch on */
    enum numa_policy numa_policy;
    bool own_cpus; /* kubelet's CPU manager gives whole CPUs to containers alone: "static" */
    uint32_t nvl_domain_gpus; /* accelerators that one NVLink domain holds when it spans machines; else 0 */
    struct machine_numa numa[MACHINE_NUMA_MAX];
    struct machine_bridge bridges[MACHINE_BRIDGES_MAX];
    struct machine_gpu gpus[MACHINE_GPUS_MAX];
    struct machine_nic nics[MACHINE_NICS_MAX];
    struct machine_link link[MACHINE_GPUS_MAX][MACHINE_GPUS_MAX]; /* symmetric */
    uint8_t nic_class[MACHINE_GPUS_MAX][MACHINE_NICS_MAX]; /* enum link_class */
};

const char *link_class_name(enum link_class class); /* "PIX"; "NV" and "XGMI" without their count */

/* Sets both directions. */
void machine_join(struct machine *machine, uint32_t a, uint32_t b, struct machine_link link);

/*
 * PCIe classes and speeds of all pairs that have no better link yet, and of each accelerator to each NIC,
 * from the bridges and NUMA nodes; LINK_UNKNOWN where those are not known. Call it last.
 */
void machine_derive_paths(struct machine *machine);

/* What every reader's result must be: indexes within bounds, symmetric links, parents before children. -EINVAL. */
int machine_check(const struct machine *machine, struct err *err);
