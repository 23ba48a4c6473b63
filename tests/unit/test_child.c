/*
 * Children that hang, crash, lie and flood: each is found out and ended in bounded time, and
 * nothing is left of it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <time.h>

#include "collective/child.h"
#include "collective/local.h"
#include "tests/unit/fake_child.h"

#define MS 1000000ull
#define SECOND_NS 1000000000ull

static struct child_event event;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static struct child *start(const char *how)
{
    const char *argv[] = {own_program(), "--fake", how, NULL};
    struct child_options options = {.argv = argv, .grace_ns = 200 * MS};
    struct child *child = NULL;
    struct err err = ERR_INIT;

    if (child_start(&options, &child, &err) < 0)
        fail_msg("%s", err.text);
    return child;
}

/* The next event that is no progress: within the time. */
static bool next(struct child *child, uint64_t within_ns)
{
    uint64_t until = now_ns() + within_ns;

    for (;;) {
        struct pollfd fds[CHILD_POLLFDS];
        uint64_t wake, now;

        for (unsigned i = 0; i < 100 && child_next(child, &event); i++)
            if (event.kind != CHILD_PROGRESS)
                return true;
        now = now_ns();
        if (now >= until)
            return false;
        wake = child_wake_ns(child) < until ? child_wake_ns(child) : until;
        child_pollfds(child, fds);
        (void)poll(fds, CHILD_POLLFDS, wake > now ? (int)((wake - now) / MS + 1) : 0);
    }
}

struct kept {
    unsigned descriptors;
    uint64_t start_ns;
};

static struct kept keep(void)
{
    return (struct kept){open_descriptors(), now_ns()};
}

static void nothing_is_left(const struct kept *kept, uint64_t within_ns)
{
    assert_int_equal(children_left(), 0);
    assert_int_equal(open_descriptors(), kept->descriptors);
    if (now_ns() - kept->start_ns > within_ns)
        fail_msg("took %.2f s", (double)(now_ns() - kept->start_ns) * 1e-9);
}

static void open_rank(struct child *child, const char *backend)
{
    struct backend_options options = {
        .rank = 0, .ranks = 1, .host = "127.0.0.1", .bytes_max = 1 << 20};

    assert_int_equal(child_open(child, backend, &options, NULL), 0);
}

static void a_rank_is_led_from_start_to_end(void **state)
{
    struct measure_plan plan = {.op = OP_ALL_REDUCE,
                                .sizes = {4, 1 << 16, 1 << 20},
                                .n_sizes = 3,
                                .sweep = true,
                                .check = true,
                                .iterations_max = 10};
    uint32_t peers[] = {MEASURE_NO_PEER};
    struct measure_pairs pairs = {.peers = peers, .n_rounds = 1, .bytes = 4, .iterations = 1};
    struct kept kept = keep();
    struct child *child = start("rank");

    (void)state;
    open_rank(child, "tcp");
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_OPENED);
    assert_string_equal(event.info.name, "tcp");
    assert_true(event.address.len > 0);
    assert_int_equal(child_connect(child, &event.address, 1, now_ns() + SECOND_NS, NULL), 0);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_CONNECTED);
    assert_int_equal(child_run(child, &plan, now_ns() + 10 * SECOND_NS, NULL), 0);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_RESULT);
    assert_int_equal(event.result.n_rows, 3);
    assert_int_equal(event.result.own_wrong, 0);
    assert_int_equal(child_pairs(child, &pairs, now_ns() + SECOND_NS, NULL), 0);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_PAIRS);
    assert_int_equal(child_close(child, NULL), 0);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_ENDED);
    assert_int_equal(event.error, 0);
    assert_false(next(child, 0));
    child_free(child);
    nothing_is_left(&kept, 20 * SECOND_NS);
}

static void a_failure_is_told_with_its_phase(void **state)
{
    struct kept kept = keep();
    struct child *child = start("rank");

    (void)state;
    open_rank(child, "carrier-pigeon");
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_FAILED);
    assert_int_equal(event.phase, CHILD_OPENING);
    assert_int_equal(event.error, -ENODEV);
    assert_non_null(strstr(event.text, "carrier-pigeon"));
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_ENDED);
    assert_int_equal(event.error, -ECHILD);
    child_free(child);
    nothing_is_left(&kept, 20 * SECOND_NS);
}

static void orders_out_of_turn_are_refused_by_the_rank(void **state)
{
    struct measure_plan plan = {.op = OP_ALL_REDUCE};
    struct kept kept = keep();
    struct child *child = start("rank");

    (void)state;
    assert_int_equal(child_run(child, &plan, now_ns() + SECOND_NS, NULL), 0);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_FAILED);
    assert_int_equal(event.error, -EPROTO);
    child_free(child);
    nothing_is_left(&kept, 20 * SECOND_NS);
}

static const struct {
    const char *how;
    enum child_event_kind kind; /* of the first event */
    int error;
    const char *says;
} faults[] = {
    {"crash", CHILD_ENDED, -ECHILD,
     "signal 6 (Aborted); it wrote: libfake: assertion ?[31mfailed?[0m"},
    {"exit", CHILD_ENDED, -ECHILD, "code 7"},
    {"garbage", CHILD_FAILED, -EPROTO, "nonsense"},
    {"mute", CHILD_ENDED, -ECHILD, "signal 9"},
    {"orphan", CHILD_ENDED, -ECHILD, "code 0"},
    {"no-such-fault", CHILD_ENDED, -ECHILD, "code 99"},
};

