/*
 * The predictor against everything that was measured: each row, the factors fitted anew on the rows that name
 * them, and each class of rows foretold by factors that were fitted without it. Then subset tables. A table on
 * stderr, figures on stdout. Exit 1: a factor of the code has drifted from its rows, or a row that has no stated
 * reason is missed by more than ERROR_MAX.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/predict/measurements.h"
#include "tests/bench/predict/subsets.h"
#include "topology/bandwidth_internal.h"

#define ERROR_MAX 0.12
#define DRIFT_MAX 0.005
#define ROWS_MAX 128
#define PODS_MAX 2048

static double predict(const struct bandwidth_constants *constants, const struct measurement *row)
{
    static struct machine machine;
    static struct bandwidth_pod pods[PODS_MAX];
    struct bandwidth_shape shape = {.pods = pods};
    const char *text = row->shape;
    unsigned total = 0;

    known_machine(row->machine, &machine);
    while (*text) {
        char *end;
        unsigned gpus = (unsigned)strtoul(text, &end, 10), times = 1, domain = 0;

        if (*end == 'x')
            times = (unsigned)strtoul(end + 1, &end, 10);
        if (*end == '/')
            domain = (unsigned)strtoul(end + 1, &end, 10);
        for (unsigned i = 0; i < times && shape.npods < PODS_MAX; i++, total += gpus) {
            pods[shape.npods] = (struct bandwidth_pod){.machine = &machine,
                                                       .mask = (1u << gpus) - 1,
                                                       .host = shape.npods,
                                                       .nvl_domain = domain ? 1 + total / domain : 0};
            shape.npods++;
        }
        text = end + (*end == ',');
    }
    return bandwidth_of_shape_with(constants, &shape).busbw_gb_s;
}

/* Without a row: NCCL's own figure. */
static double of_nccl(int factor)
{
    return factor == FACTOR_NVLS_SM90 ? 0.85 : factor == FACTOR_NVLS_SM100 ? 0.74 : 1;
}

