/*
 * What bringing ranks together costs, without and with payload, all on this machine over loopback:
 *
 *   bench_probe RANKS PROCESSES   RANKS pods of one rank join one service from so many processes, are started, and report
 *                                 made-up numbers: the time from the last join to the verdict, memory, descriptors
 *   bench_probe two PROGRAM       two real probes (lockstep-probe), from their start to the verdict
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/rpc.h"
#include "collective/probe_service.h"

#define SECRET "bench"
#define TOKEN_FILE "/tmp/lockstep-bench-probe.token"
#define RANKS_MAX 10000
#define PROCESSES_MAX 8
#define SECOND INT64_C(1000000000)

extern char **environ;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static void name_of(uint32_t rank, char pod[24], char uid[24])
{
    snprintf(pod, 24, "pod-%u", rank);
    snprintf(uid, 24, "uid-%u", rank);
}

/* ---- the clients -------------------------------------------------------------------------------------------- */

struct client {
    struct rpc_stream *stream;
    uint32_t rank;
    bool reported, over;
};

static struct rpc_channel *channel;

static int join(struct client *client)
{
    static struct probe_join join;
    struct strbuf bytes = STRBUF_INIT(PROBE_REQUEST_MAX);
    int r;

    memset(&join, 0, sizeof(join));
    name_of(client->rank, join.pod, join.pod_uid);
    snprintf(join.node, sizeof(join.node), "node-%u", client->rank);
    snprintf(join.backend, sizeof(join.backend), "tcp");
    join.first_rank = -1;
    join.devices = 1;
    join.process = join.attempt = 1;
    join.addresses[0].len = 26; /* as of tcp with IPv4 */
    r = probe_join_encode(&join, &bytes, NULL);
    if (r == 0)
        r = rpc_stream_open(channel, "/lockstep.probe.v1.Probe/Join", bytes.data, bytes.len, 0, &client->stream, NULL);
    strbuf_release(&bytes);
    return r;
}

static int report(struct client *client, const struct probe_order *order)
{
    static struct probe_report report;
    struct strbuf bytes = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct rpc_bytes answer = {0};
    struct err err = ERR_INIT;
    enum rpc_status status;

    memset(&report, 0, sizeof(report));
    name_of(client->rank, report.pod, report.pod_uid);
    snprintf(report.node, sizeof(report.node), "node-%u", client->rank);
    snprintf(report.backend, sizeof(report.backend), "tcp");
    snprintf(report.transport, sizeof(report.transport), "socket");
    report.first_rank = report.rank = client->rank;
    report.devices = 1;
    report.process = 1;
    report.start_id = order->start.start_id;
    report.round = order->start.round;
    report.outcome = PROBE_OUTCOME_OK;
    report.busbw_gb_s = 1;
    if (probe_report_encode(&report, &bytes, &err) < 0) {
        fprintf(stderr, "bench_probe: %s\n", err.text);
        return -1;
    }
    status = rpc_unary(channel, "/lockstep.probe.v1.Probe/Report", bytes.data, bytes.len,
                       (uint64_t)(now_ns() + 60 * SECOND), &answer, &err);
    strbuf_release(&bytes);
    rpc_bytes_release(&answer);
    if (status != RPC_OK)
        fprintf(stderr, "bench_probe: rank %u: %s\n", client->rank, err.text);
    client->reported = true;
    return status == RPC_OK ? 0 : -1;
}

static int on_message(struct client *client, const struct rpc_bytes *message)
{
    static struct probe_order order;
    struct err err = ERR_INIT;
    uint32_t first_rank;
    int r = probe_order_decode(message->data, message->len, &order, &first_rank, &err);

    if (r < 0)
        fprintf(stderr, "bench_probe: %s\n", err.text);
    if (r == 0 && order.kind == PROBE_START && !client->reported)
        r = report(client, &order);
    client->over = r == 0 && order.kind == PROBE_VERDICT;
    probe_order_release(&order);
    return r;
}

static int read_one(struct client *client)
{
    struct rpc_bytes message = {0};
    struct err err = ERR_INIT;
    enum rpc_status status;
    int r = 0;

    while (r == 0 && !client->over)
        switch (rpc_stream_next(client->stream, &message, &status, &err)) {
        case RPC_NEXT_NOTHING:
            return 0;
        case RPC_NEXT_MESSAGE:
            r = on_message(client, &message);
            rpc_bytes_release(&message);
            break;
        default:
            fprintf(stderr, "bench_probe: rank %u: %s\n", client->rank, err.text);
            return -1;
        }
    return r;
}

