/* The head of the line: for whom what frees up is kept, and from when on, though nothing else happens. */
#include "tests/unit/world.h"

#define EPOCH_S 1000
#define NODES 4

static int open_world(void **state)
{
    struct world *world = new_world(NODES, NODES, NODES);

    core_set_epoch(world->core, EPOCH_S);
    for (int i = 0; i < NODES; i++) {
        char name[16], pod[16];

        snprintf(name, sizeof(name), "n%d", i);
        snprintf(pod, sizeof(pod), "x%d", i);
        use_node(world, name, pod, 8);
    }
    sync_world(world);
    *state = world;
    return 0;
}

/* All its members, of a node each, created now. */
static void create_gang(struct world *world, const char *gang, int size)
{
    for (int i = 0; i < size; i++) {
        char name[32];
        struct obj_pod *pod;

        snprintf(name, sizeof(name), "%s-%d", gang, i);
        pod = make_pod(name, 8, gang, size);
        pod->created_s = EPOCH_S + world->now_ns / SECOND;
        put_pod(world, pod);
    }
}

/* The loop sleeps until something is due. */
static void sleep_for(struct world *world, int64_t ns)
{
    int64_t until_ns = world->now_ns + ns;

    while (core_deadline(world->core) < until_ns) {
        assert_true(core_deadline(world->core) > world->now_ns); /* nothing is due for ever */
        pass_time(world, core_deadline(world->core) - world->now_ns);
    }
    pass_time(world, until_ns - world->now_ns);
}

static void what_frees_up_on_a_quiet_cluster_is_kept_for_who_waited_longest(void **state)
{
    struct world *world = *state;

    create_gang(world, "big", NODES);
    sleep_for(world, 30 * SECOND);
    create_gang(world, "small", 1);
    sleep_for(world, world->config.head_of_line_ns);
    drop_pod(world, "x0");
    assert_int_equal(the_gang(world, "big")->state, GANG_WAITING);
    assert_int_equal(the_gang(world, "small")->state, GANG_WAITING);
    for (int i = 1; i < NODES; i++) {
        char pod[16];

        snprintf(pod, sizeof(pod), "x%d", i);
        drop_pod(world, pod);
    }
    assert_int_equal(the_gang(world, "big")->state, GANG_PLANNED);
}

static void before_it_is_due_smaller_ones_pass(void **state)
{
    struct world *world = *state;

    create_gang(world, "big", NODES);
    create_gang(world, "small", 1);
    sleep_for(world, world->config.head_of_line_ns / 2);
    drop_pod(world, "x0");
    assert_int_equal(the_gang(world, "small")->state, GANG_PLANNED);
}

/* Nothing is kept for what can never be, and the loop is at rest all the same. */
static void one_that_the_empty_cluster_has_no_room_for_heads_no_line(void **state)
{
    struct world *world = *state;
    struct event refused = {.kind = EV_REFUSED, .uid = "huge-0"};

    create_gang(world, "huge", NODES + 1);
    create_gang(world, "small", 1);
    sleep_for(world, world->config.head_of_line_ns * 3 / 2);
    world_step(world, refused);
    assert_true(the_gang(world, "huge")->too_large);
    assert_true(core_deadline(world->core) > world->now_ns);
    drop_pod(world, "x0");
    assert_int_equal(the_gang(world, "small")->state, GANG_PLANNED);
}

/* ---- a head that waits on ------------------------------------------------------------------------ */

/* All nodes are in use; "big" (of two) has been the head, planned for n0 and n1, for so long and a bit. */
static void let_head_wait(struct world *world, int64_t ns)
{
    create_gang(world, "big", 2);
    sleep_for(world, world->config.head_of_line_ns);
    sleep_for(world, ns + SECOND);
}

static struct obj_pod *pod_now(const struct world *world, const char *name, int64_t gpus, const char *gang)
{
    struct obj_pod *pod = make_pod(name, gpus, gang, gang[0] ? 1 : 0);

    pod->created_s = EPOCH_S + world->now_ns / SECOND;
    return pod;
}

