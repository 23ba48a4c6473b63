/*
 * Sources: PCI ids: pci-ids.ucw.cz. NVLink: NVIDIA's data sheets (P100 4 links of 20 GB/s, V100 6 of 25, A100 12
 * of 25, A30 4 of 25, A40, A6000 and RTX 3090 4 of 14.06, H100/H200 SXM 18 of 25, H100 NVL and H100 PCIe bridges
 * 12 of 25, H800 SXM 8 of 25, H20 18 of 25, B200/B300 18 of 50: the sheets name both directions together).
 * xGMI: AMD's data sheets (MI100, MI210, MI250X 50 a link and direction, MI50/60 46, MI300X/MI325X 7 of 64).
 * Boards: HGX A100/H100/H200/B200 of eight and DGX-2 are built with NVSwitch only; MI300X of eight is a full mesh
 * (AMD CDNA 3 white paper). HGX of four are meshes, but four of eight in a virtual machine look alike: varies.
 */
#include "topology/gpu_model.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NVIDIA 0x10de
#define AMD 0x1002

/* The first row that fits wins: longer names stand before those that they hold. */
static const struct gpu_model models[] = {
    {"P100 SXM2", NVIDIA, 0x15f9, 60, 0, 4, 20, 3, BOARD_VARIES},
    {"P100", NVIDIA, 0x15f8, 60, 0, 0, 0, 3, BOARD_NO_LINKS},
    {"V100 SXM3", NVIDIA, 0x1db8, 70, 0, 6, 25, 3, BOARD_SWITCH_16},
    {"V100 SXM2", NVIDIA, 0x1db1, 70, 0, 6, 25, 3, BOARD_VARIES},
    {"V100 SXM2 32GB", NVIDIA, 0x1db5, 70, 0, 6, 25, 3, BOARD_VARIES},
    {"V100 PCIE", NVIDIA, 0x1db4, 70, 0, 0, 0, 3, BOARD_NO_LINKS},
    {"V100 PCIE 32GB", NVIDIA, 0x1db6, 70, 0, 0, 0, 3, BOARD_NO_LINKS},
    {"T4", NVIDIA, 0x1eb8, 75, 0, 0, 0, 3, BOARD_NO_LINKS},
    {"A100 SXM4", NVIDIA, 0x20b0, 80, 0, 12, 25, 4, BOARD_SWITCH_8},
    {"A100 SXM4 80GB", NVIDIA, 0x20b2, 80, 0, 12, 25, 4, BOARD_SWITCH_8},
    {"A800 SXM4", NVIDIA, 0x20f3, 80, 0, 8, 25, 4, BOARD_SWITCH_8},
    {"A100 PCIE", NVIDIA, 0x20f1, 80, 0, 12, 25, 4, BOARD_VARIES},
    {"A100 80GB PCIe", NVIDIA, 0x20b5, 80, 0, 12, 25, 4, BOARD_VARIES},
    {"A30", NVIDIA, 0x20b7, 80, 0, 4, 25, 4, BOARD_VARIES},
    {"A10G", NVIDIA, 0x2237, 86, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"A10", NVIDIA, 0x2236, 86, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"A40", NVIDIA, 0x2235, 86, 0, 4, 14.0625F, 4, BOARD_VARIES},
    {"A6000", NVIDIA, 0x2230, 86, 0, 4, 14.0625F, 4, BOARD_VARIES},
    {"RTX 3090", NVIDIA, 0x2204, 86, 0, 4, 14.0625F, 4, BOARD_VARIES},
    {"RTX 4090", NVIDIA, 0x2684, 89, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"RTX 6000 Ada", NVIDIA, 0x26b1, 89, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"L40S", NVIDIA, 0x26b9, 89, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"L40", NVIDIA, 0x26b5, 89, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"L4", NVIDIA, 0x27b8, 89, 0, 0, 0, 4, BOARD_NO_LINKS},
    {"H100 PCIe", NVIDIA, 0x2331, 90, 0, 12, 25, 5, BOARD_VARIES},
    {"H100 NVL", NVIDIA, 0x2321, 90, 0, 12, 25, 5, BOARD_VARIES},
    {"H100 80GB HBM3", NVIDIA, 0x2330, 90, 0, 18, 25, 5, BOARD_SWITCH_8},
    {"H100 SXM5", NVIDIA, 0, 90, 0, 18, 25, 5, BOARD_SWITCH_8},
    {"H800 PCIe", NVIDIA, 0x2322, 90, 0, 8, 25, 5, BOARD_VARIES},
    {"H800", NVIDIA, 0x2324, 90, 0, 8, 25, 5, BOARD_SWITCH_8},
    {"H200 NVL", NVIDIA, 0x233b, 90, 0, 18, 25, 5, BOARD_VARIES},
    {"H200", NVIDIA, 0x2335, 90, 0, 18, 25, 5, BOARD_SWITCH_8},
    {"H20", NVIDIA, 0x2329, 90, 0, 18, 25, 5, BOARD_SWITCH_8},
    {"GH200", NVIDIA, 0x2342, 90, 0, 18, 25, 5, BOARD_VARIES},
    {"GB200", NVIDIA, 0x2941, 100, 0, 18, 50, 5, BOARD_VARIES},
    {"GB300", NVIDIA, 0x31c2, 103, 0, 18, 50, 6, BOARD_VARIES},
    {"B200", NVIDIA, 0x2901, 100, 0, 18, 50, 5, BOARD_SWITCH_8},
    {"B300", NVIDIA, 0x3182, 103, 0, 18, 50, 6, BOARD_SWITCH_8},
    {"RTX 5090", NVIDIA, 0x2b85, 120, 0, 0, 0, 5, BOARD_NO_LINKS},
    {"RTX PRO 6000 Blackwell", NVIDIA, 0x2bb1, 120, 0, 0, 0, 5, BOARD_NO_LINKS},
    {"MI50", AMD, 0x66a1, 0, 906, 2, 46, 4, BOARD_VARIES},
    {"MI100", AMD, 0x738c, 0, 908, 3, 46, 4, BOARD_VARIES},
    {"MI210", AMD, 0x740f, 0, 910, 3, 50, 4, BOARD_VARIES},
    {"MI250X", AMD, 0x7408, 0, 910, 8, 50, 4, BOARD_VARIES},
    {"MI200", AMD, 0, 0, 910, 8, 50, 4, BOARD_VARIES}, /* as drivers call the MI250X */
    {"MI250", AMD, 0x740c, 0, 910, 8, 50, 4, BOARD_VARIES},
    {"MI300A", AMD, 0x74a0, 0, 942, 8, 64, 5, BOARD_VARIES},
    {"MI300X", AMD, 0x74a1, 0, 942, 7, 64, 5, BOARD_MESH_8},
    {"MI325X", AMD, 0x74a5, 0, 942, 7, 64, 5, BOARD_MESH_8},
};

