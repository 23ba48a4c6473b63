#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(8, 4, 2);

    sync_world(world);
    *state = world;
    return 0;
}

static void bound(struct world *world, const char *name, const char *gang, int size,
                  const char *node, enum pod_phase phase)
{
    struct obj_pod *pod = make_pod(name, 8, gang, size);

    set_text(&pod->node, node);
    pod->phase = phase;
    put_pod(world, pod);
}

static void binds_only_when_all_have_voted_and_the_plan_is_stored(void **state)
{
    struct world *world = *state;
    uint64_t first, second;

    add_gang(world, "g", 2, 2);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    first = vote(world, "g-0", "n0");
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    assert_null(reply_to(world, first));
    second = vote(world, "g-1", "n1");
    assert_int_equal(the_gang(world, "g")->state, GANG_BINDING);
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_int_equal(count_actions(world, ACT_BIND), 2);
    assert_non_null(strstr(find_action(world, ACT_BIND, "g-1")->body, "\"lockstep.dev/rank\":\"1\""));
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_int_equal(the_gang(world, "g")->state, GANG_BOUND);
    assert_null(reply_to(world, first));
    pass_time(world, 2 * SECOND); /* the watch had its time */
    assert_string_equal(reply_to(world, first), "");
    assert_string_equal(reply_to(world, second), "");
}

static void answers_wait_until_no_binding_is_under_way(void **state)
{
    struct world *world = *state;
    struct event first_done = {.kind = EV_WRITE_DONE, .action = ACT_BIND, .uid = "g-0"};
    struct event second_done = {.kind = EV_WRITE_DONE, .action = ACT_BIND, .uid = "g-1"};
    uint64_t first, second;

    add_gang(world, "g", 2, 2);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    first = vote(world, "g-0", "n0");
    second = vote(world, "g-1", "n1");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    first_done.ticket = find_action(world, ACT_BIND, "g-0")->ticket;
    second_done.ticket = find_action(world, ACT_BIND, "g-1")->ticket;
    world_step(world, first_done);
    assert_null(reply_to(world, first));
    bound(world, "g-0", "g", 2, "n0", POD_PENDING); /* the watch says so too */
    assert_null(reply_to(world, first));
    second_done.result = WRITE_SERVER; /* tried again later: the first has waited long enough */
    world_step(world, second_done);
    assert_string_equal(reply_to(world, first), "");
    assert_null(reply_to(world, second));
    drop_pod(world, "g-0"); /* its call was answered: nothing more is said */
    assert_null(reply_to(world, second));
}

/* Its Job is deleted and its pods are not yet, or never: nothing is due, so the loop may sleep. */
static void a_running_gang_that_lost_what_said_its_size_is_at_rest(void **state)
{
    struct world *world = *state;

    bound(world, "g-0", "g", 2, "n0", POD_RUNNING);
    bound(world, "g-1", "g", 2, "n1", POD_RUNNING);
    assert_int_equal(the_gang(world, "g")->state, GANG_RUNNING);
    bound(world, "g-0", "g", 0, "n0", POD_RUNNING);
    bound(world, "g-1", "g", 0, "n1", POD_RUNNING);
    pass_time(world, SECOND);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_NONE);
    assert_true(core_deadline(world->core) > world->now_ns);
}

static void holds_become_use_when_the_pods_are_seen_bound(void **state)
{
    struct world *world = *state;
    struct core_counts counts;

    add_gang(world, "g", 2, 2);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    vote(world, "g-0", "n0");
    vote(world, "g-1", "n1");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_OK);
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 2);
    bound(world, "g-0", "g", 2, "n0", POD_RUNNING);
    bound(world, "g-1", "g", 2, "n1", POD_RUNNING);
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 0);
    assert_int_equal(the_gang(world, "g")->state, GANG_RUNNING);
    bound(world, "g-0", "g", 2, "n0", POD_SUCCEEDED);
    bound(world, "g-1", "g", 2, "n1", POD_SUCCEEDED);
    assert_int_equal(the_gang(world, "g")->state, GANG_DONE);
    drop_pod(world, "g-0");
    drop_pod(world, "g-1");
    assert_null(core_gang(world->core, "ns", "g"));
}

