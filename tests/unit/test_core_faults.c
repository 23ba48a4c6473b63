/* What the simulator found in the core, one test a fault, from the shortest history that shows it. */
#include "scheduler/model/cluster.h"
#include "scheduler/model/lease.h"
#include "tests/unit/world.h"

static int open_world(void **state)
{
    struct world *world = new_world(6, 3, 6);

    *state = world;
    return 0;
}

/* A GangPlacement of gang g with two ranks, on n1 and n2. */
static struct obj_placement *stored(const char *state)
{
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup(state), .reason_code = strdup(""),
                                        .generation = 1, .pods = 2, .nshares = 2, .since_s = 100};
    placement->shares = calloc(2, sizeof(struct placement_share));
    placement->shares[0] = (struct placement_share){strdup("n1"), 0, 1, NULL};
    placement->shares[1] = (struct placement_share){strdup("n2"), 1, 1, NULL};
    return placement;
}

static void put_placement(struct world *world, struct obj_placement *placement)
{
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
}

/* Both members have voted and their bindings are out. */
static void bind_two(struct world *world)
{
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, make_member("g", 1, 2, ""));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    vote(world, "g-0", planned(world, "g-0"));
    vote(world, "g-1", planned(world, "g-1"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    assert_int_equal(count_actions(world, ACT_BIND), 2);
}

/* Below its min a gang gets places for all who are missing or for none: then nobody is woken for one. */
static void a_gang_without_room_for_all_its_missing_members_writes_nothing(void **state)
{
    struct world *world = *state;

    sync_world(world);
    put_pod(world, make_member("g", 0, 3, "n0"));
    use_node(world, "n1", "a", 8);
    use_node(world, "n2", "b", 8);
    use_node(world, "n3", "c", 8);
    use_node(world, "n4", "d", 8); /* one node is free, two are missing */
    put_pod(world, make_member("g", 1, 3, ""));
    put_pod(world, make_member("g", 2, 3, ""));
    assert_int_equal(the_gang(world, "g")->state, GANG_BROKEN);
    for (int i = 0; i < 5; i++)
        pass_time(world, 3 * SECOND);
    assert_int_equal(count_actions(world, ACT_NOMINATE), 0);
    drop_pod(world, "a");
    pass_time(world, 3 * SECOND);
    assert_string_not_equal(planned(world, "g-1"), "");
    assert_string_not_equal(planned(world, "g-2"), "");
}

/* Between events and the settling that follows all of them, a place whose member has left waits for that one. */
static void a_refill_that_leaves_amid_a_batch_is_put_right_by_the_settling(void **state)
{
    struct event gone = {.kind = EV_POD_GONE, .uid = "g-1"};
    struct world *world = *state;

    sync_world(world);
    put_pod(world, make_member("g", 0, 2, "n0"));
    put_pod(world, make_member("g", 1, 2, ""));
    assert_int_equal(the_gang(world, "g")->state, GANG_BROKEN);
    assert_true(the_gang(world, "g")->slots[1].held);
    core_step(world->core, &gone, world->now_ns, &world->actions);
    assert_true(the_gang(world, "g")->slots[1].held);
    world_check(world);
    core_settle(world->core, world->now_ns, &world->actions);
    assert_false(the_gang(world, "g")->slots[1].held);
    world_check(world);
}

/* Only a status that is written by hand says that a pod succeeded without a node; what is done needs no plan. */
static void a_member_that_succeeded_without_a_node_is_not_planned(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_member("g", 0, 2, "");

    sync_world(world);
    pod->phase = POD_SUCCEEDED;
    put_pod(world, pod);
    assert_int_equal(the_gang(world, "g")->state, GANG_BROKEN);
    assert_int_equal(the_gang(world, "g")->slots[0].state, SLOT_DONE);
    assert_false(the_gang(world, "g")->slots[0].held);
    put_pod(world, make_member("g", 1, 2, ""));
    assert_string_not_equal(planned(world, "g-1"), "");
}

static void a_gang_beyond_all_limits_is_told_so(void **state)
{
    struct world *world = *state;

    sync_world(world);
    put_pod(world, make_member("g", 0, OBJ_GANG_PODS_MAX + 1, ""));
    assert_int_equal(the_gang(world, "g")->reason.code, REASON_UNSUPPORTED);
    assert_non_null(strstr(the_gang(world, "g")->reason.text, "20001 pods in one gang"));
}

/* Racks come and go by thousands: ids of those that are no more are given again, and plans stay right. */
static void domains_that_are_gone_cost_nothing_for_ever(void **state)
{
    struct world *world = *state;
    const struct cluster *cluster = core_cluster(world->core);
    char rack[16];

    sync_world(world);
    for (int i = 0; i < 5000; i++) {
        struct event event = {.kind = EV_NODE};

        snprintf(rack, sizeof(rack), "rack-%d", i);
        event.object.node = make_node("n0", "b0", rack);
        core_step(world->core, &event, world->now_ns, &world->actions);
    }
    assert_true(cluster->ndomains < 1100);
    assert_string_equal(cluster_domain_name(cluster, cluster_node(cluster, "n0")->domain[1]), "rack-4999");
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, make_member("g", 1, 2, ""));
    assert_int_equal(the_gang(world, "g")->state, GANG_PLANNED);
    assert_int_equal(the_gang(world, "g")->use[1].used, 1);
}

