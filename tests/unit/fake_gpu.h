/* fake_gpu.h - fake GPUs for a test: their file, the variables that point to them, and that nothing of a run is left. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fake/fake_world.h"
#include "tests/gpu/lead.h"
#include "tests/unit/fake_child.h"

static char fake_gpu_path[64];

/* Removes what fake_gpu() has made. */
static inline int fake_gpu_end(void **state)
{
    char memory[96];

    (void)state;
    snprintf(memory, sizeof(memory), "%s.memory", fake_gpu_path);
    (void)unlink(memory);
    return unlink(fake_gpu_path);
}

/* One file for all tests of a program: this process has read the first, and looks at memory with it. */
static inline int fake_gpu_begin(void **state)
{
    int fd;

    (void)state;
    snprintf(fake_gpu_path, sizeof(fake_gpu_path), "/tmp/lockstep-fake-gpu-XXXXXX");
    fd = mkstemp(fake_gpu_path);
    if (fd < 0)
        return -1;
    close(fd);
    setenv("LOCKSTEP_FAKE_GPU", fake_gpu_path, 1);
    setenv("LOCKSTEP_NCCL_LIBRARY", FAKE_DIR "/libnccl.so.2", 1);
    setenv("LOCKSTEP_CUDA_LIBRARY", FAKE_DIR "/libcuda.so.1", 1);
    setenv("LOCKSTEP_NVML_LIBRARY", FAKE_DIR "/libnvidia-ml.so.1", 1);
    (void)fake_world();
    return 0;
}

static inline void fake_gpu(const char *lines)
{
    int fd = open(fake_gpu_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    size_t len = strlen(lines);

    if (fd < 0 || write(fd, lines, len) != (ssize_t)len)
        abort();
    close(fd);
}

/* Processes, descriptors, GPU memory. */
static inline void assert_nothing_is_left(unsigned descriptors)
{
    assert_int_equal(children_left(), 0);
    assert_int_equal(open_descriptors(), descriptors);
    for (unsigned i = 0; i < FAKE_DEVICES_MAX; i++)
        assert_int_equal(fake_memory_used(i), 0);
}
