/*
 * A plain full-duplex socket copy between two pods (tests/bench/collective/copy.h), for
 * tests/cluster/probe.sh: what the probe's all-reduce between the same pods is held against. And,
 * in turns with the copies, an all-reduce of the probe's tcp backend by these very processes, as
 * what a machine has to do besides changes from second to second.
 *
 *   socket-copy PORT PEER MIB ROUNDS
 *
 * Both listen on PORT and connect to PEER's; PEER is an IPv4 address or @FILE with one, which may
 * be there later. Prints medians, of the slower of both.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "collective/measure_stats.h"
#include "collective/tcp_internal.h"
#include "tests/bench/collective/copy.h"

#define ROUNDS_MAX 100
#define PATIENCE_NS UINT64_C(90000000000)

static int failed(const char *what)
{
    fprintf(stderr, "socket-copy: %s (%s)\n", what, strerror(errno));
    return 1;
}

/* ---- the connections
 * --------------------------------------------------------------------------------------- */

static int read_peer(const char *peer, struct in_addr *ret)
{
    char text[INET_ADDRSTRLEN + 1] = "";
    FILE *file;

    if (peer[0] != '@')
        return inet_pton(AF_INET, peer, ret) == 1;
    file = fopen(peer + 1, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%16[0-9.]", text) != 1)
        text[0] = '\0';
    fclose(file);
    return inet_pton(AF_INET, text, ret) == 1;
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in any = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 1) < 0)
        return -1;
    return fd;
}

static int connect_to(const char *peer, uint16_t port, uint64_t deadline_ns)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    for (; tcp_now_ns() < deadline_ns; usleep(50000)) {
        int fd;

        if (!read_peer(peer, &to.sin_addr))
            continue;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        if (fd >= 0)
            close(fd);
    }
    errno = ETIMEDOUT;
    return -1;
}