/* Its pods went while nobody led, and others came under the same name: the plan is not theirs. */
static void a_stored_binding_is_not_finished_for_younger_pods(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_member("g", 0, 2, "");

    pod->created_s = 101;
    put_pod(world, pod);
    put_placement(world, stored("Binding"));
    sync_world(world);
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    assert_int_not_equal(the_gang(world, "g")->state, GANG_BINDING);
}

/* 1002.2 s by the wall when the clock of the core, which has parts of a second of its own, reads 1.5 s. */
static void a_state_never_reads_earlier_than_a_pod_created_before(void **state)
{
    struct world world;
    const struct action *write;

    (void)state;
    world_open(&world);
    world.now_ns = SECOND + SECOND / 2;
    core_set_epoch(world.core, core_epoch_s(1002 * SECOND + SECOND / 5, world.now_ns));
    add_node(&world, "n0", "b0", "r0");
    sync_world(&world);
    put_pod(&world, make_member("g", 0, 1, "")); /* created in second 1002 */
    write = find_action(&world, ACT_PLACEMENT, NULL);
    assert_non_null(write);
    assert_non_null(strstr(write->body, "1970-01-01T00:16:42Z"));
    world_close(&world);
}

/* One of the old ones is left: it is finished, and its new mate comes to bind first. */
static void a_younger_member_of_a_stored_binding_votes(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_member("g", 1, 2, "");

    pod->created_s = 101;
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, pod);
    put_placement(world, stored("Binding"));
    sync_world(world);
    assert_non_null(find_action(world, ACT_BIND, "g-0"));
    assert_null(find_action(world, ACT_BIND, "g-1"));
    vote(world, "g-1", "n2");
    assert_non_null(find_action(world, ACT_BIND, "g-1"));
}

static void a_placement_of_no_gang_is_deleted_unless_an_owner_takes_it_along(void **state)
{
    struct world *world = *state;
    struct obj_placement *owned = stored("Waiting");

    owned->owned = true;
    put_placement(world, owned);
    sync_world(world);
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 0);
    put_placement(world, stored("Waiting"));
    assert_int_equal(count_actions(world, ACT_PLACEMENT_DELETE), 1);
}

static void a_gang_that_comes_again_keeps_the_name_of_its_placement(void **state)
{
    struct world *world = *state;
    struct obj_placement *placement = stored("Waiting");

    set_text(&placement->name, "g.gang");
    placement->owned = true;
    put_placement(world, placement);
    sync_world(world);
    put_pod(world, make_member("g", 0, 2, ""));
    assert_non_null(core_gang(world->core, "ns", "g.gang"));
}

