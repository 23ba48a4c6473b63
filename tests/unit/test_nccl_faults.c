/* What goes wrong under the nccl backend: each ends in bounded time, says what it was, and leaves nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "collective/nvml_api.h"
#include "tests/unit/fake_gpu.h"

static struct lead_result led;

static struct lead_options options_of(unsigned ranks)
{
    return (struct lead_options){.ranks = ranks, .absent = LEAD_NOBODY, .killed = LEAD_NOBODY,
                                 .connect_ns = 1500 * LEAD_MS, .run_ns = 1500 * LEAD_MS,
                                 .grace_ns = 300 * LEAD_MS,
                                 .plan = {.op = OP_ALL_REDUCE, .sizes = {1 << 16}, .n_sizes = 1, .sweep = true,
                                          .check = true, .iterations_max = 10}};
}

static void lead_into_it(const struct lead_options *options, uint64_t within_ns)
{
    unsigned descriptors = open_descriptors();
    struct err err = ERR_INIT;

    if (lead(options, &led, &err) < 0)
        fail_msg("%s", err.text);
    assert_nothing_is_left(descriptors);
    if (led.total_ns > within_ns)
        fail_msg("took %.1f s", (double)led.total_ns * 1e-9);
}

static void assert_failed(unsigned rank, int error, enum child_phase phase, const char *says)
{
    const struct lead_rank *one = &led.ranks[rank];

    if (one->error != error || one->phase != phase || !strstr(one->text, says))
        fail_msg("rank %u: %d in %s, not %d in %s: '%s', not '%s'", rank, one->error,
                 child_phase_name(one->phase), error, child_phase_name(phase), one->text, says);
}

/* ---- not usable: skipped -------------------------------------------------------------------------------- */

static void a_gpu_that_is_in_use_is_left_alone(void **state)
{
    struct lead_options options = options_of(1);
    char lines[64], says[64];

    (void)state;
    snprintf(lines, sizeof(lines), "user 0 %d 3000\n", (int)getpid());
    snprintf(says, sizeof(says), "process %d (test_nccl_fault", (int)getpid());
    fake_gpu(lines);
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -EBUSY, CHILD_OPENING, says);
    assert_non_null(strstr(led.ranks[0].text, "3000 of 8192 MiB"));
    fake_gpu("user 0 4194303 3000\n"); /* of another container, as it were */
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -EBUSY, CHILD_OPENING, "process 4194303 (not visible from here)");
    setenv("LOCKSTEP_NCCL_SHARE_GPU", "1", 1);
    lead_into_it(&options, 5 * LEAD_S);
    unsetenv("LOCKSTEP_NCCL_SHARE_GPU");
    assert_true(led.ranks[0].ended_well);
}

static void short_memory_is_told_with_numbers(void **state)
{
    struct lead_options options = options_of(1);

    (void)state;
    fake_gpu("user 0 0 7000\n");
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ENOMEM, CHILD_OPENING, "has 1192 of 8192 MiB free, the probe wants 2048");
    /* NVML is not there: the driver says so. */
    setenv("LOCKSTEP_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1", 1);
    lead_into_it(&options, 5 * LEAD_S);
    setenv("LOCKSTEP_NVML_LIBRARY", FAKE_DIR "/libnvidia-ml.so.1", 1);
    assert_failed(0, -ENOMEM, CHILD_OPENING, "has 1128 of 8192 MiB free, the probe wants 2048");
    fake_gpu("memory_mib 50\n");
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ENOMEM, CHILD_OPENING, "has 50 of 50 MiB free");
}

