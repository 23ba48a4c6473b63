/* The coordinator: gates, its own restarts, gangs that change, and gangs that are large. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/coordinator_world.h"

/* ---- gates ----------------------------------------------------------------------------------- */

static void slow_is_told_under_warn_and_held_under_gate(void **state)
{
    struct world world;

    (void)state;
    for (int gate = 0; gate < 2; gate++) {
        struct probe_report message;
        uint64_t start_id, late;

        world_new(&world, 2, 1);
        step(&world, (struct coordinator_event){.kind = COORD_GONE, .id = &world.gang.id});
        world.gang.gate = gate;
        expect(&world);
        start_id = start_all(&world);
        report(&world, 0, start_id, PROBE_OUTCOME_OK);
        message = report_of(&world, 1, start_id, PROBE_OUTCOME_OK);
        message.busbw_gb_s = 50;
        send_report(&world, &message, "uid-1");
        assert_int_equal(verdict(&world)->verdict, VERDICT_SLOW);
        assert_int_equal(verdict(&world)->hold, gate);
        assert_int_equal(order_to(&world, world.streams[0])->verdict.hold, gate);
        assert_int_equal(said(&world, COORD_SEND, world.streams[0])->send.last, !gate);
        if (!gate) {
            world_free(&world);
            continue;
        }
        assert_int_equal(order_to(&world, world.streams[0])->verdict.hold_ms, 60000);
        pass(&world, 20 * SECOND);
        late = join(&world, 1); /* its stream was lost */
        assert_true(order_to(&world, late)->verdict.hold);
        assert_int_equal(order_to(&world, late)->verdict.hold_ms, 40000);
        pass(&world, 40 * SECOND);
        assert_non_null(said(&world, COORD_HOLD_ENDED, 0));
        assert_null(verdict(&world)); /* the verdict was given */
        assert_int_equal(orders(&world, PROBE_VERDICT), 2);
        assert_false(order_to(&world, late)->verdict.hold);
        assert_true(said(&world, COORD_SEND, late)->send.last);
        world_free(&world);
    }
}

/* ---- restarts -------------------------------------------------------------------------------- */

static void a_restarted_coordinator_takes_a_round_over(void **state)
{
    struct world world;
    struct coordinator_counts counts;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 1);
    start_id = start_all(&world);
    world_restart(&world);
    assert_refused(&world, join_in(&world, 0, start_id),
                   REFUSED_UNKNOWN); /* nothing is expected yet */
    expect(&world);
    join_in(&world, 0, start_id);
    report(&world, 1, start_id, PROBE_OUTCOME_OK); /* its stream is not back yet */
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    join_in(&world, 2, start_id);
    assert_int_equal(orders(&world, PROBE_ABORT) + orders(&world, PROBE_START), 0);
    coordinator_counts(world.coordinator, &counts);
    assert_int_equal(counts.adopted, 1);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    join_in(&world, 1, start_id);
    report(&world, 2, start_id, PROBE_OUTCOME_OK);
    assert_int_equal(verdict(&world)->verdict, VERDICT_OK);
    assert_int_equal(orders(&world, PROBE_VERDICT), 3);
    world_free(&world);
}

static void a_restarted_coordinator_begins_anew_when_one_is_fresh(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 1);
    start_id = start_all(&world);
    world_restart(&world);
    expect(&world);
    join_in(&world, 0, start_id);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    join(&world, 2);
    assert_true(order_to(&world, world.streams[0])->abort.again);
    assert_refused(&world, report(&world, 1, start_id, PROBE_OUTCOME_OK), REFUSED_STALE);
    join_in(&world, 1, start_id);
    assert_true(order_to(&world, world.streams[1])->abort.again);
    join(&world, 0);
    join(&world, 1);
    assert_true(started(&world) != start_id);
    world_free(&world);
}

static void ranks_in_different_rounds_begin_anew(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    join_in(&world, 0, 1);
    join_in(&world, 1, 2);
    assert_int_equal(orders(&world, PROBE_ABORT), 2);
    start_all(&world);
    world_free(&world);
}

static void a_stored_verdict_is_told_and_not_given_again(void **state)
{
    struct world world;

    (void)state;
    for (int held = 0; held < 2; held++) {
        world_new(&world, 2, 1);
        world_restart(&world);
        world.gang.decided = true;
        world.gang.gate = true;
        world.gang.verdict = VERDICT_SLOW;
        world.gang.measured_gb_s = 50;
        world.gang.message = "it was slow";
        world.gang.hold_left_ns = held ? 30 * SECOND : 0;
        expect(&world);
        assert_int_equal(world.actions.n, 0);
        join(&world, 0);
        assert_int_equal(world.actions.n, 1);
        assert_int_equal(order_to(&world, world.streams[0])->verdict.word, VERDICT_SLOW);
        assert_string_equal(order_to(&world, world.streams[0])->verdict.message, "it was slow");
        assert_int_equal(order_to(&world, world.streams[0])->verdict.hold, held);
        assert_int_equal(said(&world, COORD_SEND, world.streams[0])->send.last, !held);
        pass(&world, 30 * SECOND);
        assert_int_equal(said(&world, COORD_HOLD_ENDED, 0) != NULL, held);
        pass(&world, 1000 * SECOND);
        assert_null(verdict(&world));
        world_free(&world);
    }
}