/* Each factor: the geometric mean of measured / foretold with 1 in its place, over its rows. */
static void fit(struct bandwidth_constants *constants, const char *without_class)
{
    for (int f = 1; f < FACTORS; f++)
        constants->factor[f] = 1;
    constants->factor[FACTOR_NONE] = 1;
    for (int f = 1; f < FACTORS; f++) {
        double sum = 0;
        unsigned n = 0;

        for (unsigned i = 0; i < nmeasurements; i++) {
            if ((int)measurements[i].fit != f ||
                (without_class && strcmp(measurements[i].class, without_class) == 0))
                continue;
            sum += log(measurements[i].busbw_gb_s / predict(constants, &measurements[i]));
            n++;
        }
        constants->factor[f] = n ? exp(sum / n) : of_nccl(f);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct errors {
    double values[ROWS_MAX];
    unsigned n;
};

static void add_error(struct errors *errors, double error)
{
    if (errors->n < ROWS_MAX)
        errors->values[errors->n++] = fabs(error);
}

static double median(struct errors *errors)
{
    qsort(errors->values, errors->n, sizeof(double), by_value);
    return errors->n == 0 ? 0
           : errors->n % 2 ? errors->values[errors->n / 2]
                           : (errors->values[errors->n / 2 - 1] + errors->values[errors->n / 2]) / 2;
}

static double most(const struct errors *errors)
{
    double most = 0;

    for (unsigned i = 0; i < errors->n; i++)
        most = fmax(most, errors->values[i]);
    return most;
}

/* ---- the parts of the table ------------------------------------------------------------------------------ */

static bool rows(struct errors *all, struct errors *without_reason)
{
    bool good = true;

    fprintf(stderr, "%-19s %-16s %-9s %9s %9s %7s  %s\n", "CLASS", "MACHINE", "GPUS", "PREDICTED", "MEASURED",
            "ERROR", "SOURCE");
    for (unsigned i = 0; i < nmeasurements; i++) {
        const struct measurement *row = &measurements[i];
        double predicted = predict(&bandwidth_constants, row);
        double error = predicted / row->busbw_gb_s - 1;

        fprintf(stderr, "%-19s %-16s %-9s %9.1f %9.1f %+6.1f%%  %s%s\n", row->class,
                known_machine_name(row->machine), row->shape, predicted, row->busbw_gb_s, error * 100,
                row->source, row->small ? " (not a plateau: not counted)" : "");
        if (row->reason)
            fprintf(stderr, "%-74s  not met: %s\n", "", row->reason);
        if (row->small)
            continue;
        add_error(all, error);
        if (row->reason)
            continue;
        add_error(without_reason, error);
        good &= fabs(error) <= ERROR_MAX;
    }
    return good;
}

static bool factors(void)
{
    static const char *const names[FACTORS] = {"",
                                               "ring through NVSwitch, Ampere",
                                               "the same, Hopper",
                                               "the same, Blackwell",
                                               "NVLS, Hopper",
                                               "NVLS, Blackwell",
                                               "NVLink domain of several machines",
                                               "pair of bridged cards",
                                               "PCIe",
                                               "between sockets, Sapphire Rapids"};
    struct bandwidth_constants fitted;
    bool good = true;

    fit(&fitted, NULL);
    fprintf(stderr, "\nFACTOR ON NCCL'S RATE                 CODE  FITTED  ON ROWS OF\n");
    for (unsigned f = 1; f < FACTORS; f++) {
        const char *class = "";

        fprintf(stderr, "%-36s %.4f %.4f ", names[f], bandwidth_constants.factor[f], fitted.factor[f]);
        for (unsigned i = 0; i < nmeasurements; i++)
            if (measurements[i].fit == f && strcmp(class, measurements[i].class) != 0) {
                class = measurements[i].class;
                fprintf(stderr, " '%s'", class);
            }
        fprintf(stderr, "\n");
        good &= fabs(bandwidth_constants.factor[f] / fitted.factor[f] - 1) <= DRIFT_MAX;
    }
    return good;
}

static void without_each_class(struct errors *all)
{
    const char *class = "";

    fprintf(stderr, "\nCLASS FORETOLD WITHOUT ITS ROWS  ROWS  MEDIAN     MAX\n");
    for (unsigned i = 0; i < nmeasurements; i++) {
        struct bandwidth_constants constants;
        struct errors errors = {.n = 0};

        if (strcmp(class, measurements[i].class) == 0)
            continue;
        class = measurements[i].class;
        fit(&constants, class);
        for (unsigned k = 0; k < nmeasurements; k++)
            if (strcmp(measurements[k].class, class) == 0 && !measurements[k].small &&
                !measurements[k].reason) {
                double error = predict(&constants, &measurements[k]) / measurements[k].busbw_gb_s - 1;

                add_error(&errors, error);
                add_error(all, error);
            }
        fprintf(stderr, "%-32s %4u %6.1f%% %6.1f%%\n", class, errors.n, median(&errors) * 100,
                most(&errors) * 100);
    }
}

/* A gang of 360 pods in twenty NVLink domains, and one of 248 machines with eight NICs. */
static double us_per_pod(void)
{
    unsigned runs = 0, pods = 0;
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    for (; runs < 20; runs++)
        for (unsigned i = 0; i < nmeasurements; i++) {
            unsigned here = strcmp(measurements[i].shape, "4x360/72") == 0 ? 360
                            : strcmp(measurements[i].shape, "8x248") == 0  ? 248
                                                                            : 0;

            pods += here;
            if (here)
                (void)predict(&bandwidth_constants, &measurements[i]);
        }
    clock_gettime(CLOCK_MONOTONIC, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / pods;
}

static void figure(const char *name, double value)
{
    printf("%s: %.2f percent\n", name, value * 100);
}

int main(void)
{
    struct errors all = {.n = 0}, without_reason = {.n = 0}, left_out = {.n = 0};
    bool met = rows(&all, &without_reason), fresh = factors();

    without_each_class(&left_out);
    fprintf(stderr, "\n%u rows count; %u of them have a reason and are left out of the maximum\n\n", all.n,
            all.n - without_reason.n);
    figure("predict.median_error_pct", median(&all));
    figure("predict.max_error_pct", most(&without_reason));
    figure("predict.max_error_with_reasons_pct", most(&all));
    figure("predict.left_out_median_error_pct", median(&left_out));
    figure("predict.left_out_max_error_pct", most(&left_out));
    printf("predict.us_per_pod: %.3f us\n", us_per_pod());
    bench_subsets();
    if (!met)
        fprintf(stderr, "a row without a reason is missed by more than %.0f %%\n", ERROR_MAX * 100);
    if (!fresh)
        fprintf(stderr, "a factor of topology/bandwidth.c has drifted from the rows it is fitted on\n");
    return met && fresh ? EXIT_SUCCESS : EXIT_FAILURE;
}
