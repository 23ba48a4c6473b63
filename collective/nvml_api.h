/*
 * nvml_api.h - what is used of NVML (libnvidia-ml.so.1), declared here and loaded at run time: who
 * uses a GPU, how much of its memory is taken, and what slows its clocks. It looks without a trace
 * on the GPU.
 *
 * Source: NVML API reference. Compared with the real header by tests/unit/test_nccl_abi.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collective/nccl_library.h"

#define NVML_API_PROCESSES_MAX 32

enum nvml_api_result { NVML_API_OK = 0, NVML_API_INSUFFICIENT_SIZE = 7 };

/* Bits of what holds the clocks down; idle and chosen clocks are no fault. */
#define NVML_API_SLOWED 0xecull /* power cap, hardware slowdown, thermal (software, hardware), power brake */

struct nvml_api_process { /* nvmlProcessInfo_t, of the _v3 call */
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

struct nvml_api_memory {
    unsigned long long total, free, used;
};

struct nvml_gpu; /* the library's nvmlDevice_t */

struct nvml_api {
    enum nvml_api_result (*init)(void);
    enum nvml_api_result (*shutdown)(void);
    enum nvml_api_result (*get_handle_by_uuid)(const char *uuid, struct nvml_gpu **ret_gpu);
    enum nvml_api_result (*get_memory_info)(struct nvml_gpu *gpu, struct nvml_api_memory *ret_memory);
    /* *count: room in, found out; NULL: not in this driver */
    enum nvml_api_result (*get_compute_processes)(struct nvml_gpu *gpu, unsigned *count,
                                                  struct nvml_api_process *ret_processes);
    enum nvml_api_result (*get_clock_reasons)(struct nvml_gpu *gpu, unsigned long long *ret_reasons);
};

/* LOCKSTEP_NVML_LIBRARY, or libnvidia-ml.so.1 as the system finds it. -ENODEV: there is none. */
int nvml_api_load(struct nvml_api *ret_api, struct err *err);

struct nvml_state {
    struct nvml_api_memory memory;
    struct nvml_api_process processes[NVML_API_PROCESSES_MAX]; /* that compute on it */
    unsigned n_processes; /* more than there is room for: only that many are listed */
    unsigned long long clock_reasons; /* 0 too where the driver does not tell */
};

/* What NVML says of the GPU with that UUID now. -ENODEV: no NVML, or it does not know the GPU. */
int nvml_state_read(const char *uuid, struct nvml_state *ret_state, struct err *err);