/* ---- gangs that change ----------------------------------------------------------------------- */

static void the_same_gang_again_changes_nothing(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    expect(&world);
    assert_int_equal(world.actions.n, 0);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    assert_non_null(verdict(&world));
    expect(&world);
    pass(&world, 400 * SECOND);
    assert_int_equal(world.actions.n, 0);
    world_free(&world);
}

static void a_new_plan_begins_anew(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    world.gang.id.generation = 4;
    world.pods[1].uid = "uid-7"; /* another pod has the place */
    expect(&world);
    assert_int_equal(orders(&world, PROBE_ABORT), 2);
    assert_true(order_to(&world, world.streams[0])->abort.again);
    assert_refused(&world, report(&world, 0, start_id, PROBE_OUTCOME_OK), REFUSED_STALE);
    join(&world, 0);
    join(&world, 1);
    assert_true(started(&world) != start_id);
    world_free(&world);
}

static void a_gang_that_is_gone_is_forgotten(void **state)
{
    struct world world;
    struct probe_gang_id former = {.ns = "team", .name = "train", .generation = 2};
    struct coordinator_counts counts;

    (void)state;
    world_new(&world, 2, 1);
    join(&world, 0);
    step(&world, (struct coordinator_event){.kind = COORD_GONE, .id = &former});
    assert_int_equal(world.actions.n, 0); /* that was long ago */
    former.generation = 0;
    step(&world, (struct coordinator_event){.kind = COORD_GONE, .id = &former});
    assert_true(order_to(&world, world.streams[0])->abort.again);
    coordinator_counts(world.coordinator, &counts);
    assert_int_equal(counts.gangs + counts.members + counts.ranks + counts.streams, 0);
    assert_refused(&world, join(&world, 0), REFUSED_UNKNOWN);
    assert_true(coordinator_deadline(world.coordinator) == INT64_MAX);
    world_free(&world);
}