static void a_stranger_amid_the_bindings_changes_the_stored_plan(void **state)
{
    struct world *world = *state;

    sync_world(world);
    bind_two(world);
    put_pod(world, make_member("g", 0, 2, "n5"));
    assert_true(the_gang(world, "g")->drifted);
    assert_non_null(find_action(world, ACT_PLACEMENT, NULL));
    assert_non_null(strstr(find_action(world, ACT_PLACEMENT, NULL)->body, "\"name\":\"n5\""));
}

/* Its hold was on the planned node, and is given back there. */
static void a_member_that_comes_back_bound_elsewhere_gives_back_the_planned_place(void **state)
{
    struct world *world = *state;
    struct obj_pod *pod = make_member("g", 1, 2, "n5");
    struct core_counts counts;

    sync_world(world);
    bind_two(world);
    drop_pod(world, "g-1");
    set_text(&pod->uid, "g-1-again");
    put_pod(world, pod); /* core_check: no node counts less than nothing */
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 1);
}

static void every_index_has_its_own_rank_though_members_are_bound_by_others(void **state)
{
    struct world *world = *state;

    sync_world(world);
    put_pod(world, make_member("g", 1, 2, "n4"));
    put_pod(world, make_member("g", 0, 2, "n3"));
    assert_string_equal(the_gang(world, "g")->slots[0].pod->object->name, "g-0");
    assert_string_equal(the_gang(world, "g")->slots[1].pod->object->name, "g-1");
}

/* The order in which pods were read decides nothing. */
static void the_first_by_index_speaks_for_the_gang(void **state)
{
    struct world *world = *state;

    sync_world(world);
    put_pod(world, make_member("g", 1, 3, "n1"));
    put_pod(world, make_member("g", 0, 2, "n0"));
    assert_int_equal(the_gang(world, "g")->min, 2);
    drop_pod(world, "g-0");
    assert_int_equal(the_gang(world, "g")->min, 3);
}

static void a_kubelet_that_refuses_ends_the_plan_on_its_node(void **state)
{
    struct world *world = *state;
    struct obj_pod *refused = make_pod("x", 1, "", 0);
    char before[16];

    sync_world(world);
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, make_member("g", 1, 2, ""));
    snprintf(before, sizeof(before), "%s", planned(world, "g-0"));
    set_text(&refused->node, before);
    refused->phase = POD_FAILED;
    refused->rejected = true;
    put_pod(world, refused);
    assert_string_not_equal(planned(world, "g-0"), before);
    assert_string_not_equal(planned(world, "g-1"), before);
}

/* The binding that a former process sent for it may still arrive, anywhere. */
static void room_is_given_away_only_when_a_former_process_is_past(void **state)
{
    struct world *world = *state;
    uint64_t early, late;

    core_set_predecessor(world->core, world->now_ns);
    put_pod(world, make_pod("plain", 8, "", 0));
    sync_world(world);
    early = vote(world, "plain", "n0");
    assert_string_not_equal(reply_to(world, early), "");
    put_pod(world, make_member("g", 0, 1, ""));
    assert_string_equal(planned(world, "g-0"), "");
    assert_true(core_deadline(world->core) <= world->now_ns + LEASE_WRITE_NS);
    pass_time(world, LEASE_WRITE_NS);
    assert_string_not_equal(planned(world, "g-0"), "");
    late = vote(world, "plain", "n5");
    assert_null(reply_to(world, late));
    assert_non_null(find_action(world, ACT_BIND, "plain"));
}

/* No ordinary pod waits: what a former process sent for gangs is stored, so nothing is waited for. */
static void gangs_alone_need_not_wait_for_a_former_process(void **state)
{
    struct world *world = *state;

    core_set_predecessor(world->core, world->now_ns);
    sync_world(world);
    put_pod(world, make_member("g", 0, 1, ""));
    assert_string_not_equal(planned(world, "g-0"), "");
}

/*
 * The former process had stored the plan, given it up, given its room to an ordinary pod and died before it could
 * store that: the binding of that pod may still arrive.
 */
