/*
 * tcp_internal.h - what the files of the tcp backend share; see backend.h for what they make
 * together.
 *
 *   tcp.c           the table of functions; which way an op takes
 *   tcp_address.c   what peers must know: IP, port, a random cookie
 *   tcp_link.c      the listener, and connections, made when they are first needed
 *   tcp_ring.c      reduce-scatter and all-gather around the ring
 *   tcp_exchange.c  whole messages between pairs: agree, tree, all-to-all, pair
 *   tcp_sum.c       the sum
 *   tcp_memory.c    buffers, and whether there is room for them
 *
 * A connection carries bytes of ops one after the other, without frames: both ends know what comes.
 * agree has frames, so ranks that are out of step find out there.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "collective/backend.h"

#define TCP_COOKIE 16
#define TCP_PENDING_MAX 64 /* connections that have not said who they are */
#define TCP_CHUNK (256u << 10) /* bytes of one send or recv of a whole message */
#define TCP_PIECE (256u << 10) /* that goes around the ring by itself */
#define TCP_SCRATCH (64u << 10) /* of what came and is to be added: it stays in the cache */

struct tcp_address {
    struct sockaddr_storage socket;
    socklen_t len;
    uint8_t cookie[TCP_COOKIE]; /* who connects must know it */
};

/*
 * OUT and IN: the ring's, used in one direction. BOTH: between any two ranks; the higher one
 * connects.
 */
enum tcp_kind { TCP_OUT, TCP_IN, TCP_BOTH, TCP_KINDS };

struct tcp_peer {
    int fd[TCP_KINDS][BACKEND_STREAMS_MAX]; /* -1: none */
};

#define TCP_HELLO 32
struct tcp_pending {
    int fd;
    size_t len;
    uint8_t bytes[TCP_HELLO];
};

struct tcp_rank {
    struct backend_rank base;
    unsigned streams;
    int listener;
    struct tcp_address own;
    struct tcp_address *addresses; /* [ranks], after connect */
    struct tcp_peer **peers; /* [ranks], NULL: no connection yet */
    struct tcp_pending pending[TCP_PENDING_MAX]; /* oldest first */
    unsigned n_pending;
    uint64_t bytes_max; /* of data and of second */
    uint32_t *data; /* every op works in place here */
    uint32_t *second; /* where all_to_all receives; taken when it is first needed */
    uint64_t touched, second_touched; /* bytes from the start of which the pages are there */
    uint32_t *scratch[BACKEND_STREAMS_MAX]; /* TCP_SCRATCH each: what came and is to be added */
    uint64_t sequence; /* of agree and pair: counts calls */
};

/* ---- tcp_address.c ----------------------------------------------------------------- */

#define TCP_ADDRESS_TEXT 64
int tcp_address_from_host(const char *host, struct tcp_address *ret,
                          struct err *err); /* port 0, new cookie */
void tcp_address_encode(const struct tcp_address *address, struct backend_address *ret);
int tcp_address_decode(const struct backend_address *bytes, struct tcp_address *ret); /* -EINVAL */
const char *tcp_address_text(const struct tcp_address *address, char ret[TCP_ADDRESS_TEXT]);
/* "rank 3 at 10.0.0.7:4031 " before what happened to it; the code. */
int tcp_peer_failed(const struct tcp_rank *tcp, unsigned peer, int code, const char *what,
                    struct err *err);

/* ---- tcp_link.c -------------------------------------------------------------------- */

struct tcp_want {
    unsigned peer;
    enum tcp_kind kind;
};

int tcp_listen(struct tcp_rank *tcp, struct err *err);
/* All streams of these exist afterwards. Connects first, then waits for those that peers make. */
int tcp_link(struct tcp_rank *tcp, const struct tcp_want *wants, unsigned n, uint64_t deadline_ns,
             struct err *err);
static inline int tcp_fd(const struct tcp_rank *tcp, unsigned peer, enum tcp_kind kind,
                         unsigned stream)
{
    return tcp->peers[peer]->fd[kind][stream];
}
void tcp_unlink_all(struct tcp_rank *tcp);

/*
 * Until one of them is ready. -ETIMEDOUT past the deadline, without a message: the caller knows for
 * whom it waits.
 */
int tcp_wait(struct pollfd *fds, unsigned n, uint64_t deadline_ns);
uint64_t tcp_now_ns(void);

/* ---- tcp_ring.c -------------------------------------------------------------------- */

int tcp_ring(struct tcp_rank *tcp, enum collective_op op, uint64_t bytes, uint64_t deadline_ns,
             struct err *err); /* not all_to_all */

/* ---- tcp_exchange.c ---------------------------------------------------------------- */

/* Whether halving the number of steps pays for sending more bytes. All ranks say the same. */
bool tcp_tree_is_faster(unsigned ranks, uint64_t bytes);
int tcp_tree(struct tcp_rank *tcp, uint64_t bytes, uint64_t deadline_ns,
             struct err *err); /* all_reduce */
int tcp_all_to_all(struct tcp_rank *tcp, uint64_t bytes, uint64_t deadline_ns, struct err *err);
int tcp_pair(struct tcp_rank *tcp, unsigned peer, uint64_t bytes, uint64_t deadline_ns,
             struct err *err);
int tcp_agree(struct tcp_rank *tcp, double *values, unsigned n, uint64_t deadline_ns,
              struct err *err);
/* With whom agree talks, 2 * 32 at most: connected at once, so that a missing rank shows there. */
unsigned tcp_agree_wants(const struct tcp_rank *tcp, struct tcp_want wants[64]);

/* ---- tcp_sum.c --------------------------------------------------------------------- */

void tcp_sum(uint32_t *restrict words, const uint32_t *restrict more, size_t n);

/* ---- tcp_memory.c ------------------------------------------------------------------ */

/* -ENOMEM with what there is and what it takes. Its pages are there once they are written. */
int tcp_buffer(uint64_t bytes, uint32_t **ret_words, struct err *err);
void tcp_buffer_free(uint32_t *words, uint64_t bytes);
