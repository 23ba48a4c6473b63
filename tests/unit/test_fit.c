/* core_fit(): the largest gang per level and shape, counted over a small cluster. */
#include "tests/unit/world.h"

#include <errno.h>

#include "scheduler/model/fit.h"

static const int64_t shapes[] = {1, 4, 8};

/* Eight nodes of 8, two to a rack and four to a block. */
static struct world *make_world(void)
{
    struct world *world = new_world(8, 4, 2);

    use_node(world, "n0", "p0", 4);
    use_node(world, "n2", "p2", 8);
    use_node(world, "n3", "p3", 6);
    use_node(world, "n5", "p5", 1);
    sync_world(world);
    return world;
}

static void free_world(struct world *world)
{
    void *state = world;

    close_world(&state);
}

static struct fit_table count(const struct world *world)
{
    struct fit_table table;

    assert_int_equal(core_fit(world->core, "nvidia.com/gpu", shapes, 3, &table), 0);
    return table;
}

static void expect(const struct fit_cell *cell, uint64_t pods, const char *domain)
{
    assert_int_equal(cell->pods, pods);
    assert_string_equal(cell->domain, domain);
}

static void expect_ratio(double found, double expected)
{
    assert_true(found > expected - 1e-9 && found < expected + 1e-9);
}

static void the_best_domain_of_each_level_is_named(void **state)
{
    struct world *world = make_world();
    struct fit_table table = count(world);

    (void)state;
    assert_int_equal(table.nlevels, 4);
    assert_int_equal(table.free, 64 - 4 - 8 - 6 - 1);
    assert_int_equal(table.nodes, 8);
    assert_string_equal(table.levels[0].name, "anywhere");
    assert_string_equal(table.levels[1].name, "block");
    assert_string_equal(table.levels[3].name, "node");
    expect(&table.levels[0].cells[0], 45, "");
    expect(&table.levels[0].cells[2], 4, "");
    expect(&table.levels[1].cells[0], 31, "b1");
    expect(&table.levels[1].cells[2], 3, "b1");
    expect(&table.levels[2].cells[0], 16, "r3");
    expect(&table.levels[2].cells[1], 4, "r3");
    expect(&table.levels[3].cells[2], 1, "n1"); /* of equal ones the first by name */
    free_world(world);
}

static void fragmentation_is_what_the_largest_gang_leaves(void **state)
{
    struct world *world = make_world();
    struct fit_table table = count(world);

    (void)state;
    expect_ratio(fit_fragmentation(&table, 0, 2), 1 - 32.0 / 45);
    expect_ratio(fit_fragmentation(&table, 2, 0), 1 - 16.0 / 45);
    expect_ratio(fit_level_fragmentation(&table, 0), 0);
    expect_ratio(fit_level_fragmentation(&table, 3), 1 - 8.0 / 45);
    free_world(world);
}

static void a_gang_of_that_size_fits_and_one_more_does_not(void **state)
{
    struct world *world = make_world();
    struct fit_table table = count(world);
    uint64_t most = table.levels[0].cells[2].pods;

    (void)state;
    add_gang(world, "g", (int)most + 1, (int)most + 1);
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    add_gang(world, "h", (int)most, (int)most);
    assert_int_equal(the_gang(world, "h")->state, GANG_PLANNED);
    table = count(world); /* what is held is not free */
    assert_int_equal(table.levels[0].cells[2].pods, 0);
    free_world(world);
}

static void nodes_that_take_no_such_pods_do_not_count(void **state)
{
    struct world *world = make_world();
    struct obj_node *cordoned = make_node("n6", "b1", "r3"), *tainted = make_node("n7", "b1", "r3");
    struct obj_node *usual = make_node("n4", "b1", "r2");
    struct fit_table table;

    (void)state;
    cordoned->unschedulable = true;
    tainted->taints = calloc(1, sizeof(struct taint));
    tainted->ntaints = 1;
    tainted->taints[0] = (struct taint){strdup("team"), strdup("a"), EFFECT_NO_SCHEDULE};
    usual->taints = calloc(1, sizeof(struct taint)); /* as cloud providers taint all nodes with GPUs */
    usual->ntaints = 1;
    usual->taints[0] = (struct taint){strdup("nvidia.com/gpu"), strdup("present"), EFFECT_NO_SCHEDULE};
    world_step(world, (struct event){.kind = EV_NODE, .object.node = cordoned});
    world_step(world, (struct event){.kind = EV_NODE, .object.node = tainted});
    world_step(world, (struct event){.kind = EV_NODE, .object.node = usual});
    table = count(world);
    assert_int_equal(table.nodes, 6);
    assert_int_equal(table.free, 45 - 16);
    expect(&table.levels[2].cells[0], 15, "r2");
    free_world(world);
}

static void an_unknown_resource_is_an_error(void **state)
{
    struct world *world = make_world();
    struct fit_table table;

    (void)state;
    assert_int_equal(core_fit(world->core, "amd.com/gpu", shapes, 3, &table), -EINVAL);
    free_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_domain_of_each_level_is_named),
        cmocka_unit_test(fragmentation_is_what_the_largest_gang_leaves),
        cmocka_unit_test(a_gang_of_that_size_fits_and_one_more_does_not),
        cmocka_unit_test(nodes_that_take_no_such_pods_do_not_count),
        cmocka_unit_test(an_unknown_resource_is_an_error),
    };

    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