static void a_stored_plan_waits_for_what_a_former_process_sent(void **state)
{
    struct world *world = *state;
    struct obj_pod *late = make_pod("plain", 8, "", 0);

    core_set_predecessor(world->core, world->now_ns);
    put_pod(world, make_pod("plain", 8, "", 0));
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, make_member("g", 1, 2, ""));
    put_placement(world, stored("Binding"));
    sync_world(world);
    assert_int_equal(the_gang(world, "g")->state, GANG_BINDING);
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    set_text(&late->node, "n1");
    put_pod(world, late);
    pass_time(world, LEASE_WRITE_NS);
    assert_string_not_equal(planned(world, "g-0"), "n1");
    assert_string_not_equal(planned(world, "g-1"), "n1");
}

/* The same, and the room had gone to another gang, whose plan is stored too. */
static void stored_plans_that_collide_wait_for_what_a_former_process_sent(void **state)
{
    struct world *world = *state;
    struct obj_placement *other = stored("Binding");

    set_text(&other->name, "h");
    set_text(&other->gang_name, "h");
    core_set_predecessor(world->core, world->now_ns);
    for (unsigned i = 0; i < 2; i++) {
        put_pod(world, make_member("g", i, 2, ""));
        put_pod(world, make_member("h", i, 2, ""));
    }
    put_placement(world, stored("Binding"));
    put_placement(world, other);
    sync_world(world);
    assert_int_equal(count_actions(world, ACT_BIND), 0);
    put_pod(world, make_member("h", 0, 2, "n1")); /* it was h's room */
    pass_time(world, LEASE_WRITE_NS);
    assert_string_not_equal(planned(world, "h-1"), "");
    assert_string_not_equal(planned(world, "g-0"), "n1");
    assert_string_not_equal(planned(world, "g-1"), "n1");
}

static void see_version(struct world *world, const char *version)
{
    struct obj_placement *placement = stored("Replacing");

    set_text(&placement->version, version);
    put_placement(world, placement);
}

/* By hand, or by a write of a former process that came late: a restart would believe it. */
static void a_placement_that_somebody_wrote_over_is_written_again(void **state)
{
    struct world *world = *state;
    struct event done = {.kind = EV_WRITE_DONE, .action = ACT_PLACEMENT, .result = WRITE_OK,
                         .ns_name = "ns", .name = "g", .text = "7"};

    sync_world(world);
    put_pod(world, make_member("g", 0, 2, ""));
    put_pod(world, make_member("g", 1, 2, ""));
    see_version(world, "6"); /* what was there before */
    done.ticket = find_action(world, ACT_PLACEMENT, NULL)->ticket;
    world_step(world, done);
    actions_clear(&world->actions);
    see_version(world, "6");
    see_version(world, "7"); /* our own */
    assert_int_equal(count_actions(world, ACT_PLACEMENT), 0);
    see_version(world, "8");
    assert_int_equal(count_actions(world, ACT_PLACEMENT), 1);
    assert_non_null(strstr(find_action(world, ACT_PLACEMENT, NULL)->body, "\"state\":\"Planned\""));
}

/* kube-scheduler undoes a nomination: its in-tree filters refuse the node. */
static void undo_nomination(struct world *world)
{
    struct obj_pod *nominated = make_member("g", 0, 1, ""), *undone = make_member("g", 0, 1, "");

    set_text(&nominated->nominated, planned(world, "g-0"));
    put_pod(world, nominated);
    put_pod(world, undone);
}

