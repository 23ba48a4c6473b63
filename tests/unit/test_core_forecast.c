/* What is foretold of a whole gang: uplinks of levels, NVLink between nodes. */
#include "tests/unit/world.h"

#define CLIQUE "nvidia.com/gpu.clique"

/* Four behind switches, with a NIC of 400 Gbit/s each; NVLink goes on to a domain of 72. */
static void add_tray(struct world *world, int node)
{
    struct obj_machine *object = calloc(1, sizeof(*object));
    struct machine *machine = &object->machine;
    char name[16];

    snprintf(name, sizeof(name), "n%d", node);
    object->name = strdup(name);
    machine->ngpus = machine->nnics = 4;
    machine->fabric = FABRIC_SWITCH;
    machine->nvl_domain_gpus = 72;
    for (uint32_t a = 0; a < 4; a++) {
        machine->gpus[a] = (struct machine_gpu){.sm = 100, .numa = -1, .bridge = -1};
        machine->nics[a] = (struct machine_nic){.numa = -1, .bridge = -1, .gbit_s = 400};
        for (uint32_t b = 0; b < 4; b++) {
            machine->link[a][b] = (struct machine_link){LINK_NVLINK, 18, 900};
            machine->nic_class[a][b] = a == b ? LINK_PIX : LINK_SYS;
        }
    }
    world_step(world, (struct event){.kind = EV_MACHINE, .object.machine = object});
}

static struct config_ratio ratio = {(char *)"block", 8};

/* Nodes of four accelerators, in blocks of four and cliques of two. */
static struct world *open_trays(int nodes, const char *inner)
{
    struct world *world = calloc(1, sizeof(*world));

    world_open(world);
    set_text(&world->config.levels[1], inner);
    for (int i = 0; i < nodes; i++) {
        char name[16], block[16], clique[16];
        struct obj_node *node;
        struct label rack;

        snprintf(name, sizeof(name), "n%d", i);
        snprintf(block, sizeof(block), "b%d", i / 4);
        snprintf(clique, sizeof(clique), "c%d", i / 2);
        node = make_node(name, block, clique);
        set_label(&node->labels, CLIQUE, clique);
        rack = node->labels.items[1]; /* they are sorted by key */
        node->labels.items[1] = node->labels.items[2];
        node->labels.items[2] = rack;
        node->allocatable.items[0].value = 4;
        world_step(world, (struct event){.kind = EV_NODE, .object.node = node});
        add_tray(world, i);
    }
    sync_world(world);
    return world;
}

static void close_trays(struct world *world)
{
    world->config.oversubscription = NULL; /* it is not the config's own */
    world->config.noversubscription = 0;
    world_close(world);
    free(world);
}

static struct bandwidth foretold(struct world *world, int pods)
{
    for (int i = 0; i < pods; i++) {
        char name[16];

        snprintf(name, sizeof(name), "g-%d", i);
        put_pod(world, make_pod(name, 4, "g", pods));
    }
    return core_predict(world->core, the_gang(world, "g"), false);
}

static void uplinks_hold_a_gang_of_several_domains(void **state)
{
    struct world *world = open_trays(8, "rack");
    struct bandwidth plain = foretold(world, 8), held;

    (void)state;
    assert_int_equal(plain.limit, LIMIT_NIC);
    world->config.oversubscription = &ratio;
    world->config.noversubscription = 1;
    held = core_predict(world->core, the_gang(world, "g"), false);
    assert_int_equal(held.limit, LIMIT_LEVEL);
    assert_string_equal(core_level_name(world->core, (int)held.level), "block");
    /* Four nodes of each block bring four times what one brings, and an eighth of that goes up. */
    assert_true(held.busbw_gb_s < plain.busbw_gb_s * 0.51 && held.busbw_gb_s > plain.busbw_gb_s * 0.49);
    close_trays(world);
}

static void one_domain_knows_no_uplinks(void **state)
{
    struct world *world = open_trays(8, "rack");
    struct bandwidth plain = foretold(world, 4), held;

    (void)state;
    ratio.ratio = 100;
    world->config.oversubscription = &ratio;
    world->config.noversubscription = 1;
    held = core_predict(world->core, the_gang(world, "g"), false);
    assert_true(held.busbw_gb_s >= plain.busbw_gb_s);
    close_trays(world);
}

static void nvlink_between_nodes_is_used_where_pods_may(void **state)
{
    struct world *world = open_trays(4, CLIQUE);
    struct bandwidth nics = foretold(world, 2), nvlink;

    (void)state;
    assert_int_equal(nics.limit, LIMIT_NIC);
    world->config.nvlink_between_nodes = true;
    nvlink = core_predict(world->core, the_gang(world, "g"), false);
    assert_int_equal(nvlink.limit, LIMIT_NVL_DOMAIN);
    assert_true(nvlink.busbw_gb_s > nics.busbw_gb_s * 2);
    close_trays(world);
}

static void between_nvlink_domains_nics_are_used(void **state)
{
    struct world *world = open_trays(4, CLIQUE);
    struct bandwidth nics = foretold(world, 4);

    (void)state;
    world->config.nvlink_between_nodes = true;
    assert_int_equal(core_predict(world->core, the_gang(world, "g"), false).limit, LIMIT_NIC);
    assert_true(core_predict(world->core, the_gang(world, "g"), false).busbw_gb_s >= nics.busbw_gb_s);
    close_trays(world);
}

static void without_a_level_of_nvlink_domains_nics_are_used(void **state)
{
    struct world *world = open_trays(4, "rack");

    (void)state;
    (void)foretold(world, 2);
    world->config.nvlink_between_nodes = true;
    assert_int_equal(core_predict(world->core, the_gang(world, "g"), false).limit, LIMIT_NIC);
    close_trays(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uplinks_hold_a_gang_of_several_domains),
        cmocka_unit_test(one_domain_knows_no_uplinks),
        cmocka_unit_test(nvlink_between_nodes_is_used_where_pods_may),
        cmocka_unit_test(between_nvlink_domains_nics_are_used),
        cmocka_unit_test(without_a_level_of_nvlink_domains_nics_are_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
