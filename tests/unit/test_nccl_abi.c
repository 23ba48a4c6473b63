/*
 * Our declarations of NCCL, the CUDA driver and NVML: against the documented layout, and against the
 * real headers where they are defined in (LOCKSTEP_REAL_NCCL_H, _CUDA_H, _NVML_H:
 * tests/checks/nccl_abi.sh compiles this file with each).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/cuda_api.h"
#include "collective/nccl_api.h"
#include "collective/nvml_api.h"

#define SAME(a, b) _Static_assert((unsigned long long)(a) == (unsigned long long)(b), #a " is not " #b)
#define SAME_FIELD(ours, field, theirs, their_field)                                               \
    SAME(offsetof(ours, field), offsetof(theirs, their_field));                                    \
    SAME(sizeof(((ours *)0)->field), sizeof(((theirs *)0)->their_field))

/* Of an LP64 machine, as in the documents. */
SAME(sizeof(struct nccl_api_id), 128);
SAME(sizeof(struct nccl_api_config), 48);
SAME(offsetof(struct nccl_api_config, blocking), 16);
SAME(offsetof(struct nccl_api_config, net_name), 32);
SAME(offsetof(struct nccl_api_config, split_share), 40);
SAME(sizeof(enum nccl_api_result), 4);
SAME(sizeof(enum nccl_api_type), 4);
SAME(sizeof(enum nccl_api_reduction), 4);
SAME(sizeof(enum cuda_api_result), 4);
SAME(sizeof(struct cuda_uuid), 16);
SAME(sizeof(struct nvml_api_process), 24);
SAME(sizeof(struct nvml_api_memory), 24);

#ifdef LOCKSTEP_REAL_NCCL_H
#include <nccl.h>

SAME(NCCL_API_OK, ncclSuccess);
SAME(NCCL_API_CUDA_ERROR, ncclUnhandledCudaError);
SAME(NCCL_API_SYSTEM_ERROR, ncclSystemError);
SAME(NCCL_API_INTERNAL_ERROR, ncclInternalError);
SAME(NCCL_API_INVALID_ARGUMENT, ncclInvalidArgument);
SAME(NCCL_API_INVALID_USAGE, ncclInvalidUsage);
SAME(NCCL_API_REMOTE_ERROR, ncclRemoteError);
SAME(NCCL_API_IN_PROGRESS, ncclInProgress);
SAME(NCCL_API_UINT8, ncclUint8);
SAME(NCCL_API_UINT32, ncclUint32);
SAME(NCCL_API_FLOAT64, ncclFloat64);
SAME(NCCL_API_SUM, ncclSum);
SAME(NCCL_API_MAX, ncclMax);
SAME(sizeof(enum nccl_api_result), sizeof(ncclResult_t));
SAME(sizeof(enum nccl_api_type), sizeof(ncclDataType_t));
SAME(sizeof(enum nccl_api_reduction), sizeof(ncclRedOp_t));
SAME(sizeof(struct nccl_api_id), sizeof(ncclUniqueId));
SAME(_Alignof(struct nccl_api_id), _Alignof(ncclUniqueId));
SAME_FIELD(struct nccl_api_config, size, ncclConfig_t, size);
SAME_FIELD(struct nccl_api_config, magic, ncclConfig_t, magic);
SAME_FIELD(struct nccl_api_config, version, ncclConfig_t, version);
SAME_FIELD(struct nccl_api_config, blocking, ncclConfig_t, blocking);
SAME_FIELD(struct nccl_api_config, cga_cluster_size, ncclConfig_t, cgaClusterSize);
SAME_FIELD(struct nccl_api_config, min_ctas, ncclConfig_t, minCTAs);
SAME_FIELD(struct nccl_api_config, max_ctas, ncclConfig_t, maxCTAs);
SAME_FIELD(struct nccl_api_config, net_name, ncclConfig_t, netName);
SAME_FIELD(struct nccl_api_config, split_share, ncclConfig_t, splitShare);
SAME(NCCL_API_UNSET, NCCL_CONFIG_UNDEF_INT);
_Static_assert(sizeof(struct nccl_api_config) <= sizeof(ncclConfig_t), "ours is the older, shorter one");
#if NCCL_VERSION_CODE < 21900
SAME(sizeof(struct nccl_api_config), sizeof(ncclConfig_t));
#endif
#if NCCL_VERSION_CODE >= 23000
SAME(NCCL_API_TIMEOUT, ncclTimeout);
#endif

