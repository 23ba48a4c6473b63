/* Large-message all-reduce as published: nccl-tests or rccl-tests, 2 GiB and more, or said to be the plateau.
 * "Survey of sweeps": figures of which the survey that they are taken from does not name the page. The machine of
 * nccl-tests#178 is not described: one AMD socket without PCIe switches is taken. */
#include "tests/bench/predict/measurements.h"
#include "tests/unit/machines.h"

#define ROCE_8_PERCENT "its own ring of two hosts is at 330, where others are at 360 and more: a slower fabric"
#define NO_FABRIC "its fabric is not named; others of as many hosts reach 366"

const struct measurement measurements[] = {
    {"V100 mesh", DGX_1V, "8", 130, 0, 0, 0, "NVIDIA/nccl#258"},
    {"V100 switch", DGX_2, "2", 120, 0, 0, 0, "NVIDIA/nccl#258"},
    {"V100 switch", DGX_2, "8", 122, 0, 0, 0, "NVIDIA/nccl#258"},
    {"V100 switch", DGX_2, "16", 120, 0, 0, 0, "NVIDIA/nccl#258"},
    {"V100 hosts", DGX_1V, "8x4", 48, 0, 0, 0, "NVIDIA/nccl-tests#29 (number of hosts not said: four taken)"},
    {"V100 hosts", DGX_1V_ONE_NIC, "8x4", 12.2, 0, 0, 0, "NVIDIA/nccl-tests#29 (the same)"},
    {"A100", A100_8, "8", 235, FACTOR_RING_SM80, 0, 0, "stas00/ml-engineering network/README.md"},
    {"A100", A100_8, "8", 231.6, FACTOR_RING_SM80, 0, 0, "Azure/AI-benchmarking-guide"},
    {"A100 hosts", A100_4X200, "8x2", 91, 0, 0, 0, "NVIDIA/nccl-tests#100"},
    {"A100 hosts", P4DE, "8x2", 78.3, 0, 0, 0, "aws-samples/awsome-distributed-training nccl-tests"},
    {"A100 hosts", A100_4X200, "8x3", 96, 0, true, 0, "NVIDIA/nccl-tests#119, 128 MiB"},
    {"H100, H200", H100_8, "8", 478.9, FACTOR_NVLS_SM90, 0, 0, "Azure/AI-benchmarking-guide"},
    {"H100, H200", H100_8, "8", 480, FACTOR_NVLS_SM90, 0, 0, "stas00/ml-engineering network/README.md"},
    {"H100, H200", H100_8_RING, "8", 367, FACTOR_RING_SM90, 0, 0, "Azure/AI-benchmarking-guide"},
    {"H100, H200", H100_8_RING, "8", 370, FACTOR_RING_SM90, 0, 0, "NVIDIA/nccl#2140"},
    {"H100, H200", H100_8_RING, "8", 364.5, FACTOR_RING_SM90, 0, 0, "stas00 (H200, 363 to 366)"},
    {"H100, H200", H100_8, "4", 363, 0, 0, 0, "stas00 (H200)"},
    {"H100, H200", H100_8, "5", 414, FACTOR_NVLS_SM90, 0, 0, "stas00 (H200)"},
    {"H100, H200", H100_8, "6", 436, FACTOR_NVLS_SM90, 0, 0, "stas00 (H200)"},
    {"H100, H200", H100_8, "7", 460, FACTOR_NVLS_SM90, 0, 0, "stas00 (H200)"},
    {"H100, H200", H100_8, "8", 473, FACTOR_NVLS_SM90, 0, 0, "stas00 (H200)"},
    {"H800", H800_8, "8", 215, 0, 0, 0, "NVIDIA/nccl#1374"},
    {"B200", B200_8, "4", 673, 0, 0, 0, "stas00"},
    {"B200", B200_8, "5", 678, 0, 0, 0, "stas00"},
    {"B200", B200_8, "6", 778, FACTOR_NVLS_SM100, 0, 0, "stas00"},
    {"B200", B200_8, "7", 811, FACTOR_NVLS_SM100, 0, 0, "stas00"},
    {"B200", B200_8, "8", 838, FACTOR_NVLS_SM100, 0, 0, "stas00"},
    {"B200", B200_8_RING, "4", 674, FACTOR_RING_SM100, 0, 0, "stas00"},
    {"B200", B200_8_RING, "8", 682, FACTOR_RING_SM100, 0, 0, "stas00"},
    {"B300", B300_8, "8", 845, 0, 0, 0, "NVIDIA/nccl#2140"},
    {"B300", B300_8_RING, "8", 695, 0, 0, 0, "NVIDIA/nccl#2140"},
    {"NVL domain", GB200_TRAY, "4x2/8", 811, FACTOR_DOMAIN, 0, 0, "lixueduan.com/posts/ai/13-gb200-mnnvl-nccl-test"},
    {"NVL domain", GB200_TRAY, "4x18/72", 847, FACTOR_DOMAIN, 0, 0, "coreweave/nccl-tests README"},
    {"NVL domain", GB200_TRAY, "4x18/72", 835, FACTOR_DOMAIN, 0, 0, "survey of sweeps (GB200 NVL72)"},
    {"NVL domain", GB200_TRAY, "4x18/72", 850, FACTOR_DOMAIN, 0, 0, "NVIDIA GTC25 S72583 via stas00"},
    {"NVL domain", GB200_TRAY_RING, "4x18/72", 680, 0, 0, 0, "NVIDIA GTC25 S72583 via stas00"},
    {"NVL domains", GB200_TRAY, "4x36/72", 820, 0, 0, 0, "coreweave/nccl-tests README"},
    {"NVL domains", GB200_TRAY, "4x360/72", 405, 0, 0, 0, "coreweave/nccl-tests README"},
    {"Hopper, 2 hosts", P5, "8x2", 487.1, 0, 0, 0, "aws-samples/awsome-distributed-training nccl-tests"},
    {"Hopper, 2 hosts", H100_8, "8x2", 470, 0, 0, 0, "NVIDIA/nccl-tests#309"},
    {"Hopper, 2 hosts", H100_8, "8x2", 460, 0, 0, 0, "survey of sweeps (HGX H100, 8 x 400G)"},
    {"Hopper, 2 hosts", H100_8, "8x2", 430, 0, 0, 0, "NVIDIA/nccl#1221"},
    {"Hopper, 2 hosts", H100_8_RING, "8x2", 330, 0, 0, 0, "NVIDIA/nccl#1221, NVLS off"},
    {"Hopper, 2 hosts", A3_MEGA, "8x2", 338.8, 0, 0, 0, "lessizzmore/create-a3mega-ztan-fork (TCPXO: NVLS off)"},
    {"Lopsided", H100_8, "5,4", 342, 0, 0, 0, "survey of sweeps (H100, 8 x 400G)"},
    {"Lopsided", H100_8, "8,1", 79, 0, 0, 0, "survey of sweeps (H100, 8 x 400G)"},
    {"Hopper, many hosts", H100_8, "8x4", 365.8, 0, 0, 0, "NVIDIA/nccl-tests#309"},
    {"Hopper, many hosts", H100_8, "8x4", 320, 0, 0, ROCE_8_PERCENT, "NVIDIA/nccl#1221"},
    {"Hopper, many hosts", H100_8, "8x4", 317, 0, 0, NO_FABRIC, "survey of sweeps (number of hosts not said: four taken)"},
    {"Hopper, many hosts", H100_8, "8x3", 299, 0, 0, NO_FABRIC, "survey of sweeps (number of hosts not said: three taken)"},
    {"Hopper, many hosts", H100_8, "8x8", 386, 0, 0, 0, "coreweave/nccl-tests README (SHARP)"},
    {"Hopper, many hosts", H100_8, "8x8", 383, 0, 0, 0, "survey of sweeps (SHARP)"},
    {"Hopper, many hosts", H100_8, "8x248", 350, 0, true, 0, "NVIDIA/nccl-tests#283, 512 MiB on 1,984 ranks"},
    {"MI300X", MI300X_8, "2", 47.7, 0, 0, 0, "stas00 network/README.md"},
    {"MI300X", MI300X_8, "8", 312.9, 0, 0, 0, "stas00 network/README.md"},
    {"Bridged cards", A100_PAIRS, "2", 208, FACTOR_BRIDGE, 0, 0, "NVIDIA/nccl-tests#178"},
    {"Bridged cards", A100_PAIRS, "3", 20, FACTOR_PCIE, 0, 0, "NVIDIA/nccl-tests#178 (one socket taken)"},
    {"Bridged cards", H100_PAIRS, "2", 116, 0, 0,
     "half of what its 12 links and 24 channels (its log) carry elsewhere; Azure's alarm limit for such a pair is 208",
     "NVIDIA/nccl-tests#194"},
    {"PCIe", RTX5090_8, "4", 35, FACTOR_PCIE, 0, 0, "NVIDIA/nccl#1639 (2 x Xeon 8480+)"},
    {"PCIe", RTX5090_8, "8", 28, FACTOR_SOCKET, 0, 0, "NVIDIA/nccl#1639 (2 x Xeon 8480+)"},
};
const unsigned nmeasurements = sizeof(measurements) / sizeof(measurements[0]);

