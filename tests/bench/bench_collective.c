/*
 * The tcp backend beside plain socket copies between the same processes, in turns within one run:
 * rank r sends to r + 1 and receives from r - 1 as many bytes as the bus carries in an all-reduce,
 * both at once, over one connection per direction (collective/copy.h).
 *
 *   bench_collective RANKS STREAMS MIB ROUNDS [NETNS...]
 *
 * NETNS: a file per rank as of `ip netns`, with a host address after a comma: /run/netns/a,10.0.0.1
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collective/measure_stats.h"
#include "collective/tcp_internal.h"
#include "tests/bench/collective/copy.h"

#define RANKS_MAX 16
#define ROUNDS_MAX 200
#define OPS 3 /* per round and contender */

struct shared {
    struct backend_address addresses[RANKS_MAX];
    volatile unsigned arrived;
    double copy[COPIES][ROUNDS_MAX], reduce[ROUNDS_MAX], gather[ROUNDS_MAX], agree[ROUNDS_MAX];
    double cpu_s[RANKS_MAX], copy_cpu_s[COPIES], reduce_cpu_s; /* rank 0's of the contenders */
};

struct bench {
    unsigned ranks, streams, rounds, rank;
    uint64_t bytes;
    struct shared *shared;
    struct backend_rank *opened;
    uint32_t *from, *into;
    uint64_t deadline_ns;
    struct err err;
};

static int failed(const struct bench *bench, const char *what)
{
    fprintf(stderr, "bench_collective: rank %u: %s: %s\n", bench->rank, what,
            bench->err.text[0] ? bench->err.text : strerror(errno));
    return 1;
}

/* The ring's own connections: the same path, and idle between ops. */
static struct copy_way way_of(const struct bench *bench)
{
    const struct tcp_rank *tcp = (const struct tcp_rank *)bench->opened;
    unsigned next = (bench->rank + 1) % bench->ranks,
             before = (bench->rank + bench->ranks - 1) % bench->ranks;

    return (struct copy_way){
        .out = tcp_fd(tcp, next, TCP_OUT, 0),
        .in = tcp_fd(tcp, before, TCP_IN, 0),
        .from = (const uint8_t *)bench->from,
        .into = (uint8_t *)bench->into,
        .bytes = (size_t)bench->bytes,
        .total = (size_t)((double)bench->bytes * op_bus_factor(OP_ALL_REDUCE, bench->ranks)),
        .deadline_ns = bench->deadline_ns};
}

static int longest(struct bench *bench, double *seconds, unsigned n)
{
    return backend_tcp.agree(bench->opened, seconds, n, bench->deadline_ns, &bench->err);
}

static int time_copies(struct bench *bench, size_t which, double *ret)
{
    const struct copy_way way = way_of(bench);
    double seconds[OPS];

    for (unsigned i = 0; i < OPS; i++) {
        uint64_t start = tcp_now_ns();

        if (copy_once(&way, &copy_kinds[which]) < 0)
            return -1;
        seconds[i] = (double)(tcp_now_ns() - start) * 1e-9;
    }
    if (longest(bench, seconds, OPS) < 0)
        return -1;
    *ret = stats_median(seconds, OPS);
    return 0;
}

static int time_op(struct bench *bench, enum collective_op op, uint64_t bytes, double *ret)
{
    double seconds[OPS];

    if (backend_tcp.run(bench->opened, op, bytes, OPS, seconds, bench->deadline_ns, &bench->err) <
            0 ||
        longest(bench, seconds, OPS) < 0)
        return -1;
    *ret = stats_median(seconds, OPS);
    return 0;
}

