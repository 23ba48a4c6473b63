/*
 * copy.h - a plain full-duplex copy over two connections, one a direction: what the tcp backend is
 * held against (bench_collective.c between processes, tests/cluster/socket_copy.c between pods).
 *
 * From memory to memory with buffers as large as an op's, by sends of several sizes; and, as iperf
 * does it, over and over from one small buffer into another, both in the cache.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COPIES 4
struct copy_kind {
    const char *name;
    size_t chunk;  /* of a send */
    size_t buffer; /* 0: as large as the op's */
};
extern const struct copy_kind copy_kinds[COPIES];

struct copy_way {
    int out, in; /* non-blocking */
    const uint8_t *from;
    uint8_t *into;
    size_t bytes;         /* of each buffer */
    size_t total;         /* each way */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
};
/* Sends and receives the total, both at once. 0, -ETIMEDOUT, or what a socket said. */
int copy_once(const struct copy_way *way, const struct copy_kind *kind);
