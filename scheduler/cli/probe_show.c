/* What a probe measured, for people as nccl-tests prints it, and for programs. */
#include "scheduler/cli/probe_show.h"

#include <stdio.h>
#include <string.h>

#include "collective/measure_stats.h"
#include "scheduler/cli/cli.h"

static uint64_t wrong_of(const struct local_result *result)
{
    uint64_t wrong = 0;

    for (unsigned i = 0; i < result->measured.n_rows; i++)
        wrong += result->measured.rows[i].wrong;
    return wrong;
}

const char *probe_verdict(const struct probe_answer *answer)
{
    const struct measure_result *measured = &answer->result->measured;

    if (wrong_of(answer->result))
        return "wrong-data";
    if (!answer->earlier->path)
        return "unknown";
    return measured->busbw_gb_s < answer->earlier->busbw_gb_s * (1 - answer->tolerance) ? "slow"
                                                                                        : "ok";
}

/* ---- JSON -------------------------------------------------------------------------- */

static json_t *rows_json(const struct measure_result *measured)
{
    json_t *rows = json_array();

    for (unsigned i = 0; i < measured->n_rows; i++) {
        const struct measure_row *row = &measured->rows[i];

        json_array_append_new(rows, json_pack("{s:I, s:f, s:f, s:f, s:I, s:i}", "bytes",
                                              (json_int_t)row->bytes, "time_s", row->seconds,
                                              "algbw_gb_s", row->algbw_gb_s, "busbw_gb_s",
                                              row->busbw_gb_s, "wrong", (json_int_t)row->wrong,
                                              "iterations", (int)row->iterations));
    }
    return rows;
}

static json_t *pairs_json(const struct probe_answer *answer)
{
    unsigned ranks = answer->options->ranks;
    json_t *matrix = json_array();

    for (unsigned i = 0; i < ranks; i++) {
        json_t *row = json_array();

        for (unsigned k = 0; k < ranks; k++)
            json_array_append_new(
                row, i == k ? json_null() : json_real(answer->result->pair_gb_s[i * ranks + k]));
        json_array_append_new(matrix, row);
    }
    return matrix;
}

static json_t *hosts_json(const struct probe_hosts *hosts)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < hosts->n; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "name", hosts->items[i].name,
                                              "first_rank", (int)hosts->items[i].first_rank,
                                              "ranks", (int)hosts->items[i].slots));
    return list;
}

json_t *probe_json(const struct probe_answer *answer)
{
    const struct measure_result *measured = &answer->result->measured;
    json_t *root = json_pack("{s:s, s:s, s:i, s:o, s:f, s:s}", "op",
                             op_name(answer->options->plan.op), "backend", answer->options->backend,
                             "ranks", (int)answer->options->ranks, "rows", rows_json(measured),
                             "busbw_gb_s", measured->busbw_gb_s, "verdict", probe_verdict(answer));

    if (answer->hosts)
        json_object_set_new(root, "hosts", hosts_json(answer->hosts));
    if (!answer->options->plan.sweep)
        json_object_set_new(root, "latency_s", json_real(measured->latency_s));
    if (answer->result->pair_gb_s)
        json_object_set_new(root, "pairs_gb_s", pairs_json(answer));
    if (answer->result->pairs_why[0]) {
        json_object_set_new(root, "pairs_gb_s", json_null());
        json_object_set_new(root, "pairs_missing", json_string(answer->result->pairs_why));
    }
    if (answer->earlier->path)
        json_object_set_new(root, "against",
                            json_pack("{s:f, s:f, s:f}", "busbw_gb_s", answer->earlier->busbw_gb_s,
                                      "ratio", measured->busbw_gb_s / answer->earlier->busbw_gb_s,
                                      "tolerance", answer->tolerance));
    return root;
}

/* ---- table ------------------------------------------------------------------------- */

static double earlier_row(const struct probe_earlier *earlier, uint64_t bytes)
{
    for (unsigned i = 0; earlier->path && i < earlier->n_rows; i++)
        if (earlier->bytes[i] == bytes)
            return earlier->row_gb_s[i];
    return 0;
}

/* Columns of nccl-tests, which people and scripts know; one more with an earlier result. */
static void print_table(const struct probe_answer *answer)
{
    const struct measure_result *measured = &answer->result->measured;
    enum collective_op op = answer->options->plan.op;
    bool sums = op == OP_ALL_REDUCE || op == OP_REDUCE_SCATTER,
         compared = answer->earlier->path != NULL;

    printf("#%12s %14s %8s %7s %11s %8s %8s %7s%s\n", "size", "count", "type", "redop", "time",
           "algbw", "busbw", "#wrong", compared ? "  earlier" : "");
    printf("#%12s %14s %8s %7s %11s %8s %8s\n", "(B)", "(elements)", "", "", "(us)", "(GB/s)",
           "(GB/s)");
    for (unsigned i = 0; i < measured->n_rows; i++) {
        const struct measure_row *row = &measured->rows[i];
        double earlier = earlier_row(answer->earlier, row->bytes);

        printf("%13llu %14llu %8s %7s %11.2f %8.3f %8.3f %s%7llu%s", (unsigned long long)row->bytes,
               (unsigned long long)(row->bytes / sizeof(uint32_t)), "uint32", sums ? "sum" : "none",
               row->seconds * 1e6, row->algbw_gb_s, row->busbw_gb_s,
               row->wrong ? paint("\033[31m") : "", (unsigned long long)row->wrong,
               row->wrong ? paint("\033[0m") : "");
        if (earlier > 0)
            printf("  %+6.1f%%", (row->busbw_gb_s / earlier - 1) * 100);
        printf("\n");
    }
}