/* Their calls with arguments of our kinds: a changed number, order or kind of them does not compile. */
static inline int calls(ncclComm_t comm, cudaStream_t stream, ncclUniqueId id, ncclConfig_t *config, void *buffer)
{
    static const ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
    ncclResult_t state = initial.magic == NCCL_API_CONFIG_MAGIC ? ncclSuccess : ncclInternalError;
    const char *text = ncclGetErrorString(state);
    const void *from = buffer;
    int version, ok = text && ncclGetLastError(comm);

    ok += ncclGetVersion(&version) == ncclSuccess && ncclGetUniqueId(&id) == ncclSuccess;
    ok += ncclCommInitRankConfig(&comm, 2, id, 1, config) == ncclSuccess;
    ok += ncclCommGetAsyncError(comm, &state) == ncclSuccess && ncclCommFinalize(comm) == ncclSuccess;
    ok += ncclCommDestroy(comm) == ncclSuccess && ncclCommAbort(comm) == ncclSuccess;
    ok += ncclGroupStart() == ncclSuccess && ncclGroupEnd() == ncclSuccess;
    ok += ncclAllReduce(from, buffer, sizeof(id), ncclUint32, ncclSum, comm, stream) == ncclSuccess;
    ok += ncclAllGather(from, buffer, sizeof(id), ncclUint32, comm, stream) == ncclSuccess;
    ok += ncclReduceScatter(from, buffer, sizeof(id), ncclUint32, ncclSum, comm, stream) == ncclSuccess;
    ok += ncclSend(from, sizeof(id), ncclUint32, 1, comm, stream) == ncclSuccess;
    return ok + (ncclRecv(buffer, sizeof(id), ncclUint32, 1, comm, stream) == ncclSuccess);
}
#endif

#ifdef LOCKSTEP_REAL_CUDA_H
#include <cuda.h>

