/*
 * lead.h - ranks in child processes, led by a test from their start to their end: which of them is
 * where, what each one's failure was and when. Unlike local_run() it goes on when one fails, so that
 * a test sees what becomes of the others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "collective/child.h"

#define LEAD_RANKS_MAX 16
#define LEAD_NOBODY UINT32_MAX
#define LEAD_MS 1000000ull
#define LEAD_S 1000000000ull

enum lead_stage { LEAD_OPEN, LEAD_CONNECT, LEAD_RUN, LEAD_PAIRS, LEAD_CLOSE, LEAD_STAGES };

struct lead_options {
    const char *program; /* lockstep-probe-nccl */
    const char *library; /* NULL: as the program finds it */
    unsigned ranks;
    bool one_gpu; /* all on GPU 0; else each on the GPU of its number */
    bool pairs; /* the first two exchange, too */
    struct measure_plan plan;
    uint64_t connect_ns, run_ns; /* from their begin; 0: 20 s, 60 s */
    uint64_t grace_ns; /* for those that are told to end; 0: child.h's */
    unsigned absent; /* this one is never told to connect */
    unsigned killed; /* SIGKILL for this one when `killed_in` has begun, `killed_after_ns` later */
    bool frozen; /* SIGSTOP instead: it is there, and does nothing */
    enum lead_stage killed_in;
    uint64_t killed_after_ns;
    const char *variable; /* of the environment; values[rank] differs, NULL: unset */
    const char *values[LEAD_RANKS_MAX];
};

struct lead_rank {
    enum lead_stage reached; /* the last that it got through; LEAD_STAGES: not even the first */
    int error; /* negative; 0: none */
    enum child_phase phase;
    char text[CHILD_TEXT_MAX];
    uint64_t failed_ns; /* since the start */
    bool ended_well;
    bool ended_itself; /* after a failure, without a signal */
    bool stopped; /* it did not even fail: it had to be told to end */
    struct backend_info info;
    struct measure_result result;
    double pair_seconds;
};

struct lead_result {
    struct lead_rank ranks[LEAD_RANKS_MAX];
    uint64_t stage_ns[LEAD_STAGES]; /* how long all needed; 0: not gone through */
    uint64_t total_ns;
};

/* Returns when all children are gone, a few seconds after the last deadline at most. -EIO: none could be started. */
int lead(const struct lead_options *options, struct lead_result *ret, struct err *err);
/* The program beside the running one. */
const char *lead_program(void);
