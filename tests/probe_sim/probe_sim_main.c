/* probe_sim: the coordinator under faults. Options: the help text. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "tests/probe_sim/probe_sim.h"

#define MUTANT_SEEDS 2000

struct arguments {
    uint64_t seed, runs;
    bool mutants, trace;
};

static const struct argp_option options[] = {
    {"seed", 's', "N", 0, "first seed (1)", 0},
    {"runs", 'r', "N", 0, "how many seeds (1000)", 0},
    {"mutants", 'm', NULL, 0, "break each rule in turn and see that it is noticed", 0},
    {"trace", 'v', NULL, 0, "print what happens", 0},
    {0}};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    uint64_t *number = key == 's' ? &arguments->seed : key == 'r' ? &arguments->runs : NULL;

    if (key == 'm')
        arguments->mutants = true;
    else if (key == 'v')
        arguments->trace = true;
    else if (!number)
        return ARGP_ERR_UNKNOWN;
    else if (parse_u64(text, strlen(text), UINT64_MAX / 2, number) < 0)
        argp_error(state, "'%s': expected a number", text);
    return 0;
}

static struct sim sim;

static int run_seeds(const struct arguments *arguments)
{
    uint64_t verdicts[VERDICTS] = {0}, crashes = 0, kills = 0, restarts = 0, adopted = 0, again = 0,
             sure = 0;

    for (uint64_t seed = arguments->seed; seed < arguments->seed + arguments->runs; seed++) {
        uint64_t hash;

        if (sim_run(&sim, seed, arguments->trace) < 0) {
            printf("%s\nreplay: probe_sim --seed %" PRIu64 " --runs 1 --trace\n", sim.why, seed);
            return EXIT_FAILURE;
        }
        for (int i = 0; i < VERDICTS; i++)
            verdicts[i] += sim.verdicts[i];
        crashes += sim.crashes;
        kills += sim.kills;
        restarts += sim.restarts;
        adopted += sim.adopted;
        sure += sim.sure;
        hash = sim.hash;
        if (seed % 20 == 0 && !arguments->trace) {
            again++;
            if (sim_run(&sim, seed, false) < 0 || sim.hash != hash) {
                printf("seed %" PRIu64 ": the same life came out otherwise\n", seed);
                return EXIT_FAILURE;
            }
        }
    }
    printf("%" PRIu64 " lives, %" PRIu64 " of them twice:", arguments->runs, again);
    for (int i = 0; i < VERDICTS; i++)
        printf(" %s %" PRIu64, verdict_name((enum verdict)i), verdicts[i]);
    printf("; processes killed %" PRIu64 ", coordinators %" PRIu64 "; rounds begun anew %" PRIu64
           ", taken over %" PRIu64 "; gangs that had to be measured %" PRIu64 "\n",
           kills, crashes, restarts, adopted, sure);
    if (sure == 0 || adopted == 0 || restarts == 0 || verdicts[VERDICT_SLOW] == 0 ||
        verdicts[VERDICT_INFRASTRUCTURE] == 0) {
        printf("these lives show too little\n");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run_mutants(void)
{
    static const char *const names[] = {"",
#define X(name, what) #name,
                                        PROBE_SIM_MUTANTS(X)
#undef X
    };
    int survivors = 0;

    for (int i = 1; i < PROBE_SIM_MUTANTS_N; i++) {
        uint64_t seed = 1;

        probe_sim_mutant = (enum probe_sim_mutant)i;
        while (seed <= MUTANT_SEEDS && sim_run(&sim, seed, false) == 0)
            seed++;
        if (seed > MUTANT_SEEDS)
            printf("%s is not noticed in %d lives\n", names[i], MUTANT_SEEDS);
        else
            printf("%s: %s\n", names[i], sim.why);
        survivors += seed > MUTANT_SEEDS;
    }
    return survivors ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1, .runs = 1000};
    const struct argp argp = {
        options, parse_option, NULL, "The probe's coordinator under seeded faults.",
        NULL,    NULL,         NULL};

    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    return arguments.mutants ? run_mutants() : run_seeds(&arguments);
}
