/*
 * cuda_api.h - what is used of the CUDA driver (libcuda.so.1), declared here and loaded at run time.
 * NCCL brings its own runtime, which shares the device's primary context with whoever uses the
 * driver: no libcudart is needed.
 *
 * Source: CUDA Driver API reference; the headers' macros rename some functions to _v2 names, which
 * are the ones that are asked for. Compared with the real header by tests/unit/test_nccl_abi.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "collective/nccl_library.h"

enum cuda_api_result {
    CUDA_API_OK = 0,
    CUDA_API_OUT_OF_MEMORY = 2,
    CUDA_API_DEVICE_UNAVAILABLE = 46, /* another process has it to itself */
    CUDA_API_NO_DEVICE = 100,
    CUDA_API_NOT_READY = 600,
};

enum { CUDA_API_STREAM_NON_BLOCKING = 1, CUDA_API_EVENT_DEFAULT = 0 };

typedef int cuda_device; /* CUdevice, */
typedef uint64_t cuda_pointer; /* CUdeviceptr: the interface knows them as numbers */

struct cuda_uuid {
    char bytes[16];
};

struct cuda_context;
struct cuda_stream;
struct cuda_event;

struct cuda_api {
    enum cuda_api_result (*init)(unsigned flags);
    enum cuda_api_result (*driver_get_version)(int *ret_version);
    enum cuda_api_result (*device_get_count)(int *ret_count);
    enum cuda_api_result (*device_get)(cuda_device *ret_device, int ordinal);
    enum cuda_api_result (*device_get_name)(char *name, int size, cuda_device device);
    enum cuda_api_result (*device_get_uuid)(struct cuda_uuid *ret_uuid, cuda_device device);
    enum cuda_api_result (*primary_context_retain)(struct cuda_context **ret_context, cuda_device device);
    enum cuda_api_result (*primary_context_release)(cuda_device device);
    enum cuda_api_result (*context_set_current)(struct cuda_context *context);
    enum cuda_api_result (*memory_get_info)(size_t *ret_free, size_t *ret_total);
    enum cuda_api_result (*memory_alloc)(cuda_pointer *ret_memory, size_t bytes);
    enum cuda_api_result (*memory_free)(cuda_pointer memory);
    enum cuda_api_result (*memory_set_async)(cuda_pointer memory, unsigned word, size_t words,
                                             struct cuda_stream *stream);
    enum cuda_api_result (*copy_to_device_async)(cuda_pointer to, const void *from, size_t bytes,
                                                 struct cuda_stream *stream);
    enum cuda_api_result (*copy_to_host_async)(void *to, cuda_pointer from, size_t bytes,
                                               struct cuda_stream *stream);
    enum cuda_api_result (*host_alloc)(void **ret_memory, size_t bytes, unsigned flags);
    enum cuda_api_result (*host_free)(void *memory);
    enum cuda_api_result (*stream_create)(struct cuda_stream **ret_stream, unsigned flags);
    enum cuda_api_result (*stream_destroy)(struct cuda_stream *stream);
    enum cuda_api_result (*stream_query)(struct cuda_stream *stream);
    enum cuda_api_result (*event_create)(struct cuda_event **ret_event, unsigned flags);
    enum cuda_api_result (*event_destroy)(struct cuda_event *event);
    enum cuda_api_result (*event_record)(struct cuda_event *event, struct cuda_stream *stream);
    enum cuda_api_result (*event_elapsed_ms)(float *ret_ms, struct cuda_event *from, struct cuda_event *to);
    enum cuda_api_result (*get_error_name)(enum cuda_api_result result, const char **ret_name);

    char path[LIBRARY_PATH_MAX];
};

/* LOCKSTEP_CUDA_LIBRARY, or libcuda.so.1 as the system finds it. -ENODEV: there is no driver here. */
int cuda_api_load(struct cuda_api *ret_api, struct err *err);

/* "CUDA_ERROR_..." or a number. */
const char *cuda_api_error_name(const struct cuda_api *api, enum cuda_api_result result);

#define CUDA_API_UUID_TEXT 48
/* "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", as NVML takes it. */
void cuda_api_uuid_text(const struct cuda_uuid *uuid, char text[CUDA_API_UUID_TEXT]);
