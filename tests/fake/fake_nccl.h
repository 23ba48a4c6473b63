/*
 * fake_nccl.h - an NCCL between processes on one machine, built as libnccl.so.2: real sums over host
 * memory through TCP on the loopback, times from a model, faults from a file (fake_world.h).
 *
 *   fake_nccl.c      communicators: made in the background, aborted, ended
 *   fake_nccl_net.c  ranks find each other by the unique id, which holds rank 0's port, and exchange bytes
 *   fake_nccl_ops.c  the ops: how results come about, how long they take
 *
 * It is stricter than the real one where the real one hangs or breaks later: a blocking
 * communicator, or a call on one that is still in progress, is an error.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "collective/nccl_api.h"
#include "tests/fake/fake_world.h"

#define FAKE_GROUP_MAX (2 * FAKE_RANKS_MAX)

struct nccl_comm {
    unsigned rank, ranks, device;
    struct nccl_api_id id;
    int version;
    atomic_int state; /* enum nccl_api_result */
    atomic_bool aborted;
    atomic_uint pending; /* ops that are queued or run */
    pthread_t thread; /* that connects */
    char error[192]; /* written before the state that it explains */
    int peers[FAKE_RANKS_MAX]; /* connected sockets */
    unsigned queued, ran; /* ops */
    bool finalizing;
};

/* fake_nccl.c */
void fake_comm_fail(struct nccl_comm *comm, enum nccl_api_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* fake_nccl_net.c: 0 or a negative errno; -ECANCELED: aborted */
int fake_net_root(struct nccl_api_id *ret_id);
int fake_net_connect(struct nccl_comm *comm);
void fake_net_close(struct nccl_comm *comm);

/* What goes to and comes from one peer; at the same time with all others of the array. */
struct fake_part {
    unsigned peer;
    const void *from;
    size_t from_bytes;
    void *to;
    size_t to_bytes;
};
/* kind: both sides must say the same, or it is -EPROTO. */
int fake_net_exchange(struct nccl_comm *comm, uint32_t kind, struct fake_part *parts, unsigned n);
