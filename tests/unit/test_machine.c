/* A machine as a value: paths from bridges and NUMA nodes, what must hold, and what data sheets know. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "topology/gpu_model.h"
#include "topology/machine.h"

#define NEAR(a, b) assert_true((a) > (b) - 0.01 && (a) < (b) + 0.01)

/*
 * Two sockets, three NUMA nodes (the first two of socket 0). Host bridges 0 and 1 on NUMA 0, 2 on NUMA 1, 3 on NUMA
 * 2; switch 4 below 0, switch 5 below 4, switch 6 below 1.
 */
static struct machine small(void)
{
    static struct machine machine;

    memset(&machine, 0, sizeof(machine));
    machine.sockets = 2;
    machine.nnuma = 3;
    machine.numa[1].os_index = 1;
    machine.numa[2] = (struct machine_numa){.os_index = 2, .socket = 1};
    machine.nbridges = 7;
    machine.bridges[0] = machine.bridges[1] = (struct machine_bridge){-1, 0, 0};
    machine.bridges[2] = (struct machine_bridge){-1, 1, 0};
    machine.bridges[3] = (struct machine_bridge){-1, 2, 0};
    machine.bridges[4] = (struct machine_bridge){0, -1, 16};
    machine.bridges[5] = (struct machine_bridge){4, -1, 8};
    machine.bridges[6] = (struct machine_bridge){1, -1, 0};
    return machine;
}

static const struct {
    int bridge_a, numa_a, bridge_b, numa_b;
    enum link_class class;
    float gb_s;
} paths[] = {
    {4, 0, 4, 0, LINK_PIX, 32},  {4, 0, 5, 0, LINK_PXB, 8},   {5, 0, 5, 0, LINK_PIX, 32},
    {0, 0, 0, 0, LINK_PHB, 32},  {0, 0, 4, 0, LINK_PHB, 16},  {5, 0, 0, 0, LINK_PHB, 8},
    {0, 0, 1, 0, LINK_NODE, 32}, {4, -1, 1, -1, LINK_NODE, 16}, {4, 0, 6, 0, LINK_NODE, 0},
    {0, 0, 2, 1, LINK_SYS, 32},  {5, -1, 3, -1, LINK_SYS, 8}, {-1, 0, -1, 2, LINK_SYS, 0},
    {-1, 0, -1, 0, LINK_UNKNOWN, 0}, {-1, -1, 0, 0, LINK_UNKNOWN, 0}, {-1, 1, 3, -1, LINK_SYS, 0},
};

static void paths_follow_from_bridges_and_numa_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct machine machine = small();
        struct err err = ERR_INIT;

        machine.ngpus = 2;
        machine.nnics = 1;
        machine.gpus[0] = (struct machine_gpu){.bridge = (int16_t)paths[i].bridge_a,
                                               .numa = (int16_t)paths[i].numa_a, .pcie_gb_s = 32};
        machine.gpus[1] = (struct machine_gpu){.bridge = (int16_t)paths[i].bridge_b,
                                               .numa = (int16_t)paths[i].numa_b, .pcie_gb_s = 64};
        machine.nics[0] = (struct machine_nic){.bridge = (int16_t)paths[i].bridge_b,
                                               .numa = (int16_t)paths[i].numa_b};
        machine_derive_paths(&machine);
        if (machine.link[0][1].class != paths[i].class || machine.nic_class[0][0] != paths[i].class)
            fail_msg("case %zu: found %s and %s, expected %s", i,
                     link_class_name(machine.link[0][1].class),
                     link_class_name(machine.nic_class[0][0]), link_class_name(paths[i].class));
        NEAR(machine.link[0][1].gb_s, paths[i].gb_s);
        if (machine_check(&machine, &err) < 0)
            fail_msg("case %zu: %s", i, err.text);
    }
}

static void a_better_link_stays(void **state)
{
    struct machine machine = small();

    (void)state;
    machine.ngpus = 2;
    machine.gpus[0].bridge = machine.gpus[1].bridge = 4;
    machine_join(&machine, 0, 1, (struct machine_link){LINK_NVLINK, 4, 100});
    machine_derive_paths(&machine);
    assert_int_equal(machine.link[1][0].class, LINK_NVLINK);
    assert_int_equal(machine.link[1][0].links, 4);
    assert_int_equal(machine.link[1][1].class, LINK_SELF);
}

