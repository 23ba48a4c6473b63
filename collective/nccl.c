/* A rank over NCCL: opened on a GPU, connected by rank 0's unique id, ended without waiting for anybody. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collective/nccl_internal.h"

#define FINALIZE_NS 5000000000ull /* for peers to be told, in an orderly end */
#define ABORTED_NS 2000000000ull /* for kernels to see that they are aborted */
#define MIB (1ull << 20)

/*
 * An address: the version of the library in four bytes, lowest first, and rank 0's unique id behind
 * it. Versions that differ are told before NCCL is asked, whose bootstrap changes between versions.
 */
#define VERSION_BYTES 4

/* ---- memory and devices --------------------------------------------------------------------------------- */

/*
 * Everything of the device. Freeing waits for the device, so nothing is freed while something runs on
 * it: the end of the process does it then.
 */
static void release_device(struct nccl_rank *rank)
{
    const struct cuda_api *cuda = &rank->cuda;

    if (rank->stream && nccl_drain(rank, "", nccl_now_ns() + ABORTED_NS, NULL) < 0)
        return;
    for (unsigned i = 0; i < NCCL_BATCH_MAX + 1; i++)
        if (rank->events[i])
            (void)cuda->event_destroy(rank->events[i]);
    if (rank->staging)
        (void)cuda->host_free(rank->staging);
    if (rank->values)
        (void)cuda->memory_free(rank->values);
    if (rank->second)
        (void)cuda->memory_free(rank->second);
    if (rank->data)
        (void)cuda->memory_free(rank->data);
    if (rank->stream)
        (void)cuda->stream_destroy(rank->stream);
    if (rank->context) {
        (void)cuda->context_set_current(NULL);
        (void)cuda->primary_context_release(rank->device);
    }
}

static int find_device(struct nccl_rank *rank, int ordinal, char uuid[CUDA_API_UUID_TEXT],
                       struct backend_info *info, struct err *err)
{
    const struct cuda_api *cuda = &rank->cuda;
    enum cuda_api_result result = cuda->init(0);
    struct cuda_uuid bytes;
    int count = 0;

    if (result != CUDA_API_OK)
        return err_set(err, -ENODEV, "the CUDA driver does not start: %.80s", cuda_api_error_name(cuda, result));
    result = cuda->device_get_count(&count);
    if (result == CUDA_API_OK && ordinal >= count)
        return err_set(err, -ENODEV, "there is no GPU %d: the driver shows %d", ordinal, count);
    if (result == CUDA_API_OK)
        result = cuda->device_get(&rank->device, ordinal);
    if (result == CUDA_API_OK)
        result = cuda->device_get_name(info->device, sizeof(info->device), rank->device);
    if (result == CUDA_API_OK)
        result = cuda->device_get_uuid(&bytes, rank->device);
    if (result != CUDA_API_OK)
        return err_set(err, -ENODEV, "GPU %d cannot be looked at: %.80s", ordinal,
                       cuda_api_error_name(cuda, result));
    info->device[sizeof(info->device) - 1] = '\0';
    cuda_api_uuid_text(&bytes, uuid);
    return 0;
}

static int check_memory(const struct nccl_rank *rank, const char *uuid, uint64_t bytes, struct err *err)
{
    size_t free_bytes = 0, total = 0;
    enum cuda_api_result result = rank->cuda.memory_get_info(&free_bytes, &total);

    if (result != CUDA_API_OK)
        return nccl_cuda_fail(&rank->cuda, result, "asking for free GPU memory", err);
    if (free_bytes >= bytes)
        return 0;
    return err_set(err, -ENOMEM, "%s has %llu of %llu MiB free, the probe wants %llu", uuid,
                   (unsigned long long)(free_bytes / MIB), (unsigned long long)(total / MIB),
                   (unsigned long long)(bytes / MIB));
}

static enum cuda_api_result take_memory(struct nccl_rank *rank)
{
    const struct cuda_api *cuda = &rank->cuda;
    enum cuda_api_result result = cuda->stream_create(&rank->stream, CUDA_API_STREAM_NON_BLOCKING);

