/* The coordinator, rule by rule; what becomes of all of them together under faults: tests/probe_sim. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/coordinator_world.h"

/* ---- coming together ---------------------------------------------------------------------------------------------- */

static void starts_when_the_last_rank_has_come(void **state)
{
    struct world world;
    const struct probe_order *order;
    size_t len;

    (void)state;
    world_new(&world, 3, 2);
    join(&world, 2);
    join(&world, 0);
    assert_int_equal(orders(&world, PROBE_START), 0);
    join(&world, 1);
    assert_true(started(&world) != 0);
    order = order_to(&world, world.streams[1]);
    assert_int_equal(order->start.ranks, 6);
    assert_int_equal(order->start.round, 1);
    assert_int_equal(order->start.deadline_ms, 45300); /* 45 s and 50 ms a rank */
    assert_string_equal(order->start.plan.op, "all_reduce");
    assert_int_equal(order->gang.generation, 3);
    for (uint32_t rank = 0; rank < 6; rank++) {
        const uint8_t *address = probe_addresses_of(order->start.addresses, rank, &len);

        assert_int_equal(len, 2);
        assert_int_equal(address[0], rank);
    }
    assert_int_equal(said(&world, COORD_SEND, world.streams[1])->send.first_rank, 2);
    assert_false(said(&world, COORD_SEND, world.streams[1])->send.last);
    world_free(&world);
}

static void who_left_before_the_start_is_waited_for(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    join(&world, 0);
    step(&world, (struct coordinator_event){.kind = COORD_LEFT, .stream = world.streams[0]});
    join(&world, 1);
    assert_int_equal(orders(&world, PROBE_START), 0);
    join(&world, 0);
    started(&world);
    world_free(&world);
}

static void tells_who_is_missing_and_why_at_most_once_a_second(void **state)
{
    struct world world;
    const struct probe_order *order;
    char text[200];

    (void)state;
    world_new(&world, 4, 2);
    join(&world, 0);
    order = order_to(&world, world.streams[0]);
    assert_int_equal(order->kind, PROBE_WAITING);
    assert_int_equal(order->waiting.joined, 2);
    assert_int_equal(order->waiting.ranks, 8);
    assert_string_equal(order->waiting.missing, "ranks 2-3 (pod p1 on n1), ranks 4-5 (pod p2 on n2), ranks 6-7 (pod p3 on n3)");
    step(&world, (struct coordinator_event){.kind = COORD_POD_STATE, .pod_uid = "uid-2", .text = "pulling image x:1"});
    join(&world, 1);
    assert_int_equal(world.actions.n, 0); /* so soon */
    assert_int_equal(coordinator_deadline(world.coordinator), world.now_ns + SECOND);
    pass(&world, SECOND);
    assert_int_equal(orders(&world, PROBE_WAITING), 2);
    assert_string_equal(order_to(&world, world.streams[1])->waiting.missing,
                        "ranks 4-5 (pod p2 on n2: pulling image x:1), ranks 6-7 (pod p3 on n3)");
    pass(&world, 10 * SECOND);
    assert_int_equal(world.actions.n, 0); /* nothing has changed */
    step(&world, (struct coordinator_event){.kind = COORD_POD_STATE, .pod_uid = "uid-2", .text = "pulling image x:1"});
    assert_int_equal(world.actions.n, 0);
    assert_true(coordinator_tell(world.coordinator, "team", "train", text, sizeof(text)));
    assert_string_equal(text, "Collecting: 4 of 8 ranks are here; missing: ranks 4-5 (pod p2 on n2: pulling image x:1), "
                              "ranks 6-7 (pod p3 on n3)");
    assert_false(coordinator_tell(world.coordinator, "team", "other", text, sizeof(text)));
    world_free(&world);
}

static void tells_a_process_which_ranks_it_has_at_once(void **state)
{
    struct world world;
    struct probe_join asking;
    uint64_t stream;

    (void)state;
    world_new(&world, 3, 2);
    join(&world, 0);
    asking = join_of(&world, 1);
    asking.opening = true;
    stream = send_join(&world, &asking, "uid-1");
    assert_int_equal(order_to(&world, stream)->kind, PROBE_WAITING);
    assert_int_equal(order_to(&world, stream)->waiting.ranks, 6);
    assert_int_equal(said(&world, COORD_SEND, stream)->send.first_rank, 2);
    join(&world, 2);
    assert_int_equal(orders(&world, PROBE_START), 0); /* it has no ranks yet */
    pass(&world, SECOND);
    assert_string_equal(order_to(&world, stream)->waiting.missing, "ranks 2-3 (pod p1 on n1: opening its devices)");
    join(&world, 1);
    assert_true(said(&world, COORD_SEND, stream)->send.last);
    started(&world);
    asking.attempt = world.attempts[1] + 1;
    send_join(&world, &asking, "uid-1"); /* a process without ranks amid a round: they are no more */
    assert_true(order_to(&world, world.streams[0])->abort.again);
    world_free(&world);
}

