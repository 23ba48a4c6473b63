/* Is the GPU free? Asked before anything of ours is on it, so that a probe never disturbs another's job. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "collective/nccl_internal.h"
#include "collective/nvml_api.h"

#define MIB (1ull << 20)
#define PROC_FILE_MAX 16384

/* The parent of a process; 0: it cannot be seen, as one of another container. */
static unsigned parent_of(unsigned pid, char *name, size_t size)
{
    struct strbuf text = STRBUF_INIT(PROC_FILE_MAX);
    unsigned parent = 0;
    const char *found;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%u/status", pid);
    snprintf(name, size, "not visible from here");
    if (strbuf_read_file(&text, path) == 0 && text.data) {
        if (strncmp(text.data, "Name:\t", 6) == 0)
            snprintf(name, size, "%.*s", (int)strcspn(text.data + 6, "\n"), text.data + 6);
        found = strstr(text.data, "\nPPid:\t");
        if (found)
            parent = (unsigned)strtoul(found + 7, NULL, 10);
    }
    strbuf_release(&text);
    return parent;
}

/*
 * Ranks that one parent started may share a GPU where NCCL lets them. In a container NVML may name
 * processes by the host's numbers: who shares a GPU there on purpose sets LOCKSTEP_NCCL_SHARE_GPU.
 */
static bool is_ours(unsigned pid, char *name, size_t size)
{
    return pid == (unsigned)getpid() || parent_of(pid, name, size) == (unsigned)getppid();
}

int nccl_gpu_free(const char *uuid, uint64_t bytes, struct err *err)
{
    struct nvml_state state;
    unsigned listed;
    char name[64];

    if (nvml_state_read(uuid, &state, NULL) < 0)
        return 0;
    if (getenv("LOCKSTEP_NCCL_SHARE_GPU"))
        state.n_processes = 0;
    listed = state.n_processes < NVML_API_PROCESSES_MAX ? state.n_processes : NVML_API_PROCESSES_MAX;
    for (unsigned i = 0; i < listed; i++) {
        const struct nvml_api_process *process = &state.processes[i];

        if (is_ours(process->pid, name, sizeof(name)))
            continue;
        return err_set(err, -EBUSY, "%s is in use: process %u (%s) computes on it, %llu of %llu MiB are taken",
                       uuid, process->pid, name, state.memory.used / MIB, state.memory.total / MIB);
    }
    if (state.memory.free < bytes)
        return err_set(err, -ENOMEM, "%s has %llu of %llu MiB free, the probe wants %llu", uuid,
                       state.memory.free / MIB, state.memory.total / MIB, (unsigned long long)(bytes / MIB));
    return 0;
}