static void break_counts(struct machine *m)
{
    m->ngpus = MACHINE_GPUS_MAX + 1;
}
static void break_socket(struct machine *m)
{
    m->numa[2].socket = 2;
}
static void break_parent(struct machine *m)
{
    m->bridges[4].parent = 5;
}
static void break_numa(struct machine *m)
{
    m->gpus[1].numa = 3;
}
static void break_bridge(struct machine *m)
{
    m->nics[0].bridge = -2;
}
static void break_symmetry(struct machine *m)
{
    m->link[0][1].gb_s = 7;
}
static void break_class(struct machine *m)
{
    m->link[0][1].class = m->link[1][0].class = LINK_CLASSES;
}
static void break_links(struct machine *m)
{
    m->link[0][1] = m->link[1][0] = (struct machine_link){LINK_NVLINK, 0, 50};
}
static void break_self(struct machine *m)
{
    m->link[1][1].class = LINK_PIX;
}
static void break_text(struct machine *m)
{
    memset(m->gpus[1].uuid, 'x', sizeof(m->gpus[1].uuid));
}
static void break_speed(struct machine *m)
{
    m->nics[0].gbit_s = -1;
}
static void break_fabric(struct machine *m)
{
    m->fabric = (enum machine_fabric)9;
}

static const struct {
    void (*breaks)(struct machine *machine);
    const char *message;
} broken[] = {
    {break_counts, "accelerators: found 33, expected at most 32"},
    {break_socket, "numa[2]: socket: found 2, expected below 2"},
    {break_parent, "bridges[4]: parent: found 5, expected -1 to 3"},
    {break_numa, "gpus[1]: numa: found 3, expected -1 to 2"},
    {break_bridge, "nics[0]: bridge: found -2, expected -1 to 6"},
    {break_symmetry, "link[0][1]: found another than link[1][0]"},
    {break_class, "link[0][1]: found class 9"},
    {break_links, "link[0][1]: found 0 links of class NV, expected some"},
    {break_self, "link[1][1]: found class 4, expected that of itself"},
    {break_text, "gpus[1]: found a text without end"},
    {break_speed, "nics[0]: found a speed of -1"},
    {break_fabric, "fabric, cpu_vendor: found 9, 0"},
};

static void check_names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct machine machine = small();
        struct err err = ERR_INIT;

        machine.ngpus = 2;
        machine.nnics = 1;
        machine_derive_paths(&machine);
        assert_int_equal(machine_check(&machine, NULL), 0);
        broken[i].breaks(&machine);
        assert_true(machine_check(&machine, &err) < 0);
        if (strncmp(err.text, broken[i].message, strlen(broken[i].message)) != 0)
            fail_msg("found    %s\nexpected %s", err.text, broken[i].message);
    }
}

static void a_machine_without_anything_is_one(void **state)
{
    struct machine machine = {0};

    (void)state;
    machine_derive_paths(&machine);
    assert_int_equal(machine_check(&machine, NULL), 0);
}

/* ---- data sheets ---------------------------------------------------------------------------------------- */

static const struct {
    const char *product, *name; /* NULL: in no table */
} products[] = {
    {"NVIDIA H100 80GB HBM3", "H100 80GB HBM3"},
    {"NVIDIA-H100-80GB-HBM3", "H100 80GB HBM3"},
    {"NVIDIA H100 PCIe", "H100 PCIe"},
    {"NVIDIA A100-SXM4-80GB", "A100 SXM4"},
    {"NVIDIA A100 80GB PCIe", "A100 80GB PCIe"},
    {"Tesla V100-SXM3-32GB-H", "V100 SXM3"},
    {"NVIDIA A10G", "A10G"},
    {"NVIDIA A10", "A10"},
    {"NVIDIA L40S", "L40S"},
    {"NVIDIA L4", "L4"},
    {"NVIDIA H200 NVL", "H200 NVL"},
    {"NVIDIA H200", "H200"},
    {"NVIDIA GH200 480GB", "GH200"},
    {"AMD Instinct MI300X OAM", "MI300X"},
    {"AMD INSTINCT MI200 (MCM) OAM LC MBA HPE C2", "MI200"},
    {"NVIDIA GeForce RTX 4090", "RTX 4090"},
    {"NVIDIA H1000", NULL},
    {"", NULL},
};