#define NMODELS (sizeof(models) / sizeof(models[0]))

/* ---- finding ------------------------------------------------------------------------------------------ */

static bool is_gap(char c)
{
    return c == ' ' || c == '-' || c == '_';
}

static bool same_letter(char a, char b)
{
    return (is_gap(a) && is_gap(b)) || tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Whole words only: "L4" does not stand in "L40S". */
static bool holds_words(const char *text, const char *words)
{
    size_t len = strlen(words);

    for (const char *at = text; strlen(at) >= len; at++) {
        size_t same = 0;

        while (same < len && same_letter(at[same], words[same]))
            same++;
        if (same == len && !isalnum((unsigned char)at[len]) &&
            (at == text || !isalnum((unsigned char)at[-1])))
            return true;
    }
    return false;
}

const struct gpu_model *gpu_model_find(const char *product)
{
    for (size_t i = 0; i < NMODELS; i++)
        if (holds_words(product, models[i].name))
            return &models[i];
    return NULL;
}

const struct gpu_model *gpu_model_of_pci(uint32_t vendor, uint32_t device)
{
    for (size_t i = 0; i < NMODELS && device; i++)
        if (models[i].vendor == vendor && models[i].device == device)
            return &models[i];
    return NULL;
}

static bool may_have_switches(const struct gpu_model *model)
{
    return model->board == BOARD_SWITCH_8 || model->board == BOARD_SWITCH_16;
}

struct gpu_family gpu_family_of_links(uint32_t links, bool by_switch)
{
    struct gpu_family common = {0};
    bool any = false;

    for (size_t i = 0; i < NMODELS && links; i++) {
        const struct gpu_model *model = &models[i];

        if (model->links != links || model->vendor != NVIDIA || (by_switch && !may_have_switches(model)))
            continue;
        if (!any)
            common = (struct gpu_family){model->sm, model->link_gb_s, by_switch};
        any = true;
        common.sm = common.sm == model->sm ? common.sm : 0;
        common.nvls &= model->sm >= 90;
        if (common.link_gb_s < model->link_gb_s || common.link_gb_s > model->link_gb_s)
            common.link_gb_s = 0;
    }
    return common;
}

/* ---- PCIe --------------------------------------------------------------------------------------------- */

/* PCI Express Base Specification: 8b/10b up to Gen2, 128b/130b up to Gen5; Gen6 in flits, 242 of 256 bytes. */
static const struct {
    double gt_s, gb_s;
} rates[] = {{2.5, 0.25},           {5, 0.5},
             {8, 8.0 / 8 * 128 / 130},  {16, 16.0 / 8 * 128 / 130},
             {32, 32.0 / 8 * 128 / 130}, {64, 64.0 / 8 * 242 / 256}};

#define NRATES (sizeof(rates) / sizeof(rates[0]))
#define AS_HWLOC_WRITES_IT (2.5 / 8 * 128 / 130)

float pcie_gb_s(double gt_s, uint32_t lanes)
{
    for (size_t i = 0; i < NRATES; i++)
        if (fabs(gt_s - rates[i].gt_s) < 0.01)
            return (float)(rates[i].gb_s * lanes);
    return 0;
}

float pcie_gen_gb_s(uint32_t gen, uint32_t lanes)
{
    return gen >= 1 && gen <= NRATES ? (float)(rates[gen - 1].gb_s * lanes) : 0;
}

float pcie_awake_gb_s(float found, const struct gpu_model *model)
{
    const double asleep[] = {0.25, 0.5, AS_HWLOC_WRITES_IT, 2 * AS_HWLOC_WRITES_IT};

    if (!model || model->pcie_gen < 3)
        return found;
    for (uint32_t lanes = 16; lanes >= 1; lanes /= 2)
        for (size_t i = 0; i < sizeof(asleep) / sizeof(asleep[0]); i++)
            if (fabs(found / (asleep[i] * lanes) - 1) < 0.002)
                return pcie_gen_gb_s(model->pcie_gen, lanes);
    return found;
}

/* ---- fabrics ------------------------------------------------------------------------------------------ */

/* Of one link, by generation, where the product is not known: all models of one generation have the same rate. */
static float link_gb_s(const struct machine_gpu *gpu)
{
    const struct gpu_model *model = gpu_model_find(gpu->product);

    if (model)
        return model->link_gb_s;
    for (size_t i = 0; i < NMODELS; i++)
        if (models[i].links && ((gpu->sm && models[i].sm == gpu->sm) || (gpu->gfx && models[i].gfx == gpu->gfx)))
            return models[i].link_gb_s;
    return 0;
}

float machine_links_gb_s(const struct machine *machine, uint32_t a, uint32_t b, uint32_t links)
{
    float one = link_gb_s(&machine->gpus[a]), other = link_gb_s(&machine->gpus[b]);

    return (one < other ? one : other) * (float)links;
}

static uint8_t link_kind(const struct machine *machine, uint32_t gpu)
{
    return machine->gpus[gpu].gfx ? LINK_XGMI : LINK_NVLINK;
}

void machine_join_by_switch(struct machine *machine, const uint32_t *links)
{
    for (uint32_t i = 0; i < machine->ngpus; i++)
        for (uint32_t k = i + 1; k < machine->ngpus; k++) {
            uint32_t n = links[i] < links[k] ? links[i] : links[k];

            if (n > 0)
                machine_join(machine, i, k,
                             (struct machine_link){link_kind(machine, i), (uint8_t)n,
                                                   machine_links_gb_s(machine, i, k, n)});
        }
    machine->fabric = FABRIC_SWITCH;
    /* Third generation NVSwitch came with Hopper: NVIDIA H100 Tensor Core GPU Architecture, "SHARP". */
    for (uint32_t i = 0; i < machine->ngpus; i++)
        machine->nvls |= machine->gpus[i].sm >= 90 && links[i] > 0;
}

static bool all_alike(const struct machine *machine)
{
    for (uint32_t i = 1; i < machine->ngpus; i++)
        if (strcmp(machine->gpus[i].product, machine->gpus[0].product) != 0)
            return false;
    return machine->ngpus > 0;
}

void machine_fabric_of_product(struct machine *machine)
{
    const struct gpu_model *model = all_alike(machine) ? gpu_model_find(machine->gpus[0].product) : NULL;
    uint32_t links[MACHINE_GPUS_MAX] = {0}, n = machine->ngpus;
    enum gpu_board board = model ? model->board : BOARD_VARIES;

    if (board == BOARD_NO_LINKS)
        machine->fabric = FABRIC_NONE;
    else if ((board == BOARD_SWITCH_8 && n == 8) || (board == BOARD_SWITCH_16 && n == 16) ||
             (board == BOARD_MESH_8 && n == 8)) {
        for (uint32_t i = 0; i < n; i++)
            links[i] = board == BOARD_MESH_8 ? 1 : model->links;
        machine_join_by_switch(machine, links);
        if (board == BOARD_MESH_8)
            machine->fabric = FABRIC_MESH;
    } else {
        return;
    }
    snprintf(machine->fabric_from, sizeof(machine->fabric_from), "boards of %u x %s", n, model->name);
}