static void a_verdict_is_told_to_late_comers_for_a_while(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    pass(&world, 300 * SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    pass(&world, 100 * SECOND);
    join(&world, 1);
    assert_int_equal(order_to(&world, world.streams[1])->kind, PROBE_VERDICT);
    assert_true(said(&world, COORD_SEND, world.streams[1])->send.last);
    pass(&world, 500 * SECOND);
    assert_refused(&world, join(&world, 1), REFUSED_UNKNOWN);
    world_free(&world);
}

static void refuse_gang(struct world *world, int code, const char *says)
{
    struct coordinator_event event = {.kind = COORD_EXPECT, .gang = &world->gang};
    struct err err = ERR_INIT;

    coordinator_actions_clear(&world->actions);
    assert_int_equal(
        coordinator_step(world->coordinator, &event, world->now_ns, &world->actions, &err), code);
    if (!strstr(err.text, says))
        fail_msg("'%s', expected '%s'", err.text, says);
    assert_int_equal(coordinator_check(world->coordinator, &err), 0);
}

static void gangs_that_cannot_be_are_not_expected(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    world_plan(&world, 3, 2);
    world.gang.id.name[0] = 'b';
    refuse_gang(&world, -EEXIST, "gang brain: pod p0 is being measured as one of gang train");
    step(&world,
         (struct coordinator_event){.kind = COORD_GONE,
                                    .id = &(struct probe_gang_id){.ns = "team", .name = "train"}});
    world.pods[2].first_rank = 5;
    refuse_gang(&world, -EINVAL, "pod p2: found first rank 5, expected 4, the next");
    world_plan(&world, 3, 2);
    world.pods[1].uid = world.pods[2].uid;
    refuse_gang(&world, -EINVAL, "comes twice");
    world_plan(&world, 3, PROBE_DEVICES_MAX + 1);
    refuse_gang(&world, -EINVAL, "found 65 ranks, expected 1 to 64");
    world_plan(&world, 0, 1);
    refuse_gang(&world, -EINVAL, "found no pods");
    world_plan(&world, 3, 1);
    world.gang.plan.op[0] = '\0';
    refuse_gang(&world, -EINVAL, "gang train: field `plan.op`: found ''");
    world_plan(&world, 3, 1);
    world.gang.plan.expected_gb_s = -1;
    refuse_gang(&world, -EINVAL, "gang train: field `plan.expected_gb_s`: found -1");
    world_plan(&world, 3, 1);
    world.pods[1].node = "node_1";
    refuse_gang(&world, -EINVAL, "pod 'p1': field `node`: found 'node_1'");
    world_plan(&world, 3, 1);
    world.pods[1].uid = "";
    refuse_gang(&world, -EINVAL, "pod 'p1': field `pod_uid`: found ''");
    world_plan(&world, 3, 1);
    world.gang.id.ns[0] = 'T';
    refuse_gang(&world, -EINVAL, "gang train: field `gang.namespace`: found 'Team'");
    coordinator_free(world.coordinator);
    world.coordinator =
        coordinator_new(&(struct coordinator_limits){.gangs_max = 1, .ranks_max = 3});
    world_plan(&world, 4, 1);
    refuse_gang(&world, -ENOSPC, "more than 3 ranks of all gangs");
    world_plan(&world, 3, 1);
    expect(&world);
    world_plan(&world, 1, 1);
    world.gang.id.name[0] = 'b';
    refuse_gang(&world, -ENOSPC, "1 gangs are being measured");
    world_free(&world);
}

/* ---- ten thousand ---------------------------------------------------------------------------- */

#define MANY 10000

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void plan_many(struct world *world, struct coordinator_pod *pods, char (*texts)[3][64])
{
    world_plan(world, 0, 1);
    world->gang.pods = pods;
    world->gang.npods = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(texts[i][0], sizeof(texts[i][0]), "train-%u", i);
        snprintf(texts[i][1], sizeof(texts[i][1]), "4c1b7b1e-0000-4000-8000-%012u", i);
        snprintf(texts[i][2], sizeof(texts[i][2]), "node-%u", i);
        pods[i] = (struct coordinator_pod){texts[i][0], texts[i][1], texts[i][2], i, 1};
    }
    expect(world);
}

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Without coordinator_check(), which looks at all of them. */
static void quick_step(struct world *world, const struct coordinator_event *event)
{
    coordinator_actions_clear(&world->actions);
    assert_int_equal(
        coordinator_step(world->coordinator, event, world->now_ns, &world->actions, NULL), 0);
}

static void name_pod(char (*texts)[64], char pod[PROBE_NAME_MAX + 1], char uid[PROBE_UID_MAX + 1],
                     char node[PROBE_NAME_MAX + 1])
{
    memcpy(pod, texts[0], 64);
    memcpy(uid, texts[1], 64);
    memcpy(node, texts[2], 64);
}

static void join_many(struct world *world, unsigned pod, char (*texts)[64])
{
    static struct probe_join message;

    message = (struct probe_join){
        .first_rank = -1, .devices = 1, .process = 1, .attempt = 1, .backend = "tcp"};
    name_pod(texts, message.pod, message.pod_uid, message.node);
    message.addresses[0].len = 24;
    quick_step(world,
               &(struct coordinator_event){
                   .kind = COORD_JOIN, .stream = pod + 1, .pod_uid = texts[1], .join = &message});
}

static void report_many(struct world *world, unsigned pod, char (*texts)[64], uint64_t start_id)
{
    static struct probe_report message;

    message = (struct probe_report){.first_rank = pod,
                                    .rank = pod,
                                    .devices = 1,
                                    .process = 1,
                                    .start_id = start_id,
                                    .round = 1,
                                    .outcome = PROBE_OUTCOME_OK,
                                    .busbw_gb_s = 99,
                                    .backend = "tcp"};
    name_pod(texts, message.pod, message.pod_uid, message.node);
    quick_step(world, &(struct coordinator_event){.kind = COORD_REPORT,
                                                  .stream = MANY + pod + 1,
                                                  .pod_uid = texts[1],
                                                  .report = &message});
}