    if (result == CUDA_API_OK)
        result = cuda->memory_alloc(&rank->data, rank->size);
    if (result == CUDA_API_OK)
        result = cuda->memory_alloc(&rank->second, rank->size);
    if (result == CUDA_API_OK)
        result = cuda->memory_alloc(&rank->values, (BACKEND_AGREE_MAX + 1) * sizeof(double));
    if (result == CUDA_API_OK)
        result = cuda->host_alloc(&rank->staging, NCCL_STAGING_BYTES, 0);
    for (unsigned i = 0; result == CUDA_API_OK && i < NCCL_BATCH_MAX + 1; i++)
        result = cuda->event_create(&rank->events[i], CUDA_API_EVENT_DEFAULT);
    if (result == CUDA_API_OK) /* no NaN among what is only there to line up ranks */
        result = cuda->memory_set_async(rank->values, 0, (BACKEND_AGREE_MAX + 1) * 2, rank->stream);
    return result;
}

static int open_device(struct nccl_rank *rank, int ordinal, struct backend_info *info, struct err *err)
{
    uint64_t wanted = 2 * rank->size + NCCL_RESERVE_BYTES;
    char uuid[CUDA_API_UUID_TEXT], doing[80];
    enum cuda_api_result result;
    int r = find_device(rank, ordinal, uuid, info, err);

    if (r == 0)
        r = nccl_gpu_free(uuid, wanted, err);
    if (r < 0)
        return r;
    snprintf(doing, sizeof(doing), "opening %s", uuid);
    result = rank->cuda.primary_context_retain(&rank->context, rank->device);
    if (result == CUDA_API_OK)
        result = rank->cuda.context_set_current(rank->context);
    if (result != CUDA_API_OK)
        return nccl_cuda_fail(&rank->cuda, result, doing, err);
    r = check_memory(rank, uuid, wanted, err);
    if (r < 0)
        return r;
    result = take_memory(rank);
    return result == CUDA_API_OK ? 0 : nccl_cuda_fail(&rank->cuda, result, doing, err);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static int check_options(const struct backend_options *options, struct err *err)
{
    if (options->ranks == 0 || options->ranks > BACKEND_RANKS_MAX || options->rank >= options->ranks)
        return err_set(err, -EINVAL, "there is no rank %u of %u", options->rank, options->ranks);
    if (options->device < 0)
        return err_set(err, -EINVAL, "there is no GPU %d", options->device);
    if (options->bytes_max > NCCL_BYTES_MAX)
        return err_set(err, -EINVAL, "ops of %llu bytes are too large", (unsigned long long)options->bytes_max);
    return 0;
}

/*
 * What the user has set stays. The RAS service would listen on a fixed port, which the workload or a
 * second probe on a host's network may want; warnings are part of the report. Neither touches what
 * is measured.
 */
static void set_environment(void)
{
    (void)setenv("NCCL_RAS_ENABLE", "0", 0);
    (void)setenv("NCCL_DEBUG", "WARN", 0);
}

static void nccl_close(struct backend_rank *base, bool broken)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    struct nccl_comm *comm;

    if (!rank)
        return;
    comm = rank->comm;
    if (comm && !broken) {
        uint64_t deadline_ns = nccl_now_ns() + FINALIZE_NS;

        broken = nccl_settle(rank, rank->nccl.comm_finalize(comm), "finalize", deadline_ns, NULL) < 0;
    }
    rank->comm = NULL;
    if (comm && broken)
        (void)rank->nccl.comm_abort(comm);
    else if (comm)
        (void)rank->nccl.comm_destroy(comm);
    release_device(rank);
    free(rank);
}

static int nccl_open(const struct backend_options *options, struct backend_rank **ret_rank,
                     struct backend_info *ret_info, struct err *err)
{
    struct backend_info info = {.name = "nccl"};
    struct nccl_rank *rank;
    int r = check_options(options, err);