static void libraries_of_two_versions_are_skipped_but_not_tcp_of_two_systems(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct world world;

        world_new(&world, 2, 1);
        for (unsigned i = 0; i < 2; i++) {
            struct probe_join message = join_of(&world, i);

            snprintf(message.backend, sizeof(message.backend), tcp ? "tcp" : "nccl");
            snprintf(message.version, sizeof(message.version), i ? "2.27.3" : "2.18.5");
            world.streams[i] = send_join(&world, &message, world.pods[i].uid);
        }
        if (tcp)
            started(&world);
        else
            assert_string_equal(verdict(&world)->message, "rank 1 (pod p1) has nccl 2.27.3, rank 0 has 2.18.5");
        world_free(&world);
    }
}

static void different_backends_are_skipped(void **state)
{
    static const struct {
        const char *wanted, *backend, *version, *says;
    } cases[] = {
        {NULL, "nccl", "1", "rank 2 (pod p2) has backend nccl, rank 0 has tcp"},
        {"nccl", "tcp", "1", "rank 0 (pod p0) has backend tcp, asked for is nccl"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        struct probe_join last;

        world_new(&world, 3, 1);
        step(&world, (struct coordinator_event){.kind = COORD_GONE, .id = &world.gang.id});
        world.gang.backend = cases[i].wanted;
        expect(&world);
        join(&world, 0);
        join(&world, 1);
        last = join_of(&world, 2);
        snprintf(last.backend, sizeof(last.backend), "%s", cases[i].backend);
        snprintf(last.version, sizeof(last.version), "%s", cases[i].version);
        send_join(&world, &last, "uid-2");
        assert_int_equal(verdict(&world)->verdict, VERDICT_SKIPPED);
        assert_string_equal(verdict(&world)->message, cases[i].says);
        assert_int_equal(orders(&world, PROBE_VERDICT), 3);
        world_free(&world);
    }
}

/* ---- who is who ------------------------------------------------------------------------------------------------------ */

static void refuses_what_is_not_what_was_expected(void **state)
{
    struct world world;
    struct probe_join message;

    (void)state;
    world_new(&world, 2, 2);
#define REFUSED(change, token, refusal)                                                                          \
    message = join_of(&world, 1);                                                                                \
    change;                                                                                                      \
    assert_refused(&world, send_join(&world, &message, token), refusal)
    REFUSED((void)0, "uid-0", REFUSED_IDENTITY); /* another pod's token */
    REFUSED(memcpy(message.pod_uid, "uid-9", 6), "uid-9", REFUSED_UNKNOWN);
    REFUSED(message.gang.generation = 2, "uid-1", REFUSED_STALE);
    REFUSED(message.gang.generation = 4, "uid-1", REFUSED_UNKNOWN); /* ahead of what was read here */
    REFUSED(memcpy(message.gang.uid, "h", 2), "uid-1", REFUSED_STALE);
    REFUSED((memcpy(message.gang.ns, "team", 5), memcpy(message.gang.name, "other", 6)), "uid-1", REFUSED_IDENTITY);
    REFUSED(message.devices = 1, "uid-1", REFUSED_MISMATCH);
    REFUSED(message.first_rank = 0, "uid-1", REFUSED_MISMATCH);
    REFUSED(memcpy(message.node, "n0", 3), "uid-1", REFUSED_MISMATCH);
    REFUSED(memcpy(message.pod, "p0", 3), "uid-1", REFUSED_MISMATCH);
#undef REFUSED
    message = join_of(&world, 1);
    message.first_rank = 2;
    message.gang = world.gang.id;
    send_join(&world, &message, "uid-1");
    assert_int_equal(orders(&world, PROBE_WAITING), 1);
    assert_true(coordinator_refusal_again(REFUSED_UNKNOWN));
    assert_false(coordinator_refusal_again(REFUSED_STALE));
    world_free(&world);
}

static void a_later_join_takes_the_place_of_an_earlier_one(void **state)
{
    struct world world;
    struct probe_join restarted, late;
    uint64_t first, second;

    (void)state;
    world_new(&world, 2, 1);
    first = join(&world, 0);
    restarted = join_of(&world, 0);
    late = restarted;
    restarted.process = 9;
    restarted.attempt = 1;
    second = send_join(&world, &restarted, "uid-0");
    assert_int_equal(order_to(&world, first)->kind, PROBE_ABORT);
    assert_false(order_to(&world, first)->abort.again);
    assert_true(said(&world, COORD_SEND, first)->send.last);

    /* What the first process had sent comes only now; and what the second one sent comes twice. */
    assert_refused(&world, send_join(&world, &late, "uid-0"), REFUSED_SUPERSEDED);
    assert_refused(&world, send_join(&world, &restarted, "uid-0"), REFUSED_SUPERSEDED);

    /* A clock that was set back does not shut a process out for ever. */
    step(&world, (struct coordinator_event){.kind = COORD_LEFT, .stream = second});
    world.streams[0] = send_join(&world, &late, "uid-0");
    join(&world, 1);
    started(&world);
    step(&world, (struct coordinator_event){.kind = COORD_LEFT, .stream = first}); /* long known */
    assert_int_equal(world.actions.n, 0);
    world_free(&world);
}

/* ---- rounds ------------------------------------------------------------------------------------------------------------- */

static void all_reports_make_the_verdict(void **state)
{
    struct world world;
    struct probe_report message;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 2);
    pass(&world, 10 * SECOND);
    start_id = start_all(&world);
    pass(&world, 2 * SECOND);
    message = report_of(&world, 2, start_id, PROBE_OUTCOME_OK);
    message.busbw_gb_s = 1e5; /* it cannot make its gang look fast */
    message.n_rows = 1;
    message.rows[0].bytes = 7;
    send_report(&world, &message, "uid-2");
    assert_true(said(&world, COORD_REPLY, 0)->counted);
    message = report_of(&world, 0, start_id, PROBE_OUTCOME_OK);
    message.n_rows = 2;
    message.rows[0].bytes = 8;
    message.latency_s = 1e-5;
    send_report(&world, &message, "uid-0");
    assert_null(verdict(&world));
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    assert_int_equal(verdict(&world)->verdict, VERDICT_OK);
    assert_true(verdict(&world)->measured_gb_s == 99);
    assert_string_equal(verdict(&world)->message, "all_reduce of 6 ranks: 99.0 GB/s, 99.0 % of the 100 GB/s that were expected");
    assert_int_equal(verdict(&world)->rank, -1);
    assert_int_equal(verdict(&world)->bytes_moved, 3000);
    assert_int_equal(verdict(&world)->n_rows, 2); /* the lowest rank's */
    assert_int_equal(verdict(&world)->rows[0].bytes, 8);
    assert_string_equal(verdict(&world)->backend, "tcp");
    assert_int_equal(verdict(&world)->expected_ns, 1000 * SECOND);
    assert_int_equal(verdict(&world)->started_ns, 1010 * SECOND);
    assert_int_equal(verdict(&world)->ended_ns, 1012 * SECOND);
    assert_int_equal(orders(&world, PROBE_VERDICT), 3);
    assert_true(said(&world, COORD_SEND, world.streams[2])->send.last);
    world_free(&world);
}

