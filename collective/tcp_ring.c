/*
 * Around the ring: each rank sends to the next and receives from the one before. The buffer is cut into `ranks`
 * blocks. In step s of reduce-scatter a rank sends block r-s and adds what comes to block r-s-1, so after n-1
 * steps it holds the sum of block r+1; all-gather goes on in the same way but stores what comes. By itself,
 * reduce-scatter starts one block earlier, so that rank r ends with block r.
 *
 * A block's slice of each stream is a lane with bytes in order: byte k of step s+1 may be sent as soon as byte k of step
 * s has been worked on. So a lane is four counters, and steps and chunks overlap as far as the data allows.
 */
#include <errno.h>
#include <string.h>

#include "collective/tcp_internal.h"

#define WORD sizeof(uint32_t)

struct lane {
    int out, in;
    size_t first, bytes; /* of the lane's slice within each block */
    uint64_t total; /* bytes in each direction, all steps */
    uint64_t sent, received, usable; /* usable: stored, or added up */
    uint8_t *scratch; /* what came and is not yet added: received - usable bytes */
};

struct ring {
    struct tcp_rank *tcp;
    uint8_t *data;
    size_t block; /* bytes */
    unsigned ranks, start, steps, sums; /* the block sent first; the first `sums` steps add */
    unsigned n_lanes;
    unsigned next, before; /* ranks */
    struct lane lanes[BACKEND_STREAMS_MAX];
};

/* Where byte `at` of what a lane sends lies; what it receives lies one block earlier. */
static uint8_t *place(const struct ring *ring, const struct lane *lane, uint64_t at, unsigned earlier,
                      size_t *ret_left)
{
    uint64_t step = at / lane->bytes + earlier;
    size_t offset = (size_t)(at % lane->bytes);
    unsigned block = (unsigned)((ring->start + 2ull * ring->ranks - step) % ring->ranks);

    *ret_left = lane->bytes - offset;
    return ring->data + block * ring->block + lane->first + offset;
}

static uint64_t sendable(const struct lane *lane)
{
    uint64_t limit = lane->bytes + lane->usable;

    return (limit < lane->total ? limit : lane->total) - lane->sent;
}

static size_t least(uint64_t a, uint64_t b)
{
    uint64_t c = a < b ? a : b;

    return (size_t)(c < TCP_CHUNK ? c : TCP_CHUNK);
}

static int peer_gone(const struct ring *ring, unsigned peer, struct err *err)
{
    return tcp_peer_failed(ring->tcp, peer, -ECONNRESET, "closed its connection", err);
}

static int socket_failed(const struct ring *ring, unsigned peer, int code, struct err *err)
{
    if (code == -EPIPE || code == -ECONNRESET)
        return peer_gone(ring, peer, err);
    return tcp_peer_failed(ring->tcp, peer, code, strerror(-code), err);
}

