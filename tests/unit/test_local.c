/* Ranks on this machine from start to end; and with one that does not do as it should. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "collective/local.h"
#include "tests/unit/fake_child.h"

#define SECOND_NS 1000000000ull

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static const char *good[] = {NULL, "--fake", "rank", NULL};
static struct local_result result;
static unsigned descriptors;

static struct local_options options_of(unsigned ranks)
{
    descriptors = open_descriptors();
    memset(&result, 0, sizeof(result));
    good[0] = own_program();
    return (struct local_options){.argv = good,
                                  .backend = "tcp",
                                  .ranks = ranks,
                                  .timeout_ns = 60 * SECOND_NS,
                                  .plan = {.op = OP_ALL_REDUCE,
                                           .sizes = {4096, 1 << 20},
                                           .n_sizes = 2,
                                           .sweep = true,
                                           .check = true,
                                           .iterations_max = 10}};
}

static void nothing_is_left(void)
{
    assert_int_equal(children_left(), 0);
    assert_int_equal(open_descriptors(), descriptors);
}

static void every_op_runs_by_itself(void **state)
{
    (void)state;
    for (enum collective_op op = 0; op < OP_COUNT; op++)
        for (unsigned ranks = 1; ranks <= 3; ranks++) {
            struct local_options options = options_of(ranks);
            struct err err = ERR_INIT;

            options.plan.op = op;
            if (local_run(&options, &result, &err) < 0)
                fail_msg("%s of %u: %s", op_name(op), ranks, err.text);
            assert_int_equal(result.measured.n_rows, 2);
            assert_true(result.measured.rows[1].seconds > 0);
            assert_int_equal(result.measured.busbw_gb_s > 0, ranks > 1);
            assert_string_equal(result.info.name, "tcp");
            for (unsigned i = 0; i < ranks; i++)
                assert_int_equal(result.own_wrong[i], 0);
            local_result_release(&result);
            nothing_is_left();
        }
}

static void pairs_make_a_map(void **state)
{
    struct local_options options = options_of(3);

    (void)state;
    options.pairs = true;
    assert_int_equal(local_run(&options, &result, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(result.pair_gb_s[i * 3 + k] > 0, i != k);
            assert_true(result.pair_gb_s[i * 3 + k] == result.pair_gb_s[k * 3 + i]);
        }
    local_result_release(&result);
    nothing_is_left();
}

static const struct {
    const char *how;
    int error;
    const char *says;
} faults[] = {
    {"hang", -ETIMEDOUT, "starting took too long: 2 of 2 ranks did not answer (0,1)"},
    {"half", -ETIMEDOUT, "starting took too long"},
    {"flood", -ETIMEDOUT, "starting took too long"},
    {"chatty", -ETIMEDOUT, "starting took too long"},
    {"crash", -ECHILD, "signal 6"},
    {"exit", -ECHILD, "code 7"},
    {"garbage", -EPROTO, "nonsense"},
    {"early", -EPROTO, "answered what it was not asked"},
    {"stubborn", -EPROTO, "answered what it was not asked"},
};

static void faults_end_it_in_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        const char *argv[] = {own_program(), "--fake", faults[i].how, NULL};
        struct local_options options = options_of(2);
        uint64_t start = now_ns();
        struct err err = ERR_INIT;
        int r;

        options.argv = argv;
        options.timeout_ns = SECOND_NS / 2;
        r = local_run(&options, &result, &err);
        if (r != faults[i].error || !strstr(err.text, faults[i].says))
            fail_msg("%s: %d '%s'", faults[i].how, r, err.text);
        if (now_ns() - start > 4 * SECOND_NS)
            fail_msg("%s: took %.1f s", faults[i].how, (double)(now_ns() - start) * 1e-9);
        nothing_is_left();
    }
}

/* ---- signals from outside ---------------------------------------------------------- */

struct blow {
    unsigned at; /* the call of progress at which it falls */
    unsigned child; /* so many are spared */
    int number;
    bool in_op; /* not before ranks measure */
    bool done;
};

static pid_t parent_of(const char *pid)
{
    char path[300], text[512] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (!fgets(text, sizeof(text), file) || !strrchr(text, ')'))
        text[0] = '\0';
    fclose(file);
    return text[0] ? (pid_t)strtol(strrchr(text, ')') + 4, NULL, 10) : 0;
}

