/*
 * What is run and when it is enough, on a fake backend whose times follow a model; and on real tcp
 * ranks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collective/measure.h"
#include "tests/unit/ranks.h"

/* ---- a fake backend ---------------------------------------------------------------- */

/* No data moves; time is latency + bytes / rate, and other ranks are slower by a factor. */

struct fake {
    struct backend_rank base;
    double latency_s, bytes_per_s;
    double others; /* agreed times are these times the own ones */
    uint64_t knee; /* from this size on the rate is twice as high */
    double warm; /* the first ops take longer by this part of the time, less each */
    uint64_t wrong_from; /* checks of this size and larger find a wrong word */
    unsigned ops, fails_at; /* -ECONNRESET in this op */
    uint64_t largest;
};

static double fake_time(struct fake *fake, uint64_t bytes)
{
    double rate = fake->knee && bytes >= fake->knee ? 2 * fake->bytes_per_s : fake->bytes_per_s;

    return (fake->latency_s + (double)bytes / rate) *
           (1 + fake->warm / (1 + fake->ops * fake->ops));
}

static int fake_run(struct backend_rank *rank, enum collective_op op, uint64_t bytes, unsigned n,
                    double *ret_seconds, uint64_t deadline_ns, struct err *err)
{
    struct fake *fake = (struct fake *)rank;

    (void)op;
    (void)deadline_ns;
    fake->largest = bytes > fake->largest ? bytes : fake->largest;
    for (unsigned i = 0; i < n; i++) {
        ret_seconds[i] = fake_time(fake, bytes);
        if (++fake->ops == fake->fails_at)
            return err_set(err, -ECONNRESET, "rank 1 is gone");
    }
    return 0;
}

static int fake_check(struct backend_rank *rank, enum collective_op op, uint64_t bytes,
                      uint64_t *ret_wrong, uint64_t deadline_ns, struct err *err)
{
    const struct fake *fake = (const struct fake *)rank;

    (void)op;
    (void)deadline_ns;
    (void)err;
    *ret_wrong = fake->wrong_from && bytes >= fake->wrong_from;
    return 0;
}

static int fake_agree(struct backend_rank *rank, double *values, unsigned n, uint64_t deadline_ns,
                      struct err *err)
{
    const struct fake *fake = (const struct fake *)rank;

    (void)deadline_ns;
    (void)err;
    for (unsigned i = 0; i < n; i++)
        values[i] *= fake->others;
    return 0;
}

static const struct backend fake_backend = {
    .name = "fake", .run = fake_run, .check = fake_check, .agree = fake_agree};

static int measure(struct fake *fake, const struct measure_plan *plan, struct measure_result *ret,
                   struct err *err)
{
    if (fake->others == 0)
        fake->others = 1;
    return measure_run(&fake_backend, &fake->base, 4, plan, NULL, UINT64_MAX, ret, err);
}

#define MIB (1u << 20)

/* From 0.1 to 100 GB/s: an op of S takes 20 to 50 ms, where the bounds allow it. */
static void sizes_fit_the_rate(void **state)
{
    static const double rates[] = {1.2e7, 1e8, 1.2e9, 3e9};

    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct fake fake = {.latency_s = 100e-6, .bytes_per_s = rates[i]};
        struct measure_result result = {0};
        struct measure_plan plan = {.op = OP_ALL_REDUCE, .bytes_max = 512 * MIB};

        assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
        assert_int_equal(result.n_rows, 3);
        if (!(result.rows[1].seconds > 0.02 && result.rows[1].seconds < 0.05))
            fail_msg("rate %g: an op of S takes %g s", rates[i], result.rows[1].seconds);
        assert_true(fabs(result.busbw_gb_s / (rates[i] * 1.5e-9) - 1) < 1e-3);
        assert_true(fabs(result.latency_s - 100e-6) < 2e-6);
        assert_true(result.slopes_agree);
        assert_int_equal(result.test, MEASURE_TEST_NONE);
        assert_int_equal(result.rows[2].bytes, 2 * result.rows[1].bytes);
    }
}

