/* The tcp backend: its table of functions, and which way an op takes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "collective/pattern.h"
#include "collective/tcp_internal.h"

#define BYTES_MAX ((uint64_t)1 << 40)

static struct tcp_rank *tcp_of(struct backend_rank *rank)
{
    return (struct tcp_rank *)rank;
}

static void tcp_close(struct backend_rank *rank, bool broken)
{
    struct tcp_rank *tcp = tcp_of(rank);

    (void)broken; /* nothing here waits for peers */
    if (!tcp)
        return;
    tcp_unlink_all(tcp);
    for (unsigned i = 0; i < BACKEND_STREAMS_MAX; i++)
        free(tcp->scratch[i]);
    tcp_buffer_free(tcp->data, tcp->bytes_max);
    tcp_buffer_free(tcp->second, tcp->bytes_max);
    free(tcp->addresses);
    free(tcp->peers);
    free(tcp);
}

static int check_options(const struct backend_options *options, struct err *err)
{
    if (options->ranks < 1 || options->ranks > BACKEND_RANKS_MAX || options->rank >= options->ranks)
        return err_set(err, -EINVAL, "rank %u of %u: expected 1 to %u ranks, counted from 0",
                       options->rank, options->ranks, BACKEND_RANKS_MAX);
    if (options->streams > BACKEND_STREAMS_MAX)
        return err_set(err, -EINVAL, "streams %u: expected at most %u", options->streams,
                       BACKEND_STREAMS_MAX);
    if (options->bytes_max > BYTES_MAX)
        return err_set(err, -EINVAL, "bytes_max %" PRIu64 ": expected at most %" PRIu64,
                       options->bytes_max, BYTES_MAX);
    return 0;
}

static int take_memory(struct tcp_rank *tcp, struct err *err)
{
    tcp->addresses = calloc(tcp->base.ranks, sizeof(*tcp->addresses));
    tcp->peers = calloc(tcp->base.ranks, sizeof(void *));
    if (!tcp->addresses || !tcp->peers)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < tcp->streams; i++) {
        tcp->scratch[i] = malloc(TCP_SCRATCH);
        if (!tcp->scratch[i])
            return err_set(err, -ENOMEM, "out of memory");
    }
    return tcp_buffer(tcp->bytes_max, &tcp->data, err);
}

static void tell_about(struct backend_info *ret_info)
{
    struct utsname name;

    *ret_info = (struct backend_info){.name = "tcp", .transport = "socket"};
    if (uname(&name) == 0)
        snprintf(ret_info->version, sizeof(ret_info->version), "%s %.40s", name.sysname,
                 name.release);
}

static int tcp_open(const struct backend_options *options, struct backend_rank **ret_rank,
                    struct backend_info *ret_info, struct err *err)
{
    struct tcp_rank *tcp;
    int r = check_options(options, err);

    if (r < 0)
        return r;
    tcp = calloc(1, sizeof(*tcp));
    if (!tcp)
        return err_set(err, -ENOMEM, "out of memory");
    tcp->base = (struct backend_rank){.rank = options->rank, .ranks = options->ranks};
    tcp->listener = -1;
    tcp->streams = options->streams ? options->streams : 1;
    tcp->bytes_max = op_round_bytes(0, options->ranks); /* the least op */
    if (options->bytes_max > tcp->bytes_max)
        tcp->bytes_max = options->bytes_max;
    r = tcp_address_from_host(options->host, &tcp->own, err);
    if (r == 0)
        r = tcp_listen(tcp, err);
    if (r == 0)
        r = take_memory(tcp, err);
    if (r < 0) {
        tcp_close(&tcp->base, true);
        return r;
    }
    tell_about(ret_info);
    *ret_rank = &tcp->base;
    return 0;
}

static int tcp_address(struct backend_rank *rank, struct backend_address *ret_address,
                       struct err *err)
{
    (void)err;
    tcp_address_encode(&tcp_of(rank)->own, ret_address);
    return 0;
}

