/* lockstep plan: what the cluster would do with a gang, by the core and planner that run in it. */
#include <stdio.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"

struct arguments {
    struct source source;
    const char *gang;
};

static const struct argp_option options[] = {
    {"gang", 'g', "GANG", 0, "manifest of the gang: a Job, Pods, a PodGroup with Pods", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->source;
        return 0;
    case 'g':
        arguments->gang = argument;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->gang)
            argp_error(state, "-g GANG is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&source_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
    options, parse_option, NULL,
    "Says where a gang would go, or why it does not fit and what would.\v"
    "Examples:\n"
    "  kubectl get nodes,pods -A -o json | lockstep plan -f - -g job.yaml\n"
    "  lockstep plan -g job.yaml        (the live cluster, through the kubeconfig)\n\n"
    "Exit: 0 it fits, 3 it does not, 2 bad input.\n",
    children, NULL, NULL};

static int answer(const struct arguments *arguments, struct core *core,
                  const struct wanted_gang *wanted)
{
    const struct gang *gang = core_gang_of(core, wanted->uid);

    if (!gang && !wanted->unsupported[0]) {
        fprintf(stderr, "lockstep plan: %s holds no gang: set label lockstep.dev/gang on its pods\n",
                arguments->gang);
        return EXIT_BAD_INPUT;
    }
    if (arguments->source.json)
        print_json(wanted->unsupported[0] ? show_unsupported(wanted->unsupported)
                                          : show_json(core, gang));
    else if (wanted->unsupported[0])
        printf("not supported yet: workload kind %s\n", wanted->unsupported);
    else
        show_text(core, gang);
    return gang_is_placed(gang) && !wanted->unsupported[0] ? EXIT_OK : EXIT_NO;
}

int cmd_plan(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct wanted_gang wanted;
    struct err err = ERR_INIT;
    struct config config = {0};
    struct loader loader = {0};
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    r = source_config(&arguments.source, &config, &err);
    if (r < 0)
        return source_failed("plan", &err);
    r = loader_open(&loader, &arguments.source, &config, &err);
    if (r == 0)
        r = load_gang(&loader, arguments.gang, config.scheduler_name, &wanted, &err);
    if (r == 0) {
        loader_settle(&loader);
        r = answer(&arguments, loader.core, &wanted);
    }
    loader_release(&loader);
    config_release(&config);
    return r < 0 ? source_failed("plan", &err) : r;
}
