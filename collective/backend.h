/*
 * backend.h - the ways of moving bytes, each a table of functions: `tcp` over sockets, `nccl` over
 * what NCCL finds.
 *
 *   open -> address -> (addresses go to all) -> connect -> run, check, agree, pair -> close
 *
 * One backend_rank is one rank of one collective; one thread uses it. All ranks call the same
 * functions with the same arguments in the same order (pair: the two of it). A call that failed,
 * but for open, leaves the rank of no use but for close(rank, true). What runs inside may hang in
 * spite of its deadline (a driver does): who needs an end for sure runs it in a child process
 * (child.h).
 *
 * Deadlines are CLOCK_MONOTONIC in ns; past it -ETIMEDOUT. Errors that a peer causes name its rank:
 *   -ECONNRESET, -ECONNREFUSED  the peer is gone
 *   -EPROTO                     the peer is out of step, or what came is not of its kind
 * Sizes: op.h. Time is in seconds; data is u32, reductions are sums modulo 2^32 (pattern.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/op.h"

#define BACKEND_ADDRESS_MAX 256
#define BACKEND_RANKS_MAX 16384
#define BACKEND_AGREE_MAX 64
#define BACKEND_STREAMS_MAX 16

/*
 * What peers need to reach a rank: opaque to all but its backend. len 0: none is needed of this
 * rank.
 */
struct backend_address {
    uint8_t bytes[BACKEND_ADDRESS_MAX];
    size_t len;
};

struct backend_options {
    unsigned rank, ranks;
    int device; /* GPU index as the driver counts in this process; tcp does not look at it */
    const char *host; /* tcp: IP address, v4 or v6, at which peers reach this rank */
    unsigned streams; /* tcp: connections per neighbour and direction; 0: 1 */
    const char *library; /* nccl: path of libnccl.so.2; NULL: where nccl_api.h searches */
    uint64_t bytes_max; /* of the largest op that will be run: memory is taken for it */
};

struct backend_info { /* "": not known */
    char name[16];
    char version[64];
    char device[64];
    char transport[32];
};

/* Each backend embeds it first in its own. */
struct backend_rank {
    unsigned rank, ranks;
};

struct backend {
    const char *name; /* "tcp", "nccl" */

    /*
     * Loads what it needs and opens the device. The options are not looked at afterwards. -ENODEV:
     * it cannot be used here, and err says why; -ENOMEM, -EBUSY: memory is short or the device is
     * busy. All three mean "skipped", not "failed". -EINVAL: an option is out of its range.
     */
    int (*open)(const struct backend_options *options, struct backend_rank **ret_rank,
                struct backend_info *ret_info, struct err *err);
    /* What peers must know of this rank. nccl: only rank 0 has one (the unique id). */
    int (*address)(struct backend_rank *rank, struct backend_address *ret_address, struct err *err);
    /* addresses[ranks] in rank order; copied. Of who is not reached for, none is needed: probe_neighbours(). */
    int (*connect)(struct backend_rank *rank, const struct backend_address *addresses,
                   uint64_t deadline_ns, struct err *err);
    /* n ops back to back, each timed on this rank: ret_seconds[n]. */
    int (*run)(struct backend_rank *rank, enum collective_op op, uint64_t bytes, unsigned n,
               double *ret_seconds, uint64_t deadline_ns, struct err *err);
    /* One op with the pattern; how many words of this rank's result are wrong. */
    int (*check)(struct backend_rank *rank, enum collective_op op, uint64_t bytes,
                 uint64_t *ret_wrong, uint64_t deadline_ns, struct err *err);
    /* values[n] become their maxima over all ranks, n <= BACKEND_AGREE_MAX; a barrier. No NaN. */
    int (*agree)(struct backend_rank *rank, double *values, unsigned n, uint64_t deadline_ns,
                 struct err *err);
    /* This rank and `peer` send each other `bytes` at the same time, n times: ret_seconds[n]. */
    int (*pair)(struct backend_rank *rank, unsigned peer, uint64_t bytes, unsigned n,
                double *ret_seconds, uint64_t deadline_ns, struct err *err);
    /* Takes NULL. broken: something failed, so abort and never wait for peers. */
    void (*close)(struct backend_rank *rank, bool broken);
};

/* NULL: no such, or not in this program. */
const struct backend *backend_find(const char *name);

extern const struct backend backend_tcp;
/* In collective/nccl.c, which only lockstep-probe-nccl holds: a weak reference in backend.c. */
extern const struct backend backend_nccl;
