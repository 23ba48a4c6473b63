/* GangPlacements that are nobody's: deleted as they were seen, until they are gone. */
#include "scheduler/model/lease.h"
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(1, 1, 1);

    sync_world(world);
    *state = world;
    return 0;
}

static void see_it(struct world *world, const char *uid, const char *version, bool owned)
{
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup(uid),
                                        .version = strdup(version), .gang_kind = strdup("Gang"),
                                        .gang_name = strdup("g"), .state = strdup("Waiting"),
                                        .reason_code = strdup(""), .owned = owned};
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
}

static void see(struct world *world, const char *uid, const char *version)
{
    see_it(world, uid, version, false);
}

static void see_gone(struct world *world)
{
    world_step(world, (struct event){.kind = EV_PLACEMENT_GONE, .ns_name = "ns", .name = "g"});
}

/* Exactly one deletion is wanted now, of this object; it is answered so. */
static void expect_deletion(struct world *world, const char *preconditions, enum write_result result)
{
    const struct action *action = find_action(world, ACT_PLACEMENT_DELETE, NULL);

    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
    assert_string_equal(action->body, preconditions);
    assert_int_not_equal(action->ticket, 0);
    answer_writes(world, ACT_PLACEMENT_DELETE, result);
}

static void a_deletion_that_failed_is_tried_again_while_the_object_is_seen(void **state)
{
    static const enum write_result failures[] = {WRITE_UNKNOWN, WRITE_SERVER, WRITE_FORBIDDEN,
                                                 WRITE_CONFLICT};
    struct world *world = *state;

    see(world, "u", "1");
    for (int i = 0; i < 4; i++) {
        int64_t wait = SECOND << i;

        expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", failures[i]);
        assert_true(core_deadline(world->core) <= world->now_ns + wait);
        pass_time(world, wait - 1);
        assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
        pass_time(world, 1);
    }
    expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", WRITE_SERVER);
    see_gone(world);
    pass_time(world, 100 * SECOND);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
}

static void one_that_is_deleted_is_left_to_the_watch(void **state)
{
    struct world *world = *state;

    see(world, "u", "1");
    expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", WRITE_OK);
    pass_time(world, 100 * SECOND);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
}

/* Its last write was not seen yet when it was to be deleted: the conflict ends with the watch's news. */
static void a_newer_version_is_deleted_at_once(void **state)
{
    struct world *world = *state;

    see(world, "u", "1");
    expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", WRITE_CONFLICT);
    see(world, "u", "2");
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
    see(world, "v", "3"); /* while that is under way */
    expect_deletion(world, "{\"resourceVersion\":\"2\",\"uid\":\"u\"}", WRITE_OK);
    expect_deletion(world, "{\"resourceVersion\":\"3\",\"uid\":\"v\"}", WRITE_OK);
}

/* An owner takes it along now: nothing is retried, and nothing is due for ever. */
static void one_that_got_an_owner_is_let_go(void **state)
{
    struct world *world = *state;

    see(world, "u", "1");
    expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", WRITE_SERVER);
    see_it(world, "u", "2", true); /* before the retry */
    pass_time(world, 2 * SECOND);
    assert_true(core_deadline(world->core) > world->now_ns);
    see(world, "u", "3");
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
    see_it(world, "u", "4", true); /* while the deletion is under way */
    expect_deletion(world, "{\"resourceVersion\":\"3\",\"uid\":\"u\"}", WRITE_CONFLICT);
    pass_time(world, 10 * SECOND);
    assert_true(core_deadline(world->core) > world->now_ns);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
}

static void a_gang_that_comes_again_waits_for_the_deletion(void **state)
{
    struct world *world = *state;

    see(world, "u", "1");
    put_pod(world, make_pod("g-0", 8, "g", 1));
    assert_int_equal(count_actions(world, ACT_PLACEMENT), 0);
    expect_deletion(world, "{\"resourceVersion\":\"1\",\"uid\":\"u\"}", WRITE_UNKNOWN);
    assert_int_equal(count_actions(world, ACT_PLACEMENT), 1);
    pass_time(world, 100 * SECOND);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0); /* it is a gang's again */
}

static void what_is_wanted_says_in_which_term(void **state)
{
    struct world world;
    struct obj_lease *lease = calloc(1, sizeof(*lease));
    struct event event = {.kind = EV_LEASE, .wall_ns = 100 * SECOND, .object.lease = lease};

    (void)state;
    world_open(&world);
    core_free(world.core);
    set_text(&world.config.lease, "ns/lease");
    world.core = core_new(&world.config);
    core_set_host(world.core, "host");
    *lease = (struct obj_lease){.ns = strdup("ns"), .name = strdup("lease"), .holder = strdup("host_1"),
                                .duration_ns = 60 * SECOND, .acquired_ns = 100 * SECOND,
                                .renewed_ns = 100 * SECOND};
    world_step(&world, event);
    assert_int_equal(core_term(world.core), 1);
    see(&world, "u", "1");
    world_step(&world, (struct event){.kind = EV_SYNCED, .ticket = 1});
    assert_true(core_active(world.core));
    assert_int_equal(find_action(&world, ACT_PLACEMENT_DELETE, NULL)->term, 1);
    world_close(&world);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_deletion_that_failed_is_tried_again_while_the_object_is_seen),
        CASE(one_that_is_deleted_is_left_to_the_watch),
        CASE(a_newer_version_is_deleted_at_once),
        CASE(one_that_got_an_owner_is_let_go),
        CASE(a_gang_that_comes_again_waits_for_the_deletion),
        CASE(what_is_wanted_says_in_which_term),
    };

    return cmocka_run_group_tests_name("core_orphans", tests, NULL, NULL);
}
