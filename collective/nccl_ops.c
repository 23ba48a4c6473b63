/* What a rank runs: ops by the table of NCCL's functions, timed by events of the device. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collective/nccl_internal.h"
#include "collective/pattern.h"

#define DOING_MAX 96
#define POISON 0xdeadbeefu /* where results are to come, before a check */

static const enum nccl_api_type word_type = NCCL_API_UINT32;

/* ---- queueing ------------------------------------------------------------------------------------------- */

static enum nccl_api_result queue_all_to_all(const struct nccl_rank *rank, uint64_t words_each)
{
    enum nccl_api_result result = rank->nccl.group_start(), ended;

    if (result != NCCL_API_OK)
        return result;
    for (unsigned peer = 0; result == NCCL_API_OK && peer < rank->base.ranks; peer++) {
        uint64_t at = peer * words_each * 4;

        result = rank->nccl.send(nccl_memory(rank->data + at), words_each, word_type, (int)peer, rank->comm,
                                 rank->stream);
        if (result == NCCL_API_OK || result == NCCL_API_IN_PROGRESS)
            result = rank->nccl.recv(nccl_memory(rank->second + at), words_each, word_type, (int)peer,
                                     rank->comm, rank->stream);
        if (result == NCCL_API_IN_PROGRESS) /* within a group: what it comes to is told at its end */
            result = NCCL_API_OK;
    }
    ended = rank->nccl.group_end();
    return result == NCCL_API_OK ? ended : result;
}

static enum nccl_api_result queue_exchange(const struct nccl_rank *rank, unsigned peer, uint64_t words)
{
    enum nccl_api_result sent, received = NCCL_API_OK, ended, started = rank->nccl.group_start();

    if (started != NCCL_API_OK)
        return started;
    sent = rank->nccl.send(nccl_memory(rank->data), words, word_type, (int)peer, rank->comm, rank->stream);
    if (sent == NCCL_API_OK || sent == NCCL_API_IN_PROGRESS)
        received = rank->nccl.recv(nccl_memory(rank->second), words, word_type, (int)peer, rank->comm,
                                   rank->stream);
    ended = rank->nccl.group_end();
    if (sent != NCCL_API_OK && sent != NCCL_API_IN_PROGRESS)
        return sent;
    return received != NCCL_API_OK && received != NCCL_API_IN_PROGRESS ? received : ended;
}

static enum nccl_api_result queue_op(const struct nccl_rank *rank, enum collective_op op, uint64_t bytes)
{
    uint64_t words = bytes / 4, each = words / rank->base.ranks;
    void *data = nccl_memory(rank->data), *own = nccl_memory(rank->data + rank->base.rank * each * 4);

    switch (op) {
    case OP_ALL_GATHER:
        return rank->nccl.all_gather(own, data, each, word_type, rank->comm, rank->stream);
    case OP_REDUCE_SCATTER:
        return rank->nccl.reduce_scatter(data, own, each, word_type, NCCL_API_SUM, rank->comm, rank->stream);
    case OP_ALL_TO_ALL:
        return queue_all_to_all(rank, each);
    default:
        return rank->nccl.all_reduce(data, data, words, word_type, NCCL_API_SUM, rank->comm, rank->stream);
    }
}

static enum nccl_api_result queue_agreement(const struct nccl_rank *rank, cuda_pointer values, unsigned n)
{
    return rank->nccl.all_reduce(nccl_memory(values), nccl_memory(values), n, NCCL_API_FLOAT64, NCCL_API_MAX,
                                 rank->comm, rank->stream);
}

/* ---- timed ---------------------------------------------------------------------------------------------- */

/* What a batch runs: an op of all ranks, or an exchange with one peer. */
struct batch {
    bool paired;
    unsigned peer;
    enum collective_op op;
    uint64_t bytes;
    const char *doing;
    uint64_t deadline_ns;
};

static int queue_one(const struct nccl_rank *rank, const struct batch *batch, struct err *err)
{
    enum nccl_api_result result = batch->paired ? queue_exchange(rank, batch->peer, batch->bytes / 4)
                                                : queue_op(rank, batch->op, batch->bytes);

    return nccl_settle(rank, result, batch->doing, batch->deadline_ns, err);
}

/*
 * A few bytes through all that take part, on the stream before the first event: ranks that come
 * early wait there and not in the first op, and the ops are queued by the time that the first of
 * them starts.
 */
static int line_up(const struct nccl_rank *rank, const struct batch *batch, struct err *err)
{
    enum nccl_api_result result =
        batch->paired ? queue_exchange(rank, batch->peer, 1)
                      : queue_agreement(rank, rank->values + BACKEND_AGREE_MAX * sizeof(double), 1);

    return nccl_settle(rank, result, batch->doing, batch->deadline_ns, err);
}

static int record(const struct nccl_rank *rank, unsigned i, const char *doing, struct err *err)
{
    enum cuda_api_result result = rank->cuda.event_record(rank->events[i], rank->stream);

    return result == CUDA_API_OK ? 0 : nccl_cuda_fail(&rank->cuda, result, doing, err);
}