static void a_report_that_comes_again_counts_once(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    report(&world, 0, start_id, PROBE_OUTCOME_LOST); /* it has said what it found */
    assert_true(said(&world, COORD_REPLY, 0)->counted);
    assert_int_equal(world.actions.n, 1);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    assert_int_equal(verdict(&world)->bytes_moved, 2000);
    report(&world, 1, start_id, PROBE_OUTCOME_OK); /* its answer was lost */
    assert_false(said(&world, COORD_REPLY, 0)->counted);
    assert_int_equal(world.actions.n, 1);
    world_free(&world);
}

static void a_rank_that_comes_anew_ends_the_round_for_all(void **state)
{
    struct world world;
    uint64_t former, streams[3];

    (void)state;
    world_new(&world, 3, 1);
    former = start_all(&world);
    report(&world, 0, former, PROBE_OUTCOME_OK);
    memcpy(streams, world.streams, sizeof(streams));
    join(&world, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order_to(&world, streams[i])->kind, PROBE_ABORT);
        assert_int_equal(order_to(&world, streams[i])->abort.again, i < 2); /* 2: its place was taken */
        assert_true(said(&world, COORD_SEND, streams[i])->send.last);
    }
    assert_string_equal(order_to(&world, streams[0])->abort.reason, "rank 2 (pod p2 on n2) began anew");
    assert_refused(&world, report(&world, 1, former, PROBE_OUTCOME_OK), REFUSED_STALE);

    /* Who did not hear of it is told when it comes again. */
    join_in(&world, 1, former);
    assert_int_equal(order_to(&world, world.streams[1])->kind, PROBE_ABORT);
    assert_true(order_to(&world, world.streams[1])->abort.again);
    join(&world, 0);
    join(&world, 1);
    assert_true(started(&world) != former);
    assert_int_equal(order_to(&world, world.streams[2])->start.round, 2);
    world_free(&world);
}

