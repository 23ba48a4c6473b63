/* How policies fared with a trace, for people and for programs. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/simulate/simulate.h"

#define NEVER_SHOWN 5 /* gangs that never started, of each policy, in the text */
#define NS_PER_S 1e9

static const char *level_name(const struct sim_cluster *cluster, uint32_t level)
{
    return level < cluster->nlevels ? cluster->levels[level] : "node";
}

static int64_t work_of(const struct trace_gang *gang)
{
    return gang->pods * gang->gpus * gang->duration_s;
}

/* The work of the whole trace, of what the cluster could do while it was submitted. */
static double load_of(const struct simulation *simulation)
{
    const struct trace_file *trace = simulation->trace;
    double span_s = (double)(trace->gangs[trace->n - 1].submit_s - trace->gangs[0].submit_s), work = 0;

    for (size_t i = 0; i < trace->n; i++)
        work += (double)work_of(&trace->gangs[i]);
    return span_s > 0 ? work / (span_s * (double)simulation->cluster->room) : 0;
}

/* ---- JSON --------------------------------------------------------------------------------------------- */

static json_t *levels_json(const struct simulation *simulation, const struct sim_stats *stats)
{
    json_t *list = json_array();

    for (uint32_t level = 0; level <= simulation->cluster->nlevels; level++) {
        const struct sim_level_stats *one = &stats->levels[level];

        json_array_append_new(
            list, json_pack("{s:s, s:f, s:f, s:f, s:f}", "level",
                            level_name(simulation->cluster, level), "used_by_least", one->ratio,
                            "share_least", one->least, "used_by_least_now", one->ratio_now,
                            "share_least_now", one->least_now));
    }
    return list;
}

static json_t *never_json(const struct simulation *simulation, const struct sim_result *result)
{
    json_t *list = json_array();

    for (size_t i = 0; i < result->n; i++)
        if (result->gangs[i].start_ns < 0)
            json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name",
                                                  simulation->trace->gangs[i].name,
                                                  "fits_on_empty_cluster",
                                                  (int)simulation->bounds[i].fits, "why",
                                                  result->gangs[i].why ? result->gangs[i].why : ""));
    return list;
}

static json_t *policy_json(const struct simulation *simulation, const struct policy_run *run)
{
    const struct sim_stats *stats = run->stats;

    return json_pack(
        "{s:s, s:I, s:o, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f}, s:I, s:f, s:f, s:o}", "policy",
        run->policy, "placed", (json_int_t)stats->placed, "never_placed",
        never_json(simulation, run->result), "makespan_s", stats->makespan_s, "use", stats->use,
        "use_while_submitting", stats->use_submitting,
        "wait_s", "p50", stats->wait_p50_s, "p99", stats->wait_p99_s, "max", stats->wait_max_s, "mean",
        stats->wait_mean_s, "waited_beyond_head_of_line", (json_int_t)stats->passed_head,
        "starvation", stats->starvation, "fragmentation", stats->fragmentation, "domains",
        levels_json(simulation, stats));
}

json_t *show_simulation_json(const struct simulation *simulation, const struct policy_run *runs,
                             size_t n)
{
    const struct sim_cluster *cluster = simulation->cluster;
    json_t *levels = json_array(), *policies = json_array();

    for (uint32_t level = 0; level < cluster->nlevels; level++)
        json_array_append_new(levels, json_string(cluster->levels[level]));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(policies, policy_json(simulation, &runs[i]));
    return json_pack("{s:{s:I, s:s, s:I, s:o, s:I}, s:{s:I, s:f}, s:f, s:s, s:o, s:{s:n, s:s}}", "cluster",
                     "nodes", (json_int_t)cluster->nnodes, "resource", cluster->resource, "free",
                     (json_int_t)cluster->room, "levels", levels, "pods_left_out",
                     (json_int_t)cluster->left_out, "trace", "gangs",
                     (json_int_t)simulation->trace->n, "load", load_of(simulation),
                     "head_of_line_after_s",
                     (double)simulation->config->head_of_line_ns / NS_PER_S, "baselines_keep",
                     simulation->keep_nodes ? "nodes" : "all", "policies", policies,
                     "predicted", "busbw_gb_s", "limited_by", "unknown");
}

/* ---- text --------------------------------------------------------------------------------------------- */

static void label(const char *text)
{
    printf("  %-46s", text);
}

static double share(size_t n, size_t of)
{
    return of ? 100 * (double)n / (double)of : 0;
}

