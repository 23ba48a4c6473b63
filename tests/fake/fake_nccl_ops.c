/* Fake NCCL, the ops: every result comes about on the stream's thread, every time from the model. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/fake_cuda.h"
#include "tests/fake/fake_nccl.h"

#define API __attribute__((visibility("default")))

typedef enum nccl_api_result result;
typedef enum nccl_api_type type;

result ncclGroupStart(void);
result ncclGroupEnd(void);
result ncclAllReduce(const void *from, void *to, size_t count, type data, enum nccl_api_reduction reduction,
                     struct nccl_comm *comm, struct cuda_stream *stream);
result ncclAllGather(const void *from, void *to, size_t count, type data, struct nccl_comm *comm,
                     struct cuda_stream *stream);
result ncclReduceScatter(const void *from, void *to, size_t count, type data,
                         enum nccl_api_reduction reduction, struct nccl_comm *comm,
                         struct cuda_stream *stream);
result ncclSend(const void *from, size_t count, type data, int peer, struct nccl_comm *comm,
                struct cuda_stream *stream);
result ncclRecv(void *to, size_t count, type data, int peer, struct nccl_comm *comm,
                struct cuda_stream *stream);

enum kind { ALL_REDUCE = 1, ALL_GATHER, REDUCE_SCATTER, POINT_TO_POINT };

struct half { /* of an exchange with a peer */
    bool sends;
    unsigned peer;
    const void *from;
    void *to;
    size_t bytes;
};

struct op {
    struct nccl_comm *comm;
    struct cuda_stream *stream;
    enum kind kind;
    unsigned number;
    const void *from;
    void *to;
    size_t count; /* of elements: all_reduce of all, the others of each rank's part */
    type data;
    struct half halves[FAKE_GROUP_MAX];
    unsigned n_halves;
};

/* ---- results -------------------------------------------------------------------------------------------- */

static size_t size_of(type data)
{
    return data == NCCL_API_FLOAT64 ? 8 : data == NCCL_API_UINT32 ? 4 : 0;
}

static void combine(void *to, const void *from, size_t count, type data)
{
    uint32_t *words = to;
    double *values = to;

    if (data == NCCL_API_UINT32)
        for (size_t i = 0; i < count; i++)
            words[i] += ((const uint32_t *)from)[i];
    else
        for (size_t i = 0; i < count; i++)
            values[i] = ((const double *)from)[i] > values[i] ? ((const double *)from)[i] : values[i];
}

/* Elements of rank's part, where parts are as even as they can be: all_reduce need not divide. */
static size_t part_of(size_t count, unsigned ranks, unsigned rank, size_t *ret_first)
{
    size_t each = count / ranks, more = count % ranks;

    *ret_first = rank * each + (rank < more ? rank : more);
    return each + (rank < more);
}

/* Rank's part of the sum over all ranks to `to`; each part has its own place and length in `from`. */
static int reduce_part(struct op *op, size_t count, void *to)
{
    struct nccl_comm *comm = op->comm;
    size_t size = size_of(op->data), first, own_first, own = part_of(count, comm->ranks, comm->rank, &own_first);
    struct fake_part parts[FAKE_RANKS_MAX];
    char *come = malloc(comm->ranks * own * size + 1);
    unsigned n = 0;
    int r;

    if (!come)
        return -ENOMEM;
    for (unsigned peer = 0; peer < comm->ranks; peer++) {
        size_t part = part_of(count, comm->ranks, peer, &first);

        if (peer == comm->rank)
            continue;
        parts[n] = (struct fake_part){.peer = peer, .from = (const char *)op->from + first * size,
                                      .from_bytes = part * size, .to = come + n * own * size,
                                      .to_bytes = own * size};
        n++;
    }
    r = fake_net_exchange(comm, op->kind, parts, n);
    if (r == 0)
        memmove(to, (const char *)op->from + own_first * size, own * size);
    for (unsigned i = 0; r == 0 && i < n; i++)
        combine(to, come + i * own * size, own, op->data);
    free(come);
    return r;
}

/* Own part is in its place of `to`; those of the others come there. */
static int gather_parts(struct op *op, size_t count)
{
    struct nccl_comm *comm = op->comm;
    size_t size = size_of(op->data), first, own_first, own = part_of(count, comm->ranks, comm->rank, &own_first);
    struct fake_part parts[FAKE_RANKS_MAX];
    unsigned n = 0;

    for (unsigned peer = 0; peer < comm->ranks; peer++) {
        size_t part = part_of(count, comm->ranks, peer, &first);

        if (peer != comm->rank)
            parts[n++] = (struct fake_part){.peer = peer, .from = (char *)op->to + own_first * size,
                                            .from_bytes = own * size, .to = (char *)op->to + first * size,
                                            .to_bytes = part * size};
    }
    return fake_net_exchange(comm, op->kind, parts, n);
}

