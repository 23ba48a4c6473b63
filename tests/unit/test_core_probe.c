/* When a gang is measured, what is made of the answer, and who waits for it no longer. */
#include "tests/unit/world.h"

static struct world *probing_world(enum probe_policy policy)
{
    struct world *world = new_world(4, 4, 2);

    world->config.probe = policy;
    world->config.probe_deadline_ns = 60 * SECOND;
    sync_world(world);
    return world;
}

static int open_world(void **state)
{
    *state = probing_world(PROBE_WARN);
    return 0;
}

static void show(struct world *world, const char *name, const char *node, enum pod_phase phase)
{
    struct obj_pod *pod = make_pod(name, 8, "g", 2);

    set_text(&pod->node, node);
    pod->phase = phase;
    put_pod(world, pod);
}

/* A gang of two is planned, voted for, bound, and all of that is stored. */
static void bind_gang(struct world *world)
{
    add_gang(world, "g", 2, 2);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    vote(world, "g-0", planned(world, "g-0"));
    vote(world, "g-1", planned(world, "g-1"));
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer_writes(world, ACT_BIND, WRITE_OK);
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
}

static void run_gang(struct world *world)
{
    char node[2][16];

    for (int i = 0; i < 2; i++)
        snprintf(node[i], sizeof(node[i]), "%s", the_gang(world, "g")->slots[i].node->name);
    show(world, "g-0", node[0], POD_RUNNING);
    show(world, "g-1", node[1], POD_RUNNING);
}

static void answer(struct world *world, int64_t generation, const char *verdict, int64_t busbw)
{
    struct event event = {.kind = EV_PROBED, .ticket = (uint64_t)generation, .busbw = busbw};

    snprintf(event.ns_name, sizeof(event.ns_name), "ns");
    snprintf(event.name, sizeof(event.name), "g");
    snprintf(event.uid, sizeof(event.uid), "%s", verdict);
    snprintf(event.text, sizeof(event.text), "as it was measured");
    world_step(world, event);
}

/* The body of the GangPlacement that was written last. */
static const char *record(struct world *world)
{
    for (int i = 0; i < 3; i++) { /* what is but told is written once a second */
        world->now_ns += 2 * SECOND;
        world_step(world, (struct event){.kind = EV_TICK});
        for (size_t k = world->actions.n; k-- > 0;)
            if (world->actions.items[k].kind == ACT_PLACEMENT)
                return world->actions.items[k].body;
    }
    return "";
}

static void assert_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in %s", part, text);
}

static void a_gang_is_measured_when_it_is_bound(void **state)
{
    struct world *world = *state;
    const struct action *ask;

    bind_gang(world);
    assert_int_equal(count_actions(world, ACT_PROBE), 1);
    ask = find_action(world, ACT_PROBE, "");
    assert_non_null(ask);
    assert_string_equal(ask->name, "g");
    assert_int_equal(ask->ticket, 1);
    assert_in(ask->body, "\"policy\":\"warn\"");
    assert_in(ask->body, "{\"gpus\":8,\"name\":\"g-1\",\"node\":\"n1\",\"rank\":1,\"uid\":\"g-1\"}");
    assert_string_equal(gang_state_text(the_gang(world, "g")), "Probing");
    actions_clear(&world->actions);
    world_step(world, (struct event){.kind = EV_TICK});
    assert_int_equal(count_actions(world, ACT_PROBE), 0); /* once */
}

static void without_a_policy_nothing_is_measured(void **state)
{
    struct world *world = probing_world(PROBE_OFF);

    (void)state;
    bind_gang(world);
    assert_int_equal(count_actions(world, ACT_PROBE), 0);
    assert_string_equal(gang_state_text(the_gang(world, "g")), "Bound");
    world_close(world);
    free(world);
}

