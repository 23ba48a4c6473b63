/* objects.h - the pods and nodes of tests/bench/bench_bind.c as JSON; the caller frees. */
#pragma once

#include <stdint.h>

struct bench_pod {
    uint32_t index, gang, gang_size;
    const char *scheduler;
    const char *topology; /* annotation lockstep.dev/topology, "": none */
    const char *pod_group; /* spec.schedulingGroup.podGroupName, "": none */
    const char *node; /* where it is bound already, "": nowhere */
};
char *bench_pod_json(const struct bench_pod *pod); /* "bench-00000", ... */

/* Ready, of 8 GPUs, in racks of 32 and blocks of 128; a fake one, should kwok look for such. */
char *bench_node_json(uint32_t index); /* "node-00000", ... */
