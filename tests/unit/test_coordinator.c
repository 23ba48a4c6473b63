/* The coordinator, rule by rule; what becomes of all of them together under faults:
 * tests/probe_sim. */
#include "tests/unit/coordinator_world.h"

/* ---- coming together ------------------------------------------------------------------------- */

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
    assert_string_equal(
        order->waiting.missing,
        "ranks 2-3 (pod p1 on n1), ranks 4-5 (pod p2 on n2), ranks 6-7 (pod p3 on n3)");
    step(&world, (struct coordinator_event){
                     .kind = COORD_POD_STATE, .pod_uid = "uid-2", .text = "pulling image x:1"});
    join(&world, 1);
    assert_int_equal(world.actions.n, 0); /* so soon */
    assert_int_equal(coordinator_deadline(world.coordinator), world.now_ns + SECOND);
    pass(&world, SECOND);
    assert_int_equal(orders(&world, PROBE_WAITING), 2);
    assert_string_equal(order_to(&world, world.streams[1])->waiting.missing,
                        "ranks 4-5 (pod p2 on n2: pulling image x:1), ranks 6-7 (pod p3 on n3)");
    pass(&world, 10 * SECOND);
    assert_int_equal(world.actions.n, 0); /* nothing has changed */
    step(&world, (struct coordinator_event){
                     .kind = COORD_POD_STATE, .pod_uid = "uid-2", .text = "pulling image x:1"});
    assert_int_equal(world.actions.n, 0);
    assert_true(coordinator_tell(world.coordinator, "team", "train", text, sizeof(text)));
    assert_string_equal(
        text,
        "Collecting: 4 of 8 ranks are here; missing: ranks 4-5 (pod p2 on n2: pulling image x:1), "
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
    assert_string_equal(order_to(&world, stream)->waiting.missing,
                        "ranks 2-3 (pod p1 on n1: opening its devices)");
    join(&world, 1);
    assert_true(said(&world, COORD_SEND, stream)->send.last);
    started(&world);
    asking.attempt = world.attempts[1] + 1;
    send_join(&world, &asking,
              "uid-1"); /* a process without ranks amid a round: they are no more */
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
            assert_string_equal(verdict(&world)->message,
                                "rank 1 (pod p1 on n1) has nccl 2.27.3, rank 0 has 2.18.5");
        world_free(&world);
    }
}

static void different_backends_are_skipped(void **state)
{
    static const struct {
        const char *wanted, *backend, *version, *says;
    } cases[] = {
        {NULL, "nccl", "1", "rank 2 (pod p2 on n2) has backend nccl, rank 0 has tcp"},
        {"nccl", "tcp", "1", "rank 0 (pod p0 on n0) has backend tcp, asked for is nccl"},
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

/* ---- who is who ------------------------------------------------------------------------------ */

static void refuses_what_is_not_what_was_expected(void **state)
{
    struct world world;
    struct probe_join message;

    (void)state;
    world_new(&world, 2, 2);
#define REFUSED(change, token, refusal)                                                            \
    message = join_of(&world, 1);                                                                  \
    change;                                                                                        \
    assert_refused(&world, send_join(&world, &message, token), refusal)
    REFUSED((void)0, "uid-0", REFUSED_IDENTITY); /* another pod's token */
    REFUSED(memcpy(message.pod_uid, "uid-9", 6), "uid-9", REFUSED_UNKNOWN);
    REFUSED(message.gang.generation = 2, "uid-1", REFUSED_STALE);
    REFUSED(message.gang.generation = 4, "uid-1",
            REFUSED_UNKNOWN); /* ahead of what was read here */
    REFUSED(memcpy(message.gang.uid, "h", 2), "uid-1", REFUSED_STALE);
    REFUSED((memcpy(message.gang.ns, "team", 5), memcpy(message.gang.name, "other", 6)), "uid-1",
            REFUSED_IDENTITY);
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

/* ---- rounds ---------------------------------------------------------------------------------- */

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
    assert_string_equal(
        verdict(&world)->message,
        "all_reduce of 6 ranks: 99.0 GB/s, 99.0 % of the 100 GB/s that were expected");
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
        assert_int_equal(order_to(&world, streams[i])->abort.again,
                         i < 2); /* 2: its place was taken */
        assert_true(said(&world, COORD_SEND, streams[i])->send.last);
    }
    assert_string_equal(order_to(&world, streams[0])->abort.reason,
                        "rank 2 (pod p2 on n2) began anew");
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
    assert_int_equal(world.actions.n, 1);
    assert_int_equal(order_to(&world, world.streams[1])->kind, PROBE_WAITING); /* it is heard */
    assert_int_equal(order_to(&world, world.streams[1])->waiting.joined, 2);
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
    assert_string_equal(verdict(&world)->message,
                        "given up after 4 rounds: rank 0 (pod p0 on n0): it says why");
    assert_int_equal(verdict(&world)->rank, -1); /* nobody is blamed */
    world_free(&world);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

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
    assert_string_equal(verdict(&world)->message,
                        "all_reduce of 3 ranks: 12 words of the result are wrong, on rank 1 first");
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
    step(&world, (struct coordinator_event){
                     .kind = COORD_POD_STATE, .pod_uid = "uid-3", .text = "ImagePullBackOff"});
    pass(&world, 299 * SECOND);
    assert_null(verdict(&world));
    assert_int_equal(coordinator_deadline(world.coordinator), 1300 * SECOND);
    pass(&world, SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message,
                        "4 of 8 ranks did not come in time: ranks 2-3 (pod p1 on n1), "
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
    report(&world, 2, start_id,
           PROBE_OUTCOME_TIMEOUT); /* then the others have little time left, too */
    assert_int_equal(coordinator_deadline(world.coordinator), world.now_ns + 5 * SECOND);
    pass(&world, 5 * SECOND);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message,
                        "1 of 3 ranks did not report in time: rank 1 (pod p1 on n1)");
    world_free(&world);

    world_new(&world, 3, 1);
    start_id = start_all(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_TIMEOUT);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    report(&world, 2, start_id, PROBE_OUTCOME_TIMEOUT);
    assert_string_equal(
        verdict(&world)->message,
        "2 of 3 ranks ran out of time: rank 0 (pod p0 on n0), rank 2 (pod p2 on n2)");
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
    assert_int_equal(order_to(&world, world.streams[1])->start.deadline_ms,
                     45000); /* 5 s are for the reports */
    world_free(&world);

    world_new(&world, 2, 1);
    join(&world, 0);
    pass(&world, 295 * SECOND);
    join(&world, 1);
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_int_equal(orders(&world, PROBE_START), 0);
    world_free(&world);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
