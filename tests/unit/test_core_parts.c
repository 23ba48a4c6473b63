/* Gangs whose members are not alike: a leader and its workers. */
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(6, 3, 3);

    sync_world(world);
    *state = world;
    return 0;
}

static struct obj_pod *make_part(int index, int64_t gpus, int size, const char *role)
{
    char name[16];
    struct obj_pod *pod;

    snprintf(name, sizeof(name), "g-%d", index);
    pod = make_pod(name, gpus, "g", size);
    set_text(&pod->wish.role, role);
    return pod;
}

static void put_leader_and_workers(struct world *world)
{
    put_pod(world, make_part(0, 2, 3, "leader"));
    put_pod(world, make_part(1, 8, 3, ""));
    put_pod(world, make_part(2, 8, 3, ""));
}

static void a_leader_and_its_workers_are_planned_together(void **state)
{
    struct world *world = *state;

    put_leader_and_workers(world);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_int_equal(the_gang(world, "g")->use[0].used, 1);
    assert_string_not_equal(planned(world, "g-1"), planned(world, "g-2"));
    assert_string_not_equal(planned(world, "g-0"), planned(world, "g-1")); /* full of its worker */
    assert_string_not_equal(planned(world, "g-0"), planned(world, "g-2"));
}

static void there_is_no_plan_before_all_of_them_exist(void **state)
{
    struct world *world = *state;

    put_pod(world, make_part(0, 2, 3, "leader"));
    put_pod(world, make_part(1, 8, 3, ""));
    assert_string_equal(planned(world, "g-0"), "");
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_MEMBERS_MISSING);
    put_pod(world, make_part(2, 8, 3, ""));
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void what_fits_alone_and_not_together_waits_with_its_reason(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 4; i++) {
        char node[8], name[8];

        snprintf(node, sizeof(node), "n%d", i);
        snprintf(name, sizeof(name), "use-%d", i);
        use_node(world, node, name, 8);
    }
    put_leader_and_workers(world); /* two nodes are free: the workers fill them */
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_INSUFFICIENT);
    drop_pod(world, "use-0");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

/* Each takes the place that was made for one like it. */
static void who_comes_again_takes_the_place_of_its_like(void **state)
{
    struct world *world = *state;
    char leader[NAME_TEXT], worker[NAME_TEXT];
    struct obj_pod *pod;

    put_leader_and_workers(world);
    snprintf(leader, sizeof(leader), "%s", planned(world, "g-0"));
    snprintf(worker, sizeof(worker), "%s", planned(world, "g-2"));
    drop_pod(world, "g-0");
    drop_pod(world, "g-2");
    pod = make_part(2, 8, 3, "");
    set_text(&pod->uid, "worker-again");
    put_pod(world, pod);
    pod = make_part(0, 2, 3, "leader");
    set_text(&pod->uid, "leader-again");
    put_pod(world, pod);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_string_equal(planned(world, "leader-again"), leader);
    assert_string_equal(planned(world, "worker-again"), worker);
}

static void one_of_another_kind_in_its_place_is_planned_anew(void **state)
{
    struct world *world = *state;

    put_leader_and_workers(world);
    drop_pod(world, "g-0");
    put_pod(world, make_part(3, 4, 3, ""));
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_string_not_equal(planned(world, "g-3"), "");
}

static void each_is_stamped_with_its_own_role(void **state)
{
    struct world *world = *state;
    const struct action *bind;

    put_leader_and_workers(world);
    for (int i = 0; i < 3; i++) {
        char name[8];

        snprintf(name, sizeof(name), "g-%d", i);
        vote(world, name, planned(world, name));
    }
    while (count_actions(world, ACT_PLACEMENT) > 0 && count_actions(world, ACT_BIND) == 0)
        answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_int_equal(count_actions(world, ACT_BIND), 3);
    bind = find_action(world, ACT_BIND, "g-0");
    assert_non_null(strstr(bind->body, "\"lockstep.dev/role\":\"leader\""));
    bind = find_action(world, ACT_BIND, "g-1");
    assert_non_null(strstr(bind->body, "\"lockstep.dev/role\":\"worker\""));
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_int_equal(the_gang(world, "g")->state, GANG_BOUND);
}

static void more_kinds_than_can_be_planned_are_told_so(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 9; i++) {
        struct obj_pod *pod = make_part(i, 1, 9, "");

        set_amount(&pod->shape.requests, "cpu", 1 + i);
        assert_int_equal(pod_shape_seal(&pod->shape), 0);
        put_pod(world, pod);
    }
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_UNSUPPORTED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_leader_and_its_workers_are_planned_together),
        CASE(there_is_no_plan_before_all_of_them_exist),
        CASE(what_fits_alone_and_not_together_waits_with_its_reason),
        CASE(who_comes_again_takes_the_place_of_its_like),
        CASE(one_of_another_kind_in_its_place_is_planned_anew),
        CASE(each_is_stamped_with_its_own_role),
        CASE(more_kinds_than_can_be_planned_are_told_so),
    };

    return cmocka_run_group_tests_name("core_parts", tests, NULL, NULL);
}
