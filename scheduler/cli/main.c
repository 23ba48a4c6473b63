/* lockstep: one command, a verb, its options. Installed as kubectl-lockstep too. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/cli.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {{"plan", "where a gang would go, or why it does not fit", cmd_plan},
                {"simulate", "a trace of gangs in virtual time, by several policies", cmd_simulate},
                {"explain", "where a gang is, or why it waits and what would let it fit", cmd_explain},
                {"fit", "the largest gang that fits now, per level", cmd_fit},
                {"machine", "how the accelerators of a machine are joined, and how fast", cmd_machine},
                {"predict", "how fast accelerators reduce together, and what limits it", cmd_predict},
                {"subset", "which of a machine's free accelerators are the fastest together", cmd_subset},
                {"probe", "how fast ranks reduce together, measured", cmd_probe}};

static void usage(FILE *out)
{
    fprintf(out, "Usage: lockstep COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nlockstep COMMAND --help tells more, with an example.\n");
}

int main(int argc, char **argv)
{
    argp_err_exit_status = EXIT_BAD_INPUT;
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("lockstep 0.1.0\n");
        return EXIT_OK;
    }
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        usage(stdout);
        return EXIT_OK;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "lockstep: unknown command '%s'\n", argv[1]);
    usage(stderr);
    return EXIT_BAD_INPUT;
}