/* 1: some bytes went; 0: none can now. */
static int send_some(struct ring *ring, struct lane *lane, struct err *err)
{
    size_t left;
    const uint8_t *from;
    ssize_t n;

    if (sendable(lane) == 0)
        return 0;
    from = place(ring, lane, lane->sent, 0, &left);
    n = send(lane->out, from, least(left, sendable(lane)), MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : socket_failed(ring, ring->next, -errno, err);
    lane->sent += (uint64_t)n;
    return 1;
}

/* Adds the whole words that came; the bytes of a word begun stay in front. */
static void add_scratch(struct ring *ring, struct lane *lane)
{
    size_t held = (size_t)(lane->received - lane->usable), words = held / WORD, left;
    uint8_t *to = place(ring, lane, lane->usable, 1, &left);

    tcp_sum((uint32_t *)(void *)to, (const uint32_t *)(const void *)lane->scratch, words);
    lane->usable += words * WORD;
    memmove(lane->scratch, lane->scratch + words * WORD, held - words * WORD);
}

static int receive_some(struct ring *ring, struct lane *lane, struct err *err)
{
    bool sums = lane->received / lane->bytes < ring->sums;
    size_t left, held = sums ? (size_t)(lane->received - lane->usable) : 0;
    uint8_t *to;
    ssize_t n;

    if (lane->received == lane->total)
        return 0;
    to = place(ring, lane, lane->received, 1, &left);
    n = recv(lane->in, sums ? lane->scratch + held : to, least(left, TCP_CHUNK - held), 0);
    if (n == 0)
        return peer_gone(ring, ring->before, err);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : socket_failed(ring, ring->before, -errno, err);
    lane->received += (uint64_t)n;
    if (sums)
        add_scratch(ring, lane);
    else
        lane->usable = lane->received;
    return 1;
}

static bool is_done(const struct lane *lane)
{
    return lane->sent == lane->total && lane->received == lane->total;
}

/* Who keeps this lane waiting, for the message. */
static int late(const struct ring *ring, struct err *err)
{
    for (unsigned i = 0; i < ring->n_lanes; i++)
        if (ring->lanes[i].received < ring->lanes[i].total)
            return tcp_peer_failed(ring->tcp, ring->before, -ETIMEDOUT, "sent too little in time", err);
    return tcp_peer_failed(ring->tcp, ring->next, -ETIMEDOUT, "took too little in time", err);
}

static int wait_for_more(struct ring *ring, uint64_t deadline_ns, struct err *err)
{
    struct pollfd fds[2 * BACKEND_STREAMS_MAX];
    unsigned n = 0;
    int r;

    for (unsigned i = 0; i < ring->n_lanes; i++) {
        const struct lane *lane = &ring->lanes[i];

        /* Looked at even with nothing to send, so that a rank whose end is not known from data shows at once. */
        fds[n++] = (struct pollfd){.fd = lane->sent < lane->total ? lane->out : -1,
                                   .events = (short)(sendable(lane) ? POLLOUT | POLLRDHUP : POLLRDHUP)};
        fds[n++] = (struct pollfd){.fd = lane->received < lane->total ? lane->in : -1, .events = POLLIN};
    }
    r = tcp_wait(fds, n, deadline_ns);
    if (r == -ETIMEDOUT)
        return late(ring, err);
    if (r < 0)
        return err_set(err, r, "poll: %s", strerror(-r));
    for (unsigned i = 0; i < n; i += 2)
        if (fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR))
            return peer_gone(ring, ring->next, err);
    return 0;
}

static int turn(struct ring *ring, uint64_t deadline_ns, struct err *err)
{
    for (;;) {
        bool done = true, moved = false;

        for (unsigned i = 0; i < ring->n_lanes; i++) {
            struct lane *lane = &ring->lanes[i];
            int out = send_some(ring, lane, err), in = out < 0 ? out : receive_some(ring, lane, err);

            if (in < 0)
                return in;
            moved = moved || out || in;
            done = done && is_done(lane);
        }
        if (done)
            return 0;
        if (!moved) {
            int r = wait_for_more(ring, deadline_ns, err);

            if (r < 0)
                return r;
        }
    }
}

static void set_lanes(struct ring *ring)
{
    struct tcp_rank *tcp = ring->tcp;
    size_t words = ring->block / WORD;

    for (unsigned i = 0; i < tcp->streams; i++) {
        size_t first = words * i / tcp->streams, end = words * (i + 1) / tcp->streams;

        if (first == end)
            continue;
        ring->lanes[ring->n_lanes++] = (struct lane){.out = tcp_fd(tcp, ring->next, TCP_OUT, i),
                                                     .in = tcp_fd(tcp, ring->before, TCP_IN, i),
                                                     .first = first * WORD,
                                                     .bytes = (end - first) * WORD,
                                                     .total = (uint64_t)ring->steps * (end - first) * WORD,
                                                     .scratch = (uint8_t *)tcp->scratch[i]};
    }
}

int tcp_ring(struct tcp_rank *tcp, enum collective_op op, uint64_t bytes, uint64_t deadline_ns, struct err *err)
{
    unsigned ranks = tcp->base.ranks, rank = tcp->base.rank;
    struct ring ring = {.tcp = tcp,
                        .data = (uint8_t *)tcp->data,
                        .block = (size_t)(bytes / ranks),
                        .ranks = ranks,
                        .start = op == OP_REDUCE_SCATTER ? (rank + ranks - 1) % ranks : rank,
                        .steps = (ranks - 1) * (op == OP_ALL_REDUCE ? 2 : 1),
                        .sums = op == OP_ALL_GATHER ? 0 : ranks - 1,
                        .next = (rank + 1) % ranks,
                        .before = (rank + ranks - 1) % ranks};
    struct tcp_want wants[] = {{ring.next, TCP_OUT}, {ring.before, TCP_IN}};
    int r = tcp_link(tcp, wants, 2, deadline_ns, err);

    if (r < 0)
        return r;
    set_lanes(&ring);
    return turn(&ring, deadline_ns, err);
}
