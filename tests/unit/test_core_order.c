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
    sleep_for(world, 2 * world->config.head_of_line_ns);
    world_step(world, refused);
    assert_true(the_gang(world, "huge")->too_large);
    assert_true(core_deadline(world->core) > world->now_ns);
    drop_pod(world, "x0");
    assert_int_equal(the_gang(world, "small")->state, GANG_PLANNED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(what_frees_up_on_a_quiet_cluster_is_kept_for_who_waited_longest),
        CASE(before_it_is_due_smaller_ones_pass),
        CASE(one_that_the_empty_cluster_has_no_room_for_heads_no_line),
    };

    return cmocka_run_group_tests_name("core_order", tests, NULL, NULL);
}