static void a_head_of_short_is_passed_beside_its_plan(void **state)
{
    struct world *world = *state;

    let_head_wait(world, 0);
    create_gang(world, "small", 1);
    drop_pod(world, "x3");
    assert_string_equal(planned(world, "small-0"), "n3");
}

static void a_head_of_long_is_not_passed_and_starts_where_room_comes_first(void **state)
{
    struct world *world = *state;
    const struct gang *small;

    let_head_wait(world, world->config.head_of_line_ns);
    create_gang(world, "small", 1);
    drop_pod(world, "x3");
    small = the_gang(world, "small");
    assert_int_equal(small->state, GANG_WAITING);
    assert_int_equal(small->reason.code, REASON_HEAD_OF_LINE);
    assert_string_equal(small->reason.text, "all 4 matching nodes are kept for gang ns/big, head of the line "
                                            "since 1970-01-01T00:26:41Z");
    drop_pod(world, "x2");
    assert_string_equal(planned(world, "big-0"), "n2");
    assert_string_equal(planned(world, "big-1"), "n3");
    drop_pod(world, "x0");
    assert_int_equal(the_gang(world, "small")->state, GANG_PLANNED);
}

/* Its turn came late: it does not begin by letting others pass. */
static void one_that_has_waited_in_a_long_line_is_not_passed(void **state)
{
    struct world *world = *state;

    create_gang(world, "first", NODES);
    sleep_for(world, SECOND);
    create_gang(world, "big", 2);
    sleep_for(world, 5 * world->config.head_of_line_ns);
    create_gang(world, "small", 1);
    drop_pod(world, "x3");
    for (int i = 0; i < NODES; i++) {
        char pod[32];

        snprintf(pod, sizeof(pod), "first-%d", i);
        drop_pod(world, pod);
    }
    assert_string_equal(planned(world, "small-0"), "");
    drop_pod(world, "x2");
    assert_string_equal(planned(world, "big-0"), "n2");
}

static void who_waits_for_the_head_is_told_what_it_could_have_without(void **state)
{
    struct world *world = *state;
    struct why why;

    let_head_wait(world, world->config.head_of_line_ns);
    create_gang(world, "small", 1);
    assert_int_equal(core_why(world->core, the_gang(world, "small"), &why), 0);
    assert_int_equal(why.n, 1);
    assert_string_equal(why.items[0].text, "would not fit now even if gang ns/big did not wait before it");
    why_release(&why);
    drop_pod(world, "x3");
    assert_int_equal(core_why(world->core, the_gang(world, "small"), &why), 0);
    assert_int_equal(why.n, 1);
    assert_int_equal(why.items[0].change, WHY_HEAD);
    assert_string_equal(why.items[0].text, "fits if gang ns/big did not wait before it");
    why_release(&why);
}

static void who_comes_before_the_head_is_not_stopped(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod;

    let_head_wait(world, world->config.head_of_line_ns);
    pod = pod_now(world, "high-0", 8, "high");
    pod->priority = 1;
    put_pod(world, pod);
    drop_pod(world, "x3");
    assert_string_equal(planned(world, "high-0"), "n3");
}

static void nodes_that_the_head_could_not_use_are_not_kept(void **state)
{
    struct world *world = *state;
    struct obj_node *node;

    let_head_wait(world, world->config.head_of_line_ns);
    node = make_node("n9", "b0", "r0");
    node->allocatable.items[0].value = 4;
    world_step(world, (struct event){.kind = EV_NODE, .object.node = node});
    put_pod(world, pod_now(world, "half-0", 4, "half"));
    assert_string_equal(planned(world, "half-0"), "n9");
}

/* Its room is kept for the head as soon as it could use it, as is a node that comes. */
static void a_node_that_comes_is_kept_too(void **state)
{
    struct world *world = *state;

    let_head_wait(world, world->config.head_of_line_ns);
    add_node(world, "n9", "b0", "r0");
    create_gang(world, "small", 1);
    assert_string_equal(planned(world, "small-0"), "");
    drop_pod(world, "x3");
    assert_string_equal(planned(world, "big-1"), "n9");
}