static int prepare(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int open_way(const char *peer, uint16_t port, struct copy_way *way)
{
    int listener = listen_on(port);

    if (listener < 0)
        return failed("listen");
    way->out = connect_to(peer, port, way->deadline_ns);
    if (way->out < 0)
        return failed("connect");
    way->in = accept(listener, NULL, NULL);
    close(listener);
    return way->in < 0 || prepare(way->out) < 0 || prepare(way->in) < 0 ? failed("accept") : 0;
}

/* ---- the backend ----------------------------------------------------------------------------- */

struct bench {
    struct copy_way way;
    struct backend_rank *ring;
    struct err err;
};

/* Each gives the other as many bytes. */
static int swap(const struct copy_way *way, const void *mine, void *theirs, size_t size)
{
    const struct copy_kind whole = {"", size, 0};
    struct copy_way note = *way;

    note.from = mine;
    note.into = theirs;
    note.bytes = note.total = size;
    return copy_once(&note, &whole);
}

/* The lower address is rank 0. */
static int open_ring(struct bench *bench)
{
    struct sockaddr_in own = {0}, peer = {0};
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
    struct backend_options options = {.ranks = 2, .bytes_max = bench->way.bytes};
    struct backend_address addresses[2] = {0};
    struct backend_info info;
    char host[INET_ADDRSTRLEN] = "";

    if (getsockname(bench->way.out, (struct sockaddr *)&own, &own_len) < 0 ||
        getpeername(bench->way.out, (struct sockaddr *)&peer, &peer_len) < 0)
        return failed("addresses");
    inet_ntop(AF_INET, &own.sin_addr, host, sizeof(host));
    options.host = host;
    options.rank = ntohl(own.sin_addr.s_addr) > ntohl(peer.sin_addr.s_addr);
    if (backend_tcp.open(&options, &bench->ring, &info, &bench->err) < 0 ||
        backend_tcp.address(bench->ring, &addresses[options.rank], &bench->err) < 0)
        return failed(bench->err.text);
    if (swap(&bench->way, &addresses[options.rank], &addresses[!options.rank],
             sizeof(addresses[0])) < 0)
        return failed("swap");
    if (backend_tcp.connect(bench->ring, addresses, bench->way.deadline_ns, &bench->err) < 0)
        return failed(bench->err.text);
    return 0;
}

/* ---- timing ---------------------------------------------------------------------------------- */

/* Both have the longer time, and begin what comes next together. */
static int longer(const struct copy_way *way, double *seconds)
{
    double other = 0;

    if (swap(way, seconds, &other, sizeof(other)) < 0)
        return -1;
    *seconds = *seconds > other ? *seconds : other;
    return 0;
}

#define ALL_REDUCE COPIES /* after the kinds of copies */

static int time_one(struct bench *bench, size_t which, double *ret)
{
    double seconds = 0;
    uint64_t start;
    int r;

    if (longer(&bench->way, &seconds) < 0)
        return -1;
    start = tcp_now_ns();
    if (which == ALL_REDUCE)
        r = backend_tcp.run(bench->ring, OP_ALL_REDUCE, bench->way.bytes, 1, &seconds,
                            bench->way.deadline_ns, &bench->err);
    else
        r = copy_once(&bench->way, &copy_kinds[which]);
    if (r < 0)
        return -1;
    if (which != ALL_REDUCE)
        seconds = (double)(tcp_now_ns() - start) * 1e-9;
    if (longer(&bench->way, &seconds) < 0)
        return -1;
    *ret = seconds;
    return 0;
}

static int do_rounds(struct bench *bench, unsigned rounds)
{
    static double seconds[COPIES + 1][ROUNDS_MAX];
    double memory = 0, cache = 0, gb = (double)bench->way.total * 1e-9; /* of 2 ranks: as many */

    for (unsigned round = 0; round <= rounds; round++) /* the first warms up */
        for (size_t i = 0; i <= COPIES; i++)
            if (time_one(bench, i, &seconds[i][round ? round - 1 : 0]) < 0)
                return failed(bench->err.text[0] ? bench->err.text : "copy");
    for (size_t i = 0; i < COPIES; i++) {
        double gb_s = gb / stats_median(seconds[i], rounds);
        double *best = copy_kinds[i].buffer ? &cache : &memory;

        printf("%s: %.3f GB/s each way\n", copy_kinds[i].name, gb_s);
        *best = gb_s > *best ? gb_s : *best;
    }
    printf("socket_copy.memory: %.4f GB/s\nsocket_copy.cache: %.4f GB/s\n"
           "socket_copy.all_reduce: %.4f GB/s\n",
           memory, cache, gb / stats_median(seconds[ALL_REDUCE], rounds));
    return 0;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct copy_way *way = &bench.way;
    uint64_t port, mib, rounds;
    uint32_t *from, *into;
    struct err err = ERR_INIT;

    if (argc != 5 || parse_u64(argv[1], strlen(argv[1]), UINT16_MAX, &port) < 0 ||
        parse_u64(argv[3], strlen(argv[3]), 1024, &mib) < 0 || mib == 0 ||
        parse_u64(argv[4], strlen(argv[4]), ROUNDS_MAX - 1, &rounds) < 0 || rounds == 0) {
        fprintf(stderr, "usage: socket-copy PORT PEER|@FILE MIB ROUNDS\n");
        return 2;
    }
    way->deadline_ns = tcp_now_ns() + PATIENCE_NS;
    way->bytes = way->total = (size_t)mib << 20;
    if (tcp_buffer(way->bytes, &from, &err) < 0 || tcp_buffer(way->bytes, &into, &err) < 0) {
        fprintf(stderr, "socket-copy: %s\n", err.text);
        return 1;
    }
    memset(from, 1, way->bytes);
    memset(into, 2, way->bytes);
    way->from = (const uint8_t *)from;
    way->into = (uint8_t *)into;
    if (open_way(argv[2], (uint16_t)port, way) != 0 || open_ring(&bench) != 0 ||
        do_rounds(&bench, (unsigned)rounds) != 0)
        return 1;
    backend_tcp.close(bench.ring, false);
    return 0;
}