static void says_how_many_fit_when_one_node_is_missing(void **state)
{
    struct world *world = *state;

    use_node(world, "n3", "other", 1);
    add_gang(world, "g", 8, 8);
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    assert_string_equal(the_gang(world, "g")->reason.text,
                        "7 of 8 pods of 8 nvidia.com/gpu fit: 7 of 8 nodes have room, 1 are full, "
                        "0 do not match");
    assert_string_equal(planned(world, "g-0"), "");
    drop_pod(world, "other");
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void wakes_only_members_that_were_refused(void **state)
{
    struct world *world = *state;
    struct event refused = {.kind = EV_REFUSED, .uid = "g-1"};

    use_node(world, "n3", "other", 8);
    add_gang(world, "g", 8, 8);
    world_step(world, refused);
    drop_pod(world, "other");
    assert_int_equal(count_actions(world, ACT_NOMINATE), 1);
    assert_non_null(find_action(world, ACT_NOMINATE, "g-1"));
}

static void two_large_gangs_never_share_the_cluster(void **state)
{
    struct world *world = *state;

    add_gang(world, "a", 5, 5);
    add_gang(world, "b", 5, 5);
    assert_int_equal(the_gang(world, "a")->state, GANG_PLANNED);
    assert_int_equal(the_gang(world, "b")->state, GANG_WAITING);
    for (int i = 0; i < 5; i++) {
        char uid[16];

        snprintf(uid, sizeof(uid), "a-%d", i);
        drop_pod(world, uid);
    }
    assert_int_equal(the_gang(world, "b")->state, GANG_PLANNED);
}

static void votes_that_wait_too_long_are_sent_back(void **state)
{
    struct world *world = *state;
    uint64_t ticket;

    add_gang(world, "g", 2, 2);
    ticket = vote(world, "g-0", "n0");
    pass_time(world, 51 * SECOND);
    assert_string_equal(reply_to(world, ticket),
                        "the gang's other pods did not arrive at bind in time");
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_VOTES_MISSING);
    pass_time(world, 2 * SECOND);
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void a_vote_for_another_node_is_refused_at_once(void **state)
{
    struct world *world = *state;
    uint64_t ticket;

    add_gang(world, "g", 2, 2);
    ticket = vote(world, "g-0", "n5");
    assert_string_equal(reply_to(world, ticket), "the plan has another node for this pod");
}

static void a_tainted_node_makes_a_new_plan(void **state)
{
    struct world *world = *state;
    struct obj_node *node = make_node("n0", "b0", "r0");

    add_gang(world, "g", 2, 2);
    assert_string_equal(planned(world, "g-0"), "n0");
    node->taints = calloc(1, sizeof(struct taint));
    node->taints[0] = (struct taint){strdup("k"), strdup(""), EFFECT_NO_SCHEDULE};
    node->ntaints = 1;
    world_step(world, (struct event){.kind = EV_NODE, .object.node = node});
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_string_equal(planned(world, "g-0"), "n2");
    assert_string_equal(planned(world, "g-1"), "n3");
}

static void an_undone_nomination_is_repeated_once_then_the_node_is_left_out(void **state)
{
    struct world *world = *state;
    struct event refused = {.kind = EV_REFUSED, .uid = "g-0"};

    add_gang(world, "g", 2, 2);
    world_step(world, refused);
    for (int round = 0; round < 2; round++) {
        struct obj_pod *pod = make_pod("g-0", 8, "g", 2);

        assert_string_equal(planned(world, "g-0"), "n0");
        assert_int_equal(count_actions(world, ACT_NOMINATE), 1);
        answer_writes(world, ACT_NOMINATE, WRITE_OK);
        set_text(&pod->nominated, "n0");
        put_pod(world, pod);
        put_pod(world, make_pod("g-0", 8, "g", 2));
    }
    assert_string_equal(planned(world, "g-0"), "n2");
}

static void ordinary_pods_stay_off_what_is_held(void **state)
{
    struct world *world = *state;
    uint64_t refused, taken;

    add_gang(world, "g", 2, 2);
    put_pod(world, make_pod("plain", 8, "", 0));
    assert_false(core_node_fits(world->core, "plain", "n0", 2));
    assert_true(core_node_fits(world->core, "plain", "n5", 2));
    refused = vote(world, "plain", "n0");
    assert_non_null(strstr(reply_to(world, refused), "no room"));
    taken = vote(world, "plain", "n5");
    assert_null(reply_to(world, taken));
    answer_writes(world, ACT_BIND, WRITE_OK);
    assert_string_equal(reply_to(world, taken), "");
}

static void a_restart_finishes_a_stored_binding_without_votes(void **state)
{
    struct world *world = *state, second;
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    (void)world;
    world_open(&second);
    for (int i = 0; i < 4; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", i);
        add_node(&second, name, "b0", "r0");
    }
    bound(&second, "g-0", "g", 2, "n2", POD_RUNNING);
    put_pod(&second, make_pod("g-1", 8, "g", 2));
    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Binding"), .reason_code = strdup(""),
                                        .generation = 3, .pods = 2, .nshares = 2};
    placement->shares = calloc(2, sizeof(struct placement_share));
    placement->shares[0] = (struct placement_share){strdup("n2"), 0, 1, NULL};
    placement->shares[1] = (struct placement_share){strdup("n3"), 1, 1, NULL};
    world_step(&second, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
    sync_world(&second);
    assert_int_equal(count_actions(&second, ACT_BIND), 1);
    assert_string_equal(find_action(&second, ACT_BIND, "g-1")->node, "n3");
    answer_writes(&second, ACT_BIND, WRITE_OK);
    assert_int_equal(the_gang(&second, "g")->state, GANG_BOUND);
    world_close(&second);
}

static void a_lost_bind_answer_is_settled_by_the_watch(void **state)
{
    struct world *world = *state;
    uint64_t ticket;

    add_gang(world, "g", 1, 1);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    ticket = vote(world, "g-0", "n0");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_UNKNOWN);
    assert_null(reply_to(world, ticket));
    bound(world, "g-0", "g", 1, "n0", POD_PENDING);
    assert_string_equal(reply_to(world, ticket), "");
    assert_int_equal(the_gang(world, "g")->state, GANG_BOUND);
}

