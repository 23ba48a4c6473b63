/* Fake libnccl.so.2, communicators: see fake_nccl.h. */
#include "tests/fake/fake_nccl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/fake_cuda.h"

#define API __attribute__((visibility("default")))

typedef enum nccl_api_result result;

result ncclGetVersion(int *version);
result ncclGetUniqueId(struct nccl_api_id *id);
result ncclCommInitRankConfig(struct nccl_comm **ret, int ranks, struct nccl_api_id id, int rank,
                              struct nccl_api_config *config);
result ncclCommGetAsyncError(struct nccl_comm *comm, result *ret);
result ncclCommFinalize(struct nccl_comm *comm);
result ncclCommDestroy(struct nccl_comm *comm);
result ncclCommAbort(struct nccl_comm *comm);
const char *ncclGetErrorString(result code);
const char *ncclGetLastError(struct nccl_comm *comm);

static _Thread_local char last_error[192];

void fake_comm_fail(struct nccl_comm *comm, result code, const char *format, ...)
{
    int settled = NCCL_API_OK, progress = NCCL_API_IN_PROGRESS;
    char text[sizeof(comm->error)];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* The first failure stands: the text is only read once the state has changed. */
    if (atomic_load(&comm->state) != settled && atomic_load(&comm->state) != progress)
        return;
    memcpy(comm->error, text, sizeof(text));
    if (!atomic_compare_exchange_strong(&comm->state, &progress, (int)code))
        (void)atomic_compare_exchange_strong(&comm->state, &settled, (int)code);
}

static void *connect_ranks(void *argument)
{
    struct nccl_comm *comm = argument;
    const struct fake_world *world = fake_world();
    int progress = NCCL_API_IN_PROGRESS, r;

    if (world->hang_init == (int)comm->rank) {
        while (!atomic_load(&comm->aborted))
            usleep(5000);
        return NULL;
    }
    if (world->fail_init == (int)comm->rank) {
        fake_comm_fail(comm, NCCL_API_INTERNAL_ERROR, "told to fail in init");
        return NULL;
    }
    r = fake_net_connect(comm);
    if (r == -EPROTO)
        fake_comm_fail(comm, NCCL_API_INVALID_USAGE, "Mismatched NCCL version detected");
    else if (r == -EINVAL)
        fake_comm_fail(comm, NCCL_API_INVALID_USAGE, "ranks do not agree on their number");
    else if (r < 0 && r != -ECANCELED)
        fake_comm_fail(comm, NCCL_API_REMOTE_ERROR, "connecting: %s", strerror(-r));
    else if (r == 0)
        (void)atomic_compare_exchange_strong(&comm->state, &progress, NCCL_API_OK);
    return NULL;
}

API result ncclGetVersion(int *version)
{
    *version = fake_world()->version;
    return NCCL_API_OK;
}

API result ncclGetUniqueId(struct nccl_api_id *id)
{
    return fake_net_root(id) < 0 ? NCCL_API_SYSTEM_ERROR : NCCL_API_OK;
}

static result refuse(const char *why)
{
    snprintf(last_error, sizeof(last_error), "%s", why);
    return NCCL_API_INVALID_ARGUMENT;
}

static result check_config(const struct nccl_api_config *config)
{
    if (!config || config->size < offsetof(struct nccl_api_config, split_share) + sizeof(int) ||
        config->magic != NCCL_API_CONFIG_MAGIC || config->version < 21400 || config->version > 99999)
        return refuse("config argument not initialized");
    if (config->blocking != 0)
        return refuse("a blocking communicator may wait for ever");
    if (config->cga_cluster_size != NCCL_API_UNSET || config->min_ctas != NCCL_API_UNSET ||
        config->max_ctas != NCCL_API_UNSET || config->net_name || config->split_share != NCCL_API_UNSET)
        return refuse("the config changes what is measured");
    return NCCL_API_OK;
}

API result ncclCommInitRankConfig(struct nccl_comm **ret, int ranks, struct nccl_api_id id, int rank,
                                  struct nccl_api_config *config)
{
    struct nccl_comm *comm;

    *ret = NULL;
    if (check_config(config) != NCCL_API_OK)
        return NCCL_API_INVALID_ARGUMENT;
    if (ranks < 1 || ranks > FAKE_RANKS_MAX || rank < 0 || rank >= ranks || fake_current_device() < 0)
        return refuse("rank, ranks or the thread's context");
    comm = calloc(1, sizeof(*comm));
    if (!comm)
        return NCCL_API_SYSTEM_ERROR;
    comm->rank = (unsigned)rank;
    comm->ranks = (unsigned)ranks;
    comm->device = (unsigned)fake_current_device();
    comm->id = id;
    comm->version = fake_world()->version;
    for (unsigned i = 0; i < FAKE_RANKS_MAX; i++)
        comm->peers[i] = -1;
    fake_memory_add(comm->device, (int64_t)(fake_world()->comm_mib * FAKE_MIB));
    atomic_store(&comm->state, NCCL_API_IN_PROGRESS);
    if (pthread_create(&comm->thread, NULL, connect_ranks, comm) != 0)
        abort();
    *ret = comm;
    return NCCL_API_IN_PROGRESS;
}

API result ncclCommGetAsyncError(struct nccl_comm *comm, result *ret)
{
    if (comm->finalizing && atomic_load(&comm->pending) == 0 &&
        fake_world()->hang_finalize != (int)comm->rank) {
        comm->finalizing = false;
        atomic_store(&comm->state, NCCL_API_OK);
    }
    *ret = (result)atomic_load(&comm->state);
    return NCCL_API_OK;
}

API result ncclCommFinalize(struct nccl_comm *comm)
{
    if (atomic_load(&comm->state) != NCCL_API_OK)
        return NCCL_API_INVALID_USAGE;
    comm->finalizing = true;
    atomic_store(&comm->state, NCCL_API_IN_PROGRESS);
    return NCCL_API_IN_PROGRESS;
}

static void take_apart(struct nccl_comm *comm)
{
    pthread_join(comm->thread, NULL);
    while (atomic_load(&comm->pending))
        usleep(1000);
    fake_net_close(comm);
    fake_memory_add(comm->device, -(int64_t)(fake_world()->comm_mib * FAKE_MIB));
    free(comm);
}

API result ncclCommDestroy(struct nccl_comm *comm)
{
    take_apart(comm);
    return NCCL_API_OK;
}

API result ncclCommAbort(struct nccl_comm *comm)
{
    if (fake_world()->hang_abort == (int)comm->rank)
        for (;;)
            pause();
    atomic_store(&comm->aborted, true);
    take_apart(comm);
    return NCCL_API_OK;
}

API const char *ncclGetErrorString(result code)
{
    static const char *const texts[] = {"no error", "unhandled cuda error", "unhandled system error",
                                        "internal error", "invalid argument", "invalid usage",
                                        "remote process exited or there was a network error",
                                        "NCCL operation in progress"};

    return (unsigned)code < sizeof(texts) / sizeof(texts[0]) ? texts[code] : "unknown result code";
}

API const char *ncclGetLastError(struct nccl_comm *comm)
{
    return comm && comm->error[0] ? comm->error : last_error;
}
