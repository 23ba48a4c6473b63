/* Plans made before all members exist, and members that are steered to their nodes. */
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(8, 4, 2);

    sync_world(world);
    *state = world;
    return 0;
}

static void plans_early_and_keeps_to_one_rack(void **state)
{
    struct world *world = *state;

    add_gang(world, "g", 1, 2);
    assert_string_equal(planned(world, "g-0"), "n0");
    add_gang(world, "g", 2, 2);
    assert_string_equal(planned(world, "g-1"), "n1");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

/* A scan of so many nodes costs kube-scheduler more than the write; the first few are scanned anyway. */
static void on_a_large_cluster_members_are_steered_at_once(void **state)
{
    struct world *world = *state;
    char name[32];

    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "more-%04d", i);
        add_node(world, name, "b9", "r9");
    }
    add_gang(world, "g", 20, 20);
    assert_int_equal(count_actions(world, ACT_NOMINATE), 14);
    pass_time(world, 1000000000);
    assert_int_equal(count_actions(world, ACT_NOMINATE), 14);
    world_step(world, (struct event){.kind = EV_REFUSED, .uid = "g-0"}); /* one that was left */
    assert_int_equal(count_actions(world, ACT_NOMINATE), 15);
}

static void an_early_plan_is_given_up_when_members_stay_away(void **state)
{
    struct world *world = *state;
    struct core_counts counts;

    add_gang(world, "g", 3, 4);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    pass_time(world, 6 * SECOND);
    assert_int_equal(the_gang(world, "g")->state, GANG_FORMING);
    assert_string_equal(the_gang(world, "g")->reason.text, "3 of 4 pods exist");
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 0);
    put_pod(world, make_pod("g-3", 8, "g", 4));
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_int_equal(count_actions(world, ACT_NOMINATE), 3);
}

/* A slow controller's pods: each that comes buys time for the next, up to half of a hold. */
static void an_early_plan_waits_on_while_members_come(void **state)
{
    struct world *world = *state;
    char name[16];

    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "g-%d", i);
        put_pod(world, make_pod(name, 8, "g", 8));
        pass_time(world, 4 * SECOND);
        assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    }
    put_pod(world, make_pod("g-6", 8, "g", 8));
    pass_time(world, 2 * SECOND);
    assert_int_equal(the_gang(world, "g")->state, GANG_FORMING);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(plans_early_and_keeps_to_one_rack),
        CASE(on_a_large_cluster_members_are_steered_at_once),
        CASE(an_early_plan_is_given_up_when_members_stay_away),
        CASE(an_early_plan_waits_on_while_members_come),
    };

    return cmocka_run_group_tests_name("core_early", tests, NULL, NULL);
}