static void what_is_missing_is_named(void **state)
{
    struct lead_options options = options_of(1);

    (void)state;
    fake_gpu("devices 0\n");
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ENODEV, CHILD_OPENING, "the CUDA driver does not start: CUDA_ERROR_NO_DEVICE");
    fake_gpu("devices 1\n");
    options.ranks = 2; /* the second is for GPU 1 */
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(1, -ENODEV, CHILD_OPENING, "there is no GPU 1: the driver shows 1");
    options.ranks = 1;
    options.library = "/nowhere/libnccl.so.2";
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ENODEV, CHILD_OPENING, "NCCL library /nowhere/libnccl.so.2 does not load");
    setenv("LOCKSTEP_CUDA_LIBRARY", "/nowhere/libcuda.so.1", 1);
    lead_into_it(&options, 5 * LEAD_S);
    setenv("LOCKSTEP_CUDA_LIBRARY", FAKE_DIR "/libcuda.so.1", 1);
    assert_failed(0, -ENODEV, CHILD_OPENING, "CUDA driver library /nowhere/libcuda.so.1 does not load");
}

static void nvml_tells_what_slows_a_gpu(void **state)
{
    struct nvml_state now;

    (void)state;
    fake_gpu("clocks 1 0x41\nuser 1 77 100\n"); /* read when the library is first used, here */
    assert_int_equal(nvml_state_read("GPU-fa000000-0000-0000-0000-000000000001", &now, NULL), 0);
    assert_int_equal(now.clock_reasons & NVML_API_SLOWED, 0x40); /* hot; idle is no fault */
    assert_int_equal(now.memory.total, 8192 * FAKE_MIB);
    assert_int_equal(now.memory.used, 100 * FAKE_MIB);
    assert_int_equal(now.n_processes, 1);
    assert_int_equal(now.processes[0].pid, 77);
    assert_int_equal(nvml_state_read("GPU-fa000000-0000-0000-0000-000000000000", &now, NULL), 0);
    assert_int_equal(now.clock_reasons | now.n_processes, 0);
    assert_int_equal(nvml_state_read("GPU-00000000-0000-0000-0000-000000000000", &now, NULL), -ENODEV);
}

static void memory_is_taken_at_open_and_free_once_killed(void **state)
{
    const char *argv[] = {lead_program(), "--child", NULL};
    struct child_options options = {.argv = argv};
    struct backend_options open = {.ranks = 1, .device = 3, .bytes_max = 100 * FAKE_MIB};
    static struct child_event event;
    unsigned descriptors = open_descriptors();
    struct child *child;

    (void)state;
    fake_gpu("");
    assert_int_equal(child_start(&options, &child, NULL), 0);
    assert_int_equal(child_open(child, "nccl", &open, NULL), 0);
    for (unsigned i = 0; i < 1000 && !child_next(child, &event); i++)
        usleep(10000);
    assert_int_equal(event.kind, CHILD_OPENED);
    assert_true(fake_memory_used(3) >= (100 + 100 + 64) * FAKE_MIB);
    child_kill(child);
    child_free(child);
    assert_nothing_is_left(descriptors);
}

/* ---- connecting ----------------------------------------------------------------------------------------- */

static void other_versions_are_refused_by_all_at_once(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("");
    options.variable = "LOCKSTEP_FAKE_VERSION";
    options.values[1] = "21803";
    lead_into_it(&options, 5 * LEAD_S);
    for (unsigned i = 0; i < 3; i++)
        assert_failed(i, -EPROTO, CHILD_CONNECTING, i == 1 ? "rank 0 has NCCL 2.28.3, rank 1 has 2.18.3"
                                                           : "rank 1 has NCCL 2.18.3, rank ");
    assert_true(led.ranks[2].failed_ns < LEAD_S);
}

static void a_hang_in_init_ends_at_the_deadline(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("hang_init 1\n");
    lead_into_it(&options, 5 * LEAD_S);
    for (unsigned i = 0; i < 3; i++) {
        assert_failed(i, -ETIMEDOUT, CHILD_CONNECTING, "connecting ranks did not end by its deadline");
        assert_true(led.ranks[i].ended_itself);
        assert_true(led.ranks[i].failed_ns < 3 * LEAD_S);
    }
}