static int serve_clients(struct client *clients, uint32_t n)
{
    struct pollfd *fds = calloc(n, sizeof(*fds));
    uint32_t left = n;
    int r = fds ? 0 : -1;

    while (r == 0 && left > 0) {
        left = 0;
        for (uint32_t i = 0; i < n; i++) {
            fds[i] = (struct pollfd){.fd = clients[i].over ? -1 : rpc_stream_fd(clients[i].stream), .events = POLLIN};
            left += !clients[i].over;
        }
        if (left > 0 && poll(fds, n, 60000) <= 0)
            r = -1;
        for (uint32_t i = 0; i < n && r == 0; i++)
            if (fds[i].revents)
                r = read_one(&clients[i]);
    }
    free(fds);
    return r;
}

static int be_clients(const char *address, uint32_t first, uint32_t n)
{
    const struct rpc_channel_options options = {.target = address, .token_file = TOKEN_FILE};
    struct client *clients = calloc(n, sizeof(*clients));
    struct err err = ERR_INIT;
    int r = clients ? rpc_channel_new(&options, &channel, &err) : -ENOMEM;

    for (uint32_t i = 0; i < n && r == 0; i++) {
        clients[i].rank = first + i;
        r = join(&clients[i]);
    }
    if (r == 0)
        r = serve_clients(clients, n);
    for (uint32_t i = 0; clients && i < n; i++)
        rpc_stream_free(clients[i].stream);
    rpc_channel_free(channel);
    free(clients);
    return r == 0 ? 0 : 1;
}

