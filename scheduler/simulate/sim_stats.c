/* Results as figures. */
#include <errno.h>
#include <stdlib.h>

#include "scheduler/simulate/sim_internal.h"

static int compare_ns(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

/* Nearest rank: the smallest wait that `percent` of all do not pass. */
static double percentile(const int64_t *sorted, size_t n, size_t percent)
{
    size_t rank = (n * percent + 99) / 100;

    return n ? (double)sorted[rank ? rank - 1 : 0] / (double)NS_PER_S : 0;
}

static void wait_stats(const struct simulation *simulation, int64_t *waits, size_t n,
                       struct sim_stats *stats)
{
    int64_t head_ns = simulation->config->head_of_line_ns;

    qsort(waits, n, sizeof(*waits), compare_ns);
    for (size_t i = 0; i < n; i++) {
        stats->passed_head += waits[i] > head_ns;
        stats->wait_mean_s += (double)waits[i] / (double)NS_PER_S / (double)n;
    }
    stats->wait_p50_s = percentile(waits, n, 50);
    stats->wait_p99_s = percentile(waits, n, 99);
    stats->wait_max_s = percentile(waits, n, 100);
    stats->starvation = stats->wait_max_s * (double)NS_PER_S / (double)head_ns;
}

static void level_stats(const struct simulation *simulation, const struct sim_result *result,
                        uint32_t level, struct sim_level_stats *ret)
{
    size_t placed = 0;

    for (size_t i = 0; i < result->n; i++) {
        const struct sim_gang *gang = &result->gangs[i];
        uint32_t least = simulation->bounds[i].least[level];

        if (gang->start_ns < 0)
            continue;
        placed++;
        ret->ratio += (double)gang->used[level] / (double)least;
        ret->ratio_now += (double)gang->used[level] / (double)gang->least_now[level];
        ret->least += gang->used[level] <= least;
        ret->least_now += gang->used[level] <= gang->least_now[level];
    }
    if (placed == 0)
        return;
    ret->ratio /= (double)placed;
    ret->ratio_now /= (double)placed;
    ret->least /= (double)placed;
    ret->least_now /= (double)placed;
}

/* How many seconds of the gang's run lie between the first and the last submission. */
static double while_submitting_s(const struct trace_file *trace, const struct sim_gang *gang,
                                 const struct trace_gang *wish)
{
    double start_s = (double)gang->start_ns / (double)NS_PER_S;
    double until_s = (double)trace->gangs[trace->n - 1].submit_s - start_s;

    return until_s < 0 ? 0 : until_s < (double)wish->duration_s ? until_s : (double)wish->duration_s;
}

int sim_stats(const struct simulation *simulation, const struct sim_result *result,
              struct sim_stats *ret)
{
    const struct trace_file *trace = simulation->trace;
    int64_t *waits = calloc(result->n + 1, sizeof(*waits));
    struct sim_stats stats = {.fragmentation = result->fragmentation};
    double busy = 0, submitting = 0, span_s;

    if (!waits)
        return -ENOMEM;
    for (size_t i = 0; i < result->n; i++) {
        const struct trace_gang *wish = &trace->gangs[i];

        if (result->gangs[i].start_ns < 0)
            continue;
        waits[stats.placed++] = result->gangs[i].start_ns - wish->submit_s * NS_PER_S;
        busy += (double)(wish->pods * wish->gpus) * (double)wish->duration_s;
        submitting += (double)(wish->pods * wish->gpus) *
                      while_submitting_s(trace, &result->gangs[i], wish);
    }
    stats.never = result->n - stats.placed;
    wait_stats(simulation, waits, stats.placed, &stats);
    free(waits);
    if (stats.placed > 0)
        stats.makespan_s = (double)result->end_ns / (double)NS_PER_S - (double)trace->gangs[0].submit_s;
    if (stats.makespan_s > 0)
        stats.use = busy / (stats.makespan_s * (double)simulation->cluster->room);
    span_s = (double)(trace->gangs[trace->n - 1].submit_s - trace->gangs[0].submit_s);
    if (span_s > 0)
        stats.use_submitting = submitting / (span_s * (double)simulation->cluster->room);
    for (uint32_t level = 0; level <= simulation->cluster->nlevels; level++)
        level_stats(simulation, result, level, &stats.levels[level]);
    *ret = stats;
    return 0;
}
