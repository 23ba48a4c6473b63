/* Fake libcuda.so.1: see fake_cuda.h. */
#include "tests/fake/fake_cuda.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fake/fake_world.h"

#define OK CUDA_API_OK
#define INVALID_VALUE ((enum cuda_api_result)1)
#define INVALID_CONTEXT ((enum cuda_api_result)201)
#define API __attribute__((visibility("default")))
#define FILLED_MAX (4u << 20) /* a rank takes gigabytes, all of which would be touched */

typedef enum cuda_api_result result;

result cuInit(unsigned flags);
result cuDriverGetVersion(int *version);
result cuDeviceGetCount(int *count);
result cuDeviceGet(cuda_device *device, int ordinal);
result cuDeviceGetName(char *name, int size, cuda_device device);
result cuDeviceGetUuid_v2(struct cuda_uuid *uuid, cuda_device device);
result cuDevicePrimaryCtxRetain(struct cuda_context **context, cuda_device device);
result cuDevicePrimaryCtxRelease_v2(cuda_device device);
result cuCtxSetCurrent(struct cuda_context *context);
result cuMemGetInfo_v2(size_t *free_bytes, size_t *total);
result cuMemAlloc_v2(cuda_pointer *memory, size_t bytes);
result cuMemFree_v2(cuda_pointer memory);
result cuMemsetD32Async(cuda_pointer memory, unsigned word, size_t words, struct cuda_stream *stream);
result cuMemcpyHtoDAsync_v2(cuda_pointer to, const void *from, size_t bytes, struct cuda_stream *stream);
result cuMemcpyDtoHAsync_v2(void *to, cuda_pointer from, size_t bytes, struct cuda_stream *stream);
result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
result cuMemFreeHost(void *memory);
result cuStreamCreate(struct cuda_stream **stream, unsigned flags);
result cuStreamDestroy_v2(struct cuda_stream *stream);
result cuStreamQuery(struct cuda_stream *stream);
result cuEventCreate(struct cuda_event **event, unsigned flags);
result cuEventDestroy_v2(struct cuda_event *event);
result cuEventRecord(struct cuda_event *event, struct cuda_stream *stream);
result cuEventElapsedTime(float *ms, struct cuda_event *from, struct cuda_event *to);
result cuGetErrorName(result code, const char **name);

struct cuda_context {
    unsigned device, users;
};

struct cuda_event {
    _Atomic double clock;
    atomic_bool recorded;
};

struct work {
    struct work *next;
    enum { COPY, SET, RECORD, CALL } kind;
    void *to;
    const void *from;
    size_t n; /* bytes, or words of SET */
    unsigned word;
    struct cuda_event *event;
    double (*call)(void *);
    void *argument;
};

struct cuda_stream {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct work *first, **last;
    unsigned undone; /* queued or at work */
    bool ending;
    double clock;
};

struct block { /* in front of "device" memory */
    size_t bytes;
    unsigned device;
} __attribute__((aligned(64)));

static struct cuda_context contexts[FAKE_DEVICES_MAX];
static _Thread_local struct cuda_context *current;
static atomic_uint undone_of_all; /* streams' work, for those who wait for the whole device */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_changed = PTHREAD_COND_INITIALIZER;

/* ---- devices -------------------------------------------------------------------------------------------- */

API result cuInit(unsigned flags)
{
    return flags ? INVALID_VALUE : fake_world()->devices ? OK : CUDA_API_NO_DEVICE;
}

API result cuDriverGetVersion(int *version)
{
    *version = 12040;
    return OK;
}

API result cuDeviceGetCount(int *count)
{
    *count = (int)fake_world()->devices;
    return OK;
}

API result cuDeviceGet(cuda_device *device, int ordinal)
{
    if (ordinal < 0 || (unsigned)ordinal >= fake_world()->devices)
        return (result)101; /* CUDA_ERROR_INVALID_DEVICE */
    *device = ordinal;
    return OK;
}

API result cuDeviceGetName(char *name, int size, cuda_device device)
{
    (void)device;
    snprintf(name, (size_t)size, "%s", fake_world()->name);
    return OK;
}