static void who_only_lost_its_stream_goes_on(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    step(&world, (struct coordinator_event){.kind = COORD_LEFT, .stream = world.streams[1]});
    assert_int_equal(world.actions.n, 0);
    report(&world, 1, start_id, PROBE_OUTCOME_OK); /* without a stream */
    join_in(&world, 1, start_id);
    assert_int_equal(world.actions.n, 0);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    assert_int_equal(order_to(&world, world.streams[1])->verdict.word, VERDICT_OK);
    world_free(&world);
}

static void a_process_that_comes_anew_after_its_report_only_waits(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    join(&world, 1);
    assert_int_equal(orders(&world, PROBE_ABORT), 1); /* to its former stream only */
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    assert_int_equal(order_to(&world, world.streams[1])->kind, PROBE_VERDICT);
    world_free(&world);
}

static void rounds_are_bounded(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    for (unsigned round = 1; round < 4; round++) {
        report(&world, 0, start_all(&world), PROBE_OUTCOME_LOST);
        assert_null(verdict(&world));
        assert_int_equal(orders(&world, PROBE_ABORT), 2);
    }
    report(&world, 0, start_all(&world), PROBE_OUTCOME_LOST);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message, "given up after 4 rounds: rank 0 (pod p0 on n0): it says why");
    assert_int_equal(verdict(&world)->rank, -1); /* nobody is blamed */
    world_free(&world);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------------------ */

static void an_own_error_names_rank_pod_and_node(void **state)
{
    struct world world;
    struct probe_report message;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 2);
    start_id = start_all(&world);
    message = report_of(&world, 1, start_id, PROBE_OUTCOME_ERROR);
    message.rank = 3;
    send_report(&world, &message, "uid-1");
    assert_int_equal(verdict(&world)->verdict, VERDICT_ERROR);
    assert_string_equal(verdict(&world)->message, "rank 3 (pod p1 on n1): it says why");
    assert_int_equal(verdict(&world)->rank, 3);
    assert_string_equal(verdict(&world)->pod, "p1");
    assert_string_equal(verdict(&world)->node, "n1");
    assert_int_equal(orders(&world, PROBE_VERDICT), 3); /* the others do not go on */
    world_free(&world);
}

static void an_own_error_is_heard_after_its_peers_complained(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 2, 1);
    start_id = start_all(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_LOST);
    assert_refused(&world, report(&world, 1, start_id, PROBE_OUTCOME_LOST), REFUSED_STALE);
    report(&world, 1, start_id, PROBE_OUTCOME_ERROR);
    assert_int_equal(verdict(&world)->verdict, VERDICT_ERROR);
    assert_int_equal(verdict(&world)->rank, 1);
    world_free(&world);
}

static void a_gpu_that_is_busy_skips_the_gang(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 3, 1);
    join(&world, 0);
    report(&world, 2, 0, PROBE_OUTCOME_SKIPPED); /* it did not even join */
    assert_int_equal(verdict(&world)->verdict, VERDICT_SKIPPED);
    assert_string_equal(verdict(&world)->message, "rank 2 (pod p2 on n2): it says why");
    assert_int_equal(order_to(&world, world.streams[0])->verdict.word, VERDICT_SKIPPED);
    join(&world, 1);
    assert_int_equal(order_to(&world, world.streams[1])->verdict.word, VERDICT_SKIPPED);
    assert_true(said(&world, COORD_SEND, world.streams[1])->send.last);
    world_free(&world);
}

