/*
 * gpu_model.h - what the data sheets say about accelerators: the speeds that tools get wrong (hwloc 2.9 doubles
 * NVLink of Ampere; a link that sleeps shows PCIe Gen1), by the name that the driver gives or by PCI id.
 * A constant table with the source of each row; pure.
 */
#pragma once

#include <stdint.h>

#include "topology/machine.h"

enum gpu_board { /* what the boards that carry this model have between the accelerators */
    BOARD_VARIES, /* bridges that may or may not be there, or several wirings */
    BOARD_NO_LINKS, /* the model has no links */
    BOARD_SWITCH_8, /* eight of them: always NVSwitch */
    BOARD_SWITCH_16,
    BOARD_MESH_8, /* eight of them: one link from each to each */
};

struct gpu_model {
    const char *name; /* words that the product's name holds, in this order */
    uint16_t vendor, device; /* PCI ids; device 0: not known */
    uint16_t sm, gfx;
    uint8_t links; /* NVLink or xGMI links of one */
    float link_gb_s; /* of one link, one direction */
    uint8_t pcie_gen;
    enum gpu_board board;
};

/* By product: blanks, '-' and '_' are alike, and so are letters of either case. NULL: not in the table. */
const struct gpu_model *gpu_model_find(const char *product);
const struct gpu_model *gpu_model_of_pci(uint32_t vendor, uint32_t device);

/*
 * What all NVIDIA models with so many links have in common, the rest 0. by_switch: only those that come with
 * switches are meant. nvls: those switches reduce in flight.
 */
struct gpu_family {
    uint16_t sm;
    float link_gb_s;
    bool nvls;
};
struct gpu_family gpu_family_of_links(uint32_t links, bool by_switch);

/* GB/s of a PCIe link by the signalling rate of one lane (2.5 to 64 GT/s); 0: not a rate of PCIe. */
float pcie_gb_s(double gt_s, uint32_t lanes);
float pcie_gen_gb_s(uint32_t gen, uint32_t lanes); /* gen 1 to 6; else 0 */

/*
 * An idle accelerator's link runs at Gen1 or Gen2: what it does awake, if `found` is such a rate and the model
 * is of a later generation; else `found`. Both spellings of 8b/10b are known: right (2.5 GT/s = 0.25 GB/s
 * a lane) and as hwloc 2.11 on writes it (x 128/130 = 0.308).
 */
float pcie_awake_gb_s(float found, const struct gpu_model *model);

/*
 * Fabric and links of a machine of which only the products are known, if they tell: all alike, and on a board
 * that exists in one wiring only. Changes nothing otherwise. Says in fabric_from how it knows.
 */
void machine_fabric_of_product(struct machine *machine);

/* All to all through switches, each pair at the rate of the one with fewer links. links[i]: of accelerator i. */
void machine_join_by_switch(struct machine *machine, const uint32_t *links);
/* GB/s of `links` links between a and b: the slower end's, by product, else by sm or gfx; 0: not known. */
float machine_links_gb_s(const struct machine *machine, uint32_t a, uint32_t b, uint32_t links);