    if (r < 0)
        return r;
    rank = calloc(1, sizeof(*rank));
    if (!rank)
        return err_set(err, -ENOMEM, "out of memory");
    rank->base = (struct backend_rank){.rank = options->rank, .ranks = options->ranks};
    rank->size = op_round_bytes(options->bytes_max, options->ranks);
    set_environment();
    r = cuda_api_load(&rank->cuda, err); /* before NCCL, which is large: most machines without a GPU end here */
    if (r == 0)
        r = nccl_api_load(options->library, &rank->nccl, err);
    if (r == 0)
        r = open_device(rank, options->device, &info, err);
    if (r < 0) {
        nccl_close(&rank->base, true);
        return r;
    }
    nccl_api_version_text(rank->nccl.version, info.version, sizeof(info.version));
    *ret_info = info;
    *ret_rank = &rank->base;
    return 0;
}

static int nccl_address(struct backend_rank *base, struct backend_address *ret_address, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    struct backend_address address = {.len = VERSION_BYTES};
    struct nccl_api_id id;
    enum nccl_api_result result;

    for (unsigned i = 0; i < VERSION_BYTES; i++)
        address.bytes[i] = (uint8_t)((unsigned)rank->nccl.version >> (8 * i));
    if (base->rank == 0) {
        result = rank->nccl.get_unique_id(&id);
        if (result != NCCL_API_OK)
            return nccl_fail(rank, result, "making a unique id", err);
        memcpy(address.bytes + VERSION_BYTES, id.bytes, sizeof(id.bytes));
        address.len += sizeof(id.bytes);
    }
    *ret_address = address;
    return 0;
}

static int check_addresses(const struct nccl_rank *rank, const struct backend_address *addresses,
                           struct err *err)
{
    for (unsigned i = 0; i < rank->base.ranks; i++) {
        size_t want = VERSION_BYTES + (i == 0 ? NCCL_API_ID_BYTES : 0);
        const uint8_t *bytes = addresses[i].bytes;
        char own[16], other[16];
        unsigned version;

        if (addresses[i].len != want)
            return err_set(err, -EPROTO, "address of rank %u has %zu bytes, not %zu", i, addresses[i].len, want);
        version = bytes[0] | (unsigned)bytes[1] << 8 | (unsigned)bytes[2] << 16 | (unsigned)bytes[3] << 24;
        if (version == (unsigned)rank->nccl.version)
            continue;
        nccl_api_version_text(rank->nccl.version, own, sizeof(own));
        nccl_api_version_text((int)(version & INT32_MAX), other, sizeof(other));
        return err_set(err, -EPROTO, "rank %u has NCCL %s, rank %u has %s: all ranks need the same", i, other,
                       rank->base.rank, own);
    }
    return 0;
}

static int nccl_connect(struct backend_rank *base, const struct backend_address *addresses,
                        uint64_t deadline_ns, struct err *err)
{
    struct nccl_rank *rank = (struct nccl_rank *)base;
    struct nccl_api_config config = {
        .size = sizeof(config), .magic = NCCL_API_CONFIG_MAGIC, .version = NCCL_API_CONFIG_VERSION,
        .blocking = 0, .cga_cluster_size = NCCL_API_UNSET, .min_ctas = NCCL_API_UNSET,
        .max_ctas = NCCL_API_UNSET, .split_share = NCCL_API_UNSET};
    struct nccl_api_id id;
    enum nccl_api_result result;
    int r;

    if (rank->comm)
        return err_set(err, -EINVAL, "connected already");
    r = check_addresses(rank, addresses, err);
    if (r < 0)
        return r;
    memcpy(id.bytes, addresses[0].bytes + VERSION_BYTES, sizeof(id.bytes));
    result = rank->nccl.comm_init_rank_config(&rank->comm, (int)base->ranks, id, (int)base->rank, &config);
    r = nccl_settle(rank, result, "connecting ranks", deadline_ns, err);
    if (r == 0 && !rank->comm)
        return err_set(err, -EIO, "NCCL made no communicator");
    return r;
}

const struct backend backend_nccl = {
    .name = "nccl",
    .open = nccl_open,
    .address = nccl_address,
    .connect = nccl_connect,
    .run = nccl_run,
    .check = nccl_check,
    .agree = nccl_agree,
    .pair = nccl_pair,
    .close = nccl_close,
};