static int run_batch(const struct nccl_rank *rank, const struct batch *batch, unsigned n, double *ret_seconds,
                     struct err *err)
{
    int r = line_up(rank, batch, err);

    if (r == 0)
        r = record(rank, 0, batch->doing, err);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        r = queue_one(rank, batch, err);
        if (r == 0)
            r = record(rank, i + 1, batch->doing, err);
    }
    if (r == 0)
        r = nccl_drain(rank, batch->doing, batch->deadline_ns, err);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        float ms = 0;
        enum cuda_api_result result =
            rank->cuda.event_elapsed_ms(&ms, rank->events[i], rank->events[i + 1]);

        if (result != CUDA_API_OK)
            r = nccl_cuda_fail(&rank->cuda, result, batch->doing, err);
        ret_seconds[i] = ms > 0 ? (double)ms / 1e3 : 1e-9; /* below the clock's resolution */
    }
    return r;
}

static int run_batches(const struct nccl_rank *rank, const struct batch *batch, unsigned n,
                       double *ret_seconds, struct err *err)
{
    int r = 0;

    for (unsigned done = 0; r == 0 && done < n;) {
        unsigned now = n - done < NCCL_BATCH_MAX ? n - done : NCCL_BATCH_MAX;

        r = run_batch(rank, batch, now, ret_seconds + done, err);
        done += now;
    }
    return r;
}

static int check_size(const struct nccl_rank *rank, uint64_t bytes, uint64_t multiple, struct err *err)
{
    if (!rank->comm)
        return err_set(err, -EINVAL, "not connected");
    if (bytes == 0 || bytes % multiple || bytes > rank->size)
        return err_set(err, -EINVAL, "%llu bytes are not a multiple of %llu up to %llu",
                       (unsigned long long)bytes, (unsigned long long)multiple,
                       (unsigned long long)rank->size);
    return 0;
}

static void say_doing(char text[DOING_MAX], enum collective_op op, uint64_t bytes)
{
    snprintf(text, DOING_MAX, "%s of %llu bytes", op_name(op), (unsigned long long)bytes);
}

int nccl_run(struct backend_rank *base, enum collective_op op, uint64_t bytes, unsigned n,
             double *ret_seconds, uint64_t deadline_ns, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    char doing[DOING_MAX];
    struct batch batch = {.op = op, .bytes = bytes, .doing = doing, .deadline_ns = deadline_ns};
    int r = check_size(rank, bytes, 4ull * base->ranks, err);

    if (r < 0)
        return r;
    say_doing(doing, op, bytes);
    return run_batches(rank, &batch, n, ret_seconds, err);
}

int nccl_pair(struct backend_rank *base, unsigned peer, uint64_t bytes, unsigned n, double *ret_seconds,
              uint64_t deadline_ns, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    char doing[DOING_MAX];
    struct batch batch = {.paired = true, .peer = peer, .bytes = bytes, .doing = doing,
                          .deadline_ns = deadline_ns};
    int r = check_size(rank, bytes, 4, err);

    if (r < 0)
        return r;
    if (peer >= base->ranks || peer == base->rank)
        return err_set(err, -EINVAL, "rank %u cannot pair with %u of %u", base->rank, peer, base->ranks);
    snprintf(doing, sizeof(doing), "exchange of %llu bytes with rank %u", (unsigned long long)bytes, peer);
    return run_batches(rank, &batch, n, ret_seconds, err);
}

int nccl_agree(struct backend_rank *base, double *values, unsigned n, uint64_t deadline_ns, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    static const char doing[] = "agreement of all ranks";
    enum cuda_api_result copied;
    int r;

    if (!rank->comm || n > BACKEND_AGREE_MAX)
        return err_set(err, -EINVAL, "no agreement on %u values", n);
    if (n)
        memcpy(rank->staging, values, n * sizeof(*values));
    else
        n = 1; /* a barrier */
    copied = rank->cuda.copy_to_device_async(rank->values, rank->staging, n * sizeof(*values), rank->stream);
    if (copied != CUDA_API_OK)
        return nccl_cuda_fail(&rank->cuda, copied, doing, err);
    r = nccl_settle(rank, queue_agreement(rank, rank->values, n), doing, deadline_ns, err);
    if (r < 0)
        return r;
    copied = rank->cuda.copy_to_host_async(rank->staging, rank->values, n * sizeof(*values), rank->stream);
    if (copied != CUDA_API_OK)
        return nccl_cuda_fail(&rank->cuda, copied, doing, err);
    r = nccl_drain(rank, doing, deadline_ns, err);
    if (r == 0 && values)
        memcpy(values, rank->staging, n * sizeof(*values));
    return r;
}

/* ---- with data ------------------------------------------------------------------------------------------ */