/* However long somebody wants to wait, it can be said in a message. */
static void no_time_is_too_long_for_a_message(void **state)
{
    struct world world;
    struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);
    struct err err = ERR_INIT;

    (void)state;
    world_new(&world, 1, 1);
    world_plan(&world, 1, 1);
    world.gang.id.generation = 4;
    world.gang.deadline_ns = INT64_MAX;
    world.gang.run_ns = INT64_MAX;
    expect(&world);
    join(&world, 0);
    if (probe_order_encode(order_to(&world, world.streams[0]), 0, 1, &out, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(order_to(&world, world.streams[0])->start.deadline_ms, 86400000);
    strbuf_release(&out);
    world_free(&world);
}

static void ten_thousand_ranks_cost_little(void **state)
{
    struct world world;
    struct coordinator_pod *pods = calloc(MANY, sizeof(*pods));
    char(*texts)[3][64] = calloc(MANY, sizeof(*texts));
    uint64_t waiting = 0, start_id;
    size_t before = in_use(), after = 0;
    double began = seconds_now(), joined;
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(pods);
    assert_non_null(texts);
    world_new(&world, 1, 1);
    plan_many(&world, pods, texts);
    for (unsigned i = 0; i < MANY; i++) { /* within 50 s */
        world.now_ns += 5000000;
        after = in_use();
        join_many(&world, i, texts[i]);
        waiting += orders(&world, PROBE_WAITING);
    }
    assert_int_equal(orders(&world, PROBE_START), MANY);
    start_id = world.actions.items[0].send.order->order.start.start_id;
    assert_int_equal(coordinator_check(world.coordinator, &err), 0);
    joined = seconds_now();
    for (unsigned i = 0; i < MANY; i++)
        report_many(&world, i, texts[i], start_id);
    assert_non_null(verdict(&world));
    assert_int_equal(orders(&world, PROBE_VERDICT), MANY);
    print_message(
        "%d pods: expected and joined in %.0f ms of CPU, reported in %.0f ms; %zu bytes a "
        "pod; told to wait %.1f times each\n",
        MANY, (joined - began) * 1e3, (seconds_now() - joined) * 1e3, (after - before) / MANY,
        (double)waiting / MANY);
    assert_true(waiting < 60 * 500); /* at most that many a second, and a few */
    world_free(&world);
    free(pods);
    free(texts);
}

/* ---- slopes ---------------------------------------------------------------------------------- */

/* Three sizes; between the first two it is as fast as expected, or not. */
static const struct {
    double seconds[3]; /* of 1, 2 and 4 GB, on two ranks: busbw is algbw */
    unsigned n_rows;
    bool sweep;
    enum verdict verdict;
} slopes[] = {{{0.010, 0.020, 0.060}, 3, false, VERDICT_UNKNOWN},
              {{0.010, 0.026, 0.066}, 3, false, VERDICT_SLOW}, /* 62 and 50 GB/s */
              {{0.020, 0.010, 0.050}, 3, false, VERDICT_UNKNOWN},
              {{0.010, 0.030, 0}, 2, false, VERDICT_UNKNOWN},
              {{0.020, 0, 0}, 1, false, VERDICT_SLOW},
              {{0.010, 0.020, 0.060}, 3, true, VERDICT_SLOW}};

static void a_gate_holds_no_gang_for_one_slope_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(slopes) / sizeof(slopes[0]); i++) {
        struct world world;
        struct probe_report message;

        world_new(&world, 1, 2);
        world.gang.gate = true;
        world.gang.plan.sweep = slopes[i].sweep;
        world.gang.plan.n_sizes = slopes[i].sweep;
        world.gang.plan.sizes[0] = 1000000000;
        world.gang.id.generation++;
        expect(&world);
        message = report_of(&world, 0, start_all(&world), PROBE_OUTCOME_OK);
        message.busbw_gb_s = 50;
        message.slopes_agree = false;
        message.n_rows = slopes[i].n_rows;
        for (unsigned k = 0; k < message.n_rows; k++)
            message.rows[k] = (struct probe_row){.bytes = UINT64_C(1000000000) << k,
                                                 .seconds = slopes[i].seconds[k],
                                                 .algbw_gb_s = 1,
                                                 .busbw_gb_s = 1};
        send_report(&world, &message, "uid-0");
        if (verdict(&world)->verdict != slopes[i].verdict)
            fail_msg("case %zu: %s", i, verdict(&world)->message);
        assert_int_equal(verdict(&world)->hold, slopes[i].verdict == VERDICT_SLOW);
        world_free(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gate_holds_no_gang_for_one_slope_alone),
        cmocka_unit_test(slow_is_told_under_warn_and_held_under_gate),
        cmocka_unit_test(a_restarted_coordinator_takes_a_round_over),
        cmocka_unit_test(a_restarted_coordinator_begins_anew_when_one_is_fresh),
        cmocka_unit_test(ranks_in_different_rounds_begin_anew),
        cmocka_unit_test(a_stored_verdict_is_told_and_not_given_again),
        cmocka_unit_test(the_same_gang_again_changes_nothing),
        cmocka_unit_test(a_new_plan_begins_anew),
        cmocka_unit_test(a_gang_that_is_gone_is_forgotten),
        cmocka_unit_test(a_verdict_is_told_to_late_comers_for_a_while),
        cmocka_unit_test(gangs_that_cannot_be_are_not_expected),
        cmocka_unit_test(no_time_is_too_long_for_a_message),
        cmocka_unit_test(ten_thousand_ranks_cost_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