static void bounds_hold(void **state)
{
    struct fake fast = {.latency_s = 1e-5, .bytes_per_s = 400e9},
                slow = {.latency_s = 0.5, .bytes_per_s = 1e5};
    struct measure_plan plan = {.op = OP_ALL_GATHER, .bytes_min = MIB, .bytes_max = 16 * MIB};
    struct measure_result result = {0};

    (void)state;
    assert_int_equal(measure(&fast, &plan, &result, NULL), 0);
    assert_int_equal(result.rows[result.n_rows - 1].bytes, 16 * MIB);
    assert_int_equal(fast.largest, 16 * MIB);
    plan.iterations_max = 5;
    plan.budget_ns = 1; /* used up at once: each of three sizes gets its batch still */
    assert_int_equal(measure(&slow, &plan, &result, NULL), 0);
    assert_int_equal(result.n_rows, 3);
    assert_int_equal(result.rows[0].bytes, MIB);
    assert_int_equal(result.rows[2].iterations, 1); /* one op, as it takes long */
}

static void the_slowest_rank_counts(void **state)
{
    struct fake fake = {.latency_s = 0, .bytes_per_s = 1e9, .others = 1.25};
    struct measure_plan plan = {.op = OP_ALL_REDUCE};
    struct measure_result result = {0};

    (void)state;
    assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
    assert_true(fabs(result.busbw_gb_s - 1.5 / 1.25) < 1e-6);
    assert_true(fabs(result.own_seconds_median * 1.25 / result.rows[2].seconds - 1) < 1e-9);
}

static void slopes_that_differ_take_a_size_more(void **state)
{
    struct fake fake = {.latency_s = 1e-4, .bytes_per_s = 1e9, .knee = 32 * MIB};
    struct measure_plan plan = {.op = OP_ALL_REDUCE,
                                .sizes = {8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB, 128 * MIB},
                                .n_sizes = 5};
    struct measure_result result = {0};

    (void)state;
    assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
    assert_int_equal(result.n_rows, 5);
    assert_true(result.slopes_agree);
    assert_true(fabs(result.busbw_gb_s / 3 - 1) < 1e-6);
    plan.n_sizes = 4; /* no more sizes: said, not hidden */
    assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
    assert_int_equal(result.n_rows, 4);
    assert_false(result.slopes_agree);
}

static void the_expectation_decides(void **state)
{
    static const struct {
        double expected;
        enum measure_test test;
    } cases[] = {{0, MEASURE_TEST_NONE}, {1.5, MEASURE_TEST_OK},
                 {1.4, MEASURE_TEST_OK}, {1.7, MEASURE_TEST_SLOW},
                 {3, MEASURE_TEST_SLOW}, {1.5 / 0.9495, MEASURE_TEST_UNDECIDED}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* A latency of a fifth of the op: who compared the op itself would say slow of all. */
        struct fake fake = {.latency_s = 8e-3, .bytes_per_s = 1e9};
        struct measure_plan plan = {
            .op = OP_ALL_REDUCE, .expected_gb_s = cases[i].expected, .iterations_max = 10};
        struct measure_result result = {0};

        assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
        if (result.test != cases[i].test)
            fail_msg("expected %g: found %d", cases[i].expected, (int)result.test);
    }
}

static void warm_up_is_not_timed(void **state)
{
    struct fake fake = {.latency_s = 1e-4, .bytes_per_s = 1e9, .warm = 10};
    struct measure_plan plan = {
        .op = OP_ALL_REDUCE, .sizes = {16 * MIB, 32 * MIB, 64 * MIB}, .n_sizes = 3};
    struct measure_result result = {0};

    (void)state;
    assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
    assert_true(fabs(result.rows[0].seconds / (1e-4 + 16 * MIB * 1e-9) - 1) < 0.12);
}