static void a_recreated_member_takes_its_old_place(void **state)
{
    struct world *world = *state;

    add_gang(world, "g", 2, 2);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    vote(world, "g-0", "n0");
    vote(world, "g-1", "n1");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_OK);
    bound(world, "g-0", "g", 2, "n0", POD_RUNNING);
    bound(world, "g-1", "g", 2, "n1", POD_RUNNING);
    drop_pod(world, "g-1");
    assert_int_equal(the_gang(world, "g")->state, GANG_BROKEN);
    put_pod(world, make_pod("g-2", 8, "g", 2));
    assert_string_equal(planned(world, "g-2"), "n1");
    vote(world, "g-2", "n1");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_non_null(find_action(world, ACT_BIND, "g-2"));
    answer_writes(world, ACT_BIND, WRITE_OK);
    bound(world, "g-2", "g", 2, "n1", POD_RUNNING);
    assert_int_equal(the_gang(world, "g")->state, GANG_RUNNING);
}

static void a_lost_answer_for_an_ordinary_pod_keeps_its_room(void **state)
{
    struct world *world = *state;
    struct core_counts counts;

    put_pod(world, make_pod("plain", 8, "", 0));
    vote(world, "plain", "n0");
    answer_writes(world, ACT_BIND, WRITE_UNKNOWN);
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 1);
    add_gang(world, "g", 8, 8);
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    pass_time(world, 51 * SECOND);
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING); /* the API server is asked first */
    answer_writes(world, ACT_READ_POD, WRITE_OK); /* it has no node */
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
}

static void an_ordinary_pod_keeps_its_room_however_late_the_watch_is(void **state)
{
    struct world *world = *state;
    struct event read = {.kind = EV_WRITE_DONE, .action = ACT_READ_POD, .result = WRITE_OK,
                         .uid = "plain", .text = "n0"};
    struct core_counts counts;

    put_pod(world, make_pod("plain", 8, "", 0));
    vote(world, "plain", "n0");
    answer_writes(world, ACT_BIND, WRITE_OK);
    for (int i = 0; i < 3; i++) {
        pass_time(world, 51 * SECOND);
        read.ticket = find_action(world, ACT_READ_POD, "plain")->ticket;
        world_step(world, read);
        actions_clear(&world->actions);
        core_counts(world->core, &counts);
        assert_int_equal(counts.holds, 1);
    }
}

