/*
 * Connections between ranks. Who connects says who it is and shows the cookie of the rank it
 * connects to; who does not, is closed or, saying nothing, left aside: strangers never hold up a
 * rank. No answer is awaited, as the kernel takes connections for a rank that is busy.
 */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collective/tcp_internal.h"

#define BACKLOG 4096
#define NS_PER_MS 1000000u
#define WAIT_MAX_MS 60000

uint64_t tcp_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int tcp_wait(struct pollfd *fds, unsigned n, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = tcp_now_ns(), left_ms;
        int r;

        if (now >= deadline_ns)
            return -ETIMEDOUT;
        left_ms = (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
        r = poll(fds, n, left_ms < WAIT_MAX_MS ? (int)left_ms : WAIT_MAX_MS);
        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
    }
}

int tcp_listen(struct tcp_rank *tcp, struct err *err)
{
    char text[TCP_ADDRESS_TEXT];

    tcp->listener =
        socket(tcp->own.socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (tcp->listener < 0)
        return err_set(err, -errno, "no socket: %s", strerror(errno));
    if (bind(tcp->listener, (struct sockaddr *)&tcp->own.socket, tcp->own.len) < 0 ||
        listen(tcp->listener, BACKLOG) < 0 ||
        getsockname(tcp->listener, (struct sockaddr *)&tcp->own.socket, &tcp->own.len) < 0)
        return err_set(err, -errno, "cannot listen on %s: %s", tcp_address_text(&tcp->own, text),
                       strerror(errno));
    return 0;
}

static int *slot_of(struct tcp_rank *tcp, unsigned peer, enum tcp_kind kind, unsigned stream)
{
    if (!tcp->peers[peer]) {
        tcp->peers[peer] = malloc(sizeof(*tcp->peers[peer]));
        if (!tcp->peers[peer])
            return NULL;
        memset(tcp->peers[peer], 0xff, sizeof(*tcp->peers[peer])); /* -1 everywhere */
    }
    return &tcp->peers[peer]->fd[kind][stream];
}

static void set_up(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* ---- hello: magic, cookie of whom it is for, rank, ranks, kind, stream, two bytes of nothing  */

#define MAGIC 0x4c4b5331u

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static void make_hello(const struct tcp_rank *tcp, unsigned peer, enum tcp_kind kind,
                       unsigned stream, uint8_t ret[TCP_HELLO])
{
    memset(ret, 0, TCP_HELLO);
    put_u32(ret, MAGIC);
    memcpy(ret + 4, tcp->addresses[peer].cookie, TCP_COOKIE);
    put_u32(ret + 20, tcp->base.rank);
    put_u32(ret + 24, tcp->base.ranks);
    ret[28] = (uint8_t)kind;
    ret[29] = (uint8_t)stream;
}

static bool same_cookie(const uint8_t *a, const uint8_t *b)
{
    uint8_t differs = 0;

    for (unsigned i = 0; i < TCP_COOKIE; i++) /* all of it: its time tells nothing */
        differs |= a[i] ^ b[i];
    return differs == 0;
}

/* Takes the connection if its hello is right; else false, and the caller closes it. */
static bool take_hello(struct tcp_rank *tcp, const struct tcp_pending *pending)
{
    const uint8_t *hello = pending->bytes;
    uint32_t peer = get_u32(hello + 20);
    unsigned kind = hello[28], stream = hello[29];
    int *slot;

    if (get_u32(hello) != MAGIC || !same_cookie(hello + 4, tcp->own.cookie) ||
        peer >= tcp->base.ranks || get_u32(hello + 24) != tcp->base.ranks ||
        peer == tcp->base.rank || stream >= tcp->streams)
        return false;
    if (kind != TCP_OUT && !(kind == TCP_BOTH && peer > tcp->base.rank))
        return false;
    slot = slot_of(tcp, peer, kind == TCP_OUT ? TCP_IN : TCP_BOTH, stream);
    if (!slot || *slot >= 0) /* twice: the first stays */
        return false;
    *slot = pending->fd;
    return true;
}

/* ---- connecting -------------------------------------------------------------------- */

static int connect_failed(struct tcp_rank *tcp, unsigned peer, int code, struct err *err)
{
    if (code == -ETIMEDOUT)
        return tcp_peer_failed(tcp, peer, code, "did not take a connection in time", err);
    if (code == -ECONNREFUSED)
        return tcp_peer_failed(tcp, peer, code, "refused the connection: it has ended", err);
    err_set(err, code, "%s", strerror(-code));
    return err_prefix(err, code, "no connection to rank %u", peer);
}

static int connect_fd(int fd, const struct tcp_address *address, uint64_t deadline_ns)
{
    struct pollfd poll = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(int);
    int code = 0, r;

    if (connect(fd, (const struct sockaddr *)&address->socket, address->len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -errno;
    r = tcp_wait(&poll, 1, deadline_ns);
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        r = -errno;
    return r < 0 ? r : -code;
}

static int connect_to(struct tcp_rank *tcp, unsigned peer, enum tcp_kind kind, unsigned stream,
                      uint64_t deadline_ns, struct err *err)
{
    const struct tcp_address *address = &tcp->addresses[peer];
    int *slot = slot_of(tcp, peer, kind, stream);
    uint8_t hello[TCP_HELLO];
    int fd, r;

    if (!slot)
        return err_set(err, -ENOMEM, "out of memory");
    if (*slot >= 0)
        return 0;
    if (address->len == 0)
        return err_set(err, -EINVAL, "rank %u: nobody told its address", peer);
    fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return err_set(err, -errno, "no socket: %s", strerror(errno));
    set_up(fd);
    r = connect_fd(fd, address, deadline_ns);
    make_hello(tcp, peer, kind, stream, hello);
    /* A new connection has room for it. */
    if (r == 0 && send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello))
        r = -ECONNRESET;
    if (r < 0) {
        close(fd);
        return connect_failed(tcp, peer, r, err);
    }
    *slot = fd;
    return 0;
}

/* ---- accepting --------------------------------------------------------------------- */

static void drop_pending(struct tcp_rank *tcp, unsigned i, bool close_it)
{
    if (close_it)
        close(tcp->pending[i].fd);
    tcp->n_pending--;
    memmove(&tcp->pending[i], &tcp->pending[i + 1], (tcp->n_pending - i) * sizeof(tcp->pending[0]));
}

/* false: nothing more to expect of it. */
static bool read_hello(struct tcp_rank *tcp, struct tcp_pending *pending, bool *ret_taken)
{
    ssize_t n = recv(pending->fd, pending->bytes + pending->len, TCP_HELLO - pending->len, 0);

    *ret_taken = false;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    pending->len += (size_t)n;
    if (pending->len < TCP_HELLO)
        return true;
    *ret_taken = take_hello(tcp, pending);
    return false;
}

/* Reads what a pending connection has to say. */
static void hear(struct tcp_rank *tcp, unsigned i)
{
    bool taken;

    if (!read_hello(tcp, &tcp->pending[i], &taken))
        drop_pending(tcp, i, !taken);
}

static int accept_all(struct tcp_rank *tcp)
{
    for (;;) {
        int fd = accept4(tcp->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return errno == EAGAIN ? 0 : -errno;
        set_up(fd);
        if (tcp->n_pending == TCP_PENDING_MAX) /* a rank says hello at once: that is a stranger */
            drop_pending(tcp, 0, true);
        tcp->pending[tcp->n_pending++] = (struct tcp_pending){.fd = fd};
        hear(tcp, tcp->n_pending - 1);
    }
}

static int accept_some(struct tcp_rank *tcp, uint64_t deadline_ns)
{
    struct pollfd fds[TCP_PENDING_MAX + 1] = {{.fd = tcp->listener, .events = POLLIN}};
    int r;

    for (unsigned i = 0; i < tcp->n_pending; i++)
        fds[i + 1] = (struct pollfd){.fd = tcp->pending[i].fd, .events = POLLIN};
    r = tcp_wait(fds, tcp->n_pending + 1, deadline_ns);
    for (unsigned i = tcp->n_pending; r == 0 && i-- > 0;)
        if (fds[i + 1].revents)
            hear(tcp, i);
    return r == 0 && fds[0].revents ? accept_all(tcp) : r;
}

static bool is_linked(const struct tcp_rank *tcp, const struct tcp_want *want)
{
    const struct tcp_peer *peer = tcp->peers[want->peer];

    for (unsigned stream = 0; stream < tcp->streams; stream++)
        if (!peer || peer->fd[want->kind][stream] < 0)
            return false;
    return true;
}

int tcp_link(struct tcp_rank *tcp, const struct tcp_want *wants, unsigned n, uint64_t deadline_ns,
             struct err *err)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n; i++)
        for (unsigned stream = 0; r == 0 && stream < tcp->streams; stream++)
            if (wants[i].kind == TCP_OUT ||
                (wants[i].kind == TCP_BOTH && wants[i].peer < tcp->base.rank))
                r = connect_to(tcp, wants[i].peer, wants[i].kind, stream, deadline_ns, err);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < n; i++)
        while (!is_linked(tcp, &wants[i])) {
            r = accept_some(tcp, deadline_ns);
            if (r == -ETIMEDOUT)
                return tcp_peer_failed(tcp, wants[i].peer, r, "did not connect in time", err);
            if (r < 0)
                return err_set(err, r, "cannot take connections: %s", strerror(-r));
        }
    return 0;
}

static void unlink_peer(struct tcp_peer *peer)
{
    for (unsigned kind = 0; peer && kind < TCP_KINDS; kind++)
        for (unsigned stream = 0; stream < BACKEND_STREAMS_MAX; stream++)
            if (peer->fd[kind][stream] >= 0)
                close(peer->fd[kind][stream]);
    free(peer);
}

void tcp_unlink_all(struct tcp_rank *tcp)
{
    if (tcp->listener >= 0)
        close(tcp->listener);
    while (tcp->n_pending)
        drop_pending(tcp, tcp->n_pending - 1, true);
    for (unsigned i = 0; tcp->peers && i < tcp->base.ranks; i++)
        unlink_peer(tcp->peers[i]);
}