static void wrong_data_outweighs_speed_and_silence(void **state)
{
    struct world world;
    struct probe_report message;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 1);
    start_id = start_all(&world);
    message = report_of(&world, 1, start_id, PROBE_OUTCOME_WRONG_DATA);
    message.busbw_gb_s = 100;
    message.n_rows = 1;
    message.rows[0] = (struct probe_row){.bytes = 1, .wrong = 12};
    send_report(&world, &message, "uid-1");
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    pass(&world, 60 * SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_WRONG_DATA);
    assert_string_equal(verdict(&world)->message, "all_reduce of 3 ranks: 12 words of the result are wrong, on rank 1 first");
    assert_string_equal(verdict(&world)->node, "n1");
    world_free(&world);
}

static void the_deadline_names_who_did_not_come(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 4, 2);
    join(&world, 0);
    join(&world, 2);
    step(&world, (struct coordinator_event){.kind = COORD_POD_STATE, .pod_uid = "uid-3", .text = "ImagePullBackOff"});
    pass(&world, 299 * SECOND);
    assert_null(verdict(&world));
    assert_int_equal(coordinator_deadline(world.coordinator), 1300 * SECOND);
    pass(&world, SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message, "4 of 8 ranks did not come in time: ranks 2-3 (pod p1 on n1), "
                                                  "ranks 6-7 (pod p3 on n3: ImagePullBackOff)");
    assert_int_equal(orders(&world, PROBE_VERDICT), 2);
    world_free(&world);
}

static void the_end_of_a_round_names_who_was_silent(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 1);
    start_id = start_all(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    report(&world, 2, start_id, PROBE_OUTCOME_TIMEOUT); /* then the others have little time left, too */
    assert_int_equal(coordinator_deadline(world.coordinator), world.now_ns + 5 * SECOND);
    pass(&world, 5 * SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message, "1 of 3 ranks did not report in time: rank 1 (pod p1 on n1)");
    world_free(&world);

    world_new(&world, 3, 1);
    start_id = start_all(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_TIMEOUT);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    report(&world, 2, start_id, PROBE_OUTCOME_TIMEOUT);
    assert_string_equal(verdict(&world)->message, "2 of 3 ranks ran out of time: rank 0 (pod p0 on n0), rank 2 (pod p2 on n2)");
    world_free(&world);
}

static void a_round_that_has_no_time_is_not_begun(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    join(&world, 0);
    pass(&world, 250 * SECOND);
    join(&world, 1);
    assert_int_equal(order_to(&world, world.streams[1])->start.deadline_ms, 45000); /* 5 s are for the reports */
    world_free(&world);

    world_new(&world, 2, 1);
    join(&world, 0);
    pass(&world, 295 * SECOND);
    join(&world, 1);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_int_equal(orders(&world, PROBE_START), 0);
    world_free(&world);
}

/* ---- gates ---------------------------------------------------------------------------------------------------------------- */

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

/* ---- restarts ---------------------------------------------------------------------------------------------------------------- */

static void a_restarted_coordinator_takes_a_round_over(void **state)
{
    struct world world;
    struct coordinator_counts counts;
    uint64_t start_id;

    (void)state;
    world_new(&world, 3, 1);
    start_id = start_all(&world);
    world_restart(&world);
    assert_refused(&world, join_in(&world, 0, start_id), REFUSED_UNKNOWN); /* nothing is expected yet */
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

/* ---- gangs that change ------------------------------------------------------------------------------------------------------- */

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
    assert_refused(&world, report(&world, 0, start_id, PROBE_OUTCOME_OK) , REFUSED_STALE);
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
    assert_int_equal(coordinator_step(world->coordinator, &event, world->now_ns, &world->actions, &err), code);
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
    step(&world, (struct coordinator_event){.kind = COORD_GONE, .id = &(struct probe_gang_id){.ns = "team", .name = "train"}});
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
    refuse_gang(&world, -EINVAL, "found no operation");
    coordinator_free(world.coordinator);
    world.coordinator = coordinator_new(&(struct coordinator_limits){.gangs_max = 1, .ranks_max = 3});
    world_plan(&world, 4, 1);
    refuse_gang(&world, -ENOSPC, "more than 3 ranks of all gangs");
    world_plan(&world, 3, 1);
    expect(&world);
    world_plan(&world, 1, 1);
    world.gang.id.name[0] = 'b';
    refuse_gang(&world, -ENOSPC, "1 gangs are being measured");
    world_free(&world);
}

/* ---- ten thousand --------------------------------------------------------------------------------------------------------------- */

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

/* Without coordinator_check(), which looks at all of them. */
static void quick_step(struct world *world, const struct coordinator_event *event)
{
    coordinator_actions_clear(&world->actions);
    assert_int_equal(coordinator_step(world->coordinator, event, world->now_ns, &world->actions, NULL), 0);
}