static void the_answer_stands_in_the_record(void **state)
{
    static const struct {
        const char *verdict, *state;
        int64_t busbw;
        const char *measured;
    } cases[] = {{"ok", "Validated", INT64_C(342400000000), "\"342G\""},
                 {"slow", "Degraded", INT64_C(9870000000), "\"9870M\""},
                 {"skipped", "Bound", 0, "null"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = probing_world(PROBE_GATE);
        const char *body;
        char part[64];

        bind_gang(world);
        actions_clear(&world->actions);
        answer(world, 1, cases[i].verdict, cases[i].busbw);
        assert_string_equal(gang_state_text(the_gang(world, "g")), cases[i].state);
        body = record(world);
        snprintf(part, sizeof(part), "\"measuredBusBandwidth\":%s", cases[i].measured);
        assert_in(body, part);
        snprintf(part, sizeof(part), "\"state\":\"%s\"", cases[i].state);
        assert_in(body, part);
        snprintf(part, sizeof(part), "\"verdict\":\"%s\"", cases[i].verdict);
        assert_in(body, part);
        assert_in(body, "\"message\":\"as it was measured\"");
        run_gang(world);
        assert_string_equal(gang_state_text(the_gang(world, "g")), "Running");
        world_close(world);
        free(world);
    }
}

static void answers_of_other_plans_count_for_nothing(void **state)
{
    struct world *world = *state;

    bind_gang(world);
    answer(world, 0, "slow", 1);
    answer(world, 2, "slow", 1);
    assert_string_equal(gang_state_text(the_gang(world, "g")), "Probing");
    answer(world, 1, "ok", 1);
    answer(world, 1, "slow", 1);
    assert_string_equal(gang_state_text(the_gang(world, "g")), "Validated");
}

static void pods_that_run_unmeasured_are_not_waited_for(void **state)
{
    struct world *world = *state;

    bind_gang(world);
    run_gang(world);
    world->now_ns += 10 * SECOND;
    world_step(world, (struct event){.kind = EV_TICK});
    assert_int_equal(the_gang(world, "g")->probe.phase, PROBE_ASKED);
    world->now_ns += 10 * SECOND;
    actions_clear(&world->actions);
    world_step(world, (struct event){.kind = EV_TICK});
    assert_int_equal(the_gang(world, "g")->probe.phase, PROBE_DONE);
    assert_string_equal(the_gang(world, "g")->probe.verdict, "infrastructure");
    assert_in(the_gang(world, "g")->probe.message, "job-probe.yaml");
    assert_int_equal(count_actions(world, ACT_PROBE_END), 1);
}

static void an_answer_that_never_comes_ends(void **state)
{
    struct world *world = *state;

    bind_gang(world);
    world->now_ns += 60 * SECOND;
    world_step(world, (struct event){.kind = EV_TICK});
    assert_int_equal(the_gang(world, "g")->probe.phase, PROBE_ASKED); /* who measures says more, and first */
    world->now_ns += 31 * SECOND;
    world_step(world, (struct event){.kind = EV_TICK});
    assert_string_equal(the_gang(world, "g")->probe.verdict, "infrastructure");
}

static void a_gang_that_goes_is_measured_no_more(void **state)
{
    struct world *world = *state;

    bind_gang(world);
    actions_clear(&world->actions);
    drop_pod(world, "g-0");
    drop_pod(world, "g-1");
    assert_int_equal(count_actions(world, ACT_PROBE_END), 1);
}

/* The text of the last ACT_PROBE_POD of that pod; NULL: there is none. */
static const char *told(const struct world *world, const char *pod)
{
    for (size_t i = world->actions.n; i-- > 0;)
        if (world->actions.items[i].kind == ACT_PROBE_POD && strcmp(world->actions.items[i].uid, pod) == 0)
            return world->actions.items[i].text ? world->actions.items[i].text : "";
    return NULL;
}

static void show_waiting(struct world *world, const char *name, const char *waiting, bool stuck)
{
    struct obj_pod *pod = make_pod(name, 8, "g", 2);

    set_text(&pod->node, the_gang(world, "g")->slots[name[2] - '0'].node->name);
    pod->waiting = waiting ? strdup(waiting) : NULL;
    pod->stuck = stuck;
    put_pod(world, pod);
}

static void what_a_pod_waits_at_is_told_once_while_its_gang_is_measured(void **state)
{
    struct world *world = *state;

    bind_gang(world);
    actions_clear(&world->actions);
    show_waiting(world, "g-0", "container c: PodInitializing", false);
    show_waiting(world, "g-1", "container data: ErrImagePull", true);
    assert_string_equal(told(world, "g-0"), "container c: PodInitializing");
    assert_string_equal(told(world, "g-1"), "container data: ErrImagePull");
    assert_in(record(world), "\"message\":\"1 of 2 pods cannot begin: container data: ErrImagePull (pod g-1 on n1)\"");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    actions_clear(&world->actions);
    show_waiting(world, "g-1", "container data: ErrImagePull", true);
    assert_null(told(world, "g-1")); /* nothing new */
    show_waiting(world, "g-1", NULL, false);
    assert_string_equal(told(world, "g-1"), "");
    assert_in(record(world), "\"message\":null");
    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    answer(world, 1, "ok", 1);
    actions_clear(&world->actions);
    show_waiting(world, "g-1", "container data: ErrImagePull", true);
    assert_null(told(world, "g-1")); /* nobody waits for it any more */
    assert_in(record(world), "\"message\":\"as it was measured\"");
}

/* At 1,040 on the wall; gang g of two was asked about at 1,005, of 60 s, and g-1 waits for an image. Its record is to be
 * written, and it is not asked about anew before that. */
static struct world *waking_world(void)
{
    struct world *world = new_world(4, 4, 2);
    struct obj_placement *placement = calloc(1, sizeof(*placement));
    struct obj_pod *pod = make_pod("g-1", 8, "g", 2);

    world->config.probe = PROBE_WARN;
    world->config.probe_deadline_ns = 60 * SECOND;
    core_set_epoch(world->core, 1000);
    world->now_ns = 40 * SECOND;
    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Probing"), .reason_code = strdup(""),
                                        .generation = 7, .pods = 2, .nshares = 1, .since_s = 1000,
                                        .probe_generation = 7, .probe_began_s = 1005,
                                        .probe_verdict = strdup(""), .probe_message = strdup(""),
                                        .measured = strdup("")};
    placement->shares = calloc(1, sizeof(struct placement_share));
    placement->shares[0] = (struct placement_share){strdup("n0"), 0, 2, strdup("")};
    set_text(&pod->node, "n0");
    pod->waiting = strdup("container data: ErrImagePull");
    pod->stuck = true;
    show(world, "g-0", "n0", POD_PENDING);
    put_pod(world, pod);
    world_step(world, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
    sync_world(world);
    return world;
}

static struct world *restarted_world(void)
{
    struct world *world = waking_world();

    answer_writes(world, ACT_PLACEMENT, WRITE_OK);
    return world;
}

static int open_restarted(void **state)
{
    *state = restarted_world();
    return 0;
}

/* Also of a plan that was asked about before a restart: it does not begin anew. */
static void the_deadline_runs_from_the_first_question(void **state)
{
    struct world *world = *state;

    assert_int_equal(count_actions(world, ACT_PROBE), 1);
    assert_in(find_action(world, ACT_PROBE, "")->body, "\"deadline_ns\":25000000000,"); /* of 60 s */
}

/* Or a second restart, before it is asked about again, would give it the whole time once more. */
static void what_is_written_before_that_keeps_when_it_began(void **state)
{
    struct world *world = waking_world();
    const struct action *write = find_action(world, ACT_PLACEMENT, "");

    (void)state;
    assert_int_equal(count_actions(world, ACT_PROBE), 0);
    assert_non_null(write);
    assert_in(write->body, "\"startedAt\":\"1970-01-01T00:16:45Z\"");
    assert_in(write->body, "\"state\":\"Probing\"");
    assert_in(write->body, "container data: ErrImagePull (pod g-1 on n0)");
    world_close(world);
    free(world);
}

static void after_a_restart_it_is_told_again_what_pods_wait_at(void **state)
{
    struct world *world = *state;

    assert_string_equal(told(world, "g-1"), "container data: ErrImagePull");
    assert_null(told(world, "g-0"));
}

static void a_restart_takes_the_answer_over(void **state)
{
    struct world *world = probing_world(PROBE_WARN), *again = new_world(4, 4, 2);
    struct obj_placement *placement = calloc(1, sizeof(*placement));

    (void)state;
    *placement = (struct obj_placement){.ns = strdup("ns"), .name = strdup("g"), .uid = strdup("u"),
                                        .gang_kind = strdup("Gang"), .gang_name = strdup("g"),
                                        .state = strdup("Validated"), .reason_code = strdup(""),
                                        .generation = 7, .pods = 2, .nshares = 1, .since_s = 100,
                                        .probe_generation = 7, .probe_verdict = strdup("ok"),
                                        .probe_message = strdup("fine"), .measured = strdup("342G")};
    placement->shares = calloc(1, sizeof(struct placement_share));
    placement->shares[0] = (struct placement_share){strdup("n0"), 0, 2, strdup("")};
    again->config.probe = PROBE_WARN;
    show(again, "g-0", "n0", POD_PENDING);
    show(again, "g-1", "n0", POD_PENDING);
    world_step(again, (struct event){.kind = EV_PLACEMENT, .object.placement = placement});
    sync_world(again);
    assert_string_equal(gang_state_text(the_gang(again, "g")), "Validated");
    assert_int_equal(count_actions(again, ACT_PROBE), 0);
    world_close(world);
    free(world);
    world_close(again);
    free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_gang_is_measured_when_it_is_bound, open_world, close_world),
        cmocka_unit_test(without_a_policy_nothing_is_measured),
        cmocka_unit_test(the_answer_stands_in_the_record),
        cmocka_unit_test_setup_teardown(answers_of_other_plans_count_for_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(pods_that_run_unmeasured_are_not_waited_for, open_world, close_world),
        cmocka_unit_test_setup_teardown(an_answer_that_never_comes_ends, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_gang_that_goes_is_measured_no_more, open_world, close_world),
        cmocka_unit_test_setup_teardown(what_a_pod_waits_at_is_told_once_while_its_gang_is_measured, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(the_deadline_runs_from_the_first_question, open_restarted, close_world),
        cmocka_unit_test(what_is_written_before_that_keeps_when_it_began),
        cmocka_unit_test_setup_teardown(after_a_restart_it_is_told_again_what_pods_wait_at, open_restarted, close_world),
        cmocka_unit_test(a_restart_takes_the_answer_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
