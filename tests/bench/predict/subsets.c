#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/bench/predict/measurements.h"
#include "tests/bench/predict/subsets.h"
#include "topology/subset.h"

#define LOOKUPS 2000000u

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static volatile uint32_t kept; /* so that the look-ups are not left out */

/* Questions from a fixed generator: any set of free ones, any count. */
static double lookup_ns(const struct subset_table *table, unsigned ngpus)
{
    uint32_t state = 12345, sum = 0;
    double start = now_ns();

    for (unsigned i = 0; i < LOOKUPS; i++) {
        state = state * 1664525u + 1013904223u;
        sum ^= subset_best(table, state >> 8, 1 + (state >> 4) % ngpus);
    }
    kept = sum;
    return (now_ns() - start) / LOOKUPS;
}

void bench_subsets(void)
{
    static struct machine machine;
    double slowest = 0, longest = 0;

    fprintf(stderr, "%-18s %5s %12s %10s %10s\n", "SUBSET TABLE OF", "GPUS", "MADE IN", "BYTES", "LOOK-UP");
    for (int i = 0; i < KNOWN_MACHINES; i++) {
        struct subset_table *table;
        double start, made, lookup;

        known_machine((enum known_machine)i, &machine);
        start = now_ns();
        if (subset_table_new(&machine, &table) < 0)
            exit(EXIT_FAILURE);
        made = (now_ns() - start) / 1e6;
        lookup = lookup_ns(table, machine.ngpus);
        fprintf(stderr, "%-18s %5u %9.3f ms %10llu %7.1f ns\n", known_machine_name((enum known_machine)i),
                machine.ngpus, made, (unsigned long long)subset_table_bytes(table), lookup);
        slowest = lookup > slowest ? lookup : slowest;
        longest = made > longest ? made : longest;
        subset_table_free(table);
    }
    printf("subset.lookup_ns: %.1f ns\n", slowest);
    printf("subset.table_ms: %.2f ms\n", longest);
}
