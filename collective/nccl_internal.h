/*
 * nccl_internal.h - one rank over NCCL, shared by nccl.c (its life), nccl_ops.c (what it runs),
 * nccl_wait.c (how it waits) and nccl_busy.c (whether the GPU is free).
 *
 * Nothing here waits inside NCCL or the driver: the communicator is non-blocking, and what is queued
 * on the stream is polled for. A rank has one stream and uses it for everything, so that its own
 * order is enough.
 */
#pragma once

#include "collective/backend.h"
#include "collective/cuda_api.h"
#include "collective/nccl_api.h"

#define NCCL_BATCH_MAX 32 /* ops that are queued at once */
#define NCCL_STAGING_BYTES (4u << 20)
/* Left free beside our buffers: NCCL's own, per channel and peer, and the context. */
#define NCCL_RESERVE_BYTES (2ull << 30)
#define NCCL_BYTES_MAX (1ull << 46)

struct nccl_rank {
    struct backend_rank base;
    struct nccl_api nccl;
    struct cuda_api cuda;
    cuda_device device;
    struct cuda_context *context;
    struct cuda_stream *stream;
    struct cuda_event *events[NCCL_BATCH_MAX + 1];
    uint64_t size; /* of data and second each */
    cuda_pointer data, second; /* second: what is received where an op cannot run in place */
    cuda_pointer values; /* BACKEND_AGREE_MAX doubles, and one more that lines ranks up */
    void *staging; /* pinned host memory, NCCL_STAGING_BYTES */
    struct nccl_comm *comm;
};

static inline void *nccl_memory(cuda_pointer memory)
{
    return (void *)(uintptr_t)memory; // NOLINT(performance-no-int-to-ptr): one address space
}

/* nccl_wait.c */
uint64_t nccl_now_ns(void);
/* Errors as backend.h has them, with what the library says. `doing`: "all_reduce of 1024 bytes". */
int nccl_fail(const struct nccl_rank *rank, enum nccl_api_result result, const char *doing, struct err *err);
int nccl_cuda_fail(const struct cuda_api *cuda, enum cuda_api_result result, const char *doing,
                   struct err *err);
/* The result of a call on the communicator: when it goes on in the background, until it has settled. */
int nccl_settle(const struct nccl_rank *rank, enum nccl_api_result result, const char *doing,
                uint64_t deadline_ns, struct err *err);
/* Until the stream is empty. */
int nccl_drain(const struct nccl_rank *rank, const char *doing, uint64_t deadline_ns, struct err *err);

/* nccl_busy.c */
/* -EBUSY: processes that are none of ours compute on it; -ENOMEM: less than `bytes` are free. 0 too
 * where NVML is missing. */
int nccl_gpu_free(const char *uuid, uint64_t bytes, struct err *err);

/* nccl_ops.c */
int nccl_run(struct backend_rank *base, enum collective_op op, uint64_t bytes, unsigned n,
             double *ret_seconds, uint64_t deadline_ns, struct err *err);
int nccl_check(struct backend_rank *base, enum collective_op op, uint64_t bytes, uint64_t *ret_wrong,
               uint64_t deadline_ns, struct err *err);
int nccl_agree(struct backend_rank *base, double *values, unsigned n, uint64_t deadline_ns, struct err *err);
int nccl_pair(struct backend_rank *base, unsigned peer, uint64_t bytes, unsigned n, double *ret_seconds,
              uint64_t deadline_ns, struct err *err);
