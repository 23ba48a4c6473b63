/* Whom preemption takes when there are many to choose from. */
#include "tests/unit/world.h"

#define PER_NODE 8

static void open_cluster(struct world *world, int nodes)
{
    struct event event = {.kind = EV_NAMESPACE};

    world_open(world);
    world->config.preemption = true;
    event.object.ns = calloc(1, sizeof(struct obj_namespace));
    *event.object.ns = (struct obj_namespace){.name = strdup("ns"), .evict_allowed = true};
    core_step(world->core, &event, world->now_ns, &world->actions);
    for (int i = 0; i < nodes; i++) {
        char name[16], rack[16];

        snprintf(name, sizeof(name), "n%04d", i);
        snprintf(rack, sizeof(rack), "r%d", i / 16);
        event = (struct event){.kind = EV_NODE, .object.node = make_node(name, "b", rack)};
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
}

/* One-GPU pods, so many that the node is full. */
static void fill_node(struct world *world, int node, int32_t priority)
{
    for (int k = 0; k < PER_NODE; k++) {
        char name[32], on[16];
        struct obj_pod *pod;
        struct event event = {.kind = EV_POD};

        snprintf(name, sizeof(name), "x-%04d-%d", node, k);
        snprintf(on, sizeof(on), "n%04d", node);
        pod = make_pod(name, 1, "", 0);
        set_text(&pod->node, on);
        pod->phase = POD_RUNNING;
        pod->priority = priority;
        event.object.pod = pod;
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
}

static void add_member(struct world *world, int index, int64_t gpus, int size)
{
    char name[32];
    struct obj_pod *pod;

    snprintf(name, sizeof(name), "g-%d", index);
    pod = make_pod(name, gpus, "g", size);
    pod->priority = 100;
    put_pod(world, pod);
}

static void add_preemptor(struct world *world, int size)
{
    for (int i = 0; i < size; i++) {
        char name[32];
        struct obj_pod *pod;
        struct event event = {.kind = EV_POD};

        snprintf(name, sizeof(name), "g-%d", i);
        pod = make_pod(name, 8, "g", size);
        pod->priority = 100;
        event.object.pod = pod;
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
    core_settle(world->core, world->now_ns, &world->actions);
    world_check(world);
}

/* 8,800 pods that may go, and those of one node are worth the least: whatever was read first, it is they. */
static void the_lowest_of_very_many_are_taken(void **state)
{
    struct world world;

    (void)state;
    open_cluster(&world, 1100);
    for (int i = 0; i < 1100; i++)
        fill_node(&world, i, i == 777 ? 1 : 2);
    sync_world(&world);
    add_preemptor(&world, 1);
    assert_int_equal(the_gang(&world, "g")->reason.code, REASON_PREEMPTING);
    assert_int_equal(count_actions(&world, ACT_EVICT), PER_NODE);
    for (size_t i = 0; i < world.actions.n; i++)
        if (world.actions.items[i].kind == ACT_EVICT)
            assert_memory_equal(world.actions.items[i].name, "x-0777-", 7);
    world_close(&world);
}

/* More must go than single plans can tell apart: beside the last plan all stay who can. */
static void no_more_are_taken_than_one_placement_needs(void **state)
{
    struct world world;

    (void)state;
    open_cluster(&world, 200);
    for (int i = 0; i < 200; i++)
        fill_node(&world, i, 1 + i % 7);
    sync_world(&world);
    add_preemptor(&world, 100);
    assert_int_equal(the_gang(&world, "g")->reason.code, REASON_PREEMPTING);
    assert_int_equal(count_actions(&world, ACT_EVICT), 100 * PER_NODE);
    world_close(&world);
}

static void open_two_full_nodes(struct world *world)
{
    open_cluster(world, 2);
    fill_node(world, 0, 1);
    fill_node(world, 1, 1);
    sync_world(world);
}

/* An early plan that finds no room evicts nobody: its other members may never come. */
static void nobody_goes_for_a_gang_that_is_not_complete(void **state)
{
    struct world world;

    (void)state;
    open_two_full_nodes(&world);
    add_member(&world, 0, 8, 2);
    assert_int_equal(the_gang(&world, "g")->state, GANG_WAITING);
    pass_time(&world, 30 * SECOND);
    assert_int_equal(count_actions(&world, ACT_EVICT), 0);
    assert_true(core_deadline(world.core) > world.now_ns);
    add_member(&world, 1, 8, 2);
    assert_int_equal(the_gang(&world, "g")->reason.code, REASON_PREEMPTING);
    assert_int_equal(count_actions(&world, ACT_EVICT), 2 * PER_NODE);
    world_close(&world);
}

static void nobody_goes_for_members_that_differ(void **state)
{
    struct world world;

    (void)state;
    open_two_full_nodes(&world);
    add_member(&world, 0, 8, 2);
    add_member(&world, 1, 4, 2);
    pass_time(&world, 30 * SECOND);
    assert_int_equal(the_gang(&world, "g")->reason.code, REASON_INSUFFICIENT);
    assert_int_equal(count_actions(&world, ACT_EVICT), 0);
    world_close(&world);
}

/* It may not evict again so soon, and when it may it is not complete any more: then nothing is due. */
static void a_preemptor_that_lost_a_member_is_at_rest(void **state)
{
    struct world world;

    (void)state;
    open_cluster(&world, 2);
    fill_node(&world, 0, 100); /* as high as the gang: nobody may go */
    fill_node(&world, 1, 100);
    sync_world(&world);
    add_member(&world, 0, 8, 2);
    add_member(&world, 1, 8, 2);
    drop_pod(&world, "x-0001-0");
    assert_true(the_gang(&world, "g")->preempt_owed);
    drop_pod(&world, "g-1");
    pass_time(&world, 30 * SECOND);
    assert_int_equal(the_gang(&world, "g")->state, GANG_WAITING);
    assert_true(core_deadline(world.core) > world.now_ns);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_of_very_many_are_taken),
        cmocka_unit_test(no_more_are_taken_than_one_placement_needs),
        cmocka_unit_test(nobody_goes_for_a_gang_that_is_not_complete),
        cmocka_unit_test(nobody_goes_for_members_that_differ),
        cmocka_unit_test(a_preemptor_that_lost_a_member_is_at_rest),
    };

    return cmocka_run_group_tests_name("core_preempt", tests, NULL, NULL);
}
