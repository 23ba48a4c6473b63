/* Loading the CUDA driver. */
#include "collective/cuda_api.h"

#include <errno.h>
#include <stdio.h>

#define F(field, name, other)                                                                      \
    {                                                                                              \
        name, other, offsetof(struct cuda_api, field), true                                        \
    }

static const struct library_function functions[] = {
    F(init, "cuInit", NULL),
    F(driver_get_version, "cuDriverGetVersion", NULL),
    F(device_get_count, "cuDeviceGetCount", NULL),
    F(device_get, "cuDeviceGet", NULL),
    F(device_get_name, "cuDeviceGetName", NULL),
    F(device_get_uuid, "cuDeviceGetUuid_v2", "cuDeviceGetUuid"), /* v2 is of a MIG slice, from 11.4 on */
    F(primary_context_retain, "cuDevicePrimaryCtxRetain", NULL),
    F(primary_context_release, "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxRelease"),
    F(context_set_current, "cuCtxSetCurrent", NULL),
    F(memory_get_info, "cuMemGetInfo_v2", NULL),
    F(memory_alloc, "cuMemAlloc_v2", NULL),
    F(memory_free, "cuMemFree_v2", NULL),
    F(memory_set_async, "cuMemsetD32Async", NULL),
    F(copy_to_device_async, "cuMemcpyHtoDAsync_v2", NULL),
    F(copy_to_host_async, "cuMemcpyDtoHAsync_v2", NULL),
    F(host_alloc, "cuMemHostAlloc", NULL),
    F(host_free, "cuMemFreeHost", NULL),
    F(stream_create, "cuStreamCreate", NULL),
    F(stream_destroy, "cuStreamDestroy_v2", NULL),
    F(stream_query, "cuStreamQuery", NULL),
    F(event_create, "cuEventCreate", NULL),
    F(event_destroy, "cuEventDestroy_v2", NULL),
    F(event_record, "cuEventRecord", NULL),
    F(event_elapsed_ms, "cuEventElapsedTime", NULL),
    F(get_error_name, "cuGetErrorName", NULL),
};

static const struct library_kind kind = {
    .title = "CUDA driver",
    .variable = "LOCKSTEP_CUDA_LIBRARY",
    .sonames = (const char *const[]){"libcuda.so.1", NULL},
};

int cuda_api_load(struct cuda_api *ret_api, struct err *err)
{
    struct cuda_api api = {0};
    void *handle = NULL;
    int r = library_open(&kind, NULL, &handle, api.path, err);

    if (r == 0)
        r = library_functions(handle, functions, sizeof(functions) / sizeof(functions[0]), &api,
                              "CUDA driver", err);
    if (r == 0)
        *ret_api = api;
    return r;
}

const char *cuda_api_error_name(const struct cuda_api *api, enum cuda_api_result result)
{
    static char number[32];
    const char *name = NULL;

    if (api->get_error_name(result, &name) == CUDA_API_OK && name)
        return name;
    snprintf(number, sizeof(number), "CUDA error %d", (int)result);
    return number;
}

void cuda_api_uuid_text(const struct cuda_uuid *uuid, char text[CUDA_API_UUID_TEXT])
{
    unsigned char b[sizeof(uuid->bytes)];

    for (unsigned i = 0; i < sizeof(b); i++)
        b[i] = (unsigned char)uuid->bytes[i];
    snprintf(text, CUDA_API_UUID_TEXT,
             "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