static void a_short_hold_deadline_does_not_end_a_hold_whose_write_is_under_way(void **state)
{
    struct world *world = *state;
    struct core_counts counts;

    world->config.hold_deadline_ns = SECOND;
    put_pod(world, make_pod("plain", 8, "", 0));
    vote(world, "plain", "n0");
    pass_time(world, 8 * SECOND);
    answer_writes(world, ACT_BIND, WRITE_UNKNOWN); /* the API server may apply it for as long again */
    pass_time(world, 7 * SECOND);
    assert_int_equal(count_actions(world, ACT_READ_POD), 0);
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 1);
    pass_time(world, SECOND);
    assert_int_equal(count_actions(world, ACT_READ_POD), 1);
}

static void members_that_ask_for_something_else_get_a_new_plan(void **state)
{
    struct world *world = *state;

    put_pod(world, make_pod("g-0", 4, "g", 2));
    assert_string_equal(planned(world, "g-0"), "n0");
    drop_pod(world, "g-0");
    put_pod(world, make_pod("old", 4, "h", 2));
    put_pod(world, make_pod("new", 8, "h", 2));
    assert_int_equal(the_gang(world, "h")->state, GANG_PLANNED);
    drop_pod(world, "old");
    put_pod(world, make_pod("newer", 8, "h", 2));
    assert_int_equal(the_gang(world, "h")->state, GANG_PLANNED);
    assert_string_not_equal(planned(world, "new"), planned(world, "newer"));
}

/* Nothing that we read says that it exists: that it is not supported is what its user can act on. */
static void a_group_of_a_kind_that_is_never_read_is_not_supported(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_pod("p", 8, "", 0);

    set_text(&pod->group_native, "w");
    set_text(&pod->unsupported, "spec.workloadRef");
    put_pod(world, pod);
    assert_int_equal(the_gang(world, "w")->reason.code, REASON_UNSUPPORTED);
    assert_string_equal(the_gang(world, "w")->reason.text, "not supported yet: spec.workloadRef");
}

static void a_replacement_during_binding_needs_room_of_its_own(void **state)
{
    struct world *world = *state;

    put_pod(world, make_pod("g-0", 4, "g", 1));
    vote(world, "g-0", "n0");
    assert_int_equal(the_gang(world, "g")->state, GANG_BINDING);
    put_pod(world, make_pod("g-1", 8, "g", 1)); /* one more than the plan is for */
    drop_pod(world, "g-0");
    assert_string_equal(planned(world, "g-1"), "n0");
    use_node(world, "n7", "other", 8); /* core_check() after each step sees no node overcommitted */
}

static void a_foreign_pod_on_a_planned_node_makes_a_new_plan_at_once(void **state)
{
    struct world *world = *state;
    uint64_t first;

    put_pod(world, make_pod("g-0", 8, "g", 2));
    assert_string_equal(planned(world, "g-0"), "n0");
    first = vote(world, "g-0", "n0");
    use_node(world, "n0", "other", 8);
    assert_non_null(reply_to(world, first));
    assert_string_not_equal(reply_to(world, first), "");
    assert_string_equal(planned(world, "g-0"), "n2"); /* a rack with room for both */
}

static void a_place_lost_while_binding_without_room_is_told_at_once(void **state)
{
    struct world *world = *state;

    add_gang(world, "g", 8, 8);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    for (int i = 0; i < 8; i++) {
        char name[16], node[16];

        snprintf(name, sizeof(name), "g-%d", i);
        snprintf(node, sizeof(node), "n%d", i);
        vote(world, name, node);
    }
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_SERVER); /* none has arrived: each is tried again */
    bound(world, "g-0", "g", 8, "n0", POD_RUNNING);
    use_node(world, "n7", "other", 8);
    assert_string_equal(planned(world, "g-7"), "");
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_PARTLY_BOUND);
    assert_string_equal(the_gang(world, "g")->reason.text,
                        "1 of 8 pods are bound; 1 lost their place and no node has room for them: "
                        "trying again");
    drop_pod(world, "other");
    pass_time(world, 3 * SECOND);
    assert_string_equal(planned(world, "g-7"), "n7");
}

