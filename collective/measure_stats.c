#include "collective/measure_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* A quantile between values is in proportion between them. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t below = (size_t)at;

    return below + 1 < n
               ? sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below])
               : sorted[n - 1];
}

static size_t sort(const double *values, size_t n, double ret[STATS_MAX])
{
    n = n < STATS_MAX ? n : STATS_MAX;
    memcpy(ret, values, n * sizeof(*values));
    qsort(ret, n, sizeof(*ret), compare);
    return n;
}

double stats_median(const double *values, size_t n)
{
    double sorted[STATS_MAX];

    return n ? quantile(sorted, sort(values, n, sorted), 0.5) : 0;
}

#define SIGMA_OF_MAD 1.4826 /* of a normal distribution: 1 / quantile(3/4) */

double stats_log_noise(const double *values, size_t n)
{
    double away[STATS_MAX], middle;

    n = n < STATS_MAX ? n : STATS_MAX;
    if (n < 2)
        return 0;
    middle = log(stats_median(values, n));
    for (size_t i = 0; i < n; i++)
        away[i] = fabs(log(values[i]) - middle);
    return SIGMA_OF_MAD * stats_median(away, n);
}

double stats_median_uncertainty(const double *values, size_t n)
{
    double sorted[STATS_MAX];

    if (n < 4)
        return 1;
    n = sort(values, n, sorted);
    return 1.57 * (quantile(sorted, n, 0.75) - quantile(sorted, n, 0.25)) / sqrt((double)n) /
           quantile(sorted, n, 0.5);
}

bool stats_settled(const double *medians, size_t n)
{
    const double *last = medians + n;

    if (n < 3)
        return false;
    return !(last[-3] > last[-2] && last[-2] > last[-1]) &&
           !(last[-3] < last[-2] && last[-2] < last[-1]);
}

struct stats_line stats_line_of(double bytes1, double seconds1, double bytes2, double seconds2)
{
    struct stats_line line = {.latency_s = seconds1};

    if (!(bytes2 > bytes1) || !(seconds2 > seconds1))
        return line;
    line.bytes_per_s = (bytes2 - bytes1) / (seconds2 - seconds1);
    line.latency_s = fmax(0, seconds1 - bytes1 / line.bytes_per_s);
    return line;
}

bool stats_lines_agree(const struct stats_line *lower, const struct stats_line *upper)
{
    return upper->bytes_per_s > 0 &&
           fabs(lower->bytes_per_s - upper->bytes_per_s) <= 0.1 * upper->bytes_per_s;
}

#define REACHED_H0 0.98
#define REACHED_H1 0.92
#define ALPHA 1e-3
#define BETA 1e-2
#define NOISE_LEAST 0.015
/* Its sigma where one value's is 1: sqrt(0.2868), Teichroew 1956, order statistics of the normal. */
#define MEDIAN_OF_5 0.536

enum stats_answer stats_test_add(struct stats_test *test, double x, double noise)
{
    double ok = -log(REACHED_H0), slow = -log(REACHED_H1);
    double sigma = MEDIAN_OF_5 * fmax(noise, NOISE_LEAST);

    test->evidence += (slow - ok) * (x - (ok + slow) / 2) / (sigma * sigma);
    if (test->evidence >= log((1 - BETA) / ALPHA))
        return STATS_SLOW;
    return test->evidence <= log(BETA / (1 - ALPHA)) ? STATS_OK : STATS_UNDECIDED;
}
