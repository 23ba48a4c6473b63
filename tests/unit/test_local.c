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

static const char *const good[] = {"/proc/self/exe", "--fake", "rank", NULL};
static struct local_result result;
static unsigned descriptors;

static struct local_options options_of(unsigned ranks)
{
    descriptors = open_descriptors();
    memset(&result, 0, sizeof(result));
    return (struct local_options){.argv = good,
                                  .backend = "tcp",
                                  .ranks = ranks,
                                  .timeout_ns = 60 * SECOND_NS,
                                  .plan = {.op = OP_ALL_REDUCE, .sizes = {4096, 1 << 20}, .n_sizes = 2,
                                           .sweep = true, .check = true, .iterations_max = 10}};
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
        const char *argv[] = {"/proc/self/exe", "--fake", faults[i].how, NULL};
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

static unsigned killed;

/* Kills one rank in the op. */
static void kill_one(void *context, const char *phase, uint64_t bytes, unsigned iterations)
{
    DIR *dir;
    const struct dirent *entry;
    long self = (long)getpid();

    (void)context;
    (void)iterations;
    if (killed || bytes == 0 || strcmp(phase, "measuring") != 0)
        return;
    dir = opendir("/proc");
    while (dir && !killed && (entry = readdir(dir)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10), parent = 0;
        char path[300], text[512] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        file = pid > 0 ? fopen(path, "re") : NULL;
        if (file && fgets(text, sizeof(text), file) && strrchr(text, ')'))
            parent = strtol(strrchr(text, ')') + 4, NULL, 10);
        if (file)
            fclose(file);
        if (parent == self) {
            kill((pid_t)pid, SIGKILL);
            killed = 1;
        }
    }
    if (dir)
        closedir(dir);
}

static void a_rank_killed_in_the_op_is_named(void **state)
{
    struct local_options options = options_of(3);
    struct err err = ERR_INIT;

    (void)state;
    killed = 0;
    options.progress = kill_one;
    options.plan = (struct measure_plan){.op = OP_ALL_REDUCE, .sizes = {1 << 16, 8 << 20, 16 << 20}, .n_sizes = 3,
                                         .sweep = true, .iterations_max = 1000};
    assert_int_equal(local_run(&options, &result, &err), -ECHILD);
    assert_int_equal(killed, 1);
    assert_non_null(strstr(err.text, "signal 9"));
    nothing_is_left();
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
        cmocka_unit_test(what_cannot_be_used_is_told_apart),
    };

    if (argc == 4 && strcmp(argv[1], "--fake") == 0)
        return fake_child(argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