static void products_are_found_by_whole_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
        const struct gpu_model *model = gpu_model_find(products[i].product);

        if ((model == NULL) != (products[i].name == NULL) ||
            (model && strcmp(model->name, products[i].name) != 0))
            fail_msg("'%s': found %s, expected %s", products[i].product, model ? model->name : "none",
                     products[i].name ? products[i].name : "none");
    }
    assert_string_equal(gpu_model_of_pci(0x10de, 0x2330)->name, "H100 80GB HBM3");
    assert_null(gpu_model_of_pci(0x10de, 0));
}

static void a_link_that_sleeps_is_woken(void **state)
{
    const struct gpu_model *h100 = gpu_model_of_pci(0x10de, 0x2330);
    const struct gpu_model *v100 = gpu_model_of_pci(0x10de, 0x1db8);

    (void)state;
    NEAR(pcie_awake_gb_s(4, h100), 63.015); /* Gen1 x16 */
    NEAR(pcie_awake_gb_s(4.923077F, h100), 63.015); /* as hwloc 2.12 writes it */
    NEAR(pcie_awake_gb_s(8, h100), 63.015);
    NEAR(pcie_awake_gb_s(2, v100), 7.877); /* eight lanes are eight lanes */
    NEAR(pcie_awake_gb_s(15.753846F, h100), 15.754); /* a slot of Gen3 is none */
    NEAR(pcie_awake_gb_s(31.507692F, h100), 31.508);
    NEAR(pcie_awake_gb_s(0, h100), 0);
    NEAR(pcie_awake_gb_s(4, NULL), 4);
}

static void products_tell_the_fabric_where_only_one_exists(void **state)
{
    static const struct {
        const char *product;
        uint32_t n;
        enum machine_fabric fabric;
        uint8_t class, links;
        float gb_s;
        bool nvls;
    } cases[] = {{"NVIDIA H100 80GB HBM3", 8, FABRIC_SWITCH, LINK_NVLINK, 18, 450, true},
                 {"NVIDIA H100 80GB HBM3", 4, FABRIC_UNKNOWN, LINK_UNKNOWN, 0, 0, false},
                 {"NVIDIA A100-SXM4-40GB", 8, FABRIC_SWITCH, LINK_NVLINK, 12, 300, false},
                 {"NVIDIA B200", 8, FABRIC_SWITCH, LINK_NVLINK, 18, 900, true},
                 {"Tesla V100-SXM2-16GB", 8, FABRIC_UNKNOWN, LINK_UNKNOWN, 0, 0, false},
                 {"Tesla V100-SXM3-32GB", 16, FABRIC_SWITCH, LINK_NVLINK, 6, 150, false},
                 {"NVIDIA L40S", 4, FABRIC_NONE, LINK_UNKNOWN, 0, 0, false},
                 {"NVIDIA RTX A6000", 4, FABRIC_UNKNOWN, LINK_UNKNOWN, 0, 0, false},
                 {"AMD Instinct MI300X", 8, FABRIC_MESH, LINK_XGMI, 1, 64, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct machine machine = {.ngpus = cases[i].n};
        const struct gpu_model *model = gpu_model_find(cases[i].product);

        for (uint32_t k = 0; k < machine.ngpus; k++) {
            snprintf(machine.gpus[k].product, MACHINE_TEXT_MAX, "%s", cases[i].product);
            machine.gpus[k].bridge = machine.gpus[k].numa = -1;
            machine.gpus[k].sm = model->sm;
            machine.gpus[k].gfx = model->gfx;
        }
        machine_fabric_of_product(&machine);
        machine_derive_paths(&machine);
        assert_int_equal(machine_check(&machine, NULL), 0);
        assert_int_equal(machine.fabric, cases[i].fabric);
        assert_int_equal(machine.link[0][1].class, cases[i].class);
        assert_int_equal(machine.link[0][1].links, cases[i].links);
        assert_int_equal(machine.nvls, cases[i].nvls);
        NEAR(machine.link[0][1].gb_s, cases[i].gb_s);
        assert_int_equal(machine.fabric_from[0] != '\0', machine.fabric != FABRIC_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_follow_from_bridges_and_numa_nodes),
        cmocka_unit_test(a_better_link_stays),
        cmocka_unit_test(check_names_what_is_wrong),
        cmocka_unit_test(a_machine_without_anything_is_one),
        cmocka_unit_test(products_are_found_by_whole_words),
        cmocka_unit_test(a_link_that_sleeps_is_woken),
        cmocka_unit_test(products_tell_the_fabric_where_only_one_exists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
