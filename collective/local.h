/*
 * local.h - ranks on this machine, without a coordinator: each in a child process, from their start
 * to their end.
 *
 * Returns by its deadline and a second or two at most, whatever a rank does, with no child,
 * descriptor or memory left. One thread; it must be one that lives on until the call returns
 * (child.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/backend.h"
#include "collective/measure.h"

#define LOCAL_RANKS_MAX 256
#define LOCAL_PAIRS_RANKS_MAX MEASURE_PAIRS_RANKS_MAX

typedef void local_progress_fn(void *context, const char *phase, uint64_t bytes,
                               unsigned iterations);

struct local_options {
    const char *const *argv; /* the program of a rank (child.h) */
    const char *backend;
    const char *host; /* NULL: 127.0.0.1 */
    const char *library;
    unsigned ranks, streams;
    struct measure_plan plan;
    bool pairs; /* afterwards each two ranks by themselves, one pair at a time */
    uint64_t pair_bytes; /* 0: the least of 16 MiB and the plan's largest */
    uint64_t timeout_ns; /* of all of it; 0: 60 s */
    local_progress_fn *progress; /* NULL: nobody looks */
    void *context;
};

struct local_result {
    struct measure_result measured; /* rank 0's: all agree */
    struct backend_info info; /* rank 0's */
    double own_seconds[LOCAL_RANKS_MAX]; /* each rank's own median of the largest size */
    uint64_t own_wrong[LOCAL_RANKS_MAX];
    double *pair_gb_s; /* [ranks * ranks], each way, 0 on the diagonal; NULL unless asked for */
    char pairs_why[ERR_TEXT_MAX]; /* of several hosts: why that is NULL though it was asked for; "" */
};

/*
 * The most telling failure is returned, with the rank it came from: -ENODEV, -ENOMEM, -EBUSY as of
 * backend.h open, -ECHILD: a rank's process ended, -EPROTO: it sent nonsense, -ETIMEDOUT.
 */
int local_run(const struct local_options *options, struct local_result *ret, struct err *err);
void local_result_release(struct local_result *result);