static void faults_are_found_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct kept kept = keep();
        struct child *child = start(faults[i].how);

        if (!next(child, 10 * SECOND_NS))
            fail_msg("%s: nothing came", faults[i].how);
        if (event.kind != faults[i].kind || event.error != faults[i].error ||
            !strstr(event.text, faults[i].says))
            fail_msg("%s: event %d, error %d, '%s'", faults[i].how, event.kind, event.error,
                     event.text);
        child_free(child);
        nothing_is_left(&kept, 15 * SECOND_NS);
    }
}

/* Those that only their owner can find out, by a deadline; freed without being told anything. */
static void whatever_hangs_is_ended_by_freeing_it(void **state)
{
    static const char *const hangs[] = {"hang",   "stubborn", "half", "flood",
                                        "chatty", "garbage",  "mute", "rank"};

    (void)state;
    for (size_t i = 0; i < sizeof(hangs) / sizeof(hangs[0]); i++)
        for (unsigned looked_at = 0; looked_at < 2; looked_at++) {
            struct kept kept = keep();
            struct child *child = start(hangs[i]);

            if (looked_at)
                (void)next(child, 100 * MS);
            child_free(child);
            nothing_is_left(&kept, 5 * SECOND_NS);
        }
}

static void a_stubborn_child_is_killed_after_its_grace(void **state)
{
    struct kept kept = keep();
    struct child *child = start("stubborn");

    (void)state;
    assert_true(next(child, 10 * SECOND_NS)); /* from now on it ignores SIGTERM */
    child_stop(child);
    assert_true(child_wake_ns(child) <= now_ns() + 200 * MS);
    assert_true(next(child, 10 * SECOND_NS));
    assert_int_equal(event.kind, CHILD_ENDED);
    assert_int_equal(event.error, -ECANCELED);
    assert_non_null(strstr(event.text, "signal 9"));
    assert_true(child_ended(child));
    child_free(child);
    nothing_is_left(&kept, 15 * SECOND_NS);
}

/* Four MiB of addresses for a child that does not read them: the parent does not wait for it. */
static void a_child_that_does_not_read_holds_up_nobody(void **state)
{
    struct backend_address *addresses = calloc(BACKEND_RANKS_MAX, sizeof(*addresses));
    struct kept kept = keep();
    struct child *child = start("hang");

    (void)state;
    assert_non_null(addresses);
    for (unsigned i = 0; i < BACKEND_RANKS_MAX; i++)
        addresses[i].len = BACKEND_ADDRESS_MAX;
    assert_int_equal(child_connect(child, addresses, BACKEND_RANKS_MAX, 0, NULL), 0);
    assert_false(next(child, 50 * MS));
    assert_int_equal(child_connect(child, addresses, BACKEND_RANKS_MAX, 0, NULL), 0);
    assert_int_equal(child_connect(child, addresses, BACKEND_RANKS_MAX, 0, NULL), -E2BIG);
    child_free(child);
    free(addresses);
    nothing_is_left(&kept, 5 * SECOND_NS);
}

static void a_program_that_is_not_there_is_told(void **state)
{
    const char *argv[] = {"/nowhere/lockstep-probe", NULL};
    struct child_options options = {.argv = argv};
    struct child *child = NULL;
    struct kept kept = keep();
    struct err err = ERR_INIT;

    (void)state;
    if (getenv("LOCKSTEP_VALGRIND"))
        skip(); /* its vfork is a fork: what exec says stays in the child */
    assert_int_equal(child_start(&options, &child, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/lockstep-probe"));
    assert_null(child);
    nothing_is_left(&kept, SECOND_NS);
}

/* A parent that starts a rank and is killed: the rank ends too, though nobody told it. */
static void a_rank_dies_with_its_parent(void **state)
{
    int pipes[2];
    pid_t parent, rank = 0;
    char byte;

    (void)state;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct child *child = start("rank");

        open_rank(child, "tcp");
        if (!next(child, 10 * SECOND_NS))
            _exit(1);
        rank = child_pid(child);
        if (write(pipes[1], &rank, sizeof(rank)) != sizeof(rank))
            _exit(1);
        for (;;)
            pause();
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &rank, sizeof(rank)), sizeof(rank));
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* so that it can be waited for */
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_int_equal(waitpid(rank, NULL, 0), rank);
    assert_int_equal(read(pipes[0], &byte, 1), 0);
    close(pipes[0]);
    /* A rank that is killed amid LeakSanitizer's search leaves that search to its reaper; it ends by itself. */
    for (uint64_t until = now_ns() + 10 * SECOND_NS; children_left() && now_ns() < until;)
        (void)poll(NULL, 0, 10);
    assert_int_equal(children_left(), 0);
}

static void a_rank_of_another_parent_ends_at_once(void **state)
{
    (void)state;
    assert_int_equal(rank_main_of("0"), 2);
    assert_int_equal(rank_main_of("x"), 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_is_led_from_start_to_end),
        cmocka_unit_test(a_failure_is_told_with_its_phase),
        cmocka_unit_test(orders_out_of_turn_are_refused_by_the_rank),
        cmocka_unit_test(faults_are_found_out),
        cmocka_unit_test(whatever_hangs_is_ended_by_freeing_it),
        cmocka_unit_test(a_stubborn_child_is_killed_after_its_grace),
        cmocka_unit_test(a_child_that_does_not_read_holds_up_nobody),
        cmocka_unit_test(a_program_that_is_not_there_is_told),
        cmocka_unit_test(a_rank_dies_with_its_parent),
        cmocka_unit_test(a_rank_of_another_parent_ends_at_once),
    };

    if (argc == 4 && strcmp(argv[1], "--fake") == 0)
        return fake_child(argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