/* The ring's and agree's connections at once, so that a rank that cannot be reached shows here. */
static int tcp_connect(struct backend_rank *rank, const struct backend_address *addresses,
                       uint64_t deadline_ns, struct err *err)
{
    struct tcp_rank *tcp = tcp_of(rank);
    unsigned ranks = rank->ranks, n;
    struct tcp_want wants[64 + 2];
    double nothing = 0;
    int r;

    for (unsigned i = 0; i < ranks; i++)
        if (addresses[i].len > 0 && tcp_address_decode(&addresses[i], &tcp->addresses[i]) < 0)
            return err_set(err, -EINVAL, "rank %u: found no address of a tcp rank", i);
    if (ranks == 1)
        return 0;
    n = tcp_agree_wants(tcp, wants);
    wants[n++] = (struct tcp_want){(rank->rank + 1) % ranks, TCP_OUT};
    wants[n++] = (struct tcp_want){(rank->rank + ranks - 1) % ranks, TCP_IN};
    r = tcp_link(tcp, wants, n, deadline_ns, err);
    return r < 0 ? r : tcp_agree(tcp, &nothing, 1, deadline_ns, err);
}

/* ---- ops --------------------------------------------------------------------------- */

static bool uses_tree(const struct tcp_rank *tcp, enum collective_op op, uint64_t bytes)
{
    return op == OP_ALL_REDUCE && tcp->base.ranks > 1 && tcp_tree_is_faster(tcp->base.ranks, bytes);
}

static bool needs_second(const struct tcp_rank *tcp, enum collective_op op, uint64_t bytes)
{
    return op == OP_ALL_TO_ALL || tcp->base.ranks == 1 || uses_tree(tcp, op, bytes);
}

/* Pages that nobody wrote are all the same one to the kernel: sending those would look too fast. */
static void touch(uint32_t *words, uint64_t *touched, uint64_t bytes)
{
    if (bytes <= *touched)
        return;
    memset((uint8_t *)words + *touched, 1, (size_t)(bytes - *touched));
    *touched = bytes;
}

static int make_ready(struct tcp_rank *tcp, bool second, uint64_t bytes, struct err *err)
{
    int r = second && !tcp->second ? tcp_buffer(tcp->bytes_max, &tcp->second, err) : 0;

    if (r < 0)
        return r;
    touch(tcp->data, &tcp->touched, bytes);
    if (second)
        touch(tcp->second, &tcp->second_touched, bytes);
    return 0;
}

static int prepare(struct tcp_rank *tcp, enum collective_op op, uint64_t bytes, struct err *err)
{
    if (op >= OP_COUNT || bytes == 0 || bytes % (sizeof(uint32_t) * tcp->base.ranks) ||
        bytes > tcp->bytes_max)
        return err_set(err, -EINVAL,
                       "op %u of %" PRIu64
                       " bytes: expected a multiple of 4 * ranks, at most %" PRIu64,
                       (unsigned)op, bytes, tcp->bytes_max);
    return make_ready(tcp, needs_second(tcp, op, bytes), bytes, err);
}

static int run_once(struct tcp_rank *tcp, enum collective_op op, uint64_t bytes,
                    uint64_t deadline_ns, struct err *err)
{
    if (tcp_now_ns() >= deadline_ns)
        return err_set(err, -ETIMEDOUT, "no time left for another %s", op_name(op));
    if (tcp->base.ranks == 1) {
        memcpy(tcp->second, tcp->data, (size_t)bytes);
        return 0;
    }
    if (op == OP_ALL_TO_ALL)
        return tcp_all_to_all(tcp, bytes, deadline_ns, err);
    if (uses_tree(tcp, op, bytes))
        return tcp_tree(tcp, bytes, deadline_ns, err);
    return tcp_ring(tcp, op, bytes, deadline_ns, err);
}