SAME(CUDA_API_OK, CUDA_SUCCESS);
SAME(CUDA_API_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(CUDA_API_DEVICE_UNAVAILABLE, CUDA_ERROR_DEVICE_UNAVAILABLE);
SAME(CUDA_API_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(CUDA_API_NOT_READY, CUDA_ERROR_NOT_READY);
SAME(CUDA_API_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(CUDA_API_EVENT_DEFAULT, CU_EVENT_DEFAULT);
SAME(sizeof(enum cuda_api_result), sizeof(CUresult));
SAME(sizeof(cuda_device), sizeof(CUdevice));
SAME(sizeof(cuda_pointer), sizeof(CUdeviceptr));
SAME(sizeof(struct cuda_uuid), sizeof(CUuuid));

static inline int cuda_calls(CUdevice device, CUcontext context, CUdeviceptr memory, CUstream stream, void *host)
{
    CUevent event;
    CUuuid uuid;
    size_t bytes, total;
    const char *name;
    float ms;
    int n, ok = cuInit(0) == CUDA_SUCCESS && cuDriverGetVersion(&n) == CUDA_SUCCESS;

    ok += cuDeviceGetCount(&n) == CUDA_SUCCESS && cuDeviceGet(&device, n) == CUDA_SUCCESS;
    ok += cuDeviceGetName(host, n, device) == CUDA_SUCCESS && cuDeviceGetUuid_v2(&uuid, device) == CUDA_SUCCESS;
    ok += cuDevicePrimaryCtxRetain(&context, device) == CUDA_SUCCESS;
    ok += cuDevicePrimaryCtxRelease_v2(device) == CUDA_SUCCESS && cuCtxSetCurrent(context) == CUDA_SUCCESS;
    ok += cuMemGetInfo_v2(&bytes, &total) == CUDA_SUCCESS && cuMemAlloc_v2(&memory, bytes) == CUDA_SUCCESS;
    ok += cuMemFree_v2(memory) == CUDA_SUCCESS && cuMemsetD32Async(memory, 1u, bytes, stream) == CUDA_SUCCESS;
    ok += cuMemcpyHtoDAsync_v2(memory, (const void *)host, bytes, stream) == CUDA_SUCCESS;
    ok += cuMemcpyDtoHAsync_v2(host, memory, bytes, stream) == CUDA_SUCCESS;
    ok += cuMemHostAlloc(&host, bytes, 0u) == CUDA_SUCCESS && cuMemFreeHost(host) == CUDA_SUCCESS;
    ok += cuStreamCreate(&stream, 1u) == CUDA_SUCCESS && cuStreamDestroy_v2(stream) == CUDA_SUCCESS;
    ok += cuStreamQuery(stream) == CUDA_SUCCESS && cuEventCreate(&event, 0u) == CUDA_SUCCESS;
    ok += cuEventRecord(event, stream) == CUDA_SUCCESS && cuEventDestroy_v2(event) == CUDA_SUCCESS;
    ok += cuEventElapsedTime(&ms, event, event) == CUDA_SUCCESS;
    return ok + (cuGetErrorName(CUDA_ERROR_NOT_READY, &name) == CUDA_SUCCESS);
}
#endif

#ifdef LOCKSTEP_REAL_NVML_H
#include <nvml.h>

SAME(NVML_API_OK, NVML_SUCCESS);
SAME(NVML_API_INSUFFICIENT_SIZE, NVML_ERROR_INSUFFICIENT_SIZE);
SAME(sizeof(struct nvml_api_process), sizeof(nvmlProcessInfo_t));
SAME_FIELD(struct nvml_api_process, pid, nvmlProcessInfo_t, pid);
SAME_FIELD(struct nvml_api_process, used_bytes, nvmlProcessInfo_t, usedGpuMemory);
SAME(sizeof(struct nvml_api_memory), sizeof(nvmlMemory_t));
SAME_FIELD(struct nvml_api_memory, total, nvmlMemory_t, total);
SAME_FIELD(struct nvml_api_memory, free, nvmlMemory_t, free);
SAME_FIELD(struct nvml_api_memory, used, nvmlMemory_t, used);
SAME(NVML_API_SLOWED, nvmlClocksEventReasonSwPowerCap | nvmlClocksThrottleReasonHwSlowdown |
                          nvmlClocksEventReasonSwThermalSlowdown | nvmlClocksThrottleReasonHwThermalSlowdown |
                          nvmlClocksThrottleReasonHwPowerBrakeSlowdown);

static inline int nvml_calls(nvmlDevice_t gpu, nvmlMemory_t *memory, nvmlProcessInfo_t *processes)
{
    unsigned long long reasons;
    unsigned n = 1;
    int ok = nvmlInit_v2() == NVML_SUCCESS && nvmlShutdown() == NVML_SUCCESS;

    ok += nvmlDeviceGetHandleByUUID("", &gpu) == NVML_SUCCESS && nvmlDeviceGetMemoryInfo(gpu, memory) == NVML_SUCCESS;
    ok += nvmlDeviceGetComputeRunningProcesses_v3(gpu, &n, processes) == NVML_SUCCESS;
    ok += nvmlDeviceGetCurrentClocksThrottleReasons(gpu, &reasons) == NVML_SUCCESS;
    return ok + (nvmlDeviceGetCurrentClocksEventReasons(gpu, &reasons) == NVML_SUCCESS);
}
#endif

#if !defined(LOCKSTEP_REAL_NCCL_H) && !defined(LOCKSTEP_REAL_CUDA_H) && !defined(LOCKSTEP_REAL_NVML_H)
#include <cmocka.h>

/* `--load PATH`: the library at PATH loads, has all functions, and makes a unique id; "VERSION" then. */
static int load(const char *path)
{
    struct nccl_api_id id = {{0}}, second = {{0}};
    struct err err = ERR_INIT;
    struct nccl_api api;
    char version[16];

    if (nccl_api_load(path, &api, &err) < 0) {
        printf("%s\n", err.text);
        return 1;
    }
    if (!api.get_last_error || api.get_unique_id(&id) != NCCL_API_OK ||
        api.get_unique_id(&second) != NCCL_API_OK) {
        printf("no unique id: %s\n", api.get_last_error ? api.get_last_error(NULL) : "");
        return 1;
    }
    if (memcmp(&id, &second, sizeof(id)) == 0) {
        printf("two unique ids are alike\n");
        return 1;
    }
    nccl_api_version_text(api.version, version, sizeof(version));
    printf("%s %s\n", version, api.get_error_string(NCCL_API_IN_PROGRESS));
    return 0;
}

static void the_fake_library_has_the_same_interface(void **state)
{
    struct nccl_api api;
    struct err err = ERR_INIT;

    (void)state;
    if (nccl_api_load(FAKE_DIR "/libnccl.so.2", &api, &err) < 0)
        fail_msg("%s", err.text);
    assert_non_null(api.get_last_error);
    assert_int_equal(api.version, 22803);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_fake_library_has_the_same_interface)};

    if (argc == 3 && strcmp(argv[1], "--load") == 0)
        return load(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