/* ---- the service -------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static struct coordinator_result result;
static bool has_result;
static long rss_mib;
static unsigned descriptors;

static long memory_mib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static unsigned count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned n = 0;

    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n;
}

static void on_verdict(void *context, const struct coordinator_result *from)
{
    (void)context;
    pthread_mutex_lock(&lock);
    result = *from;
    has_result = true;
    rss_mib = memory_mib();
    descriptors = count_descriptors();
    pthread_cond_signal(&told);
    pthread_mutex_unlock(&lock);
}

static int expect(struct probe_service *service, uint32_t ranks)
{
    struct coordinator_pod *pods = calloc(ranks, sizeof(*pods));
    char (*texts)[2][24] = calloc(ranks, sizeof(*texts)), (*nodes)[24] = calloc(ranks, sizeof(*nodes));
    struct coordinator_gang gang = {.id = {.ns = "bench", .name = "bench", .generation = 1}, .pods = pods,
                                    .npods = ranks, .deadline_ns = now_ns() + 120 * SECOND,
                                    .plan = {.op = "all_reduce", .bytes_max = 64 << 20}};
    struct err err = ERR_INIT;
    int r = pods && texts && nodes ? 0 : -1;

    for (uint32_t i = 0; i < ranks && r == 0; i++) {
        name_of(i, texts[i][0], texts[i][1]);
        snprintf(nodes[i], sizeof(nodes[i]), "node-%u", i);
        pods[i] = (struct coordinator_pod){texts[i][0], texts[i][1], nodes[i], i, 1};
    }
    if (r == 0)
        r = probe_service_expect(service, &gang, &err);
    if (r < 0)
        fprintf(stderr, "bench_probe: %s\n", err.text);
    free(pods);
    free(texts);
    free(nodes);
    return r;
}

static int spawn_clients(const char *address, uint32_t ranks, uint32_t processes, pid_t *pids)
{
    for (uint32_t i = 0, first = 0; i < processes; i++) {
        uint32_t n = (ranks - first) / (processes - i);
        char from[16], count[16];
        char *argv[] = {(char *)"bench_probe", (char *)"clients", (char *)(uintptr_t)address, from, count, NULL};

        snprintf(from, sizeof(from), "%u", first);
        snprintf(count, sizeof(count), "%u", n);
        if (posix_spawn(&pids[i], "/proc/self/exe", NULL, NULL, argv, environ) != 0)
            return -1;
        first += n;
    }
    return 0;
}

static int spawn_probes(const char *program, const char *address, pid_t *pids)
{
    for (unsigned i = 0; i < 2; i++) {
        char name[24], uid[24], pod[40], pod_uid[40], node[40];
        char *argv[] = {(char *)(uintptr_t)program, (char *)"--coordinator", (char *)(uintptr_t)address, (char *)"--ca",
                        (char *)"", (char *)"--token", (char *)TOKEN_FILE, NULL};
        char *env[] = {pod, pod_uid, node, (char *)"POD_NAMESPACE=bench", (char *)"POD_IP=127.0.0.1", NULL};

        name_of(i, name, uid);
        snprintf(pod, sizeof(pod), "POD_NAME=%s", name);
        snprintf(pod_uid, sizeof(pod_uid), "POD_UID=%s", uid);
        snprintf(node, sizeof(node), "NODE_NAME=node-%u", i);
        if (posix_spawn(&pids[i], program, NULL, NULL, argv, env) != 0)
            return -1;
    }
    return 0;
}

static int wait_for_result(void)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 130;
    pthread_mutex_lock(&lock);
    while (!has_result && r == 0)
        r = pthread_cond_timedwait(&told, &lock, &until);
    pthread_mutex_unlock(&lock);
    return has_result ? 0 : -1;
}

static int measure(uint32_t ranks, uint32_t processes, const char *program)
{
    const struct probe_service_options options = {.listen = "127.0.0.1:0", .secret = SECRET, .verdict = on_verdict,
                                                  .limits = {.epoch = 1}};
    struct probe_service *service = NULL;
    struct err err = ERR_INIT;
    pid_t pids[PROCESSES_MAX] = {0};
    int64_t began_ns;
    char address[32];
    int r = probe_service_start(&options, &service, &err);

    if (r < 0) {
        fprintf(stderr, "bench_probe: %s\n", err.text);
        return 1;
    }
    snprintf(address, sizeof(address), "127.0.0.1:%u", probe_service_port(service));
    r = expect(service, ranks);
    began_ns = now_ns();
    if (r == 0)
        r = program ? spawn_probes(program, address, pids) : spawn_clients(address, ranks, processes, pids);
    if (r == 0)
        r = wait_for_result();
    for (uint32_t i = 0; i < processes; i++) {
        int status = 0;

        if (pids[i] > 0 && (waitpid(pids[i], &status, 0) < 0 || status != 0))
            r = -1;
    }
    probe_service_stop(service);
    if (r < 0 || result.measured_gb_s <= 0) {
        fprintf(stderr, "bench_probe: %u ranks came to no result: %s\n", ranks, result.message);
        return 1;
    }
    fprintf(stderr, "%u ranks: all joined after %.3f s, verdict %.3f s later; %ld MiB, %u descriptors: %s\n", ranks,
            (double)(result.joined_ns - began_ns) / 1e9, (double)(result.ended_ns - result.joined_ns) / 1e9, rss_mib,
            descriptors, result.message);
    printf("%.4f %.4f %ld %u\n", (double)(result.ended_ns - result.joined_ns) / 1e9,
           (double)(result.ended_ns - began_ns) / 1e9, rss_mib, descriptors);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t a = 0, b = 0;
    int fd;

    log_set_level(LOG_ERROR);
    if (argc == 5 && strcmp(argv[1], "clients") == 0 && parse_u64(argv[3], strlen(argv[3]), RANKS_MAX, &a) == 0 &&
        parse_u64(argv[4], strlen(argv[4]), RANKS_MAX, &b) == 0)
        return be_clients(argv[2], (uint32_t)a, (uint32_t)b);
    fd = open(TOKEN_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, SECRET, strlen(SECRET)) < 0 || close(fd) < 0)
        return 1;
    if (argc == 3 && strcmp(argv[1], "two") == 0)
        return measure(2, 2, argv[2]);
    if (argc == 3 && parse_u64(argv[1], strlen(argv[1]), RANKS_MAX, &a) == 0 && a > 0 &&
        parse_u64(argv[2], strlen(argv[2]), PROCESSES_MAX, &b) == 0 && b > 0)
        return measure((uint32_t)a, (uint32_t)b, NULL);
    fprintf(stderr, "usage: bench_probe RANKS PROCESSES | two PROGRAM\n");
    return 2;
}
