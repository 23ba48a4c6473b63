/* Loading NCCL. */
#include "collective/nccl_api.h"

#include <errno.h>
#include <stdio.h>

#define F(field, name, is_needed)                                                                  \
    {                                                                                              \
        name, NULL, offsetof(struct nccl_api, field), is_needed                                    \
    }

static const struct library_function functions[] = {
    F(get_version, "ncclGetVersion", true),
    F(get_unique_id, "ncclGetUniqueId", true),
    F(comm_init_rank_config, "ncclCommInitRankConfig", true),
    F(comm_get_async_error, "ncclCommGetAsyncError", true),
    F(comm_finalize, "ncclCommFinalize", true),
    F(comm_destroy, "ncclCommDestroy", true),
    F(comm_abort, "ncclCommAbort", true),
    F(group_start, "ncclGroupStart", true),
    F(group_end, "ncclGroupEnd", true),
    F(all_reduce, "ncclAllReduce", true),
    F(all_gather, "ncclAllGather", true),
    F(reduce_scatter, "ncclReduceScatter", true),
    F(send, "ncclSend", true),
    F(recv, "ncclRecv", true),
    F(get_error_string, "ncclGetErrorString", true),
    F(get_last_error, "ncclGetLastError", false),
};

/* RCCL has the same functions under the same names: here another soname is all that it needs. It also
 * needs HIP in the place of the CUDA driver, which is not here yet. */
static const struct library_kind kind = {
    .title = "NCCL",
    .variable = "LOCKSTEP_NCCL_LIBRARY",
    .sonames = (const char *const[]){"libnccl.so.2", NULL},
    .in_python = (const char *const[]){"nvidia/nccl/lib/libnccl.so.2", NULL},
};

void nccl_api_version_text(int version, char *text, size_t size)
{
    int major = version / 10000, minor = version / 100 % 100;

    if (version < 10000) { /* to 2.8: a digit each of major and minor */
        major = version / 1000;
        minor = version / 100 % 10;
    }
    snprintf(text, size, "%d.%d.%d", major, minor, version % 100);
}

int nccl_api_load(const char *library, struct nccl_api *ret_api, struct err *err)
{
    struct nccl_api api = {0};
    void *handle = NULL;
    int r = library_open(&kind, library, &handle, api.path, err);

    if (r == 0)
        r = library_functions(handle, functions, sizeof(functions) / sizeof(functions[0]), &api, "NCCL", err);
    if (r < 0)
        return r;
    if (api.get_version(&api.version) != NCCL_API_OK || api.version <= 0)
        return err_set(err, -ENODEV, "%.300s does not tell its version", api.path);
    *ret_api = api;
    return 0;
}