/* One line of the table: a figure of each policy. */
static void line(const char *text, int decimals, size_t at, double factor,
                 const struct policy_run *runs, size_t n)
{
    char cell[32];

    label(text);
    for (size_t i = 0; i < n; i++) {
        double value;

        memcpy(&value, (const char *)runs[i].stats + at, sizeof(value));
        snprintf(cell, sizeof(cell), "%.*f", decimals, value * factor);
        printf(" %12s", cell);
    }
    putchar('\n');
}

static void level_lines(const struct simulation *simulation, const struct policy_run *runs, size_t n)
{
    printf("\n  domains used by a gang / fewest possible (gangs that use the fewest)\n");
    for (uint32_t level = 0; level <= simulation->cluster->nlevels; level++) {
        char text[64], cell[32];

        for (int now = 0; now < 2; now++) {
            snprintf(text, sizeof(text), "%.28s, %s", level_name(simulation->cluster, level),
                     now ? "of what was free" : "of the empty cluster");
            label(text);
            for (size_t i = 0; i < n; i++) {
                const struct sim_level_stats *one = &runs[i].stats->levels[level];

                snprintf(cell, sizeof(cell), "%.2f (%.0f%%)", now ? one->ratio_now : one->ratio,
                         100 * (now ? one->least_now : one->least));
                printf(" %12s", cell);
            }
            putchar('\n');
        }
    }
}

static void never_lines(const struct simulation *simulation, const struct policy_run *run)
{
    size_t shown = 0;

    for (size_t i = 0; i < run->result->n; i++) {
        const struct sim_gang *gang = &run->result->gangs[i];

        if (gang->start_ns >= 0 || shown++ >= NEVER_SHOWN)
            continue;
        printf("  %s never placed %s%s: %s\n", run->policy, simulation->trace->gangs[i].name,
               simulation->bounds[i].fits || simulation->bounds[i].blocked
                   ? ""
                   : " (too large for the empty cluster)",
               gang->why ? gang->why : "");
    }
    if (shown > NEVER_SHOWN)
        printf("  ... and %zu more: -o json lists them\n", shown - NEVER_SHOWN);
}

static void head(const struct simulation *simulation, const struct policy_run *runs, size_t n)
{
    const struct sim_cluster *cluster = simulation->cluster;

    printf("%u nodes with %llu free %s; %zu gangs that ask for %.0f%% of them while they are submitted\n",
           cluster->nnodes, (unsigned long long)cluster->room, cluster->resource, simulation->trace->n,
           100 * load_of(simulation));
    printf("for a gang that has waited for headOfLineAfter lockstep keeps the nodes of one plan, and the "
           "cluster when it waits on; the others keep %s\n\n",
           simulation->keep_nodes ? "as many" : "the cluster");
    label("");
    for (size_t i = 0; i < n; i++)
        printf(" %12s", runs[i].policy);
    putchar('\n');
}

static void count_lines(const struct policy_run *runs, size_t n, double head_s)
{
    char text[64];

    label("gangs placed");
    for (size_t i = 0; i < n; i++)
        printf(" %12zu", runs[i].stats->placed);
    putchar('\n');
    label("gangs never placed");
    for (size_t i = 0; i < n; i++)
        printf(" %12zu", runs[i].stats->never);
    putchar('\n');
    snprintf(text, sizeof(text), "waited beyond headOfLineAfter (%.0f s)", head_s);
    label(text);
    for (size_t i = 0; i < n; i++)
        printf(" %11.1f%%", share(runs[i].stats->passed_head, runs[i].stats->placed));
    putchar('\n');
}

void show_simulation_text(const struct simulation *simulation, const struct policy_run *runs, size_t n)
{
#define AT(field) offsetof(struct sim_stats, field)
    head(simulation, runs, n);
    count_lines(runs, n, (double)simulation->config->head_of_line_ns / NS_PER_S);
    line("makespan, s", 0, AT(makespan_s), 1, runs, n);
    line("use of accelerators over it, %", 2, AT(use), 100, runs, n);
    line("use while gangs are submitted, %", 2, AT(use_submitting), 100, runs, n);
    line("wait, median, s", 0, AT(wait_p50_s), 1, runs, n);
    line("wait, mean, s", 0, AT(wait_mean_s), 1, runs, n);
    line("wait, 99 of 100, s", 0, AT(wait_p99_s), 1, runs, n);
    line("wait, longest, s", 0, AT(wait_max_s), 1, runs, n);
    line("longest wait / headOfLineAfter", 1, AT(starvation), 1, runs, n);
    line("fragmentation, mean, %", 1, AT(fragmentation), 100, runs, n);
    level_lines(simulation, runs, n);
    printf("\n  bandwidth: not known yet (no machine model): the domains above stand in for it\n");
    for (size_t i = 0; i < n; i++)
        never_lines(simulation, &runs[i]);
}