static void one_whose_planned_nodes_go_is_the_head_still(void **state)
{
    struct world *world = *state;

    let_head_wait(world, world->config.head_of_line_ns);
    create_gang(world, "small", 1);
    drop_pod(world, "x3");
    drop_node(world, "n0");
    assert_string_equal(planned(world, "small-0"), "");
    drop_pod(world, "x2");
    assert_string_equal(planned(world, "big-0"), "n2");
}

static void ordinary_pods_pass_beside_its_plan_when_they_want_no_accelerator(void **state)
{
    struct world *world = *state;

    let_head_wait(world, world->config.head_of_line_ns);
    put_pod(world, pod_now(world, "gpu", 1, ""));
    put_pod(world, pod_now(world, "cpu", 0, ""));
    assert_false(core_node_fits(world->core, "gpu", "n3", 2));
    assert_true(core_node_fits(world->core, "cpu", "n3", 2));
    assert_false(core_node_fits(world->core, "cpu", "n0", 2));
}

/* A member that is created now, so that its gang comes after the head. */
static void put_member(struct world *world, int index, int size, const char *node)
{
    struct obj_pod *pod = make_member("run", index, size, node);

    pod->created_s = EPOCH_S + world->now_ns / SECOND;
    put_pod(world, pod);
}

/* It would never end without, and the head waits for that. */
static void a_gang_that_lost_a_member_gets_it_back(void **state)
{
    struct world *world = *state;

    let_head_wait(world, world->config.head_of_line_ns);
    drop_pod(world, "x2");
    put_member(world, 0, 2, "n2");
    drop_pod(world, "x3");
    put_member(world, 1, 2, "n3");
    drop_pod(world, "run-1");
    assert_int_equal(the_gang(world, "run")->state, GANG_BROKEN);
    put_member(world, 1, 2, "");
    assert_string_equal(planned(world, "run-1"), "n3");
}

static void a_gang_that_grows_waits_behind_the_head(void **state)
{
    struct world *world = *state;

    let_head_wait(world, world->config.head_of_line_ns);
    drop_pod(world, "x2");
    put_member(world, 0, 1, "n2");
    drop_pod(world, "x3");
    put_member(world, 1, 1, "");
    assert_string_equal(planned(world, "run-1"), "");
    assert_int_equal(the_gang(world, "run")->state, GANG_RUNNING);
}

/* What runs never ends: the cluster is not kept for ever, and again when the head comes nearer than ever. */
static void a_head_that_comes_no_nearer_keeps_its_plan_alone(void **state)
{
    struct world *world = *state;

    let_head_wait(world, 0);
    sleep_for(world, 6 * world->config.head_of_line_ns);
    create_gang(world, "small", 1);
    drop_pod(world, "x3");
    assert_string_equal(planned(world, "small-0"), "n3");
    drop_pod(world, "x0");
    create_gang(world, "late", 1);
    drop_pod(world, "x2");
    assert_int_equal(the_gang(world, "big")->state, GANG_PLANNED);
    assert_int_equal(the_gang(world, "late")->state, GANG_WAITING);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(what_frees_up_on_a_quiet_cluster_is_kept_for_who_waited_longest),
        CASE(before_it_is_due_smaller_ones_pass),
        CASE(one_that_the_empty_cluster_has_no_room_for_heads_no_line),
        CASE(a_head_of_short_is_passed_beside_its_plan),
        CASE(a_head_of_long_is_not_passed_and_starts_where_room_comes_first),
        CASE(one_that_has_waited_in_a_long_line_is_not_passed),
        CASE(who_waits_for_the_head_is_told_what_it_could_have_without),
        CASE(who_comes_before_the_head_is_not_stopped),
        CASE(nodes_that_the_head_could_not_use_are_not_kept),
        CASE(a_node_that_comes_is_kept_too),
        CASE(one_whose_planned_nodes_go_is_the_head_still),
        CASE(ordinary_pods_pass_beside_its_plan_when_they_want_no_accelerator),
        CASE(a_gang_that_lost_a_member_gets_it_back),
        CASE(a_gang_that_grows_waits_behind_the_head),
        CASE(a_head_that_comes_no_nearer_keeps_its_plan_alone),
    };

    return cmocka_run_group_tests_name("core_order", tests, NULL, NULL);
}