static const struct {
    const char *name;
    struct wiring wiring;
    unsigned links; /* through switches */
    bool nvls;
    enum link_class class; /* of a mesh */
    const char *const *mesh;
    unsigned domain;
} known[KNOWN_MACHINES] = {
#define HGX(sm, gpus, pcie, nics, gbit) {"", gpus, sm, 0, 2, (nics) < (gpus) && (nics) ? (nics) : (gpus), pcie, nics, gbit, CPU_INTEL, 0x8F}
    [DGX_1V] = {"DGX-1V", {"V100", 8, 70, 0, 2, 4, GEN3_X16, 4, 100, CPU_INTEL, 0x4F}, 0, 0, LINK_NVLINK, mesh_dgx1v, 0},
    [DGX_1V_ONE_NIC] = {"DGX-1V, 1 NIC", {"V100", 8, 70, 0, 2, 4, GEN3_X16, 1, 100, CPU_INTEL, 0x4F}, 0, 0, LINK_NVLINK, mesh_dgx1v, 0},
    [DGX_2] = {"DGX-2", HGX(70, 16, GEN3_X16, 8, 100), 6, 0, 0, 0, 0},
    [A100_8] = {"HGX A100", HGX(80, 8, GEN4_X16, 8, 200), 12, 0, 0, 0, 0},
    [A100_4X200] = {"A100, 4 x 200G", HGX(80, 8, GEN4_X16, 4, 200), 12, 0, 0, 0, 0},
    [P4DE] = {"p4de", HGX(80, 8, GEN4_X16, 4, 100), 12, 0, 0, 0, 0},
    [H100_8] = {"HGX H100", HGX(90, 8, GEN5_X16, 8, 400), 18, true, 0, 0, 0},
    [H100_8_RING] = {"HGX H100, ring", HGX(90, 8, GEN5_X16, 8, 400), 18, 0, 0, 0, 0},
    [H800_8] = {"HGX H800", HGX(90, 8, GEN5_X16, 8, 400), 8, true, 0, 0, 0},
    [A3_MEGA] = {"A3-mega", HGX(90, 8, GEN5_X16, 8, 200), 18, 0, 0, 0, 0},
    [P5] = {"p5", HGX(90, 8, GEN5_X16, 32, 100), 18, true, 0, 0, 0},
    [B200_8] = {"HGX B200", HGX(100, 8, GEN5_X16, 8, 400), 18, true, 0, 0, 0},
    [B200_8_RING] = {"HGX B200, ring", HGX(100, 8, GEN5_X16, 8, 400), 18, 0, 0, 0, 0},
    [B300_8] = {"HGX B300", HGX(103, 8, GEN5_X16, 8, 800), 18, true, 0, 0, 0},
    [B300_8_RING] = {"HGX B300, ring", HGX(103, 8, GEN5_X16, 8, 800), 18, 0, 0, 0, 0},
    [GB200_TRAY] = {"GB200 tray", HGX(100, 4, GEN5_X16, 4, 400), 18, true, 0, 0, 72},
    [GB200_TRAY_RING] = {"GB200, ring", HGX(100, 4, GEN5_X16, 4, 400), 18, 0, 0, 0, 72},
    [MI300X_8] = {"MI300X", {"MI300X", 8, 0, 942, 2, 8, GEN5_X16, 8, 400, CPU_AMD, 0}, 0, 0, LINK_XGMI, mesh_all_8, 0},
    [A100_PAIRS] = {"A100 PCIe pairs", {"A100 PCIe", 4, 80, 0, 1, 4, GEN4_X16, 0, 0, CPU_AMD, 0}, 0, 0, LINK_NVLINK, mesh_pairs_4, 0},
    [H100_PAIRS] = {"H100 PCIe pairs", {"H100 PCIe", 4, 90, 0, 1, 4, GEN5_X16, 0, 0, CPU_AMD, 0}, 0, 0, LINK_NVLINK, mesh_pairs_4, 0},
    [RTX5090_8] = {"RTX 5090", {"NVIDIA GeForce RTX 5090", 8, 120, 0, 2, 8, GEN5_X16, 0, 0, CPU_INTEL, 0x8F}, 0, 0, 0, 0, 0},
};

void known_machine(enum known_machine which, struct machine *ret)
{
    machine_wire(ret, &known[which].wiring);
    if (known[which].links)
        machine_add_switch(ret, known[which].links, known[which].nvls);
    else if (known[which].mesh)
        machine_add_mesh(ret, known[which].class, known[which].mesh);
    else
        machine_derive_paths(ret);
    ret->nvl_domain_gpus = known[which].domain;
}

const char *known_machine_name(enum known_machine which)
{
    return known[which].name;
}
