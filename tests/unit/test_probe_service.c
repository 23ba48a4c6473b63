/* The probe end to end on this machine: the service over gRPC, and the program of the pods, each a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/rpc.h"
#include "collective/probe_service.h"

#define SECRET "one-out-of-a-test-that-is-too-long-to-stand-within-a-slice-of-grpc-as-tokens-of-pods-are"
#define PODS 3
#define SECOND INT64_C(1000000000)
#define JOIN "/lockstep.probe.v1.Probe/Join"
#define REPORT "/lockstep.probe.v1.Probe/Report"

static uint64_t bytes_max = 1 << 20; /* of an op */

struct stage {
    struct probe_service *service;
    pthread_mutex_t lock;
    pthread_cond_t told;
    struct coordinator_result result;
    int verdicts;
    char folder[64], secret[96], wrong[96], program[512], address[32];
    pid_t pids[PODS];
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static void on_verdict(void *context, const struct coordinator_result *result)
{
    struct stage *stage = context;

    pthread_mutex_lock(&stage->lock);
    stage->result = *result;
    stage->verdicts++;
    pthread_cond_broadcast(&stage->told);
    pthread_mutex_unlock(&stage->lock);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void start_service(struct stage *stage, const char *listen, uint32_t epoch)
{
    const struct probe_service_options options = {.listen = listen, .secret = SECRET, .verdict = on_verdict,
                                                  .context = stage, .limits = {.epoch = epoch}};
    struct err err = ERR_INIT;

    if (probe_service_start(&options, &stage->service, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(stage->address, sizeof(stage->address), "127.0.0.1:%u", probe_service_port(stage->service));
}

static int open_stage(void **state)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    ssize_t len = readlink("/proc/self/exe", stage->program, sizeof(stage->program) - 16);
    char *slash;

    assert_true(len > 0);
    stage->program[len] = '\0';
    slash = strrchr(stage->program, '/');
    snprintf(slash + 1, 15, "lockstep-probe");
    pthread_mutex_init(&stage->lock, NULL);
    pthread_cond_init(&stage->told, NULL);
    snprintf(stage->folder, sizeof(stage->folder), "/tmp/lockstep-test-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->secret, sizeof(stage->secret), "%s/token", stage->folder);
    snprintf(stage->wrong, sizeof(stage->wrong), "%s/wrong", stage->folder);
    write_file(stage->secret, SECRET);
    write_file(stage->wrong, "another");
    start_service(stage, "127.0.0.1:0", 1);
    *state = stage;
    return 0;
}

static int close_stage(void **state)
{
    struct stage *stage = *state;

    for (int i = 0; i < PODS; i++)
        if (stage->pids[i] > 0) {
            kill(stage->pids[i], SIGKILL);
            waitpid(stage->pids[i], NULL, 0);
        }
    probe_service_stop(stage->service);
    unlink(stage->secret);
    unlink(stage->wrong);
    rmdir(stage->folder);
    pthread_cond_destroy(&stage->told);
    pthread_mutex_destroy(&stage->lock);
    free(stage);
    return 0;
}

static void expect_gang(struct stage *stage, uint64_t generation, bool gate, int64_t deadline_ns, double expected_gb_s)
{
    static const struct coordinator_pod pods[PODS] = {
        {"train-0", "uid-0", "node-a", 0, 1}, {"train-1", "uid-1", "node-b", 1, 1}, {"train-2", "uid-2", "node-c", 2, 1}};
    struct coordinator_gang gang = {.id = {.ns = "team", .name = "train", .generation = generation},
                                    .pods = pods,
                                    .npods = PODS,
                                    .gate = gate,
                                    .deadline_ns = now_ns() + deadline_ns,
                                    .hold_ns = SECOND,
                                    .plan = {.op = "all_reduce", .bytes_max = bytes_max, .check = true,
                                             .expected_gb_s = expected_gb_s}};
    struct err err = ERR_INIT;

    if (probe_service_expect(stage->service, &gang, &err) < 0)
        fail_msg("%s", err.text);
}

/* told: a file for what it says on stderr; NULL: the test's own. */
static void start_telling_pod(struct stage *stage, int i, const char *token, const char *told)
{
    posix_spawn_file_actions_t files;
    char name[32], uid[32];
    char *argv[] = {stage->program, (char *)"--coordinator", stage->address, (char *)"--ca", (char *)"", (char *)"--token",
                    (char *)(uintptr_t)token, (char *)"--limit", (char *)"40s", NULL};
    char *env[] = {name, uid, (char *)"POD_NAMESPACE=team", (char *)"POD_IP=127.0.0.1", (char *)"NODE_NAME=node-x",
                   (char *)"PATH=/bin:/usr/bin", NULL};

    snprintf(name, sizeof(name), "POD_NAME=train-%d", i);
    snprintf(uid, sizeof(uid), "POD_UID=uid-%d", i);
    if (i < PODS) {
        static char nodes[PODS][24];

        snprintf(nodes[i], sizeof(nodes[i]), "NODE_NAME=node-%c", 'a' + i);
        env[4] = nodes[i];
    }
    posix_spawn_file_actions_init(&files);
    if (told)
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, told, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(posix_spawn(&stage->pids[i], stage->program, &files, NULL, argv, env), 0);
    posix_spawn_file_actions_destroy(&files);
}

static void start_pod(struct stage *stage, int i, const char *token)
{
    start_telling_pod(stage, i, token, NULL);
}

/* Until the file has that in it, and all of it is in ret. */
static void wait_for_line(const char *path, const char *part, int seconds, char *ret, size_t size)
{
    int64_t end = now_ns() + seconds * SECOND;

    do {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, ret, size - 1) : 0;

        ret[n > 0 ? n : 0] = '\0';
        if (fd >= 0)
            close(fd);
        if (strstr(ret, part))
            return;
        usleep(20000);
    } while (now_ns() < end);
    fail_msg("'%s' was not told, but '%s'", part, ret);
}

/* The exit code of the pod's probe; fails when it does not end in time. */
static int end_of_pod(struct stage *stage, int i, int seconds)
{
    int64_t end = now_ns() + seconds * SECOND;
    int status;

    while (waitpid(stage->pids[i], &status, WNOHANG) == 0) {
        if (now_ns() > end)
            fail_msg("the probe of pod %d has not ended", i);
        usleep(10000);
    }
    stage->pids[i] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void wait_for_verdict(struct stage *stage, int n, int seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&stage->lock);
    while (stage->verdicts < n)
        if (pthread_cond_timedwait(&stage->told, &stage->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&stage->lock);
    if (stage->verdicts != n)
        fail_msg("%d verdicts, expected %d", stage->verdicts, n);
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

static void a_gang_is_measured(void **state)
{
    struct stage *stage = *state;

    expect_gang(stage, 1, false, 30 * SECOND, 0);
    for (int i = 0; i < PODS; i++)
        start_pod(stage, i, stage->secret);
    wait_for_verdict(stage, 1, 40);
    assert_int_equal(stage->result.verdict, VERDICT_UNKNOWN); /* nothing was foretold */
    assert_true(stage->result.measured_gb_s > 0);
    assert_int_equal(stage->result.ranks, PODS);
    assert_string_equal(stage->result.gang.name, "train");
    assert_string_equal(stage->result.backend, "tcp");
    for (int i = 0; i < PODS; i++)
        assert_int_equal(end_of_pod(stage, i, 10), 0);
}

static void a_gate_holds_a_slow_gang_and_lets_it_go(void **state)
{
    struct stage *stage = *state;
    int64_t told;

    expect_gang(stage, 1, true, 30 * SECOND, 100000); /* no machine is so fast */
    for (int i = 0; i < PODS; i++)
        start_pod(stage, i, stage->secret);
    wait_for_verdict(stage, 1, 40);
    told = now_ns();
    assert_int_equal(stage->result.verdict, VERDICT_SLOW);
    assert_true(stage->result.hold);
    for (int i = 0; i < PODS; i++)
        assert_int_equal(end_of_pod(stage, i, 15), 0);
    assert_true(now_ns() - told > SECOND / 2);
}

static void who_never_comes_is_named(void **state)
{
    struct stage *stage = *state;

    expect_gang(stage, 1, false, 4 * SECOND, 0);
    start_pod(stage, 0, stage->secret);
    start_pod(stage, 2, stage->secret);
    wait_for_verdict(stage, 1, 20);
    assert_int_equal(stage->result.verdict, VERDICT_INFRASTRUCTURE);
    if (!strstr(stage->result.message, "train-1"))
        fail_msg("'%s' does not name train-1", stage->result.message);
    assert_int_equal(end_of_pod(stage, 0, 10), 0);
    assert_int_equal(end_of_pod(stage, 2, 10), 0);
}

static void who_waits_is_told_at_what_another_pod_waits(void **state)
{
    struct stage *stage = *state;
    char told[96], text[4096];

    snprintf(told, sizeof(told), "%s/told", stage->folder);
    expect_gang(stage, 1, false, 30 * SECOND, 0);
    start_telling_pod(stage, 0, stage->secret, told);
    start_pod(stage, 2, stage->secret);
    wait_for_line(told, "waiting: 2 of 3 ranks are there; missing: rank 1 (pod train-1 on node-b)", 20, text, sizeof(text));
    probe_service_pod_state(stage->service, "uid-1", "container data: ErrImagePull");
    wait_for_line(told, "missing: rank 1 (pod train-1 on node-b: container data: ErrImagePull)", 10, text, sizeof(text));
    probe_service_pod_state(stage->service, "uid-of-nobody", "container data: ErrImagePull");
    start_pod(stage, 1, stage->secret);
    wait_for_verdict(stage, 1, 40);
    assert_int_equal(stage->result.verdict, VERDICT_UNKNOWN);
    for (int i = 0; i < PODS; i++)
        assert_int_equal(end_of_pod(stage, i, 10), 0);
    wait_for_line(told, " of CPU time", 1, text, sizeof(text));
    unlink(told);
}

static void a_probe_that_is_killed_holds_nobody(void **state)
{
    struct stage *stage = *state;

    bytes_max = 64 << 20; /* it takes some seconds then */
    expect_gang(stage, 1, false, 8 * SECOND, 0);
    bytes_max = 1 << 20;
    for (int i = 0; i < PODS; i++)
        start_pod(stage, i, stage->secret);
    usleep(800000); /* they measure, or come together still: one is missed either way */
    kill(stage->pids[1], SIGKILL);
    assert_int_equal(end_of_pod(stage, 1, 5), -1);
    wait_for_verdict(stage, 1, 30);
    for (int i = 0; i < PODS; i += 2)
        assert_int_equal(end_of_pod(stage, i, 15), 0);
}

static void a_restarted_coordinator_goes_on(void **state)
{
    struct stage *stage = *state;
    char address[32];

    expect_gang(stage, 1, false, 30 * SECOND, 0);
    start_pod(stage, 0, stage->secret);
    start_pod(stage, 1, stage->secret);
    usleep(1500000);
    snprintf(address, sizeof(address), "%s", stage->address);
    probe_service_stop(stage->service);
    stage->service = NULL;
    usleep(500000);
    start_service(stage, address, 2);
    expect_gang(stage, 1, false, 30 * SECOND, 0);
    start_pod(stage, 2, stage->secret);
    wait_for_verdict(stage, 1, 40);
    assert_int_equal(stage->result.verdict, VERDICT_UNKNOWN);
    for (int i = 0; i < PODS; i++)
        assert_int_equal(end_of_pod(stage, i, 10), 0);
}

static void strangers_are_refused(void **state)
{
    struct stage *stage = *state;

    expect_gang(stage, 1, false, 3 * SECOND, 0);
    start_pod(stage, 0, stage->wrong);
    assert_int_equal(end_of_pod(stage, 0, 10), 0); /* refused, and the pod starts */
    wait_for_verdict(stage, 1, 20);
    assert_int_equal(stage->result.verdict, VERDICT_INFRASTRUCTURE);
}

static struct rpc_channel *channel_to(const struct stage *stage)
{
    const struct rpc_channel_options options = {.target = stage->address, .token_file = stage->secret};
    struct rpc_channel *channel = NULL;
    struct err err = ERR_INIT;

    if (rpc_channel_new(&options, &channel, &err) < 0)
        fail_msg("%s", err.text);
    return channel;
}

static enum rpc_status report(struct rpc_channel *channel, const void *bytes, size_t len)
{
    struct rpc_bytes answer = {0};
    struct err err = ERR_INIT;
    enum rpc_status status = rpc_unary(channel, REPORT, bytes, len, (uint64_t)(now_ns() + 5 * SECOND), &answer, &err);

    rpc_bytes_release(&answer);
    return status;
}

static void malformed_reports_are_refused_and_counted(void **state)
{
    struct stage *stage = *state;
    struct rpc_channel *channel = channel_to(stage);
    struct strbuf metrics = STRBUF_INIT(1 << 20);
    char *large = calloc(1, PROBE_REQUEST_MAX + 1);

    assert_non_null(large);
    assert_int_equal(report(channel, "\xff\xff\xff", 3), RPC_INVALID_ARGUMENT);
    assert_int_equal(report(channel, "\x12\x02\xc3\x28", 4), RPC_INVALID_ARGUMENT); /* pod: no UTF-8 */
    assert_int_equal(report(channel, "", 0), RPC_INVALID_ARGUMENT);
    assert_int_equal(report(channel, large, PROBE_REQUEST_MAX + 1), RPC_RESOURCE_EXHAUSTED);
    free(large);
    rpc_channel_free(channel);
    probe_service_metrics(stage->service, &metrics);
    if (!strstr(metrics.data, "lockstep_probe_refused_total{why=\"malformed\"} 3"))
        fail_msg("%s", metrics.data);
    strbuf_release(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(malformed_reports_are_refused_and_counted, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(a_gang_is_measured, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(a_gate_holds_a_slow_gang_and_lets_it_go, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(who_never_comes_is_named, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(who_waits_is_told_at_what_another_pod_waits, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(a_probe_that_is_killed_holds_nobody, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(a_restarted_coordinator_goes_on, open_stage, close_stage),
        cmocka_unit_test_setup_teardown(strangers_are_refused, open_stage, close_stage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
