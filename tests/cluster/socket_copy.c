/*
 * A plain full-duplex socket copy between two pods (tests/bench/collective/copy.h), for
 * tests/cluster/probe.sh: what the probe's all-reduce between the same pods is held against.
 *
 *   socket-copy PORT PEER MIB ROUNDS
 *
 * Both listen on PORT and connect to PEER's; PEER is an IPv4 address or @FILE with one, which may
 * be there later. Prints the median of the best way from memory to memory, and of the one within
 * the cache, of the slower of both.
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
    fprintf(stderr, "socket-copy: %s: %s\n", what, strerror(errno));
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

/* ---- timing
 * ------------------------------------------------------------------------------------------------
 */

/* Each tells the other its time, and both have the longer one; and they begin what comes next
 * together. */
static int longer(const struct copy_way *way, double *seconds)
{
    static const struct copy_kind whole = {"", sizeof(double), 0};
    double other = 0;
    struct copy_way note = *way;

    note.from = (const uint8_t *)seconds;
    note.into = (uint8_t *)&other;
    note.bytes = note.total = sizeof(double);
    if (copy_once(&note, &whole) < 0)
        return -1;
    *seconds = *seconds > other ? *seconds : other;
    return 0;
}

static int time_kind(const struct copy_way *way, const struct copy_kind *kind, double *ret)
{
    double seconds = 0;
    uint64_t start;

    if (longer(way, &seconds) < 0)
        return -1;
    start = tcp_now_ns();
    if (copy_once(way, kind) < 0)
        return -1;
    seconds = (double)(tcp_now_ns() - start) * 1e-9;
    if (longer(way, &seconds) < 0)
        return -1;
    *ret = seconds;
    return 0;
}

static int do_rounds(const struct copy_way *way, unsigned rounds)
{
    static double seconds[COPIES][ROUNDS_MAX];
    double memory = 0, cache = 0;

    for (unsigned round = 0; round <= rounds; round++) /* the first warms up */
        for (size_t i = 0; i < COPIES; i++)
            if (time_kind(way, &copy_kinds[i], &seconds[i][round ? round - 1 : 0]) < 0)
                return failed("copy");
    for (size_t i = 0; i < COPIES; i++) {
        double gb_s = (double)way->total * 1e-9 / stats_median(seconds[i], rounds);
        double *best = copy_kinds[i].buffer ? &cache : &memory;

        printf("%s: %.3f GB/s each way\n", copy_kinds[i].name, gb_s);
        *best = gb_s > *best ? gb_s : *best;
    }
    printf("socket_copy.memory: %.4f GB/s\nsocket_copy.cache: %.4f GB/s\n", memory, cache);
    return 0;
}

int main(int argc, char **argv)
{
    struct copy_way way = {.deadline_ns = tcp_now_ns() + PATIENCE_NS};
    uint64_t port, mib, rounds;
    uint32_t *from, *into;
    struct err err = ERR_INIT;

    if (argc != 5 || parse_u64(argv[1], strlen(argv[1]), UINT16_MAX, &port) < 0 ||
        parse_u64(argv[3], strlen(argv[3]), 1024, &mib) < 0 || mib == 0 ||
        parse_u64(argv[4], strlen(argv[4]), ROUNDS_MAX - 1, &rounds) < 0 || rounds == 0) {
        fprintf(stderr, "usage: socket-copy PORT PEER|@FILE MIB ROUNDS\n");
        return 2;
    }
    way.bytes = way.total = (size_t)mib << 20;
    if (tcp_buffer(way.bytes, &from, &err) < 0 || tcp_buffer(way.bytes, &into, &err) < 0) {
        fprintf(stderr, "socket-copy: %s\n", err.text);
        return 1;
    }
    memset(from, 1, way.bytes);
    memset(into, 2, way.bytes);
    way.from = (const uint8_t *)from;
    way.into = (uint8_t *)into;
    return open_way(argv[2], (uint16_t)port, &way) != 0 || do_rounds(&way, (unsigned)rounds) != 0;
}
