/*
 * measure.h - what is run on a backend, and when it is enough. One thread; no state, no clock but
 * for its budget.
 *
 * All ranks call measure_run() with the same plan and come to the same numbers and decisions,
 * because everything that decides goes through the backend's agree(): the time of an op is the
 * maximum over ranks, and so is the time that is used up. Only own_* differ from rank to rank.
 *
 * Not swept, three sizes S/2, S, 2S are timed, and the answer is the slope of the upper pair: what
 * a very large message would reach, at a few per cent of its cost. It is accepted when the slopes
 * of both pairs agree within 10 %, else it goes on one size up (2S, 4S, ...) within the budget. Ops
 * run in batches of 5, after batches of warm-up until three medians in a row are not monotone, at
 * most 10 ops. With an expectation a sequential test (measure_stats.h) says when the largest size
 * is known well enough. Why so: CoreWeave's published series of GB200, where a slope of 1 and 2 GiB
 * is within 3.5 % of 8 to 16 GiB, which read directly at 2 GiB is 9 to 30 % low.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/backend.h"
#include "collective/op.h"

#define MEASURE_SIZES_MAX 16
#define MEASURE_BYTES_MAX ((uint64_t)1 << 40) /* of a size that people ask for */
#define MEASURE_ROUNDS_MAX 4096
#define MEASURE_ITERATIONS_MAX 1000
#define MEASURE_NO_PEER UINT32_MAX

struct measure_plan {
    enum collective_op op;
    /*
     * swept: each size is a row. Else the ladder, ascending: the first three are timed, each
     * further one while slopes disagree. None: found from a calibrating op, so that one op of S
     * takes 20 to 50 ms, within:
     */
    uint64_t bytes_min, bytes_max; /* of the ladder that is found; 0: 64 KiB, 256 MiB */
    uint64_t sizes[MEASURE_SIZES_MAX];
    unsigned n_sizes;
    bool sweep;
    double expected_gb_s;    /* busbw; 0: unknown, no sequential test */
    unsigned iterations_max; /* per size; 0: 60 with an expectation, else 20 */
    /* No batch starts once it is used up, but each of three sizes gets one. 0: 3 s */
    uint64_t budget_ns;
    bool check; /* one op with data at each size */
};

struct measure_row {
    uint64_t bytes;
    double seconds; /* median over ops of the maximum over ranks */
    double algbw_gb_s, busbw_gb_s;
    uint64_t wrong; /* words, of the rank that has most of them */
    unsigned iterations;
};

/*
 * Of the sequential test against expected_gb_s. It says when to stop, and is no evidence of its own
 * beside the rows: it takes its latency from the slope of the smaller sizes. So the coordinator is
 * not told (verdict.h looks at both slopes).
 */
enum measure_test {
    MEASURE_TEST_NONE, /* nothing was expected */
    MEASURE_TEST_OK,
    MEASURE_TEST_SLOW,
    MEASURE_TEST_UNDECIDED, /* between both, after all iterations */
    MEASURE_TEST_COUNT
};

struct measure_result {
    struct measure_row rows[MEASURE_SIZES_MAX];
    unsigned n_rows;
    double busbw_gb_s;         /* the slope's, or the largest row's when swept; 0 for one rank */
    double latency_s;          /* the intercept of the same line, at least 0; 0 when swept */
    double own_seconds_median; /* this rank's own time of the largest size */
    uint64_t own_wrong;        /* words of this rank, all sizes together */
    bool slopes_agree;
    enum measure_test test;
    uint64_t bytes_moved; /* sent by each rank while measuring */
    double total_s;
};

/* Called after each row and now and then between, if given; takes no part in decisions. */
typedef void measure_progress_fn(void *context, uint64_t bytes, unsigned iterations);

struct measure_watcher {
    measure_progress_fn *progress; /* NULL: nobody looks */
    void *context;
};

/* -EINVAL with a message: what the plan says is beyond its bounds. */
int measure_plan_check(const struct measure_plan *plan, unsigned ranks, struct err *err);
/* The largest op that the plan may run: for backend_options.bytes_max. */
uint64_t measure_plan_bytes_max(const struct measure_plan *plan);

int measure_run(const struct backend *backend, struct backend_rank *rank, unsigned ranks,
                const struct measure_plan *plan, const struct measure_watcher *watcher,
                uint64_t deadline_ns, struct measure_result *ret, struct err *err);

/*
 * Pairs, in rounds that all ranks go through together: peers[i] is with whom this rank exchanges in
 * round i, MEASURE_NO_PEER: it waits. Both of a pair name each other.
 */
struct measure_pairs {
    uint32_t *peers; /* n_rounds of them; the owner frees */
    unsigned n_rounds;
    uint64_t bytes;
    unsigned iterations; /* per round after one of warm-up, 1 to MEASURE_ITERATIONS_MAX */
};

/*
 * Each two of `ranks` by themselves: one pair a round, so that no other takes part of what it could
 * reach, of 16 MiB or the plan's largest op if that is less. At most MEASURE_PAIRS_RANKS_MAX ranks;
 * the caller frees ret->peers. -ENOMEM.
 */
#define MEASURE_PAIRS_RANKS_MAX 64
int measure_pairs_all(unsigned rank, unsigned ranks, const struct measure_plan *plan,
                      struct measure_pairs *ret);

/*
 * ret_seconds[n_rounds]: median of this rank's times; 0: no peer. Bytes in each direction / that is
 * the bandwidth.
 */
int measure_pairs_run(const struct backend *backend, struct backend_rank *rank,
                      const struct measure_pairs *pairs, const struct measure_watcher *watcher,
                      uint64_t deadline_ns, double *ret_seconds, struct err *err);