API result cuDeviceGetUuid_v2(struct cuda_uuid *uuid, cuda_device device)
{
    memset(uuid, 0, sizeof(*uuid));
    uuid->bytes[0] = (char)0xfa;
    uuid->bytes[15] = (char)device;
    return OK;
}

API result cuDevicePrimaryCtxRetain(struct cuda_context **context, cuda_device device)
{
    uint64_t bytes = fake_world()->context_mib * FAKE_MIB;
    struct cuda_context *found = &contexts[device];

    if (found->users == 0) {
        if (fake_memory_used((unsigned)device) + bytes > fake_world()->memory_mib * FAKE_MIB)
            return CUDA_API_OUT_OF_MEMORY;
        fake_memory_add((unsigned)device, (int64_t)bytes);
    }
    found->device = (unsigned)device;
    found->users++;
    *context = found;
    return OK;
}

API result cuDevicePrimaryCtxRelease_v2(cuda_device device)
{
    struct cuda_context *found = &contexts[device];

    if (found->users == 0)
        return INVALID_CONTEXT;
    if (--found->users == 0)
        fake_memory_add((unsigned)device, -(int64_t)(fake_world()->context_mib * FAKE_MIB));
    return OK;
}

API result cuCtxSetCurrent(struct cuda_context *context)
{
    current = context;
    return OK;
}

API int fake_current_device(void)
{
    return current && current->users ? (int)current->device : -1;
}

/* ---- memory --------------------------------------------------------------------------------------------- */

API result cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    uint64_t all = fake_world()->memory_mib * FAKE_MIB, used;

    if (fake_current_device() < 0)
        return INVALID_CONTEXT;
    used = fake_memory_used(current->device);
    *total = all;
    *free_bytes = used < all ? all - used : 0;
    return OK;
}

API result cuMemAlloc_v2(cuda_pointer *memory, size_t bytes)
{
    size_t free_bytes, total;
    struct block *block;

    if (cuMemGetInfo_v2(&free_bytes, &total) != OK)
        return INVALID_CONTEXT;
    if (bytes == 0)
        return INVALID_VALUE;
    block = bytes <= free_bytes ? aligned_alloc(64, (sizeof(*block) + bytes + 63) / 64 * 64) : NULL;
    if (!block)
        return CUDA_API_OUT_OF_MEMORY;
    block->bytes = bytes;
    block->device = current->device;
    memset(block + 1, 0xa5, bytes < FILLED_MAX ? bytes : FILLED_MAX);
    fake_memory_add(block->device, (int64_t)bytes);
    *memory = (uintptr_t)(block + 1);
    return OK;
}

API result cuMemFree_v2(cuda_pointer memory)
{
    struct block *block = (struct block *)(uintptr_t)memory - 1;

    pthread_mutex_lock(&all_lock);
    while (atomic_load(&undone_of_all))
        pthread_cond_wait(&all_changed, &all_lock);
    pthread_mutex_unlock(&all_lock);
    fake_memory_add(block->device, -(int64_t)block->bytes);
    free(block);
    return OK;
}

API result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    *memory = malloc(bytes);
    return *memory ? OK : CUDA_API_OUT_OF_MEMORY;
}

API result cuMemFreeHost(void *memory)
{
    free(memory);
    return OK;
}

/* ---- streams -------------------------------------------------------------------------------------------- */

static double carry_out(struct cuda_stream *stream, const struct work *work)
{
    unsigned *words = work->to;

    switch (work->kind) {
    case COPY:
        memcpy(work->to, work->from, work->n);
        return 0;
    case SET:
        for (size_t i = 0; i < work->n; i++)
            words[i] = work->word;
        return 0;
    case RECORD:
        atomic_store(&work->event->clock, stream->clock);
        atomic_store(&work->event->recorded, true);
        return 0;
    default:
        return work->call(work->argument);
    }
}

static void done_one(void)
{
    pthread_mutex_lock(&all_lock);
    atomic_fetch_sub(&undone_of_all, 1);
    pthread_cond_broadcast(&all_changed);
    pthread_mutex_unlock(&all_lock);
}

