/* A port for each pod, behind which is the coordinator's: bytes go through, stand still, or the
 * connection is cut. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/probe_faults/probe_faults.h"

#define PAIRS_MAX 64
#define HALF_BYTES 65536
#define FROZEN_MS 5 /* between looks at what is frozen */

struct half { /* one direction */
    int from, to;
    size_t at, len;
    bool ended; /* nothing more will come */
    char bytes[HALF_BYTES];
};

struct pair {
    unsigned pod;
    bool used;
    struct half halves[2];
};

struct proxy {
    unsigned pods, to_port, ports[PODS_MAX];
    int listeners[PODS_MAX];
    atomic_bool stopping, frozen[PODS_MAX], cut[PODS_MAX];
    pthread_t thread;
    struct pair pairs[PAIRS_MAX];
};

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void end_pair(struct pair *pair)
{
    close(pair->halves[0].from);
    close(pair->halves[0].to);
    pair->used = false;
}

static void end_pairs(struct proxy *proxy, unsigned pod)
{
    for (unsigned i = 0; i < PAIRS_MAX; i++)
        if (proxy->pairs[i].used && proxy->pairs[i].pod == pod)
            end_pair(&proxy->pairs[i]);
}

static void take_connection(struct proxy *proxy, unsigned pod)
{
    struct sockaddr_in to = loopback(proxy->to_port);
    int in = accept4(proxy->listeners[pod], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), out = -1;

    if (in >= 0)
        out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (unsigned i = 0; out >= 0 && i < PAIRS_MAX; i++) {
        struct pair *pair = &proxy->pairs[i];

        if (pair->used)
            continue;
        if (connect(out, (struct sockaddr *)&to, sizeof(to)) < 0 ||
            fcntl(out, F_SETFL, O_NONBLOCK) < 0)
            break;
        pair->pod = pod;
        pair->used = true;
        pair->halves[0] = (struct half){.from = in, .to = out};
        pair->halves[1] = (struct half){.from = out, .to = in};
        return;
    }
    if (out >= 0)
        close(out);
    if (in >= 0)
        close(in);
}

/* false: the connection is over. */
static bool carry(struct half *half)
{
    ssize_t n;

    if (half->len == 0 && !half->ended) {
        n = recv(half->from, half->bytes, sizeof(half->bytes), 0);
        if (n < 0 && errno != EAGAIN)
            return false;
        half->ended = n == 0;
        half->at = 0;
        half->len = n > 0 ? (size_t)n : 0;
        if (half->ended)
            (void)shutdown(half->to, SHUT_WR);
    }
    if (half->len == 0)
        return true;
    n = send(half->to, half->bytes + half->at, half->len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    half->at += (size_t)n;
    half->len -= (size_t)n;
    return true;
}

static void serve_pair(struct proxy *proxy, struct pair *pair)
{
    struct half *halves = pair->halves;

    if (atomic_load(&proxy->frozen[pair->pod]))
        return;
    if (!carry(&halves[0]) || !carry(&halves[1]) || (halves[0].ended && halves[1].ended))
        end_pair(pair);
}

static void wait_for_bytes(struct proxy *proxy)
{
    struct pollfd fds[PODS_MAX + 2 * PAIRS_MAX];
    nfds_t n = 0;

    for (unsigned i = 0; i < proxy->pods; i++)
        fds[n++] = (struct pollfd){.fd = proxy->listeners[i], .events = POLLIN};
    for (unsigned i = 0; i < PAIRS_MAX; i++) {
        const struct pair *pair = &proxy->pairs[i];

        if (!pair->used || atomic_load(&proxy->frozen[pair->pod]))
            continue;
        for (unsigned k = 0; k < 2; k++)
            if (pair->halves[k].len > 0)
                fds[n++] = (struct pollfd){.fd = pair->halves[k].to, .events = POLLOUT};
            else if (!pair->halves[k].ended)
                fds[n++] = (struct pollfd){.fd = pair->halves[k].from, .events = POLLIN};
    }
    (void)poll(fds, n, FROZEN_MS);
}

static void *serve(void *context)
{
    struct proxy *proxy = context;

    while (!atomic_load(&proxy->stopping)) {
        wait_for_bytes(proxy);
        for (unsigned i = 0; i < proxy->pods; i++)
            if (!atomic_load(&proxy->frozen[i]))
                take_connection(proxy, i);
        for (unsigned i = 0; i < proxy->pods; i++)
            if (atomic_exchange(&proxy->cut[i], false))
                end_pairs(proxy, i);
        for (unsigned i = 0; i < PAIRS_MAX; i++)
            if (proxy->pairs[i].used)
                serve_pair(proxy, &proxy->pairs[i]);
    }
    return NULL;
}

static void open_port(struct proxy *proxy, unsigned pod)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        perror("proxy");
        exit(EXIT_FAILURE);
    }
    proxy->listeners[pod] = fd;
    proxy->ports[pod] = ntohs(address.sin_port);
}

struct proxy *proxy_start(unsigned pods, unsigned to_port)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));

    if (!proxy)
        abort();
    proxy->pods = pods;
    proxy->to_port = to_port;
    for (unsigned i = 0; i < pods; i++)
        open_port(proxy, i);
    if (pthread_create(&proxy->thread, NULL, serve, proxy) != 0)
        abort();
    return proxy;
}

void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->stopping, true);
    pthread_join(proxy->thread, NULL);
    for (unsigned i = 0; i < proxy->pods; i++) {
        end_pairs(proxy, i);
        close(proxy->listeners[i]);
    }
    free(proxy);
}

unsigned proxy_port(const struct proxy *proxy, unsigned pod)
{
    return proxy->ports[pod];
}

void proxy_cut(struct proxy *proxy, unsigned pod)
{
    atomic_store(&proxy->cut[pod], true);
}

void proxy_freeze(struct proxy *proxy, unsigned pod, bool frozen)
{
    atomic_store(&proxy->frozen[pod], frozen);
}
