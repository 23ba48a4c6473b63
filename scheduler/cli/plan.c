/* lockstep plan: what the cluster would do with a gang, by the core and planner that run in it. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/config.h"

#define FILES_MAX 64

struct arguments {
    const char *files[FILES_MAX];
    size_t nfiles;
    const char *gang, *config, *levels;
    bool json;
};

static const struct argp_option options[] = {
    {"file", 'f', "CLUSTER", 0, "nodes, pods, ... as kubectl get -o json prints them; - is standard "
                                "input; may be repeated", 0},
    {"gang", 'g', "GANG", 0, "manifest of the gang: a Job, Pods, a PodGroup with Pods", 0},
    {"levels", 'l', "KEY,KEY", 0, "node-label keys, outermost first", 0},
    {"config", 'c', "FILE", 0, "lockstep.yaml, for its levels and pool", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'f':
        if (arguments->nfiles == FILES_MAX)
            argp_error(state, "more than %d files", FILES_MAX);
        arguments->files[arguments->nfiles++] = argument;
        return 0;
    case 'g':
        arguments->gang = argument;
        return 0;
    case 'l':
        arguments->levels = argument;
        return 0;
    case 'c':
        arguments->config = argument;
        return 0;
    case 'o':
        arguments->json = strcmp(argument, "json") == 0;
        if (!arguments->json && strcmp(argument, "text") != 0)
            argp_error(state, "-o '%s': expected text or json", argument);
        return 0;
    case ARGP_KEY_END:
        if (arguments->nfiles == 0 || !arguments->gang)
            argp_error(state, "-f CLUSTER and -g GANG are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Says where a gang would go, or why it does not fit and what would.\v"
    "Example:\n"
    "  kubectl get nodes,pods -A -o json | lockstep plan -f - -g job.yaml\n\n"
    "Exit: 0 it fits, 3 it does not, 2 bad input.\n",
    NULL, NULL, NULL};

void config_what_if(struct config *config)
{
    config->lease[0] = '\0';
    config->preemption = false;
    config->early_plan_deadline_ns = 0;
}

static int answer(const struct arguments *arguments, const struct core *core,
                  const struct wanted_gang *wanted)
{
    const struct gang *gang = core_gang_of(core, wanted->uid);
    json_t *root = wanted->unsupported[0] ? show_unsupported(wanted->unsupported)
                   : gang                 ? show_json(core, gang)
                                          : NULL;

    if (!root) {
        fprintf(stderr, "lockstep plan: %s holds no gang: set label lockstep.dev/gang on its pods\n",
                arguments->gang);
        return EXIT_BAD_INPUT;
    }
    if (arguments->json) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else if (gang && !wanted->unsupported[0]) {
        show_text(core, gang);
    } else {
        printf("not supported yet: workload kind %s\n", wanted->unsupported);
    }
    json_decref(root);
    return gang_is_placed(gang) && !wanted->unsupported[0] ? EXIT_OK : EXIT_NO;
}

static int plan(const struct arguments *arguments, const struct config *config, struct err *err)
{
    struct loader loader = {.core = core_new(config)};
    struct event synced = {.kind = EV_SYNCED};
    struct wanted_gang wanted;
    int r = loader.core ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < arguments->nfiles; i++)
        r = load_cluster(&loader, arguments->files[i], err);
    if (r == 0)
        r = load_gang(&loader, arguments->gang, config->scheduler_name, &wanted, err);
    if (r == 0) {
        if (loader.nodes == 0)
            fprintf(stderr, "lockstep plan: warning: no nodes in CLUSTER\n");
        core_step(loader.core, &synced, 1, &loader.actions);
        core_settle(loader.core, 1, &loader.actions);
        r = answer(arguments, loader.core, &wanted);
    }
    core_free(loader.core);
    actions_release(&loader.actions);
    return r;
}

int cmd_plan(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct err err = ERR_INIT;
    struct config config = {0};
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    r = arguments.config ? config_load(arguments.config, &config, &err) : config_init(&config);
    if (r == 0)
        config_what_if(&config);
    if (r == 0 && arguments.levels)
        r = cli_set_levels(&config, arguments.levels, &err);
    if (r == 0)
        r = plan(&arguments, &config, &err);
    config_release(&config);
    if (r >= 0)
        return r;
    fprintf(stderr, "lockstep plan: %s\n", err.text[0] ? err.text : "out of memory");
    return err.text[0] ? EXIT_BAD_INPUT : EXIT_INTERNAL;
}