static void a_rank_that_never_comes_is_waited_for_until_then(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("");
    options.absent = 2;
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ETIMEDOUT, CHILD_CONNECTING, "connecting ranks");
    assert_failed(1, -ETIMEDOUT, CHILD_CONNECTING, "connecting ranks");
}

static void a_failure_in_init_has_the_librarys_words(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("fail_init 1\n");
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(1, -EIO, CHILD_CONNECTING, "internal error: told to fail in init");
    assert_int_not_equal(led.ranks[0].error, 0);
}

/* ---- running -------------------------------------------------------------------------------------------- */

static void a_hang_in_an_op_ends_at_the_deadline(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("hang_op 1 6\n");
    lead_into_it(&options, 6 * LEAD_S);
    for (unsigned i = 0; i < 3; i++) {
        assert_failed(i, -ETIMEDOUT, CHILD_RUNNING, "did not end by its deadline");
        assert_true(led.ranks[i].ended_itself);
    }
}

static void an_abort_that_hangs_ends_with_its_process(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("hang_op 1 6\nhang_abort 1\n");
    lead_into_it(&options, 10 * LEAD_S);
    assert_failed(1, -ETIMEDOUT, CHILD_RUNNING, "did not end by its deadline");
    assert_false(led.ranks[1].ended_itself);
    assert_true(led.ranks[0].ended_itself);
}

static void an_end_that_hangs_becomes_an_abort(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("hang_finalize 1\n");
    lead_into_it(&options, 12 * LEAD_S);
    assert_true(led.ranks[0].ended_well);
    assert_true(led.ranks[1].ended_well);
    assert_int_equal(led.ranks[1].error, 0);
}

static void a_peer_that_is_killed_is_noticed(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("hang_op 1 6\n"); /* so that it is there to be killed */
    options.run_ns = 20 * LEAD_S;
    options.killed = 1;
    options.killed_in = LEAD_RUN;
    options.killed_after_ns = 400 * LEAD_MS;
    lead_into_it(&options, 5 * LEAD_S);
    assert_failed(0, -ECONNRESET, CHILD_RUNNING, "remote process exited");
    assert_failed(2, -ECONNRESET, CHILD_RUNNING, "remote process exited");
    assert_int_not_equal(led.ranks[1].error, 0);
}

static void a_peer_that_stands_still_ends_with_the_deadline(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("");
    for (unsigned i = 0; i < MEASURE_SIZES_MAX; i++) /* so that it is still at it */
        options.plan.sizes[i] = (16u + i) << 20;
    options.plan.n_sizes = MEASURE_SIZES_MAX;
    options.killed = 1;
    options.frozen = true;
    options.killed_in = LEAD_RUN;
    options.killed_after_ns = 50 * LEAD_MS;
    lead_into_it(&options, 8 * LEAD_S);
    assert_failed(0, -ETIMEDOUT, CHILD_RUNNING, "did not end by its deadline");
    assert_failed(2, -ETIMEDOUT, CHILD_RUNNING, "did not end by its deadline");
    assert_true(led.ranks[1].stopped);
}

/* As with transports that see no end of a peer. */
static void a_peer_that_goes_unnoticed_ends_at_the_deadline(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("hang_op 1 6\nsilent 1\n");
    options.killed = 1;
    options.killed_in = LEAD_RUN;
    options.killed_after_ns = 300 * LEAD_MS;
    lead_into_it(&options, 6 * LEAD_S);
    assert_failed(0, -ETIMEDOUT, CHILD_RUNNING, "did not end by its deadline");
}

static void an_error_in_an_op_has_the_librarys_words(void **state)
{
    struct lead_options options = options_of(2);

    (void)state;
    fake_gpu("fail_op 0 5\n");
    lead_into_it(&options, 6 * LEAD_S);
    assert_failed(0, -EIO, CHILD_RUNNING, "internal error: told to fail in op 5");
    assert_int_not_equal(led.ranks[1].error, 0);
}