static void ten_thousand_ranks_cost_little(void **state)
{
    static struct probe_join message;
    static struct probe_report told;
    struct world world;
    struct coordinator_pod *pods = calloc(MANY, sizeof(*pods));
    char(*texts)[3][64] = calloc(MANY, sizeof(*texts));
    struct coordinator_counts counts;
    uint64_t waiting = 0, start_id;
    double began = seconds_now(), joined;
    struct err err = ERR_INIT;

    (void)state;
    assert_non_null(pods);
    assert_non_null(texts);
    world_new(&world, 1, 1);
    plan_many(&world, pods, texts);
    for (unsigned i = 0; i < MANY; i++) { /* within 50 s */
        world.now_ns += 5000000;
        message = (struct probe_join){.first_rank = -1, .devices = 1, .process = 1, .attempt = 1, .backend = "tcp"};
        memcpy(message.pod, texts[i][0], 64);
        memcpy(message.pod_uid, texts[i][1], 64);
        memcpy(message.node, texts[i][2], 64);
        message.addresses[0].len = 24;
        quick_step(&world, &(struct coordinator_event){.kind = COORD_JOIN, .stream = i + 1, .pod_uid = texts[i][1], .join = &message});
        waiting += orders(&world, PROBE_WAITING);
    }
    assert_int_equal(orders(&world, PROBE_START), MANY);
    start_id = world.actions.items[0].send.order->order.start.start_id;
    assert_int_equal(coordinator_check(world.coordinator, &err), 0);
    joined = seconds_now();
    for (unsigned i = 0; i < MANY; i++) {
        told = (struct probe_report){.first_rank = i, .rank = i, .devices = 1, .process = 1, .start_id = start_id, .round = 1,
                                     .outcome = PROBE_OUTCOME_OK, .busbw_gb_s = 99, .backend = "tcp"};
        memcpy(told.pod, texts[i][0], 64);
        memcpy(told.pod_uid, texts[i][1], 64);
        memcpy(told.node, texts[i][2], 64);
        quick_step(&world, &(struct coordinator_event){.kind = COORD_REPORT, .stream = MANY + i + 1, .pod_uid = texts[i][1], .report = &told});
    }
    assert_non_null(verdict(&world));
    assert_int_equal(orders(&world, PROBE_VERDICT), MANY);
    coordinator_counts(world.coordinator, &counts);
    print_message("%d pods: expected and joined in %.0f ms of CPU, reported in %.0f ms; told to wait %.1f times each\n", MANY,
                  (joined - began) * 1e3, (seconds_now() - joined) * 1e3, (double)waiting / MANY);
    assert_true(waiting < 60 * 500); /* at most that many a second, and a few */
    assert_int_equal(counts.left_out, 0);
    world_free(&world);
    free(pods);
    free(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_when_the_last_rank_has_come),
        cmocka_unit_test(who_left_before_the_start_is_waited_for),
        cmocka_unit_test(tells_who_is_missing_and_why_at_most_once_a_second),
        cmocka_unit_test(tells_a_process_which_ranks_it_has_at_once),
        cmocka_unit_test(libraries_of_two_versions_are_skipped_but_not_tcp_of_two_systems),
        cmocka_unit_test(different_backends_are_skipped),
        cmocka_unit_test(refuses_what_is_not_what_was_expected),
        cmocka_unit_test(a_later_join_takes_the_place_of_an_earlier_one),
        cmocka_unit_test(all_reports_make_the_verdict),
        cmocka_unit_test(a_report_that_comes_again_counts_once),
        cmocka_unit_test(a_rank_that_comes_anew_ends_the_round_for_all),
        cmocka_unit_test(who_only_lost_its_stream_goes_on),
        cmocka_unit_test(a_process_that_comes_anew_after_its_report_only_waits),
        cmocka_unit_test(rounds_are_bounded),
        cmocka_unit_test(an_own_error_names_rank_pod_and_node),
        cmocka_unit_test(an_own_error_is_heard_after_its_peers_complained),
        cmocka_unit_test(a_gpu_that_is_busy_skips_the_gang),
        cmocka_unit_test(wrong_data_outweighs_speed_and_silence),
        cmocka_unit_test(the_deadline_names_who_did_not_come),
        cmocka_unit_test(the_end_of_a_round_names_who_was_silent),
        cmocka_unit_test(a_round_that_has_no_time_is_not_begun),
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
        cmocka_unit_test(ten_thousand_ranks_cost_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
