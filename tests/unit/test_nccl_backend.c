/* The nccl backend in child processes, against fakes of its libraries: results, times, memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "collective/local.h"
#include "tests/unit/fake_gpu.h"

static struct lead_result led;

static struct lead_options options_of(unsigned ranks)
{
    return (struct lead_options){.ranks = ranks, .absent = LEAD_NOBODY, .killed = LEAD_NOBODY,
                                 .plan = {.op = OP_ALL_REDUCE, .sizes = {1 << 16, 1 << 20}, .n_sizes = 2,
                                          .sweep = true, .check = true, .iterations_max = 10}};
}

static void lead_all(const struct lead_options *options)
{
    unsigned descriptors = open_descriptors();
    struct err err = ERR_INIT;

    if (lead(options, &led, &err) < 0)
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < options->ranks; i++)
        if (led.ranks[i].error || !led.ranks[i].ended_well)
            fail_msg("rank %u of %u: %d in %s: %s", i, options->ranks, led.ranks[i].error,
                     child_phase_name(led.ranks[i].phase), led.ranks[i].text);
    assert_nothing_is_left(descriptors);
}

static void every_op_of_1_to_8_ranks_is_right(void **state)
{
    (void)state;
    fake_gpu("lazy_ms 3\n");
    for (enum collective_op op = 0; op < OP_COUNT; op++)
        for (unsigned ranks = 1; ranks <= 8; ranks++) {
            struct lead_options options = options_of(ranks);

            options.plan.op = op;
            options.plan.sizes[0] = op_round_bytes(1, ranks); /* the least, one that is odd, a large one */
            options.plan.sizes[1] = op_round_bytes(100003, ranks);
            options.plan.sizes[2] = op_round_bytes(1 << 20, ranks);
            options.plan.n_sizes = 3;
            lead_all(&options);
            for (unsigned i = 0; i < ranks; i++) {
                assert_int_equal(led.ranks[i].result.n_rows, 3);
                assert_int_equal(led.ranks[i].result.own_wrong, 0);
                assert_int_equal(led.ranks[i].result.rows[2].wrong, 0);
                assert_int_equal(led.ranks[i].result.busbw_gb_s > 0, ranks > 1);
            }
        }
}

static void more_than_the_staging_memory_is_checked_too(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("");
    for (enum collective_op op = 0; op < OP_COUNT; op++) {
        options.plan.op = op;
        options.plan.sizes[0] = (9 << 20) + 8;
        options.plan.n_sizes = 1;
        options.plan.iterations_max = 1;
        lead_all(&options);
        assert_int_equal(led.ranks[0].result.own_wrong + led.ranks[1].result.own_wrong, 0);
    }
}

static void says_what_it_runs_on(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("name Imagined H100 80GB\nversion 22105\n");
    lead_all(&options);
    assert_string_equal(led.ranks[1].info.name, "nccl");
    assert_string_equal(led.ranks[1].info.version, "2.21.5");
    assert_string_equal(led.ranks[1].info.device, "Imagined H100 80GB");
}

/* What the file says is what comes out, within the float of the event's milliseconds. */
static void times_are_the_devices(void **state)
{
    static const struct {
        const char *lines;
        double gb_s, latency_s;
    } cases[] = {
        {"bandwidth_gb_s 40\nlatency_us 25\n", 40, 25e-6},
        {"bandwidth_gb_s 40\nlatency_us 25\nnode_factor 2 0.5\n", 20, 25e-6},
        {"bandwidth_gb_s 40\nlatency_us 25\npair_factor 1 2 0.25\n", 10, 25e-6},
        {"bandwidth_gb_s 40\nlatency_us 25\npair_factor 0 2 0.25\n", 40, 25e-6}, /* no neighbours */
        {"bandwidth_gb_s 40\nlatency_us 25\njitter 0.02 7\nlazy_ms 20\n", 39.6, 25.2e-6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lead_options options = options_of(4);

        options.plan.sweep = false;
        options.plan.check = false;
        options.plan.sizes[2] = 4 << 20;
        options.plan.n_sizes = 3;
        options.plan.sizes[0] = 1 << 20;
        options.plan.sizes[1] = 2 << 20;
        fake_gpu(cases[i].lines);
        lead_all(&options);
        for (unsigned k = 0; k < 4; k++) {
            const struct measure_result *result = &led.ranks[k].result;

            if (fabs(result->busbw_gb_s / cases[i].gb_s - 1) > 0.02)
                fail_msg("case %zu: %g GB/s, not %g", i, result->busbw_gb_s, cases[i].gb_s);
            if (fabs(result->latency_s - cases[i].latency_s) > 3e-6)
                fail_msg("case %zu: %g s, not %g", i, result->latency_s, cases[i].latency_s);
        }
    }
}

static void pairs_show_the_slow_path(void **state)
{
    const char *argv[] = {lead_program(), "--child", NULL};
    struct local_options options = {.argv = argv, .backend = "nccl", .ranks = 4, .pairs = true,
                                    .pair_bytes = 1 << 20, .plan = options_of(4).plan};
    unsigned descriptors = open_descriptors();
    struct local_result result = {0};
    struct err err = ERR_INIT;

    (void)state;
    fake_gpu("bandwidth_gb_s 50\nlatency_us 1\npair_factor 1 3 0.2\n");
    if (local_run(&options, &result, &err) < 0)
        fail_msg("%s", err.text);
    for (unsigned a = 0; a < 4; a++)
        for (unsigned b = 0; b < 4; b++) {
            double want = a == b ? 0 : a + b == 4 && a != b && a * b == 3 ? 10 : 50;

            if (fabs(result.pair_gb_s[a * 4 + b] - want) > want * 0.06)
                fail_msg("%u and %u: %g GB/s, not %g", a, b, result.pair_gb_s[a * 4 + b], want);
        }
    local_result_release(&result);
    assert_nothing_is_left(descriptors);
}

/* More ops than are queued at once, and as many as a plan may want. */
static void many_ops_run_in_batches(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("jitter 0.5 3\n");
    options.plan.iterations_max = 200;
    options.plan.expected_gb_s = 95;
    options.pairs = true;
    lead_all(&options);
    assert_true(led.ranks[0].result.rows[1].iterations >= 5);
    assert_true(led.ranks[0].pair_seconds > 0);
}

static void ranks_of_one_parent_may_share_a_gpu(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("devices 1\n");
    options.one_gpu = true;
    lead_all(&options);
    assert_int_equal(led.ranks[2].result.own_wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_of_1_to_8_ranks_is_right),
        cmocka_unit_test(more_than_the_staging_memory_is_checked_too),
        cmocka_unit_test(says_what_it_runs_on),
        cmocka_unit_test(times_are_the_devices),
        cmocka_unit_test(pairs_show_the_slow_path),
        cmocka_unit_test(many_ops_run_in_batches),
        cmocka_unit_test(ranks_of_one_parent_may_share_a_gpu),
    };

    (void)argc;
    (void)argv;
    return cmocka_run_group_tests(tests, fake_gpu_begin, fake_gpu_end);
}