static int time_agree(struct bench *bench, double *ret)
{
    uint64_t start = tcp_now_ns();
    double value = 0;

    for (unsigned i = 0; i < 100; i++)
        if (longest(bench, &value, 1) < 0)
            return -1;
    *ret = (double)(tcp_now_ns() - start) * 1e-11;
    return 0;
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static int do_rounds(struct bench *bench)
{
    struct shared *shared = bench->shared;

    for (unsigned round = 0; round < bench->rounds + 1; round++) {
        unsigned at = round ? round - 1 : 0; /* the first warms up */
        double copy[COPIES], reduce, gather, agree;

        double used = cpu_s();

        for (size_t i = 0; i < COPIES; i++) {
            if (time_copies(bench, i, &copy[i]) < 0)
                return -1;
            if (bench->rank == 0)
                shared->copy_cpu_s[i] += cpu_s() - used;
            used = cpu_s();
        }
        if (time_op(bench, OP_ALL_REDUCE, bench->bytes, &reduce) < 0)
            return -1;
        if (bench->rank == 0)
            shared->reduce_cpu_s += cpu_s() - used;
        if (time_op(bench, OP_ALL_GATHER, bench->bytes, &gather) < 0 ||
            time_agree(bench, &agree) < 0)
            return -1;
        if (bench->rank != 0)
            continue;
        for (size_t i = 0; i < COPIES; i++)
            shared->copy[i][at] = copy[i];
        shared->reduce[at] = reduce;
        shared->gather[at] = gather;
        shared->agree[at] = agree;
    }
    return 0;
}

static int enter(char *place, const char **ret_host)
{
    char *comma = strchr(place, ',');
    int fd, r;

    if (!comma)
        return -1;
    *comma = '\0';
    *ret_host = comma + 1;
    fd = open(place, O_RDONLY | O_CLOEXEC);
    r = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
    if (fd >= 0)
        close(fd);
    return r;
}

static int be_rank(struct bench *bench, char *place)
{
    struct backend_options options = {.rank = bench->rank,
                                      .ranks = bench->ranks,
                                      .streams = bench->streams,
                                      .host = "127.0.0.1",
                                      .bytes_max = bench->bytes};
    struct backend_info info;

    if (place && enter(place, &options.host) < 0)
        return failed(bench, place);
    if (tcp_buffer(bench->bytes, &bench->from, &bench->err) < 0 ||
        tcp_buffer(bench->bytes, &bench->into, &bench->err) < 0)
        return failed(bench, "memory");
    memset(bench->from, 1, bench->bytes);
    memset(bench->into, 2, bench->bytes);
    bench->deadline_ns = tcp_now_ns() + 300000000000u;
    if (backend_tcp.open(&options, &bench->opened, &info, &bench->err) < 0)
        return failed(bench, "open");
    backend_tcp.address(bench->opened, &bench->shared->addresses[bench->rank], NULL);
    __atomic_add_fetch(&bench->shared->arrived, 1, __ATOMIC_SEQ_CST);
    while (bench->shared->arrived < bench->ranks)
        usleep(1000);
    if (backend_tcp.connect(bench->opened, bench->shared->addresses, bench->deadline_ns,
                            &bench->err) < 0)
        return failed(bench, "connect");
    if (do_rounds(bench) < 0)
        return failed(bench, "rounds");
    bench->shared->cpu_s[bench->rank] = cpu_s();
    backend_tcp.close(bench->opened, false);
    return 0;
}

static void report(const struct bench *bench)
{
    const struct shared *shared = bench->shared;
    double reduce = stats_median(shared->reduce, bench->rounds), best = 1e9, cached = 1e9;
    double bus = (double)bench->bytes * op_bus_factor(OP_ALL_REDUCE, bench->ranks);
    double gather = stats_median(shared->gather, bench->rounds);

    for (size_t i = 0; i < COPIES; i++) {
        double copy = stats_median(shared->copy[i], bench->rounds);

        fprintf(stderr, "copy %-32s %8.2f ms  %6.2f GB/s each way  %6.3f CPU s per GB\n",
                copy_kinds[i].name, copy * 1e3, bus / copy * 1e-9,
                shared->copy_cpu_s[i] / (bus * 1e-9 * OPS * (bench->rounds + 1)));
        if (copy_kinds[i].buffer)
            cached = copy;
        else
            best = copy < best ? copy : best;
    }
    fprintf(stderr, "%-37s %8.2f ms  %6.2f GB/s busbw     %6.3f CPU s per GB\n", "all_reduce",
            reduce * 1e3, bus / reduce * 1e-9,
            shared->reduce_cpu_s / (bus * 1e-9 * OPS * (bench->rounds + 1)));
    fprintf(stderr, "%-37s %8.2f ms  %6.2f GB/s busbw\n", "all_gather", gather * 1e3,
            bus / 2 / gather * 1e-9);
    fprintf(stderr, "%-37s %8.1f us\n", "agree (8 bytes)",
            stats_median(shared->agree, bench->rounds) * 1e6);
    printf("%.3f %.3f %.3f\n", best / reduce, cached / reduce, best / 2 / gather);
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    int status, bad = 0;

    if (argc < 5)
        return 2;
    bench.ranks = (unsigned)strtoul(argv[1], NULL, 10);
    bench.streams = (unsigned)strtoul(argv[2], NULL, 10);
    bench.bytes = op_round_bytes(strtoull(argv[3], NULL, 10) << 20, bench.ranks ? bench.ranks : 1);
    bench.rounds = (unsigned)strtoul(argv[4], NULL, 10);
    if (bench.ranks < 2 || bench.ranks > RANKS_MAX || bench.rounds < 1 || bench.rounds > ROUNDS_MAX)
        return 2;
    bench.shared = mmap(NULL, sizeof(*bench.shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench.shared == MAP_FAILED)
        return failed(&bench, "memory");
    for (bench.rank = 0; bench.rank < bench.ranks; bench.rank++)
        if (fork() == 0)
            return be_rank(&bench, (int)bench.rank + 5 < argc ? argv[bench.rank + 5] : NULL);
    while (wait(&status) > 0)
        bad = bad || status != 0;
    if (!bad)
        report(&bench);
    return bad;
}
