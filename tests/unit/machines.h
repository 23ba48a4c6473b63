/* machines.h - machines for tests, made in code: what readers would make of the real ones. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "topology/machine.h"

#define GEN3_X16 15.754f
#define GEN4_X16 31.508f
#define GEN5_X16 63.015f

struct wiring {
    const char *product;
    unsigned gpus, sm, gfx, sockets, islands; /* islands: PCIe switches, each with as many GPUs and NICs */
    float pcie_gb_s;
    unsigned nics;
    float nic_gbit_s;
    enum cpu_vendor cpu_vendor;
    unsigned cpu_model;
};

static inline int16_t island_of(unsigned i, unsigned all, unsigned islands)
{
    return (int16_t)(2 * (i * islands / all) + 1); /* host bridge, switch, host bridge, switch ... */
}

/* Everything but what joins the GPUs beyond PCIe. Host bridge and switch for each island. */
static inline void machine_wire(struct machine *machine, const struct wiring *wiring)
{
    unsigned islands = wiring->islands ? wiring->islands : wiring->gpus;

    memset(machine, 0, sizeof(*machine));
    machine->sockets = machine->nnuma = wiring->sockets ? wiring->sockets : 1;
    machine->ngpus = wiring->gpus;
    machine->nnics = wiring->nics;
    machine->nbridges = 2 * islands;
    machine->cpu_vendor = wiring->cpu_vendor;
    machine->cpu_family = 6;
    machine->cpu_model = wiring->cpu_model;
    machine->fabric = FABRIC_NONE;
    for (unsigned i = 0; i < machine->nnuma; i++)
        machine->numa[i] = (struct machine_numa){.os_index = i, .socket = i};
    for (unsigned i = 0; i < islands; i++) {
        int16_t numa = (int16_t)(i * machine->nnuma / islands);

        machine->bridges[2 * i] = (struct machine_bridge){.parent = -1, .numa = numa};
        machine->bridges[2 * i + 1] = (struct machine_bridge){
            .parent = (int16_t)(2 * i), .numa = numa, .up_gb_s = wiring->pcie_gb_s};
    }
    for (unsigned i = 0; i < wiring->gpus; i++) {
        struct machine_gpu *gpu = &machine->gpus[i];

        gpu->sm = (uint16_t)wiring->sm;
        gpu->gfx = (uint16_t)wiring->gfx;
        gpu->bridge = island_of(i, wiring->gpus, islands);
        gpu->numa = machine->bridges[gpu->bridge].numa;
        gpu->pcie_gb_s = wiring->pcie_gb_s;
        snprintf(gpu->product, sizeof(gpu->product), "%s", wiring->product);
    }
    for (unsigned i = 0; i < wiring->nics; i++) {
        machine->nics[i].bridge = island_of(i, wiring->nics, islands);
        machine->nics[i].numa = machine->bridges[machine->nics[i].bridge].numa;
        machine->nics[i].gbit_s = wiring->nic_gbit_s;
        snprintf(machine->nics[i].name, sizeof(machine->nics[i].name), "mlx5_%u", i);
    }
}

static inline void machine_add_switch(struct machine *machine, unsigned links, bool nvls)
{
    struct machine_link link = {.class = LINK_NVLINK, .links = (uint8_t)links, .gb_s = (float)links * 25};

    machine->fabric = FABRIC_SWITCH;
    machine->nvls = nvls;
    for (unsigned a = 0; a < machine->ngpus; a++)
        for (unsigned b = 0; b < a; b++)
            machine_join(machine, a, b, link);
    machine_derive_paths(machine);
}

/* links: a row of digits for each GPU, how many it has to each ("0112..."). */
static inline void machine_add_mesh(struct machine *machine, enum link_class class,
                                    const char *const *links)
{
    machine->fabric = FABRIC_MESH;
    for (unsigned a = 0; a < machine->ngpus; a++)
        for (unsigned b = 0; b < a; b++)
            if (links[a][b] > '0') {
                uint8_t n = (uint8_t)(links[a][b] - '0');

                machine_join(machine, a, b, (struct machine_link){class, n, (float)n * 25});
            }
    machine_derive_paths(machine);
}

/* DGX-1 with V100, p3.16xlarge: `nvidia-smi topo -m` of one. */
static const char *const mesh_dgx1v[] = {"01122000", "10210200", "12020010", "21200001",
                                         "20000112", "02001021", "00101202", "00012120"};
static const char *const mesh_all_8[] = {"01111111", "10111111", "11011111", "11101111",
                                         "11110111", "11111011", "11111101", "11111110"};
static const char *const mesh_all_4x6[] = {"0666", "6066", "6606", "6660"}; /* XE8640: 4 H100, NV6 */
static const char *const mesh_all_4x4[] = {"0444", "4044", "4404", "4440"}; /* 4 A100, NV4 */
/* Cards with bridges: 12 links within a pair. */
static const char *const mesh_pairs_4[] = {"0<00", "<000", "000<", "00<0"}; /* '<' is '0' + 12 */