/* That its reason is told a second later must not make it forget when to try again. */
static void a_gang_whose_only_node_refused_tries_again_after_a_minute(void **state)
{
    struct world *world = *state;
    struct event refused = {.kind = EV_REFUSED, .uid = "g-0"};

    sync_world(world);
    for (int i = 1; i < 6; i++) {
        char node[16], pod[16];

        snprintf(node, sizeof(node), "n%d", i);
        snprintf(pod, sizeof(pod), "x%d", i);
        use_node(world, node, pod, 8);
    }
    put_pod(world, make_member("g", 0, 1, ""));
    for (int i = 0; i < 8 && the_gang(world, "g")->state != GANG_WAITING; i++) {
        world_step(world, refused);
        undo_nomination(world);
    }
    assert_int_equal(the_gang(world, "g")->state, GANG_WAITING);
    pass_time(world, 2 * SECOND);
    assert_true(core_deadline(world->core) <= world->now_ns + 60 * SECOND);
    pass_time(world, 60 * SECOND);
    assert_string_equal(planned(world, "g-0"), "n0");
}

static void a_hold_follows_what_its_pod_asks_for(void **state)
{
    struct world *world = *state;
    struct core_counts counts;
    struct obj_pod *bound = make_pod("plain", 4, "", 0);

    sync_world(world);
    put_pod(world, make_pod("plain", 2, "", 0));
    vote(world, "plain", "n0");
    set_text(&bound->node, "n0");
    put_pod(world, bound); /* core_check: no node counts less than nothing */
    core_counts(world->core, &counts);
    assert_int_equal(counts.holds, 0);
    use_node(world, "n0", "rest", 4);
    put_pod(world, make_member("g", 0, 6, ""));
    assert_int_equal(the_gang(world, "g")->reason.fit, 5);
}

/* It went, and as kube-scheduler knows it came back: how much room it has we have not read. */
static void nothing_is_bound_to_a_node_that_is_not_seen(void **state)
{
    struct world *world = *state;
    uint64_t ticket;

    sync_world(world);
    use_node(world, "n0", "other", 4);
    world_step(world, (struct event){.kind = EV_NODE_GONE, .name = "n0"});
    put_pod(world, make_pod("plain", 4, "", 0));
    ticket = vote(world, "plain", "n0");
    assert_string_equal(reply_to(world, ticket), "lockstep has not seen this node yet");
    assert_null(find_action(world, ACT_BIND, "plain"));
    add_node(world, "n0", "b0", "r0");
    vote(world, "plain", "n0");
    assert_non_null(find_action(world, ACT_BIND, "plain"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        CASE(a_gang_without_room_for_all_its_missing_members_writes_nothing),
        CASE(a_refill_that_leaves_amid_a_batch_is_put_right_by_the_settling),
        CASE(a_member_that_succeeded_without_a_node_is_not_planned),
        CASE(a_gang_beyond_all_limits_is_told_so),
        CASE(domains_that_are_gone_cost_nothing_for_ever),
        CASE(a_stored_binding_is_not_finished_for_younger_pods),
        CASE(a_state_never_reads_earlier_than_a_pod_created_before),
        CASE(a_younger_member_of_a_stored_binding_votes),
        CASE(a_placement_of_no_gang_is_deleted_unless_an_owner_takes_it_along),
        CASE(a_gang_that_comes_again_keeps_the_name_of_its_placement),
        CASE(a_stranger_amid_the_bindings_changes_the_stored_plan),
        CASE(a_member_that_comes_back_bound_elsewhere_gives_back_the_planned_place),
        CASE(every_index_has_its_own_rank_though_members_are_bound_by_others),
        CASE(the_first_by_index_speaks_for_the_gang),
        CASE(a_kubelet_that_refuses_ends_the_plan_on_its_node),
        CASE(room_is_given_away_only_when_a_former_process_is_past),
        CASE(a_gang_whose_only_node_refused_tries_again_after_a_minute),
        CASE(a_hold_follows_what_its_pod_asks_for),
        CASE(gangs_alone_need_not_wait_for_a_former_process),
        CASE(nothing_is_bound_to_a_node_that_is_not_seen),
        CASE(a_stored_plan_waits_for_what_a_former_process_sent),
        CASE(a_placement_that_somebody_wrote_over_is_written_again),
        CASE(stored_plans_that_collide_wait_for_what_a_former_process_sent),
    };

    return cmocka_run_group_tests_name("core_faults", tests, NULL, NULL);
}
