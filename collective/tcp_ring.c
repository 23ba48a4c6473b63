/*
 * Around the ring: each rank sends to the next and receives from the one before. The buffer is cut
 * into `ranks` blocks. In step s of reduce-scatter a rank sends block r-s and adds what comes to
 * block r-s-1, so after n-1 steps it holds the sum of block r+1; all-gather goes on in the same way
 * but stores what comes. By itself, reduce-scatter starts one block earlier, so that rank r ends
 * with block r.
 *
 * Blocks are cut into pieces of TCP_PIECE, and each piece goes through all steps soon after the one
 * before it: in slot t a rank sends step 0 of piece t, step 1 of piece t-1, ..., as far as there
 * are such. So what was added up is sent on, and what was sent is stored over, while it is still in
 * the cache, and a slot's worth of other pieces is under way while a neighbour's answer travels.
 * Each stream carries its own slice of each block, a lane, in that order.
 */
#include <errno.h>
#include <string.h>

#include "collective/tcp_internal.h"

#define WORD sizeof(uint32_t)

/* Where a lane is in its order: at byte `offset` of step `step` of piece slot - step. */
struct cursor {
    uint64_t slot;
    unsigned step;
    size_t offset;
};

struct lane {
    int out, in;
    size_t first, bytes; /* of the lane's slice within each block */
    uint64_t pieces;
    struct cursor sent, received;
    size_t usable; /* of the piece at `received`: bytes that are stored, or added up */
    uint8_t *scratch; /* what came and is not yet added: received.offset - usable bytes */
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

static bool at_end(const struct ring *ring, const struct lane *lane, const struct cursor *cursor)
{
    return cursor->slot == lane->pieces + ring->steps - 1;
}

static size_t piece_len(const struct lane *lane, const struct cursor *cursor)
{
    size_t start = (size_t)(cursor->slot - cursor->step) * TCP_PIECE, left = lane->bytes - start;

    return left < TCP_PIECE ? left : TCP_PIECE;
}

/* On to the next step of the slot that has a piece, or to the next slot. */
static void advance(const struct ring *ring, const struct lane *lane, struct cursor *cursor)
{
    cursor->offset = 0;
    if (cursor->step + 1 < ring->steps && cursor->step < cursor->slot) {
        cursor->step++;
        return;
    }
    cursor->slot++;
    cursor->step = cursor->slot < lane->pieces ? 0 : (unsigned)(cursor->slot - lane->pieces + 1);
}

/* Where what is sent lies; what is received lies one block earlier. */
static uint8_t *place(const struct ring *ring, const struct lane *lane, const struct cursor *cursor,
                      unsigned earlier)
{
    unsigned block = (ring->start + 2 * ring->ranks - cursor->step - earlier) % ring->ranks;

    return ring->data + block * ring->block + lane->first +
           (size_t)(cursor->slot - cursor->step) * TCP_PIECE;
}

/* Bytes from the cursor on: of step 0 all of the piece, later what came in the step before. */
static size_t sendable(const struct ring *ring, const struct lane *lane)
{
    const struct cursor *sent = &lane->sent, *received = &lane->received;
    size_t len;

    if (at_end(ring, lane, sent))
        return 0;
    len = piece_len(lane, sent);
    if (sent->step > 0) {
        uint64_t slot = sent->slot - 1;
        unsigned step = sent->step - 1;

        if (received->slot < slot || (received->slot == slot && received->step < step))
            return 0;
        if (received->slot == slot && received->step == step)
            len = lane->usable;
    }
    return len - sent->offset;
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
    size_t len = sendable(ring, lane);
    ssize_t n;

    if (len == 0)
        return 0;
    n = send(lane->out, place(ring, lane, &lane->sent, 0) + lane->sent.offset, len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : socket_failed(ring, ring->next, -errno, err);
    lane->sent.offset += (size_t)n;
    if (lane->sent.offset == piece_len(lane, &lane->sent))
        advance(ring, lane, &lane->sent);
    return 1;
}

/* Adds the whole words that came; the bytes of a word begun stay in front. */
static void add_scratch(struct ring *ring, struct lane *lane)
{
    size_t held = lane->received.offset - lane->usable, words = held / WORD;
    uint8_t *to = place(ring, lane, &lane->received, 1) + lane->usable;

    tcp_sum((uint32_t *)(void *)to, (const uint32_t *)(const void *)lane->scratch, words);
    lane->usable += words * WORD;
    memmove(lane->scratch, lane->scratch + words * WORD, held - words * WORD);
}

static int receive_some(struct ring *ring, struct lane *lane, struct err *err)
{
    struct cursor *received = &lane->received;
    bool sums = received->step < ring->sums;
    size_t left, held = received->offset - lane->usable;
    ssize_t n;

    if (at_end(ring, lane, received))
        return 0;
    left = piece_len(lane, received) - received->offset;
    if (sums)
        left = left < TCP_SCRATCH - held ? left : TCP_SCRATCH - held;
    n = recv(lane->in,
             sums ? lane->scratch + held : place(ring, lane, received, 1) + received->offset, left,
             0);
    if (n == 0)
        return peer_gone(ring, ring->before, err);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0
                                                 : socket_failed(ring, ring->before, -errno, err);
    received->offset += (size_t)n;
    if (sums)
        add_scratch(ring, lane);
    else
        lane->usable = received->offset;
    if (received->offset == piece_len(lane, received)) {
        advance(ring, lane, received);
        lane->usable = 0;
    }
    return 1;
}

static bool has_received(const struct ring *ring, const struct lane *lane)
{
    return at_end(ring, lane, &lane->received);
}

static bool has_sent(const struct ring *ring, const struct lane *lane)
{
    return at_end(ring, lane, &lane->sent);
}

/* Who keeps this lane waiting, for the message. */
static int late(const struct ring *ring, struct err *err)
{
    for (unsigned i = 0; i < ring->n_lanes; i++)
        if (!has_received(ring, &ring->lanes[i]))
            return tcp_peer_failed(ring->tcp, ring->before, -ETIMEDOUT, "sent too little in time",
                                   err);
    return tcp_peer_failed(ring->tcp, ring->next, -ETIMEDOUT, "took too little in time", err);
}

static int wait_for_more(struct ring *ring, uint64_t deadline_ns, struct err *err)
{
    struct pollfd fds[2 * BACKEND_STREAMS_MAX];
    unsigned n = 0;
    int r;

    for (unsigned i = 0; i < ring->n_lanes; i++) {
        const struct lane *lane = &ring->lanes[i];

        /*
         * Looked at even with nothing to send, so that a rank whose end is not known from data
         * shows at once.
         */
        fds[n++] = (struct pollfd){
            .fd = has_sent(ring, lane) ? -1 : lane->out,
            .events = (short)(sendable(ring, lane) ? POLLOUT | POLLRDHUP : POLLRDHUP)};
        fds[n++] =
            (struct pollfd){.fd = has_received(ring, lane) ? -1 : lane->in, .events = POLLIN};
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
            int out = send_some(ring, lane, err),
                in = out < 0 ? out : receive_some(ring, lane, err);

            if (in < 0)
                return in;
            moved = moved || out || in;
            done = done && has_sent(ring, lane) && has_received(ring, lane);
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
        ring->lanes[ring->n_lanes++] =
            (struct lane){.out = tcp_fd(tcp, ring->next, TCP_OUT, i),
                          .in = tcp_fd(tcp, ring->before, TCP_IN, i),
                          .first = first * WORD,
                          .bytes = (end - first) * WORD,
                          .pieces = ((end - first) * WORD + TCP_PIECE - 1) / TCP_PIECE,
                          .scratch = (uint8_t *)tcp->scratch[i]};
    }
}

int tcp_ring(struct tcp_rank *tcp, enum collective_op op, uint64_t bytes, uint64_t deadline_ns,
             struct err *err)
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
