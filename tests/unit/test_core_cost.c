/* What costs the core a plan or a walk over a gang, and what must not. */
#include "scheduler/model/cluster.h"
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(4, 4, 4);

    sync_world(world);
    *state = world;
    return 0;
}

static uint64_t version(const struct world *world)
{
    return core_cluster(world->core)->capacity_version;
}

/* A heartbeat, images, conditions: nothing of it is read, so nobody is planned again for it. */
static void a_node_update_without_news_is_no_room_that_appeared(void **state)
{
    struct world *world = *state;
    uint64_t before = version(world);
    struct obj_node *node = make_node("n1", "b0", "r0");

    add_node(world, "n1", "b0", "r0");
    assert_int_equal(version(world), before);
    add_node(world, "n1", "b0", "r2"); /* another rack */
    assert_int_equal(version(world), before + 1);
    node->unschedulable = true;
    world_step(world, (struct event){.kind = EV_NODE, .object.node = node});
    assert_int_equal(version(world), before + 2);
    add_node(world, "n1", "b0", "r0");
    assert_int_equal(version(world), before + 3);
}

static void a_node_that_went_and_came_back_is_news(void **state)
{
    struct world *world = *state;
    struct event gone = {.kind = EV_NODE_GONE, .name = "n1"};
    uint64_t before;

    world_step(world, gone);
    before = version(world);
    add_node(world, "n1", "b0", "r0");
    assert_true(version(world) > before);
}

/* Each settling walks over all slots: the votes before the last one must not ask for one. */
static void only_the_last_vote_settles_the_gang(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 3; i++)
        put_pod(world, make_member("g", i, 3, ""));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    for (int i = 0; i < 3; i++) {
        struct event event = {.kind = EV_VOTE, .ticket = (uint64_t)i + 1};

        snprintf(event.uid, sizeof(event.uid), "g-%d", i);
        snprintf(event.name, sizeof(event.name), "%s", planned(world, event.uid));
        core_step(world->core, &event, world->now_ns, &world->actions);
        assert_int_equal(the_gang(world, "g")->dirty, i == 2);
    }
    core_settle(world->core, world->now_ns, &world->actions);
    assert_int_equal(the_gang(world, "g")->state, GANG_BINDING);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_int_equal(count_actions(world, ACT_BIND), 3);
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_int_equal(the_gang(world, "g")->state, GANG_BOUND);
}

/* Two of three lost their place, and no node has room: that is found once, until room appears. */
static void members_without_a_place_get_one_when_room_appears(void **state)
{
    struct world *world = *state;

    put_pod(world, make_member("g", 0, 3, "n0"));
    for (int i = 1; i < 4; i++) {
        char node[16], pod[16];

        snprintf(node, sizeof(node), "n%d", i);
        snprintf(pod, sizeof(pod), "x%d", i);
        use_node(world, node, pod, 8);
    }
    put_pod(world, make_member("g", 1, 3, ""));
    put_pod(world, make_member("g", 2, 3, ""));
    assert_non_null(the_gang(world, "g")->no_place.shape_key);
    assert_int_equal(the_gang(world, "g")->no_place.version, version(world));
    pass_time(world, 3 * SECOND);
    assert_string_equal(planned(world, "g-1"), "");
    drop_pod(world, "x1");
    drop_pod(world, "x2");
    pass_time(world, 3 * SECOND);
    assert_string_not_equal(planned(world, "g-1"), "");
    assert_string_not_equal(planned(world, "g-2"), "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_node_update_without_news_is_no_room_that_appeared),
        CASE(a_node_that_went_and_came_back_is_news),
        CASE(only_the_last_vote_settles_the_gang),
        CASE(members_without_a_place_get_one_when_room_appears),
    };

    return cmocka_run_group_tests_name("core_cost", tests, NULL, NULL);
}