static int tcp_run(struct backend_rank *rank, enum collective_op op, uint64_t bytes, unsigned n,
                   double *ret_seconds, uint64_t deadline_ns, struct err *err)
{
    struct tcp_rank *tcp = tcp_of(rank);
    int r = prepare(tcp, op, bytes, err);

    for (unsigned i = 0; r == 0 && i < n; i++) {
        uint64_t start = tcp_now_ns();

        r = run_once(tcp, op, bytes, deadline_ns, err);
        ret_seconds[i] = (double)(tcp_now_ns() - start) * 1e-9;
    }
    return r;
}

/* Words of the op's result that are wrong on this rank. */
static uint64_t count_wrong(const struct tcp_rank *tcp, enum collective_op op, uint64_t bytes)
{
    unsigned ranks = tcp->base.ranks, rank = tcp->base.rank;
    size_t words = (size_t)(bytes / sizeof(uint32_t)), block = words / ranks;
    const uint32_t *found = op == OP_ALL_TO_ALL || ranks == 1 ? tcp->second : tcp->data;
    uint64_t wrong = 0;

    if (op == OP_ALL_REDUCE)
        return pattern_wrong_sum(found, words, 0, ranks);
    if (op == OP_REDUCE_SCATTER)
        return pattern_wrong_sum(found + rank * block, block, rank * block, ranks);
    for (unsigned i = 0; i < ranks; i++)
        wrong +=
            pattern_wrong_of(found + i * block, block, (op == OP_ALL_GATHER ? i : rank) * block, i);
    return wrong;
}

static int tcp_check(struct backend_rank *rank, enum collective_op op, uint64_t bytes,
                     uint64_t *ret_wrong, uint64_t deadline_ns, struct err *err)
{
    struct tcp_rank *tcp = tcp_of(rank);
    int r = prepare(tcp, op, bytes, err);
    size_t words = (size_t)(bytes / sizeof(uint32_t)), block = words / rank->ranks;

    if (r < 0)
        return r;
    if (op == OP_ALL_GATHER) { /* the rest must come from the others */
        memset(tcp->data, 0, (size_t)bytes);
        pattern_fill(tcp->data + rank->rank * block, block, rank->rank * block, rank->rank);
    } else {
        pattern_fill(tcp->data, words, 0, rank->rank);
    }
    if (needs_second(tcp, op, bytes))
        memset(tcp->second, 0, (size_t)bytes);
    r = run_once(tcp, op, bytes, deadline_ns, err);
    if (r == 0)
        *ret_wrong = count_wrong(tcp, op, bytes);
    return r;
}

static int tcp_agree_on(struct backend_rank *rank, double *values, unsigned n, uint64_t deadline_ns,
                        struct err *err)
{
    if (n < 1 || n > BACKEND_AGREE_MAX)
        return err_set(err, -EINVAL, "agree on %u values: expected 1 to %u", n, BACKEND_AGREE_MAX);
    return tcp_agree(tcp_of(rank), values, n, deadline_ns, err);
}

static int tcp_pair_with(struct backend_rank *rank, unsigned peer, uint64_t bytes, unsigned n,
                         double *ret_seconds, uint64_t deadline_ns, struct err *err)
{
    struct tcp_rank *tcp = tcp_of(rank);
    int r;

    if (peer >= rank->ranks || peer == rank->rank || bytes == 0 || bytes % sizeof(uint32_t) ||
        bytes > tcp->bytes_max)
        return err_set(err, -EINVAL,
                       "pair with rank %u of %" PRIu64
                       " bytes: expected another rank, at most %" PRIu64,
                       peer, bytes, tcp->bytes_max);
    r = make_ready(tcp, true, bytes, err);
    for (unsigned i = 0; r == 0 && i < n; i++) {
        uint64_t start = tcp_now_ns();

        r = tcp_pair(tcp, peer, bytes, deadline_ns, err);
        ret_seconds[i] = (double)(tcp_now_ns() - start) * 1e-9;
    }
    return r;
}

const struct backend backend_tcp = {
    .name = "tcp",
    .open = tcp_open,
    .address = tcp_address,
    .connect = tcp_connect,
    .run = tcp_run,
    .check = tcp_check,
    .agree = tcp_agree_on,
    .pair = tcp_pair_with,
    .close = tcp_close,
};
