/* Whole messages between pairs of ranks, several at once: what is small, or goes to everybody. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "collective/tcp_internal.h"

#define WORD sizeof(uint32_t)

/* One direction over one connection. */
struct transfer {
    unsigned peer;
    int fd;
    bool out;
    uint8_t *bytes;
    size_t len, done;
};

static int transfer_failed(const struct tcp_rank *tcp, const struct transfer *transfer, int code,
                           struct err *err)
{
    if (code == -ETIMEDOUT)
        return tcp_peer_failed(
            tcp, transfer->peer, code,
            transfer->out ? "took too little in time" : "sent too little in time", err);
    if (code == -EPIPE || code == -ECONNRESET)
        return tcp_peer_failed(tcp, transfer->peer, -ECONNRESET, "closed its connection", err);
    return tcp_peer_failed(tcp, transfer->peer, code, strerror(-code), err);
}

/* 1: some bytes went; 0: none can now. */
static int move(const struct tcp_rank *tcp, struct transfer *transfer, struct err *err)
{
    size_t left = transfer->len - transfer->done;
    ssize_t n;

    if (left == 0)
        return 0;
    left = left < TCP_CHUNK ? left : TCP_CHUNK;
    n = transfer->out ? send(transfer->fd, transfer->bytes + transfer->done, left, MSG_NOSIGNAL)
                      : recv(transfer->fd, transfer->bytes + transfer->done, left, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return transfer_failed(tcp, transfer, n == 0 ? -ECONNRESET : -errno, err);
    transfer->done += (size_t)n;
    return 1;
}

#define TRANSFERS_MAX (2 * 8 * BACKEND_STREAMS_MAX)

static int wait_for(const struct tcp_rank *tcp, const struct transfer *transfers, unsigned n,
                    uint64_t deadline_ns, struct err *err)
{
    struct pollfd fds[TRANSFERS_MAX];
    const struct transfer *first = NULL;
    unsigned waiting = 0;
    int r;

    for (unsigned i = 0; i < n; i++) {
        const struct transfer *transfer = &transfers[i];

        if (transfer->done == transfer->len)
            continue;
        fds[waiting++] =
            (struct pollfd){.fd = transfer->fd, .events = transfer->out ? POLLOUT : POLLIN};
        if (!first || (first->out && !transfer->out)) /* who does not send is the better suspect */
            first = transfer;
    }
    r = waiting ? tcp_wait(fds, waiting, deadline_ns) : 0;
    return r < 0 ? transfer_failed(tcp, first, r, err) : 0;
}

static int move_all(const struct tcp_rank *tcp, struct transfer *transfers, unsigned n,
                    uint64_t deadline_ns, struct err *err)
{
    for (;;) {
        bool done = true, moved = false;

        for (unsigned i = 0; i < n; i++) {
            int r = move(tcp, &transfers[i], err);

            if (r < 0)
                return r;
            moved = moved || r;
            done = done && transfers[i].done == transfers[i].len;
        }
        if (done)
            return 0;
        if (!moved) {
            int r = wait_for(tcp, transfers, n, deadline_ns, err);

            if (r < 0)
                return r;
        }
    }
}

/* A message in one direction, cut over the streams. */
static void add_message(const struct tcp_rank *tcp, struct transfer *transfers, unsigned *n,
                        unsigned peer, bool out, uint8_t *bytes, size_t len)
{
    size_t words = len / WORD;

    for (unsigned i = 0; i < tcp->streams; i++) {
        size_t first = words * i / tcp->streams * WORD, end = words * (i + 1) / tcp->streams * WORD;

        if (first < end)
            transfers[(*n)++] = (struct transfer){.peer = peer,
                                                  .fd = tcp_fd(tcp, peer, TCP_BOTH, i),
                                                  .out = out,
                                                  .bytes = bytes + first,
                                                  .len = end - first};
    }
}

/* ---- tree: recursive doubling ------------------------------------------------------ */

/*
 * Times of a step and of a byte over TCP within a rack, of the usual order; only their ratio
 * matters, and only around where both ways are equally fast. A ring has 2(n-1) steps of bytes/n,
 * doubling log2(n), up to two more for ranks beyond a power of two, of all bytes and without
 * overlap.
 */
#define STEP_S 20e-6
#define BYTE_S (1 / 2.5e9)
#define TREE_BYTES_MAX (1u << 20)

static unsigned log2_down(unsigned n)
{
    return 31 - (unsigned)__builtin_clz(n);
}

bool tcp_tree_is_faster(unsigned ranks, uint64_t bytes)
{
    unsigned power = log2_down(ranks), steps = power + (1u << power == ranks ? 0 : 2);
    double ring = 2.0 * (ranks - 1) * (STEP_S + (double)bytes / ranks * BYTE_S);
    double tree = steps * (STEP_S + (double)bytes * BYTE_S);

    return bytes <= TREE_BYTES_MAX && tree < ring;
}

/* Sends all to `peer`, receives all of it into `into`, or only one of both. */
static int swap(struct tcp_rank *tcp, unsigned peer, const uint32_t *from, uint32_t *into,
                size_t bytes, uint64_t deadline_ns, struct err *err)
{
    struct transfer transfers[2 * BACKEND_STREAMS_MAX];
    struct tcp_want want = {peer, TCP_BOTH};
    unsigned n = 0;
    int r = tcp_link(tcp, &want, 1, deadline_ns, err);

    if (r < 0)
        return r;
    if (from)
        add_message(tcp, transfers, &n, peer, true, (uint8_t *)(uintptr_t)from, bytes);
    if (into)
        add_message(tcp, transfers, &n, peer, false, (uint8_t *)into, bytes);
    return move_all(tcp, transfers, n, deadline_ns, err);
}

static int double_up(struct tcp_rank *tcp, unsigned seat, unsigned seats, unsigned extra,
                     size_t bytes, uint64_t deadline_ns, struct err *err)
{
    int r = 0;

    for (unsigned bit = 1; r == 0 && bit < seats; bit <<= 1) {
        unsigned other = seat ^ bit, peer = other < extra ? 2 * other + 1 : other + extra;

        r = swap(tcp, peer, tcp->data, tcp->second, bytes, deadline_ns, err);
        if (r == 0)
            tcp_sum(tcp->data, tcp->second, bytes / WORD);
    }
    return r;
}

int tcp_tree(struct tcp_rank *tcp, uint64_t bytes, uint64_t deadline_ns, struct err *err)
{
    unsigned ranks = tcp->base.ranks, rank = tcp->base.rank, seats = 1u << log2_down(ranks);
    unsigned extra = ranks - seats; /* the even ones below 2 * extra lean on the next rank */
    size_t len = (size_t)bytes;
    int r = 0;

    if (rank >= 2 * extra)
        return double_up(tcp, rank - extra, seats, extra, len, deadline_ns, err);
    if (rank % 2 == 0) {
        r = swap(tcp, rank + 1, tcp->data, NULL, len, deadline_ns, err);
        return r < 0 ? r : swap(tcp, rank + 1, NULL, tcp->data, len, deadline_ns, err);
    }
    r = swap(tcp, rank - 1, NULL, tcp->second, len, deadline_ns, err);
    if (r < 0)
        return r;
    tcp_sum(tcp->data, tcp->second, len / WORD);
    r = double_up(tcp, rank / 2, seats, extra, len, deadline_ns, err);
    return r < 0 ? r : swap(tcp, rank - 1, tcp->data, NULL, len, deadline_ns, err);
}

/* ---- all to all, pair -------------------------------------------------------------- */

/*
 * In step s a rank sends to rank + s and receives from rank - s, eight steps at once. A rank that
 * is ahead waits for those behind: the ranks that are furthest behind always find each other.
 */
#define STEPS_AT_ONCE 8

static int some_steps(struct tcp_rank *tcp, unsigned first, unsigned end, size_t block,
                      uint64_t deadline_ns, struct err *err)
{
    struct transfer transfers[TRANSFERS_MAX];
    struct tcp_want wants[2 * STEPS_AT_ONCE] = {0};
    unsigned n = 0, n_wants = 0, ranks = tcp->base.ranks, rank = tcp->base.rank;
    int r;

    for (unsigned step = first; step < end; step++) {
        wants[n_wants++] = (struct tcp_want){(rank + step) % ranks, TCP_BOTH};
        wants[n_wants++] = (struct tcp_want){(rank + ranks - step) % ranks, TCP_BOTH};
    }
    r = tcp_link(tcp, wants, n_wants, deadline_ns, err);
    if (r < 0)
        return r;
    for (unsigned step = first; step < end; step++) {
        unsigned to = (rank + step) % ranks, from = (rank + ranks - step) % ranks;

        add_message(tcp, transfers, &n, to, true, (uint8_t *)tcp->data + to * block, block);
        add_message(tcp, transfers, &n, from, false, (uint8_t *)tcp->second + from * block, block);
    }
    return move_all(tcp, transfers, n, deadline_ns, err);
}

int tcp_all_to_all(struct tcp_rank *tcp, uint64_t bytes, uint64_t deadline_ns, struct err *err)
{
    unsigned ranks = tcp->base.ranks;
    size_t block = (size_t)(bytes / ranks), own = tcp->base.rank * block;
    int r = 0;

    memcpy((uint8_t *)tcp->second + own, (uint8_t *)tcp->data + own, block);
    for (unsigned step = 1; r == 0 && step < ranks; step += STEPS_AT_ONCE) {
        unsigned end = step + STEPS_AT_ONCE < ranks ? step + STEPS_AT_ONCE : ranks;

        r = some_steps(tcp, step, end, block, deadline_ns, err);
    }
    return r;
}

int tcp_pair(struct tcp_rank *tcp, unsigned peer, uint64_t bytes, uint64_t deadline_ns,
             struct err *err)
{
    return swap(tcp, peer, tcp->data, tcp->second, (size_t)bytes, deadline_ns, err);
}

/* ---- agree: dissemination (Hensgen, Finkel, Manber 1988) --------------------------- */

/*
 * In round k a rank sends what it knows to rank + 2^k and hears rank - 2^k; after ceil(log2 n)
 * rounds it has heard of all, some twice, which a maximum does not mind.
 */
#define AGREE_MAGIC 0x4147524545u

struct agree_frame {
    uint64_t magic, sequence;
    uint32_t n, round;
    double values[BACKEND_AGREE_MAX];
};

unsigned tcp_agree_wants(const struct tcp_rank *tcp, struct tcp_want wants[64])
{
    unsigned n = 0, ranks = tcp->base.ranks, rank = tcp->base.rank;

    for (unsigned away = 1; away < ranks; away <<= 1) {
        wants[n++] = (struct tcp_want){(rank + away) % ranks, TCP_BOTH};
        wants[n++] = (struct tcp_want){(rank + ranks - away) % ranks, TCP_BOTH};
    }
    return n;
}

static int agree_round(struct tcp_rank *tcp, struct agree_frame *frame, unsigned away,
                       uint64_t deadline_ns, struct err *err)
{
    unsigned ranks = tcp->base.ranks, to = (tcp->base.rank + away) % ranks;
    unsigned from = (tcp->base.rank + ranks - away) % ranks;
    size_t len = offsetof(struct agree_frame, values) + frame->n * sizeof(double);
    struct agree_frame heard = {0};
    struct transfer transfers[2] = {{.peer = to,
                                     .fd = tcp_fd(tcp, to, TCP_BOTH, 0),
                                     .out = true,
                                     .bytes = (uint8_t *)frame,
                                     .len = len},
                                    {.peer = from,
                                     .fd = tcp_fd(tcp, from, TCP_BOTH, 0),
                                     .bytes = (uint8_t *)&heard,
                                     .len = len}};
    int r = move_all(tcp, transfers, 2, deadline_ns, err);

    if (r < 0)
        return r;
    if (heard.magic != frame->magic || heard.sequence != frame->sequence || heard.n != frame->n ||
        heard.round != frame->round)
        return tcp_peer_failed(tcp, from, -EPROTO, "is out of step", err);
    for (unsigned i = 0; i < frame->n; i++)
        if (heard.values[i] > frame->values[i])
            frame->values[i] = heard.values[i];
    return 0;
}

int tcp_agree(struct tcp_rank *tcp, double *values, unsigned n, uint64_t deadline_ns,
              struct err *err)
{
    struct agree_frame frame = {.magic = AGREE_MAGIC, .sequence = tcp->sequence++, .n = n};
    int r = 0;

    memcpy(frame.values, values, n * sizeof(double));
    for (unsigned away = 1; r == 0 && away < tcp->base.ranks; away <<= 1, frame.round++)
        r = agree_round(tcp, &frame, away, deadline_ns, err);
    if (r == 0)
        memcpy(values, frame.values, n * sizeof(double));
    return r;
}