static void print_average(const struct measure_result *measured)
{
    double sum = 0;

    for (unsigned i = 0; i < measured->n_rows; i++)
        sum += measured->rows[i].busbw_gb_s;
    printf("# Avg bus bandwidth    : %g\n", measured->n_rows ? sum / measured->n_rows : 0);
}

static void print_headline(const struct probe_answer *answer)
{
    const struct measure_result *measured = &answer->result->measured;

    if (answer->options->plan.sweep) {
        print_average(measured);
        printf("# Bus bandwidth        : %.3f GB/s at the largest size\n", measured->busbw_gb_s);
        return;
    }
    printf("# Bus bandwidth        : %.3f GB/s, the slope of the two largest sizes%s\n",
           measured->busbw_gb_s,
           measured->slopes_agree ? "" : " (the smaller ones gave another: not sure)");
    printf("# Latency              : %.1f us\n", measured->latency_s * 1e6);
}

/* ---- map of pairs ------------------------------------------------------------------ */

#define CELL 8
#define LABEL 32

static const char *host_of(const struct probe_hosts *hosts, unsigned rank)
{
    unsigned i = 0;

    while (i + 1 < hosts->n && hosts->items[i + 1].first_rank <= rank)
        i++;
    return hosts->items[i].name;
}

/* "3", or "3 node-2" with hosts. */
static int label_of(const struct probe_answer *answer, unsigned rank, char ret[LABEL])
{
    return answer->hosts ? snprintf(ret, LABEL, "%u %.20s", rank, host_of(answer->hosts, rank))
                         : snprintf(ret, LABEL, "%u", rank);
}

static int widest_label(const struct probe_answer *answer)
{
    char label[LABEL];
    int width = 5;

    for (unsigned i = 0; i < answer->options->ranks; i++) {
        int n = label_of(answer, i, label);

        width = n > width ? n : width;
    }
    return width;
}

static const char *colour_of(double share)
{
    return share >= 0.9    ? "\033[1;32m"
           : share >= 0.75 ? "\033[36m"
           : share >= 0.5  ? "\033[33m"
                           : "\033[31m";
}

static double middle_of_pairs(const struct probe_answer *answer)
{
    static double rates[STATS_MAX];
    unsigned ranks = answer->options->ranks;
    size_t n = 0;

    for (unsigned i = 0; i < ranks; i++)
        for (unsigned k = i + 1; k < ranks && n < STATS_MAX; k++)
            rates[n++] = answer->result->pair_gb_s[i * ranks + k];
    return stats_median(rates, n);
}

/* Colours are by the share of the median: the map shows which pairs stand out. */
static void print_pairs(const struct probe_answer *answer)
{
    unsigned ranks = answer->options->ranks, from = 0, to = 0;
    const double *rates = answer->result->pair_gb_s;
    double middle = middle_of_pairs(answer), least = 0;
    int width = widest_label(answer);
    char label[LABEL], other[LABEL];

    printf("\n# GB/s each way, both at once, one pair at a time\n%*s", width, "");
    for (unsigned k = 0; k < ranks; k++)
        printf("%*u", CELL, k);
    printf("\n");
    for (unsigned i = 0; i < ranks; i++) {
        label_of(answer, i, label);
        printf(answer->hosts ? "%-*s" : "%*s", width, label);
        for (unsigned k = 0; k < ranks; k++) {
            double rate = rates[i * ranks + k];

            if (i == k) {
                printf("%*s", CELL, "-");
                continue;
            }
            printf("%s%*.2f%s", paint(colour_of(middle > 0 ? rate / middle : 1)), CELL, rate,
                   paint("\033[0m"));
            if (least == 0 || rate < least) {
                least = rate;
                from = i;
                to = k;
            }
        }
        printf("\n");
    }
    if (middle > 0 && ranks > 2) {
        label_of(answer, from, label);
        label_of(answer, to, other);
        printf("# slowest pair         : %s and %s, %.2f of the median\n", label, other,
               least / middle);
    }
}

/* As nccl-tests names its ranks before the table. */
static void print_hosts(const struct probe_hosts *hosts)
{
    for (unsigned i = 0; i < hosts->n; i++) {
        const struct probe_host *host = &hosts->items[i];

        if (host->slots == 1)
            printf("#   Rank %3u           on %s\n", host->first_rank, host->name);
        else
            printf("#   Ranks %3u to %3u   on %s\n", host->first_rank,
                   host->first_rank + host->slots - 1, host->name);
    }
}

void probe_text(const struct probe_answer *answer)
{
    const struct backend_info *info = &answer->result->info;
    const char *verdict = probe_verdict(answer);

    printf("# %s over %s (%s%s%s) of %u ranks\n", op_name(answer->options->plan.op),
           answer->options->backend, info->version, info->device[0] ? ", " : "", info->device,
           answer->options->ranks);
    if (answer->hosts)
        print_hosts(answer->hosts);
    print_table(answer);
    print_headline(answer);
    if (answer->result->pair_gb_s && answer->options->ranks > 1)
        print_pairs(answer);
    if (answer->result->pairs_why[0])
        printf("# Map of pairs         : none: %s\n", answer->result->pairs_why);
    if (wrong_of(answer->result))
        printf("%swrong data%s: words differ from what was sent\n", paint("\033[31m"),
               paint("\033[0m"));
    if (answer->earlier->path)
        printf("%s%s%s: %.3f of the %.3f GB/s in %s, %g%% slower is let pass\n",
               paint(strcmp(verdict, "ok") == 0 ? "\033[32m" : "\033[31m"), verdict,
               paint("\033[0m"), answer->result->measured.busbw_gb_s / answer->earlier->busbw_gb_s,
               answer->earlier->busbw_gb_s, answer->earlier->path, answer->tolerance * 100);
}