static void a_sweep_has_a_row_for_each_size(void **state)
{
    struct fake fake = {.latency_s = 1e-4, .bytes_per_s = 1e9, .wrong_from = 4 * MIB};
    struct measure_plan plan = {.op = OP_ALL_TO_ALL,
                                .sizes = {5, 1000, MIB, 4 * MIB},
                                .n_sizes = 4,
                                .sweep = true,
                                .check = true};
    struct measure_result result = {0};

    (void)state;
    assert_int_equal(measure(&fake, &plan, &result, NULL), 0);
    assert_int_equal(result.n_rows, 4);
    assert_int_equal(result.rows[0].bytes, 16); /* a word for each rank */
    assert_int_equal(result.rows[1].bytes, 992);
    assert_int_equal(result.rows[2].wrong, 0);
    assert_int_equal(result.rows[3].wrong, 1);
    assert_int_equal(result.own_wrong, 1);
    assert_true(result.busbw_gb_s == result.rows[3].busbw_gb_s);
    assert_true(fabs(result.rows[3].algbw_gb_s * 0.75 - result.rows[3].busbw_gb_s) < 1e-12);
    assert_true(result.bytes_moved > 10 * MIB);
}

static void a_failure_is_handed_on(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 40; at += 3) {
        struct fake fake = {.latency_s = 1e-4, .bytes_per_s = 1e9, .fails_at = at};
        struct measure_plan plan = {.op = OP_ALL_REDUCE};
        struct measure_result result = {.n_rows = 77};
        struct err err = ERR_INIT;

        assert_int_equal(measure(&fake, &plan, &result, &err), -ECONNRESET);
        assert_string_equal(err.text, "rank 1 is gone");
        assert_int_equal(result.n_rows, 77);
    }
}

static void plans_out_of_bounds_are_refused(void **state)
{
    static const struct measure_plan plans[] = {{.op = OP_COUNT},
                                                {.n_sizes = MEASURE_SIZES_MAX + 1},
                                                {.sweep = true},
                                                {.sizes = {2, 1}, .n_sizes = 2},
                                                {.sizes = {0}, .n_sizes = 1},
                                                {.sizes = {UINT64_MAX}, .n_sizes = 1},
                                                {.bytes_min = 2 * MIB, .bytes_max = MIB},
                                                {.bytes_max = UINT64_MAX},
                                                {.expected_gb_s = -1},
                                                {.expected_gb_s = NAN},
                                                {.iterations_max = MEASURE_ITERATIONS_MAX + 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(measure_plan_check(&plans[i], 4, &err), -EINVAL);
        assert_true(err.text[0] != '\0');
    }
    assert_int_equal(measure_plan_check(&(struct measure_plan){0}, 0, NULL), -EINVAL);
    assert_int_equal(measure_plan_check(&(struct measure_plan){0}, 4, NULL), 0);
}

/* ---- real ranks -------------------------------------------------------------------- */

static struct measure_result found[RANKS_MAX];

static int measure_one(struct one_rank *one, struct backend_rank *rank)
{
    static const struct measure_plan plan = {.op = OP_ALL_REDUCE,
                                             .bytes_min = 65536,
                                             .bytes_max = 4 * MIB,
                                             .expected_gb_s = 1e-3,
                                             .budget_ns = SECOND_NS / 2,
                                             .check = true};

    return measure_run(&backend_tcp, rank, one->all->n, &plan, NULL, one->all->deadline_ns,
                       &found[one->rank], &one->err);
}

static void all_ranks_come_to_the_same(void **state)
{
    static struct ranks ranks;

    (void)state;
    ranks = (struct ranks){.n = 3, .bytes_max = 4 * MIB, .lead = measure_one};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < 3; i++) {
        if (ranks.each[i].r != 0)
            fail_msg("rank %u: %d %s", i, ranks.each[i].r, ranks.each[i].err.text);
        assert_true(found[i].n_rows >= 3 && found[i].n_rows == found[0].n_rows);
        assert_memory_equal(found[i].rows, found[0].rows, sizeof(found[0].rows));
        assert_true(found[i].busbw_gb_s == found[0].busbw_gb_s && found[i].busbw_gb_s > 0);
        assert_int_equal(found[i].test, found[0].test);
        assert_true(found[i].test != MEASURE_TEST_NONE && found[i].test != MEASURE_TEST_SLOW);
        assert_int_equal(found[i].own_wrong, 0);
    }
    ranks_close(&ranks);
}