static void *run_stream(void *argument)
{
    struct cuda_stream *stream = argument;

    pthread_mutex_lock(&stream->lock);
    for (;;) {
        struct work *work = stream->first;
        double took;

        if (!work && stream->ending)
            break;
        if (!work) {
            pthread_cond_wait(&stream->changed, &stream->lock);
            continue;
        }
        stream->first = work->next;
        if (!stream->first)
            stream->last = &stream->first;
        pthread_mutex_unlock(&stream->lock);
        took = carry_out(stream, work);
        free(work);
        pthread_mutex_lock(&stream->lock);
        stream->clock += took;
        stream->undone--;
        done_one();
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static result queue(struct cuda_stream *stream, struct work work)
{
    struct work *copy = malloc(sizeof(*copy));

    if (!copy)
        return CUDA_API_OUT_OF_MEMORY;
    *copy = work;
    copy->next = NULL;
    atomic_fetch_add(&undone_of_all, 1);
    pthread_mutex_lock(&stream->lock);
    *stream->last = copy;
    stream->last = &copy->next;
    stream->undone++;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return OK;
}

API void fake_stream_call(struct cuda_stream *stream, double (*call)(void *), void *argument)
{
    if (queue(stream, (struct work){.kind = CALL, .call = call, .argument = argument}) != OK)
        abort();
}

API result cuMemsetD32Async(cuda_pointer memory, unsigned word, size_t words, struct cuda_stream *stream)
{
    return queue(stream, (struct work){.kind = SET, .to = (void *)(uintptr_t)memory, .n = words,
                                       .word = word});
}

API result cuMemcpyHtoDAsync_v2(cuda_pointer to, const void *from, size_t bytes, struct cuda_stream *stream)
{
    return queue(stream, (struct work){.kind = COPY, .to = (void *)(uintptr_t)to, .from = from, .n = bytes});
}

API result cuMemcpyDtoHAsync_v2(void *to, cuda_pointer from, size_t bytes, struct cuda_stream *stream)
{
    return queue(stream, (struct work){.kind = COPY, .to = to, .from = (void *)(uintptr_t)from, .n = bytes});
}

API result cuStreamCreate(struct cuda_stream **ret, unsigned flags)
{
    struct cuda_stream *stream = calloc(1, sizeof(*stream));

    (void)flags;
    if (!stream || fake_current_device() < 0) {
        free(stream);
        return INVALID_CONTEXT;
    }
    stream->last = &stream->first;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    if (pthread_create(&stream->thread, NULL, run_stream, stream) != 0)
        abort();
    *ret = stream;
    return OK;
}

API result cuStreamDestroy_v2(struct cuda_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->ending = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    pthread_mutex_destroy(&stream->lock);
    pthread_cond_destroy(&stream->changed);
    free(stream);
    return OK;
}

API result cuStreamQuery(struct cuda_stream *stream)
{
    bool idle;

    pthread_mutex_lock(&stream->lock);
    idle = stream->undone == 0;
    pthread_mutex_unlock(&stream->lock);
    return idle ? OK : CUDA_API_NOT_READY;
}

/* ---- events --------------------------------------------------------------------------------------------- */

API result cuEventCreate(struct cuda_event **event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof(**event));
    return *event ? OK : CUDA_API_OUT_OF_MEMORY;
}

API result cuEventDestroy_v2(struct cuda_event *event)
{
    free(event);
    return OK;
}

API result cuEventRecord(struct cuda_event *event, struct cuda_stream *stream)
{
    atomic_store(&event->recorded, false);
    return queue(stream, (struct work){.kind = RECORD, .event = event});
}

API result cuEventElapsedTime(float *ms, struct cuda_event *from, struct cuda_event *to)
{
    if (!atomic_load(&from->recorded) || !atomic_load(&to->recorded))
        return CUDA_API_NOT_READY;
    *ms = (float)((atomic_load(&to->clock) - atomic_load(&from->clock)) * 1e3);
    return OK;
}

API result cuGetErrorName(result code, const char **name)
{
    *name = code == OK                       ? "CUDA_SUCCESS"
            : code == CUDA_API_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
            : code == CUDA_API_NO_DEVICE     ? "CUDA_ERROR_NO_DEVICE"
            : code == CUDA_API_NOT_READY     ? "CUDA_ERROR_NOT_READY"
            : code == INVALID_CONTEXT        ? "CUDA_ERROR_INVALID_CONTEXT"
                                             : NULL;
    return *name ? OK : INVALID_VALUE;
}
