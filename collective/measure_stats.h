/*
 * measure_stats.h - the statistics of measuring. Pure: no clock, no allocation, no state but what
 * is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define STATS_BATCH 5 /* ops timed between two decisions */
#define STATS_MAX 1000 /* values that a median is asked of */

/* The values are not changed; 0 of none. At most STATS_MAX values are looked at. */
double stats_median(const double *values, size_t n);
/*
 * Of values above 0: median absolute deviation of their logarithms, as the sigma of a normal
 * distribution.
 */
double stats_log_noise(const double *values, size_t n);
/*
 * Half the width of the interval that holds the true median, relative to the median: 1.57 IQR /
 * sqrt(n), the notch of McGill, Tukey, Larsen 1978, "Variations of Box Plots". 1 of fewer than 4
 * values.
 */
double stats_median_uncertainty(const double *values, size_t n);

/*
 * The last three are not on their way up or down: warm-up is over (the rule of BenchmarkDotNet's
 * warm-up stage).
 */
bool stats_settled(const double *medians, size_t n);

/* ---- time = latency + bytes / rate ------------------------------------------------- */

struct stats_line {
    double latency_s, bytes_per_s; /* bytes_per_s 0: the larger message took no longer */
};

struct stats_line stats_line_of(double bytes1, double seconds1, double bytes2, double seconds2);
/* Rates within 10 % of each other. */
bool stats_lines_agree(const struct stats_line *lower, const struct stats_line *upper);

/* ---- sequential test --------------------------------------------------------------- */

/*
 * Wald's sequential probability ratio test (1945) on x = ln(time / expected time) of each batch's
 * median: H0, it reaches 0.98 of what is expected, against H1, 0.92 of it; alpha (saying slow of
 * H0) 1e-3, beta (saying ok of H1) 1e-2.
 */
enum stats_answer { STATS_UNDECIDED, STATS_OK, STATS_SLOW };

struct stats_test {
    double evidence; /* logarithm of the likelihood ratio, H1 over H0 */
};

/* noise: sigma of ln(time) of one op; less than 1.5 % is not believed. */
enum stats_answer stats_test_add(struct stats_test *test, double x, double noise);
