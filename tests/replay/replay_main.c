/*
 * replay FILE... - traces that lockstep-extender --record wrote, through the core of this build.
 *
 *   build/release/bin/replay build/test-logs/traces/e2e/gangs.trace
 *
 * One line per trace; what differs first is told on stderr. Exit: 0 every trace gave the recorded
 * actions with no invariant broken, 1 one did not, 2 bad input.
 */
#include <argp.h>
#include <stdio.h>

#include "tests/replay/replay.h"

static char **files;
static int nfiles;

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    switch (key) {
    case ARGP_KEY_ARGS:
        files = state->argv + state->next;
        nfiles = state->argc - state->next;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected at least one trace");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    NULL, parse_option, "FILE...",
    "Replays what lockstep-extender --record wrote and compares every action.\v"
    "Example:\n  replay /var/tmp/lockstep.trace\n\n"
    "Exit: 0 the same, 1 something differs or an invariant is broken, 2 bad input.\n",
    NULL, NULL, NULL};

static void print_counts(const char *path, const struct replay_counts *counts)
{
    double seconds = (double)counts->ns / 1e9;
    uint64_t steps = counts->events + counts->settles;

    printf("%s: %llu starts (%llu killed, %llu lines torn), %llu events, %llu settles, %llu actions, "
           "%llu plans, %llu gangs, %llu bindings, violations %llu, %.0f steps/s\n",
           path, (unsigned long long)counts->starts, (unsigned long long)counts->cut,
           (unsigned long long)counts->torn, (unsigned long long)counts->events,
           (unsigned long long)counts->settles, (unsigned long long)counts->actions,
           (unsigned long long)counts->plans, (unsigned long long)counts->gangs,
           (unsigned long long)counts->binds, (unsigned long long)counts->violations,
           seconds > 0 ? (double)steps / seconds : 0.0);
}

int main(int argc, char **argv)
{
    int worst = 0;

    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, NULL);
    for (int i = 0; i < nfiles; i++) {
        struct replay_counts counts;
        struct err err = ERR_INIT;
        int r = replay_file(files[i], &counts, &err);
        int code = r < 0 ? 2 : r;

        if (r != 0)
            fprintf(stderr, "replay: %s\n", err.text);
        if (r >= 0)
            print_counts(files[i], &counts);
        worst = code > worst ? code : worst;
    }
    return worst;
}