/* The k-th send to a peer meets its k-th receive; here at most one of each per peer. */
static int exchange_halves(struct op *op)
{
    struct fake_part parts[FAKE_RANKS_MAX];
    const struct half *sent = NULL, *received = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < op->n_halves; i++) {
        const struct half *half = &op->halves[i];
        unsigned at = 0;

        if (half->peer == op->comm->rank) {
            *(half->sends ? &sent : &received) = half;
            continue;
        }
        while (at < n && parts[at].peer != half->peer)
            at++;
        if (at == n)
            parts[n++] = (struct fake_part){.peer = half->peer};
        if (half->sends ? parts[at].from != NULL : parts[at].to != NULL)
            return -ENOTSUP;
        if (half->sends) {
            parts[at].from = half->from;
            parts[at].from_bytes = half->bytes;
        } else {
            parts[at].to = half->to;
            parts[at].to_bytes = half->bytes;
        }
    }
    if (sent && received)
        memmove(received->to, sent->from, received->bytes);
    return fake_net_exchange(op->comm, op->kind, parts, n);
}

static int carry_out(struct op *op)
{
    size_t size = size_of(op->data), first;
    int r;

    switch (op->kind) {
    case ALL_REDUCE:
        (void)part_of(op->count, op->comm->ranks, op->comm->rank, &first);
        r = reduce_part(op, op->count, (char *)op->to + first * size);
        return r < 0 ? r : gather_parts(op, op->count);
    case REDUCE_SCATTER:
        return reduce_part(op, op->count * op->comm->ranks, op->to);
    case ALL_GATHER:
        memmove((char *)op->to + op->comm->rank * op->count * size, op->from, op->count * size);
        return gather_parts(op, op->count * op->comm->ranks);
    default:
        return exchange_halves(op);
    }
}

/* ---- times ---------------------------------------------------------------------------------------------- */

static double slowest(const struct op *op)
{
    const struct fake_world *world = fake_world();
    unsigned ranks = op->comm->ranks, peer;
    double factor = 1, path;

    if (op->kind == POINT_TO_POINT && op->n_halves <= 2) {
        peer = op->halves[0].peer;
        factor = world->node_factor[op->comm->rank];
        factor = world->node_factor[peer] < factor ? world->node_factor[peer] : factor;
        path = world->pair_factor[op->comm->rank][peer];
        return path < factor ? path : factor;
    }
    for (unsigned i = 0; i < ranks; i++) {
        path = ranks > 1 ? world->pair_factor[i][(i + 1) % ranks] : 1;
        factor = world->node_factor[i] < factor ? world->node_factor[i] : factor;
        factor = path < factor ? path : factor;
    }
    return factor;
}

/* What crosses the slowest link, in bytes: the model's bandwidth is bus bandwidth. */
static double bytes_of(const struct op *op)
{
    double n = op->comm->ranks, all = (double)(op->count * size_of(op->data)), most = 0;

    if (op->kind == ALL_REDUCE)
        return all * 2 * (n - 1) / n;
    if (op->kind != POINT_TO_POINT)
        return all * (n - 1);
    for (unsigned i = 0; i < op->n_halves; i++)
        if (op->halves[i].sends && op->halves[i].peer != op->comm->rank)
            most += (double)op->halves[i].bytes;
    return most;
}

static double time_of(const struct op *op)
{
    const struct fake_world *world = fake_world();
    uint64_t x = world->seed + op->number * 0x9e3779b97f4a7c15ull + op->comm->rank * 0xbf58476d1ce4e5b9ull;
    double t = world->latency_us * 1e-6 + bytes_of(op) / (world->bandwidth_gb_s * 1e9 * slowest(op));

    x = (x ^ x >> 30) * 0x94d049bb133111ebull;
    return t * (1 + world->jitter * (double)(x >> 11) / 9007199254740992.0);
}

/* ---- running -------------------------------------------------------------------------------------------- */

static void hang(const struct nccl_comm *comm)
{
    while (!atomic_load(&comm->aborted))
        usleep(5000);
}

static void spoil(const struct op *op)
{
    uint32_t *words = op->to;

    if (op->kind == POINT_TO_POINT)
        for (unsigned i = 0; i < op->n_halves; i++)
            if (!op->halves[i].sends)
                words = op->halves[i].to;
    if (op->data == NCCL_API_UINT32)
        words[0]++;
}

static double run_op(void *argument)
{
    const struct fake_world *world = fake_world();
    struct op *op = argument;
    struct nccl_comm *comm = op->comm;
    double took = time_of(op);
    int r = 0;

    if (world->hang_op == (int)comm->rank && op->number >= world->hang_op_at)
        hang(comm);
    else if (world->fail_op == (int)comm->rank && op->number >= world->fail_op_at)
        fake_comm_fail(comm, NCCL_API_INTERNAL_ERROR, "told to fail in op %u", op->number);
    else if (atomic_load(&comm->state) <= NCCL_API_OK || atomic_load(&comm->state) == NCCL_API_IN_PROGRESS)
        r = carry_out(op);
    if (r == -ECONNRESET && world->silent)
        hang(comm);
    else if (r == -ECONNRESET)
        fake_comm_fail(comm, NCCL_API_REMOTE_ERROR, "a peer has closed its connection");
    else if (r < 0 && r != -ECANCELED)
        fake_comm_fail(comm, NCCL_API_INVALID_USAGE, "ranks run different ops");
    if (r == 0 && world->wrong == (int)comm->rank)
        spoil(op);
    atomic_fetch_sub(&comm->pending, 1);
    free(op);
    return took;
}