static pid_t nth_child(unsigned nth)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    pid_t found = 0;

    while (dir && !found && (entry = readdir(dir)) != NULL)
        if (strtol(entry->d_name, NULL, 10) > 0 && parent_of(entry->d_name) == getpid() &&
            nth-- == 0)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
    if (dir)
        closedir(dir);
    return found;
}

static void strike(void *context, const char *phase, uint64_t bytes, unsigned iterations)
{
    struct blow *blow = context;
    pid_t child;

    (void)iterations;
    if (blow->done || (blow->in_op && (bytes == 0 || strcmp(phase, "measuring") != 0)) ||
        blow->at-- > 0)
        return;
    child = nth_child(blow->child);
    blow->done = child > 0 && kill(child, blow->number) == 0;
}

static void measure_for_long(struct local_options *options, struct blow *blow)
{
    options->progress = strike;
    options->context = blow;
    options->plan = (struct measure_plan){.op = OP_ALL_REDUCE,
                                          .sizes = {1 << 16, 4 << 20, 8 << 20},
                                          .n_sizes = 3,
                                          .sweep = true,
                                          .iterations_max = 1000,
                                          .budget_ns = 60 * SECOND_NS};
}

static void a_rank_killed_in_the_op_is_named(void **state)
{
    struct local_options options = options_of(3);
    struct blow blow = {.number = SIGKILL, .in_op = true};
    struct err err = ERR_INIT;

    (void)state;
    measure_for_long(&options, &blow);
    assert_int_equal(local_run(&options, &result, &err), -ECHILD);
    assert_true(blow.done);
    assert_non_null(strstr(err.text, "signal 9"));
    nothing_is_left();
}

/* A process that was stopped answers nothing, not even SIGTERM: as one that hangs in a driver. */
static void a_rank_stopped_in_the_op_holds_up_nobody(void **state)
{
    struct local_options options = options_of(3);
    struct blow blow = {.number = SIGSTOP, .in_op = true};
    uint64_t start = now_ns();
    struct err err = ERR_INIT;

    (void)state;
    measure_for_long(&options, &blow);
    options.timeout_ns = SECOND_NS;
    assert_int_equal(local_run(&options, &result, &err), -ETIMEDOUT);
    assert_true(blow.done);
    assert_true(now_ns() - start < 5 * SECOND_NS);
    nothing_is_left();
}

#define BLOWS 24

/*
 * Any rank, at any stage, killed, stopped or told to end: always an answer, in time, and nothing
 * left.
 */
static void blows_at_any_time_leave_nothing(void **state)
{
    static const int numbers[] = {SIGKILL, SIGSTOP, SIGTERM};
    unsigned seed = 20261127;

    (void)state;
    for (unsigned i = 0; i < BLOWS; i++) {
        struct local_options options = options_of(3);
        struct blow blow = {.at = i % 4, .number = numbers[i % 3]};
        uint64_t start = now_ns();
        struct err err = ERR_INIT;
        int r;

        seed = seed * 1664525u + 1013904223u;
        blow.child = (seed >> 16) % 3;
        measure_for_long(&options, &blow);
        options.timeout_ns = SECOND_NS * 3 / 4;
        r = local_run(&options, &result, &err);
        if (r >= 0 || !err.text[0] || now_ns() - start > 5 * SECOND_NS)
            fail_msg("blow %u: %d '%s', %.1f s", i, r, err.text, (double)(now_ns() - start) * 1e-9);
        nothing_is_left();
    }
}

static void what_cannot_be_used_is_told_apart(void **state)
{
    struct local_options options = options_of(2);
    struct err err = ERR_INIT;

    (void)state;
    options.backend = "nccl";
    assert_int_equal(local_run(&options, &result, &err), -ENODEV);
    options.backend = "tcp";
    options.plan.sizes[1] = (uint64_t)1 << 39;
    assert_int_equal(local_run(&options, &result, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "memory is short"));
    options.ranks = LOCAL_RANKS_MAX + 1;
    assert_int_equal(local_run(&options, &result, &err), -EINVAL);
    nothing_is_left();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_runs_by_itself),
        cmocka_unit_test(pairs_make_a_map),
        cmocka_unit_test(faults_end_it_in_time),
        cmocka_unit_test(a_rank_killed_in_the_op_is_named),
        cmocka_unit_test(a_rank_stopped_in_the_op_holds_up_nobody),
        cmocka_unit_test(blows_at_any_time_leave_nothing),
        cmocka_unit_test(what_cannot_be_used_is_told_apart),
    };

    if (argc == 4 && strcmp(argv[1], "--fake") == 0)
        return fake_child(argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