static double pair_seconds[RANKS_MAX][3];

static int pair_one(struct one_rank *one, struct backend_rank *rank)
{
    static uint32_t peers[3][3] = {
        {1, 2, MEASURE_NO_PEER}, {0, MEASURE_NO_PEER, 2}, {MEASURE_NO_PEER, 0, 1}};
    struct measure_pairs pairs = {
        .peers = peers[one->rank], .n_rounds = 3, .bytes = 40000, .iterations = 3};

    return measure_pairs_run(&backend_tcp, rank, &pairs, NULL, one->all->deadline_ns,
                             pair_seconds[one->rank], &one->err);
}

static void pairs_take_turns(void **state)
{
    static struct ranks ranks;

    (void)state;
    ranks = (struct ranks){.n = 3, .bytes_max = 40000, .lead = pair_one};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ranks.each[i].r, 0);
        for (unsigned k = 0; k < 3; k++)
            assert_int_equal(pair_seconds[i][k] > 0, i + k != 2);
    }
    ranks_close(&ranks);
}

/* In each round the two of one pair name each other, and each pair has its round. */
static void all_pairs_have_a_round_of_their_own(void **state)
{
    const struct measure_plan plan = {.op = OP_ALL_REDUCE, .sizes = {1 << 20}, .n_sizes = 1, .sweep = true};
    static const unsigned worlds[] = {1, 2, 3, 5, MEASURE_PAIRS_RANKS_MAX};

    (void)state;
    for (size_t w = 0; w < sizeof(worlds) / sizeof(worlds[0]); w++) {
        unsigned ranks = worlds[w], met = 0;
        struct measure_pairs pairs[MEASURE_PAIRS_RANKS_MAX] = {0};

        for (unsigned i = 0; i < ranks; i++) {
            assert_int_equal(measure_pairs_all(i, ranks, &plan, &pairs[i]), 0);
            assert_int_equal(pairs[i].n_rounds, ranks * (ranks - 1) / 2);
            assert_int_equal(pairs[i].bytes, 1 << 20);
        }
        for (unsigned round = 0; round < pairs[0].n_rounds; round++) {
            unsigned busy = 0;

            for (unsigned i = 0; i < ranks; i++) {
                uint32_t peer = pairs[i].peers[round];

                busy += peer != MEASURE_NO_PEER;
                if (peer != MEASURE_NO_PEER)
                    assert_int_equal(pairs[peer].peers[round], i);
                met += peer != MEASURE_NO_PEER && peer == i + 1; /* neighbours: each once */
            }
            assert_int_equal(busy, 2);
        }
        assert_int_equal(met, ranks - 1);
        for (unsigned i = 0; i < ranks; i++)
            free(pairs[i].peers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_fit_the_rate),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(the_slowest_rank_counts),
        cmocka_unit_test(slopes_that_differ_take_a_size_more),
        cmocka_unit_test(the_expectation_decides),
        cmocka_unit_test(warm_up_is_not_timed),
        cmocka_unit_test(a_sweep_has_a_row_for_each_size),
        cmocka_unit_test(a_failure_is_handed_on),
        cmocka_unit_test(plans_out_of_bounds_are_refused),
        cmocka_unit_test(all_ranks_come_to_the_same),
        cmocka_unit_test(pairs_take_turns),
        cmocka_unit_test(all_pairs_have_a_round_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
