/* sim: the core in a simulated cluster. Options and examples: the help text. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"
#include "tests/sim/sim.h"

#define MUTANT_STEPS 10000
#define MUTANT_LIFE 1000

struct arguments {
    struct sim_options options;
    uint64_t runs;
    bool table, mutants, shrink;
    const char *mutant;
};

static const struct argp_option options[] = {
    {"seed", 's', "N", 0, "first seed (1)", 0},
    {"runs", 'r', "N", 0, "how many seeds (200)", 0},
    {"steps", 'n', "N", 0, "random steps of each, before calm (5000)", 0},
    {"gang", 'g', "N", 0, "instead: one gang of N pods from its creation to its last binding", 0},
    {"often", 'o', "MOVE", 0, "make this move more often: kubelet, controllers, job, time, ordinary, "
                              "delete, node, stranger, stray, bad-kubelet, trouble, recover", 0},
    {"table", 't', NULL, 0, "print state x event x fault; fail on a cell without a reason", 0},
    {"mutants", 'm', NULL, 0, "break each rule in turn and see that it is noticed", 0},
    {"mutant", 'M', "NAME", 0, "break this rule", 0},
    {"trace", 'v', NULL, 0, "print every event and action", 0},
    {"shrink", 'x', NULL, 0, "shorten the run when it fails", 0},
    {0}};

static uint64_t number(const char *text, struct argp_state *state)
{
    uint64_t value = 0;

    if (parse_u64(text, strlen(text), UINT64_MAX / 2, &value) < 0)
        argp_error(state, "'%s': expected a number", text);
    return value;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 's':
        arguments->options.seed = number(text, state);
        return 0;
    case 'r':
        arguments->runs = number(text, state);
        return 0;
    case 'n':
        arguments->options.steps = number(text, state);
        return 0;
    case 'g':
        arguments->options.gang = (int)number(text, state);
        return 0;
    case 'o':
        arguments->options.often = sim_move(text);
        if (arguments->options.often < 0)
            argp_error(state, "'%s': no such move", text);
        return 0;
    case 't':
        arguments->table = true;
        return 0;
    case 'm':
        arguments->mutants = true;
        return 0;
    case 'M':
        arguments->mutant = text;
        return 0;
    case 'v':
        arguments->options.trace = true;
        return 0;
    case 'x':
        arguments->shrink = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Runs the production core in a simulated cluster under seeded faults.\v"
    "Examples:\n  sim --runs 1000\n  sim --seed 17 --runs 1 --shrink\n  sim --mutants\n"
    "  sim --gang 10000\n",
    NULL, NULL, NULL};

struct total {
    uint64_t steps, bound, restarts, lost, failovers, evicted, rejected;
};

static void add(struct total *total, const struct sim *sim)
{
    total->steps += sim->step;
    total->bound += sim->bound;
    total->restarts += sim->restarts;
    total->lost += sim->lost;
    total->failovers += sim->failovers;
    total->evicted += sim->evicted;
    total->rejected += sim->rejected;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(struct sim *sim, const struct arguments *arguments, const struct sim_options *run)
{
    fprintf(stderr, "seed %llu step %llu: %s\nreplay: sim --seed %llu --runs 1 --steps %llu%s%s --shrink\n",
            (unsigned long long)run->seed, (unsigned long long)sim->step, sim->why,
            (unsigned long long)run->seed, (unsigned long long)run->steps,
            run->often >= 0 ? " --often " : "", run->often >= 0 ? sim_move_name(run->often) : "");
    if (arguments->shrink)
        sim_shrink(sim, run);
    return 1;
}

static int run_seeds(struct sim *sim, const struct arguments *arguments)
{
    struct total total = {0};
    double start = seconds();

    for (uint64_t i = 0; i < arguments->runs; i++) {
        struct sim_options run = arguments->options;

        run.seed += i;
        if (sim_run(sim, &run) < 0)
            return fail(sim, arguments, &run);
        add(&total, sim);
    }
    printf("%llu seeds, %llu steps, %llu bindings, %llu crashes, %llu failovers, %llu evictions, "
           "%llu kubelet rejections, %llu answers lost: 0 violations; %.0f steps/s\n",
           (unsigned long long)arguments->runs, (unsigned long long)total.steps,
           (unsigned long long)total.bound, (unsigned long long)total.restarts,
           (unsigned long long)total.failovers, (unsigned long long)total.evicted,
           (unsigned long long)total.rejected, (unsigned long long)total.lost,
           (double)total.steps / (seconds() - start));
    return 0;
}

/* ---- mutants ------------------------------------------------------------------------------------------------ */

static const struct {
    const char *invariant, *name, *often, *what;
} mutants[] = {
    {"", "", "", ""},
#define X(invariant, name, often, what) {#invariant, #name, often, what},
    SIM_MUTANTS(X)
#undef X
};

/* Seeds until one notices; the budget counts every step, also those of the calm at the end of some. */
static bool caught(struct sim *sim, const char *often, uint64_t *ret_steps)
{
    *ret_steps = 0;
    for (uint64_t seed = 1; *ret_steps < MUTANT_STEPS; seed++) {
        struct sim_options run = {.seed = seed, .steps = MUTANT_LIFE, .restless = seed % 4 != 0, .often = sim_move(often)};
        bool failed = sim_run(sim, &run) < 0;

        *ret_steps += sim->step;
        if (failed)
            return *ret_steps <= MUTANT_STEPS;
    }
    return false;
}

static int run_mutants(struct sim *sim)
{
    int missed = 0;

    for (int i = 1; i < MUTANTS; i++) {
        uint64_t steps;

        sim_mutant = (enum sim_mutant)i;
        if (caught(sim, mutants[i].often, &steps)) {
            printf("caught after %5llu steps  %-3s %-19s %s\n%29s %s\n", (unsigned long long)steps,
                   mutants[i].invariant, mutants[i].name, mutants[i].what, "by", sim->why);
            continue;
        }
        printf("NOT CAUGHT               %-3s %-19s %s\n", mutants[i].invariant, mutants[i].name,
               mutants[i].what);
        missed++;
    }
    return missed ? 1 : 0;
}

static bool choose_mutant(const char *name)
{
    for (int i = 1; i < MUTANTS; i++) {
        if (strcmp(mutants[i].name, name) != 0)
            continue;
        sim_mutant = (enum sim_mutant)i;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static struct sim sim;
    struct arguments arguments = {.options = {.seed = 1, .steps = 5000, .often = -1}, .runs = 200};
    int r;

    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (arguments.mutant && !choose_mutant(arguments.mutant)) {
        fprintf(stderr, "sim: no mutant '%s' (see sim --mutants)\n", arguments.mutant);
        return 2;
    }
    if (arguments.mutants)
        return run_mutants(&sim);
    r = run_seeds(&sim, &arguments);
    if (arguments.table && r == 0 && !sim_table_print())
        r = 1;
    return r;
}
