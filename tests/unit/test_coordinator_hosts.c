/* The coordinator of hosts that are measured by hand: it is stopped, names hosts, and keeps the map
 * of pairs. */
#include <errno.h>

#include "tests/unit/coordinator_world.h"

/* Hosts: each is its own pod and node. */
static void world_hosts(struct world *world, unsigned n, unsigned devices)
{
    world_new(world, n, devices);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < 3; k++)
            snprintf(world->texts[i][k], sizeof(world->texts[i][k]), "host-%u", i);
    world->gang.id.generation++;
}

static void stop(struct world *world)
{
    step(world, (struct coordinator_event){
                    .kind = COORD_STOP, .id = &world->gang.id, .why = "stopped by hand"});
}

static void a_gang_that_is_stopped_ends_and_all_are_told_why(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 3, 1);
    join(&world, 0);
    join(&world, 2);
    stop(&world);
    assert_non_null(verdict(&world));
    assert_int_equal(verdict(&world)->verdict, VERDICT_INFRASTRUCTURE);
    assert_string_equal(verdict(&world)->message, "stopped by hand");
    assert_int_equal(orders(&world, PROBE_VERDICT), 2);
    stop(&world); /* nothing is left to stop */
    assert_int_equal(world.actions.n, 0);
    join(&world, 1); /* who comes late is told */
    assert_string_equal(order_to(&world, world.streams[1])->verdict.message, "stopped by hand");
    world_free(&world);
}

static void a_gang_that_runs_can_be_stopped(void **state)
{
    struct world world;

    (void)state;
    world_new(&world, 2, 1);
    start_all(&world);
    stop(&world);
    assert_non_null(verdict(&world));
    assert_int_equal(orders(&world, PROBE_VERDICT), 2);
    world_free(&world);
}

static void hosts_are_called_hosts(void **state)
{
    struct world world;

    (void)state;
    world_hosts(&world, 3, 2);
    expect(&world);
    join(&world, 1);
    pass(&world, 400 * SECOND);
    assert_non_null(verdict(&world));
    assert_string_equal(
        verdict(&world)->message,
        "4 of 6 ranks did not come in time: ranks 0-1 (host host-0), ranks 4-5 (host host-2)");
    world_free(&world);
}

static void a_host_with_another_backend_is_called_host(void **state)
{
    struct world world;
    struct probe_join other;

    (void)state;
    world_hosts(&world, 2, 1);
    expect(&world);
    join(&world, 0);
    other = join_of(&world, 1);
    snprintf(other.backend, sizeof(other.backend), "nccl");
    send_join(&world, &other, world.pods[1].uid);
    assert_non_null(verdict(&world));
    assert_string_equal(verdict(&world)->message,
                        "rank 1 (host host-1) has backend nccl, rank 0 has tcp");
    world_free(&world);
}

static void plan_pairs(struct world *world, unsigned npods, unsigned devices)
{
    world_hosts(world, npods, devices);
    world->gang.plan.pairs = true;
    expect(world);
}

/* Rank r says 10 + r of each peer. */
static void report_pairs(struct world *world, unsigned pod, uint64_t start_id, unsigned short_of)
{
    struct probe_report message = report_of(world, pod, start_id, PROBE_OUTCOME_OK);
    unsigned ranks = (unsigned)world->gang.npods * message.devices;

    message.n_pairs = message.devices * ranks - short_of;
    for (unsigned i = 0; i < message.n_pairs; i++)
        message.pair_gb_s[i] = (float)(10 + message.first_rank + i / ranks);
    send_report(world, &message, world->pods[pod].uid);
}

static void of_each_pair_the_slower_end_counts(void **state)
{
    struct world world;
    uint64_t start_id;
    const float *rates;

    (void)state;
    plan_pairs(&world, 2, 2);
    start_id = start_all(&world);
    report_pairs(&world, 1, start_id, 0);
    report_pairs(&world, 0, start_id, 0);
    assert_non_null(verdict(&world));
    rates = verdict(&world)->pair_gb_s;
    assert_non_null(rates);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 4; k++)
            assert_true(rates[i * 4 + k] == (i == k ? 0 : (float)(10 + (i < k ? i : k))));
    world_free(&world);
}

static void pairs_of_another_number_of_ranks_count_for_nothing(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    plan_pairs(&world, 2, 1);
    start_id = start_all(&world);
    report_pairs(&world, 0, start_id, 1);
    report_pairs(&world, 1, start_id, 1);
    assert_non_null(verdict(&world));
    for (unsigned i = 0; i < 4; i++)
        assert_true(verdict(&world)->pair_gb_s[i] == 0);
    world_free(&world);
}

static void rows_stay_where_pairs_ran_out_of_time(void **state)
{
    struct world world;
    struct probe_report message;
    uint64_t start_id;

    (void)state;
    plan_pairs(&world, 2, 1);
    start_id = start_all(&world);
    message = report_of(&world, 1, start_id, PROBE_OUTCOME_OK);
    message.n_rows = 1;
    message.rows[0] = (struct probe_row){.bytes = 65536, .seconds = 1e-3, .busbw_gb_s = 99};
    snprintf(message.text, sizeof(message.text), "rank 1: it took too long");
    send_report(&world, &message, "host-1");
    report_pairs(&world, 0, start_id, 0);
    assert_non_null(verdict(&world));
    assert_int_equal(verdict(&world)->n_rows, 1);
    assert_string_equal(verdict(&world)->pairs_why, "host host-1: rank 1: it took too long");
    world_free(&world);
}

static void pairs_of_a_round_that_was_lost_are_forgotten(void **state)
{
    struct world world;
    uint64_t start_id;

    (void)state;
    plan_pairs(&world, 2, 1);
    start_id = start_all(&world);
    report_pairs(&world, 0, start_id, 0);
    report(&world, 1, start_id, PROBE_OUTCOME_LOST);
    for (unsigned i = 0; i < 2; i++)
        join(&world, i);
    start_id = started(&world);
    report(&world, 0, start_id, PROBE_OUTCOME_OK);
    report(&world, 1, start_id, PROBE_OUTCOME_OK);
    assert_non_null(verdict(&world));
    for (unsigned i = 0; i < 4; i++)
        assert_true(verdict(&world)->pair_gb_s[i] == 0);
    world_free(&world);
}

static void pairs_of_too_many_ranks_are_refused(void **state)
{
    struct coordinator_actions actions = {0};
    struct world world;
    struct err err = ERR_INIT;
    struct coordinator_event event = {.kind = COORD_EXPECT, .gang = &world.gang};

    (void)state;
    world_hosts(&world, 13, 5);
    world.gang.plan.pairs = true;
    assert_int_equal(coordinator_step(world.coordinator, &event, world.now_ns, &actions, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "pairs of 65 ranks, expected at most 64"));
    coordinator_actions_release(&actions);
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gang_that_is_stopped_ends_and_all_are_told_why),
        cmocka_unit_test(a_gang_that_runs_can_be_stopped),
        cmocka_unit_test(hosts_are_called_hosts),
        cmocka_unit_test(a_host_with_another_backend_is_called_host),
        cmocka_unit_test(of_each_pair_the_slower_end_counts),
        cmocka_unit_test(pairs_of_another_number_of_ranks_count_for_nothing),
        cmocka_unit_test(rows_stay_where_pairs_ran_out_of_time),
        cmocka_unit_test(pairs_of_a_round_that_was_lost_are_forgotten),
        cmocka_unit_test(pairs_of_too_many_ranks_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
