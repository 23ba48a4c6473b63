/* Delta debugging: leaves steps out as long as the run still breaks the same invariant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TRIALS_MAX 2000

struct shrinking {
    struct sim *sim;
    struct sim_options run;
    uint8_t *skip;
    char invariant[8];
    int trials;
};

/* "I4: ..." -> "I4" */
static void invariant_of(const char *why, char ret[8])
{
    snprintf(ret, 8, "%.*s", (int)strcspn(why, ":"), why);
}

static bool still_fails(struct shrinking *shrinking)
{
    char invariant[8];

    shrinking->trials++;
    if (sim_run(shrinking->sim, &shrinking->run) == 0)
        return false;
    invariant_of(shrinking->sim->why, invariant);
    return strcmp(invariant, shrinking->invariant) == 0;
}

/* Tries to leave out steps [from, to); keeps them if the failure goes with them. */
static bool leave_out(struct shrinking *shrinking, uint64_t from, uint64_t to)
{
    size_t n = (size_t)(to - from);
    uint8_t *before = malloc(n);
    bool fails;

    if (!before)
        return false;
    memcpy(before, shrinking->skip + from, n);
    memset(shrinking->skip + from, 1, n);
    fails = still_fails(shrinking);
    if (!fails)
        memcpy(shrinking->skip + from, before, n);
    free(before);
    return fails;
}

static uint64_t left(const struct shrinking *shrinking)
{
    uint64_t n = 0;

    for (uint64_t i = 1; i <= shrinking->run.steps; i++)
        n += !shrinking->skip[i];
    return n;
}

void sim_shrink(struct sim *sim, const struct sim_options *options)
{
    struct shrinking shrinking = {.sim = sim, .run = *options};

    invariant_of(sim->why, shrinking.invariant);
    if (sim->step < shrinking.run.steps)
        shrinking.run.steps = sim->step;
    shrinking.skip = calloc(shrinking.run.steps + 1, 1);
    if (!shrinking.skip)
        return;
    shrinking.run.skip = shrinking.skip;
    shrinking.run.trace = false;
    for (uint64_t chunk = shrinking.run.steps / 2; chunk > 0; chunk /= 2)
        for (uint64_t from = 1; from <= shrinking.run.steps && shrinking.trials < TRIALS_MAX;
             from += chunk) {
            uint64_t to = from + chunk <= shrinking.run.steps ? from + chunk
                                                              : shrinking.run.steps + 1;

            leave_out(&shrinking, from, to);
        }
    fprintf(stderr, "shortened to %llu of %llu steps in %d trials; their trace:\n",
            (unsigned long long)left(&shrinking), (unsigned long long)shrinking.run.steps,
            shrinking.trials);
    shrinking.run.trace = true;
    still_fails(&shrinking);
    fprintf(stderr, "%s\n", sim->why);
    free(shrinking.skip);
}
