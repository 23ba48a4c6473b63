/* Fake libnvidia-ml.so.1: what nvml_api.h asks for, from the file and from the count of memory. */
#include <stdio.h>
#include <string.h>

#include "collective/nvml_api.h"
#include "tests/fake/fake_world.h"

#define API __attribute__((visibility("default")))

typedef enum nvml_api_result result;

result nvmlInit_v2(void);
result nvmlShutdown(void);
result nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_gpu **ret);
result nvmlDeviceGetMemoryInfo(struct nvml_gpu *gpu, struct nvml_api_memory *ret);
result nvmlDeviceGetComputeRunningProcesses_v3(struct nvml_gpu *gpu, unsigned *count,
                                               struct nvml_api_process *ret);
result nvmlDeviceGetCurrentClocksThrottleReasons(struct nvml_gpu *gpu, unsigned long long *ret);

struct nvml_gpu {
    unsigned device;
};

static struct nvml_gpu gpus[FAKE_DEVICES_MAX];

API result nvmlInit_v2(void)
{
    return NVML_API_OK;
}

API result nvmlShutdown(void)
{
    return NVML_API_OK;
}

API result nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_gpu **ret)
{
    for (unsigned i = 0; i < fake_world()->devices; i++) {
        char text[48]; /* as the fake driver's */

        snprintf(text, sizeof(text), "GPU-fa000000-0000-0000-0000-0000000000%02x", i);
        if (strcmp(uuid, text) != 0)
            continue;
        gpus[i].device = i;
        *ret = &gpus[i];
        return NVML_API_OK;
    }
    return (result)6; /* NVML_ERROR_NOT_FOUND */
}

API result nvmlDeviceGetMemoryInfo(struct nvml_gpu *gpu, struct nvml_api_memory *ret)
{
    ret->total = fake_world()->memory_mib * FAKE_MIB;
    ret->used = fake_memory_used(gpu->device);
    ret->free = ret->used < ret->total ? ret->total - ret->used : 0;
    return NVML_API_OK;
}

API result nvmlDeviceGetComputeRunningProcesses_v3(struct nvml_gpu *gpu, unsigned *count,
                                                   struct nvml_api_process *ret)
{
    const struct fake_world *world = fake_world();
    unsigned room = *count, n = 0, held;
    pid_t pids[64];
    uint64_t bytes[64];

    held = fake_memory_users(gpu->device, pids, bytes, 64);
    for (unsigned i = 0; i < held; i++, n++)
        if (n < room)
            ret[n] = (struct nvml_api_process){.pid = (unsigned)pids[i], .used_bytes = bytes[i]};
    for (unsigned i = 0; i < world->n_users; i++) {
        if (world->users[i].device != gpu->device || world->users[i].pid == 0)
            continue; /* pid 0: memory that belongs to nobody who could be named */
        if (n < room)
            ret[n] = (struct nvml_api_process){.pid = world->users[i].pid,
                                               .used_bytes = world->users[i].mib * FAKE_MIB};
        n++;
    }
    *count = n;
    return n > room ? NVML_API_INSUFFICIENT_SIZE : NVML_API_OK;
}

/* Under the older of both names, so that it is looked for, too. */
API result nvmlDeviceGetCurrentClocksThrottleReasons(struct nvml_gpu *gpu, unsigned long long *ret)
{
    *ret = fake_world()->clocks[gpu->device];
    return NVML_API_OK;
}