static void wrong_data_is_counted_where_it_is(void **state)
{
    struct lead_options options = options_of(3);

    (void)state;
    fake_gpu("wrong 2\n");
    for (enum collective_op op = 0; op < OP_COUNT; op++) {
        options.plan.op = op;
        options.plan.sizes[0] = op_round_bytes(1 << 16, 3);
        lead_into_it(&options, 5 * LEAD_S);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(led.ranks[i].error, 0);
            assert_int_equal(led.ranks[i].result.own_wrong, i == 2);
            assert_int_equal(led.ranks[i].result.rows[0].wrong, 1); /* all know of it */
        }
    }
}

/* ---- many ----------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33);
}

static void random_faults_never_get_stuck(void **state)
{
    static const char *const faults[] = {"hang_init %u\n", "hang_op %u %u\n", "hang_abort %u\n",
                                         "fail_init %u\n", "fail_op %u %u\n", "wrong %u\n", "silent %u\n",
                                         "lazy_ms %u\n"};
    const char *wanted = getenv("LOCKSTEP_FAULT_RUNS"), *begin = getenv("LOCKSTEP_FAULT_SEED");
    unsigned long runs = wanted ? strtoul(wanted, NULL, 10) : 25;
    uint64_t seed = begin ? strtoull(begin, NULL, 10) : 20260718;

    (void)state;
    for (unsigned long run = 0; run < runs; run++) {
        unsigned ranks = 1 + next_random(&seed) % 5;
        struct lead_options options = options_of(ranks);
        char lines[256] = "";

        options.connect_ns = options.run_ns = 700 * LEAD_MS;
        options.plan.op = next_random(&seed) % OP_COUNT;
        options.plan.sizes[0] = op_round_bytes(1 << 14, ranks);
        for (unsigned i = next_random(&seed) % 3; i < 3; i++) {
            size_t len = strlen(lines);

            /* Both arguments are always there; a format takes what it wants. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(lines + len, sizeof(lines) - len, faults[next_random(&seed) % 8],
                     next_random(&seed) % ranks, next_random(&seed) % 20);
#pragma GCC diagnostic pop
        }
        if (next_random(&seed) % 2) {
            options.killed = next_random(&seed) % ranks;
            options.killed_in = LEAD_OPEN + next_random(&seed) % 3;
            options.killed_after_ns = next_random(&seed) % 300 * LEAD_MS;
            options.frozen = next_random(&seed) % 2;
        }
        fake_gpu(lines);
        lead_into_it(&options, 15 * LEAD_S);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gpu_that_is_in_use_is_left_alone),
        cmocka_unit_test(short_memory_is_told_with_numbers),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(nvml_tells_what_slows_a_gpu),
        cmocka_unit_test(memory_is_taken_at_open_and_free_once_killed),
        cmocka_unit_test(other_versions_are_refused_by_all_at_once),
        cmocka_unit_test(a_hang_in_init_ends_at_the_deadline),
        cmocka_unit_test(a_rank_that_never_comes_is_waited_for_until_then),
        cmocka_unit_test(a_failure_in_init_has_the_librarys_words),
        cmocka_unit_test(a_hang_in_an_op_ends_at_the_deadline),
        cmocka_unit_test(an_abort_that_hangs_ends_with_its_process),
        cmocka_unit_test(an_end_that_hangs_becomes_an_abort),
        cmocka_unit_test(a_peer_that_is_killed_is_noticed),
        cmocka_unit_test(a_peer_that_stands_still_ends_with_the_deadline),
        cmocka_unit_test(a_peer_that_goes_unnoticed_ends_at_the_deadline),
        cmocka_unit_test(an_error_in_an_op_has_the_librarys_words),
        cmocka_unit_test(wrong_data_is_counted_where_it_is),
        cmocka_unit_test(random_faults_never_get_stuck),
    };

    (void)argc;
    (void)argv;
    return cmocka_run_group_tests(tests, fake_gpu_begin, fake_gpu_end);
}