static void a_job_that_was_deleted_does_not_break_its_gang(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) { /* bound pods of a Job that the API server does not have any more */
        struct obj_pod *pod = make_pod(i ? "g-1" : "g-0", 8, "g", 2);

        pod->owner.kind = OWNER_JOB;
        set_text(&pod->owner.name, "job");
        set_text(&pod->node, i ? "n1" : "n0");
        pod->phase = POD_RUNNING;
        put_pod(world, pod);
    }
    assert_int_equal(the_gang(world, "g")->state, GANG_RUNNING);
    drop_pod(world, "g-0");
    assert_int_equal(the_gang(world, "g")->state, GANG_RUNNING);
    drop_pod(world, "g-1");
    assert_null(core_gang(world->core, "ns", "g"));
}

static void see_placement(struct world *world, bool owned)
{
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Waiting"), .reason_code = strdup(""),
                                        .owned = owned};
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
}

static void a_placement_written_while_its_gang_went_is_deleted(void **state)
{
    struct world *world = *state;

    add_gang(world, "g", 1, 1);
    drop_pod(world, "g-0");
    assert_null(core_gang(world->core, "ns", "g"));
    assert_int_equal(count_actions(world, ACT_PLACEMENT), 1);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0); /* it is not known to exist */
    see_placement(world, true);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
    see_placement(world, false);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0); /* the write could make it anew */
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
    add_gang(world, "g", 1, 1);
    see_placement(world, false);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
}

/* Its pods were seen before its PodGroup: the object was made without an owner that takes it along. */
static void a_placement_without_an_owner_goes_with_its_gang(void **state)
{
    struct world *world = *state;

    for (int owned = 1; owned >= 0; owned--) {
        struct obj_pod *pod = make_pod("g-0", 8, "g", 1);

        pod->owner.kind = OWNER_JOB;
        set_text(&pod->owner.name, "job");
        put_pod(world, pod);
        answer_writes(world, ACT_PLACEMENT, WRITE_OK);
        see_placement(world, owned);
        drop_pod(world, "g-0");
        assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), !owned);
    }
}

static void an_unknown_level_is_named(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_pod("g-0", 8, "g", 1);

    set_text(&pod->wish.required, "example.com/row");
    put_pod(world, pod);
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_UNKNOWN_LEVEL);
}

static void nothing_is_planned_before_the_caches_are_complete(void **state)
{
    struct world world;

    (void)state;
    world_open(&world);
    add_node(&world, "n0", "b", "r");
    put_pod(&world, make_pod("g-0", 8, "g", 1));
    assert_string_equal(planned(&world, "g-0"), "");
    assert_int_equal(world.actions.n, 0);
    world_close(&world);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(binds_only_when_all_have_voted_and_the_plan_is_stored),
        CASE(a_running_gang_that_lost_what_said_its_size_is_at_rest),
        CASE(answers_wait_until_no_binding_is_under_way),
        CASE(holds_become_use_when_the_pods_are_seen_bound),
        CASE(says_how_many_fit_when_one_node_is_missing),
        CASE(wakes_only_members_that_were_refused),
        CASE(two_large_gangs_never_share_the_cluster),
        CASE(votes_that_wait_too_long_are_sent_back),
        CASE(a_vote_for_another_node_is_refused_at_once),
        CASE(a_tainted_node_makes_a_new_plan),
        CASE(an_undone_nomination_is_repeated_once_then_the_node_is_left_out),
        CASE(ordinary_pods_stay_off_what_is_held),
        CASE(a_restart_finishes_a_stored_binding_without_votes),
        CASE(a_lost_bind_answer_is_settled_by_the_watch),
        CASE(a_recreated_member_takes_its_old_place),
        CASE(a_lost_answer_for_an_ordinary_pod_keeps_its_room),
        CASE(an_ordinary_pod_keeps_its_room_however_late_the_watch_is),
        CASE(a_short_hold_deadline_does_not_end_a_hold_whose_write_is_under_way),
        CASE(members_that_ask_for_something_else_get_a_new_plan),
        CASE(a_replacement_during_binding_needs_room_of_its_own),
        CASE(a_foreign_pod_on_a_planned_node_makes_a_new_plan_at_once),
        CASE(a_place_lost_while_binding_without_room_is_told_at_once),
        CASE(a_job_that_was_deleted_does_not_break_its_gang),
        CASE(a_placement_written_while_its_gang_went_is_deleted),
        CASE(a_placement_without_an_owner_goes_with_its_gang),
        CASE(an_unknown_level_is_named),
        CASE(a_group_of_a_kind_that_is_never_read_is_not_supported),
        CASE(nothing_is_planned_before_the_caches_are_complete),
    };

    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
