/* Pairs of ranks, a round at a time. */
#include <errno.h>
#include <stdlib.h>

#include "collective/measure.h"
#include "collective/measure_stats.h"

#define PAIR_BYTES ((uint64_t)16 << 20)
#define PAIR_ITERATIONS 5

int measure_pairs_all(unsigned rank, unsigned ranks, const struct measure_plan *plan,
                      struct measure_pairs *ret)
{
    unsigned rounds = ranks * (ranks - 1) / 2, round = 0;
    uint64_t most = measure_plan_bytes_max(plan);
    uint32_t *peers = malloc((rounds + 1) * sizeof(*peers));

    if (!peers)
        return -ENOMEM;
    for (unsigned i = 0; i < ranks; i++)
        for (unsigned k = i + 1; k < ranks; k++, round++)
            peers[round] = rank == i ? k : rank == k ? i : MEASURE_NO_PEER;
    *ret = (struct measure_pairs){.peers = peers,
                                  .n_rounds = rounds,
                                  .bytes = op_round_bytes(PAIR_BYTES < most ? PAIR_BYTES : most, 1),
                                  .iterations = PAIR_ITERATIONS};
    return 0;
}

static int one_round(const struct backend *backend, struct backend_rank *rank,
                     const struct measure_pairs *pairs, unsigned round, uint64_t deadline_ns,
                     double *ret_seconds, struct err *err)
{
    double seconds[MEASURE_ITERATIONS_MAX], nothing = 0;
    uint32_t peer = pairs->peers[round];
    int r = 0;

    *ret_seconds = 0;
    if (peer != MEASURE_NO_PEER) {
        r = backend->pair(rank, peer, pairs->bytes, 1, seconds, deadline_ns, err);
        if (r == 0)
            r = backend->pair(rank, peer, pairs->bytes, pairs->iterations, seconds, deadline_ns,
                              err);
        if (r == 0)
            *ret_seconds = stats_median(seconds, pairs->iterations);
    }
    /* Rounds do not overlap: a pair would share its links with another one's. */
    return r < 0 ? r : backend->agree(rank, &nothing, 1, deadline_ns, err);
}

int measure_pairs_run(const struct backend *backend, struct backend_rank *rank,
                      const struct measure_pairs *pairs, const struct measure_watcher *watcher,
                      uint64_t deadline_ns, double *ret_seconds, struct err *err)
{
    int r = 0;

    if (pairs->n_rounds > MEASURE_ROUNDS_MAX || pairs->iterations < 1 ||
        pairs->iterations > MEASURE_ITERATIONS_MAX)
        return err_set(err, -EINVAL, "pairs: %u rounds of %u, expected at most %u of 1 to %u",
                       pairs->n_rounds, pairs->iterations, MEASURE_ROUNDS_MAX,
                       MEASURE_ITERATIONS_MAX);
    for (unsigned i = 0; r == 0 && i < pairs->n_rounds; i++) {
        r = one_round(backend, rank, pairs, i, deadline_ns, &ret_seconds[i], err);
        if (r == 0 && watcher && watcher->progress)
            watcher->progress(watcher->context, pairs->bytes, i + 1);
    }
    return r;
}
