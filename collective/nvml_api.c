/* Loading NVML, and one look at a GPU with it. */
#include "collective/nvml_api.h"

#include <errno.h>

#define F(field, name, other, is_needed)                                                           \
    {                                                                                              \
        name, other, offsetof(struct nvml_api, field), is_needed                                   \
    }

static const struct library_function functions[] = {
    F(init, "nvmlInit_v2", NULL, true),
    F(shutdown, "nvmlShutdown", NULL, true),
    F(get_handle_by_uuid, "nvmlDeviceGetHandleByUUID", NULL, true),
    F(get_memory_info, "nvmlDeviceGetMemoryInfo", NULL, true),
    F(get_compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3", NULL, false),
    F(get_clock_reasons, "nvmlDeviceGetCurrentClocksEventReasons",
      "nvmlDeviceGetCurrentClocksThrottleReasons", false), /* its name until 2023 */
};

static const struct library_kind kind = {
    .title = "NVML",
    .variable = "LOCKSTEP_NVML_LIBRARY",
    .sonames = (const char *const[]){"libnvidia-ml.so.1", NULL},
};

int nvml_api_load(struct nvml_api *ret_api, struct err *err)
{
    struct nvml_api api = {0};
    char path[LIBRARY_PATH_MAX];
    void *handle = NULL;
    int r = library_open(&kind, NULL, &handle, path, err);

    if (r == 0)
        r = library_functions(handle, functions, sizeof(functions) / sizeof(functions[0]), &api, "NVML", err);
    if (r == 0)
        *ret_api = api;
    return r;
}

static int read_state(const struct nvml_api *api, const char *uuid, struct nvml_state *ret, struct err *err)
{
    enum nvml_api_result result;
    struct nvml_gpu *gpu;
    unsigned n = NVML_API_PROCESSES_MAX;

    result = api->get_handle_by_uuid(uuid, &gpu);
    if (result != NVML_API_OK)
        return err_set(err, -ENODEV, "NVML does not know %s (error %d)", uuid, (int)result);
    result = api->get_memory_info(gpu, &ret->memory);
    if (result != NVML_API_OK)
        return err_set(err, -ENODEV, "NVML does not tell the memory of %s (error %d)", uuid, (int)result);
    if (api->get_compute_processes) {
        result = api->get_compute_processes(gpu, &n, ret->processes);
        if (result == NVML_API_OK || result == NVML_API_INSUFFICIENT_SIZE)
            ret->n_processes = n;
    }
    if (!api->get_clock_reasons || api->get_clock_reasons(gpu, &ret->clock_reasons) != NVML_API_OK)
        ret->clock_reasons = 0;
    return 0;
}

int nvml_state_read(const char *uuid, struct nvml_state *ret_state, struct err *err)
{
    struct nvml_state state = {0};
    struct nvml_api api = {0};
    enum nvml_api_result result;
    int r = nvml_api_load(&api, err);

    if (r != 0)
        return r;
    result = api.init();
    if (result != NVML_API_OK)
        return err_set(err, -ENODEV, "NVML does not start (error %d)", (int)result);
    r = read_state(&api, uuid, &state, err);
    (void)api.shutdown();
    if (r == 0)
        *ret_state = state;
    return r;
}
