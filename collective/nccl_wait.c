/* Waiting without ever being inside of NCCL or the driver, and what their errors become. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "collective/nccl_internal.h"

#define YIELDS 200 /* before it sleeps between looks */
#define PAUSE_NS 50000

uint64_t nccl_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pause_between(unsigned looks)
{
    struct timespec pause = {.tv_nsec = PAUSE_NS};

    if (looks < YIELDS)
        sched_yield();
    else
        nanosleep(&pause, NULL);
}

static int error_of(enum nccl_api_result result)
{
    switch (result) {
    case NCCL_API_INVALID_ARGUMENT:
        return -EINVAL;
    case NCCL_API_INVALID_USAGE: /* ranks of two versions, two ranks on one GPU */
        return -EPROTO;
    case NCCL_API_REMOTE_ERROR:
        return -ECONNRESET;
    case NCCL_API_TIMEOUT:
        return -ETIMEDOUT;
    default:
        return -EIO;
    }
}

int nccl_fail(const struct nccl_rank *rank, enum nccl_api_result result, const char *doing, struct err *err)
{
    const char *what = rank->nccl.get_error_string(result);
    const char *last = rank->nccl.get_last_error ? rank->nccl.get_last_error(rank->comm) : NULL;
    int len;

    if (!last || !*last)
        return err_set(err, error_of(result), "%s: %.160s", doing, what ? what : "unknown NCCL error");
    last += strspn(last, "\n ");
    len = (int)strcspn(last, "\n");
    return err_set(err, error_of(result), "%s: %.120s: %.*s", doing, what ? what : "unknown NCCL error",
                   len < 240 ? len : 240, last);
}

int nccl_cuda_fail(const struct cuda_api *cuda, enum cuda_api_result result, const char *doing,
                   struct err *err)
{
    int r = result == CUDA_API_OUT_OF_MEMORY ? -ENOMEM : result == CUDA_API_DEVICE_UNAVAILABLE ? -EBUSY : -EIO;

    return err_set(err, r, "%s: %.80s", doing, cuda_api_error_name(cuda, result));
}

static int late(const char *doing, struct err *err)
{
    return err_set(err, -ETIMEDOUT, "%s did not end by its deadline", doing);
}

int nccl_settle(const struct nccl_rank *rank, enum nccl_api_result result, const char *doing,
                uint64_t deadline_ns, struct err *err)
{
    for (unsigned looks = 0; result == NCCL_API_IN_PROGRESS; looks++) {
        enum nccl_api_result asked = rank->nccl.comm_get_async_error(rank->comm, &result);

        if (asked != NCCL_API_OK)
            return nccl_fail(rank, asked, doing, err);
        if (result != NCCL_API_IN_PROGRESS)
            break;
        if (nccl_now_ns() >= deadline_ns)
            return late(doing, err);
        pause_between(looks);
    }
    return result == NCCL_API_OK ? 0 : nccl_fail(rank, result, doing, err);
}

int nccl_drain(const struct nccl_rank *rank, const char *doing, uint64_t deadline_ns, struct err *err)
{
    for (unsigned looks = 0;; looks++) {
        enum cuda_api_result queued = rank->cuda.stream_query(rank->stream);
        enum nccl_api_result state = NCCL_API_OK, asked = NCCL_API_OK;

        if (rank->comm) /* an error ends the stream, too: it is the better message of both */
            asked = rank->nccl.comm_get_async_error(rank->comm, &state);
        if (asked == NCCL_API_OK)
            asked = state;
        if (asked != NCCL_API_OK && asked != NCCL_API_IN_PROGRESS)
            return nccl_fail(rank, asked, doing, err);
        if (queued == CUDA_API_OK)
            return 0;
        if (queued != CUDA_API_NOT_READY)
            return nccl_cuda_fail(&rank->cuda, queued, doing, err);
        if (nccl_now_ns() >= deadline_ns)
            return late(doing, err);
        pause_between(looks);
    }
}