static int poison(const struct nccl_rank *rank, cuda_pointer at, uint64_t words, struct err *err)
{
    enum cuda_api_result result = rank->cuda.memory_set_async(at, POISON, words, rank->stream);

    return result == CUDA_API_OK ? 0 : nccl_cuda_fail(&rank->cuda, result, "filling GPU memory", err);
}

/* Words of `from`'s pattern at `at` of the GPU, piece by piece through the staging memory. */
static int fill(const struct nccl_rank *rank, cuda_pointer at, uint64_t words, uint64_t first_index,
                uint64_t deadline_ns, struct err *err)
{
    static const char doing[] = "copying data to the GPU";
    int r = 0;

    for (uint64_t done = 0; r == 0 && done < words;) {
        uint64_t now = words - done < NCCL_STAGING_BYTES / 4 ? words - done : NCCL_STAGING_BYTES / 4;
        enum cuda_api_result result;

        pattern_fill(rank->staging, now, first_index + done, rank->base.rank);
        result = rank->cuda.copy_to_device_async(at + done * 4, rank->staging, now * 4, rank->stream);
        r = result == CUDA_API_OK ? nccl_drain(rank, doing, deadline_ns, err)
                                  : nccl_cuda_fail(&rank->cuda, result, doing, err);
        done += now;
    }
    return r;
}

#define ALL_RANKS UINT32_MAX

/* Adds to *wrong how many words at `at` are not the pattern of `from`, or of the sum over ALL_RANKS. */
static int count_wrong(const struct nccl_rank *rank, cuda_pointer at, uint64_t words, uint64_t first_index,
                       unsigned from, uint64_t deadline_ns, uint64_t *wrong, struct err *err)
{
    static const char doing[] = "copying data from the GPU";
    int r = 0;

    for (uint64_t done = 0; r == 0 && done < words;) {
        uint64_t now = words - done < NCCL_STAGING_BYTES / 4 ? words - done : NCCL_STAGING_BYTES / 4;
        enum cuda_api_result result =
            rank->cuda.copy_to_host_async(rank->staging, at + done * 4, now * 4, rank->stream);

        r = result == CUDA_API_OK ? nccl_drain(rank, doing, deadline_ns, err)
                                  : nccl_cuda_fail(&rank->cuda, result, doing, err);
        if (r == 0 && from == ALL_RANKS)
            *wrong += pattern_wrong_sum(rank->staging, now, first_index + done, rank->base.ranks);
        else if (r == 0)
            *wrong += pattern_wrong_of(rank->staging, now, first_index + done, from);
        done += now;
    }
    return r;
}

static int prepare(const struct nccl_rank *rank, enum collective_op op, uint64_t words, uint64_t deadline_ns,
                   struct err *err)
{
    uint64_t each = words / rank->base.ranks, own = rank->base.rank * each;
    int r = 0;

    if (op == OP_ALL_GATHER) {
        r = poison(rank, rank->data, words, err);
        return r < 0 ? r : fill(rank, rank->data + own * 4, each, own, deadline_ns, err);
    }
    if (op == OP_ALL_TO_ALL)
        r = poison(rank, rank->second, words, err);
    return r < 0 ? r : fill(rank, rank->data, words, 0, deadline_ns, err);
}

static int judge(const struct nccl_rank *rank, enum collective_op op, uint64_t words, uint64_t deadline_ns,
                 uint64_t *wrong, struct err *err)
{
    uint64_t each = words / rank->base.ranks, own = rank->base.rank * each;
    int r = 0;

    if (op == OP_ALL_REDUCE)
        return count_wrong(rank, rank->data, words, 0, ALL_RANKS, deadline_ns, wrong, err);
    if (op == OP_REDUCE_SCATTER)
        return count_wrong(rank, rank->data + own * 4, each, own, ALL_RANKS, deadline_ns, wrong, err);
    for (unsigned from = 0; r == 0 && from < rank->base.ranks; from++) {
        cuda_pointer block = (op == OP_ALL_GATHER ? rank->data : rank->second) + from * each * 4;

        r = count_wrong(rank, block, each, op == OP_ALL_GATHER ? from * each : own, from, deadline_ns, wrong,
                        err);
    }
    return r;
}

int nccl_check(struct backend_rank *base, enum collective_op op, uint64_t bytes, uint64_t *ret_wrong,
               uint64_t deadline_ns, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    char doing[DOING_MAX];
    uint64_t wrong = 0;
    int r = check_size(rank, bytes, 4ull * base->ranks, err);

    if (r < 0)
        return r;
    say_doing(doing, op, bytes);
    r = prepare(rank, op, bytes / 4, deadline_ns, err);
    if (r == 0)
        r = nccl_settle(rank, queue_op(rank, op, bytes), doing, deadline_ns, err);
    if (r == 0)
        r = nccl_drain(rank, doing, deadline_ns, err);
    if (r == 0)
        r = judge(rank, op, bytes / 4, deadline_ns, &wrong, err);
    if (r == 0)
        *ret_wrong = wrong;
    return r;
}