static void *queue_later(void *argument)
{
    struct op *op = argument;
    struct nccl_comm *comm = op->comm;
    int progress = NCCL_API_IN_PROGRESS;

    usleep(fake_world()->lazy_ms * 1000);
    fake_stream_call(op->stream, run_op, op);
    (void)atomic_compare_exchange_strong(&comm->state, &progress, NCCL_API_OK);
    return NULL;
}

static result queue(const struct op *filled)
{
    struct nccl_comm *comm = filled->comm;
    struct op *op;
    pthread_t thread;

    if (atomic_load(&comm->state) != NCCL_API_OK) {
        fake_comm_fail(comm, NCCL_API_INVALID_USAGE, "a call while another is in progress");
        return NCCL_API_INVALID_USAGE;
    }
    if (!size_of(filled->data))
        return NCCL_API_INVALID_ARGUMENT;
    op = malloc(sizeof(*op));
    if (!op)
        return NCCL_API_SYSTEM_ERROR;
    *op = *filled;
    op->number = comm->queued++;
    atomic_fetch_add(&comm->pending, 1);
    if (op->number > 0 || fake_world()->lazy_ms == 0) {
        fake_stream_call(op->stream, run_op, op);
        return NCCL_API_OK;
    }
    atomic_store(&comm->state, NCCL_API_IN_PROGRESS);
    if (pthread_create(&thread, NULL, queue_later, op) != 0)
        abort();
    pthread_detach(thread);
    return NCCL_API_IN_PROGRESS;
}

API result ncclAllReduce(const void *from, void *to, size_t count, type data,
                         enum nccl_api_reduction reduction, struct nccl_comm *comm,
                         struct cuda_stream *stream)
{
    if ((data == NCCL_API_UINT32) != (reduction == NCCL_API_SUM))
        return NCCL_API_INVALID_ARGUMENT; /* those are all that there is here */
    return queue(&(struct op){.comm = comm, .stream = stream, .kind = ALL_REDUCE, .from = from, .to = to,
                              .count = count, .data = data});
}

API result ncclAllGather(const void *from, void *to, size_t count, type data, struct nccl_comm *comm,
                         struct cuda_stream *stream)
{
    return queue(&(struct op){.comm = comm, .stream = stream, .kind = ALL_GATHER, .from = from, .to = to,
                              .count = count, .data = data});
}

API result ncclReduceScatter(const void *from, void *to, size_t count, type data,
                             enum nccl_api_reduction reduction, struct nccl_comm *comm,
                             struct cuda_stream *stream)
{
    if ((data == NCCL_API_UINT32) != (reduction == NCCL_API_SUM))
        return NCCL_API_INVALID_ARGUMENT;
    return queue(&(struct op){.comm = comm, .stream = stream, .kind = REDUCE_SCATTER, .from = from, .to = to,
                              .count = count, .data = data});
}

/* ---- groups --------------------------------------------------------------------------------------------- */

static _Thread_local struct op group;
static _Thread_local unsigned depth;

static result add_half(struct nccl_comm *comm, struct cuda_stream *stream, type data, struct half half)
{
    result code = ncclGroupStart();

    if (group.n_halves == FAKE_GROUP_MAX || half.peer >= comm->ranks)
        return NCCL_API_INVALID_ARGUMENT;
    group.comm = comm;
    group.stream = stream;
    group.kind = POINT_TO_POINT;
    group.data = data;
    group.halves[group.n_halves++] = half;
    return code == NCCL_API_OK ? ncclGroupEnd() : code;
}

API result ncclGroupStart(void)
{
    depth++;
    return NCCL_API_OK;
}

API result ncclGroupEnd(void)
{
    result code = NCCL_API_OK;

    if (depth == 0)
        return NCCL_API_INVALID_USAGE;
    if (--depth > 0)
        return NCCL_API_OK;
    if (group.n_halves)
        code = queue(&group);
    memset(&group, 0, sizeof(group));
    return code;
}

API result ncclSend(const void *from, size_t count, type data, int peer, struct nccl_comm *comm,
                    struct cuda_stream *stream)
{
    return add_half(comm, stream, data, (struct half){.sends = true, .peer = (unsigned)peer, .from = from,
                                                      .bytes = count * size_of(data)});
}

API result ncclRecv(void *to, size_t count, type data, int peer, struct nccl_comm *comm,
                    struct cuda_stream *stream)
{
    return add_half(comm, stream, data, (struct half){.peer = (unsigned)peer, .to = to,
                                                      .bytes = count * size_of(data)});
}
