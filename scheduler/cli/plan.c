/* lockstep plan: what the cluster would do with a gang, by the core and planner that run in it. */
#include <stdio.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"

struct arguments {
    struct source source;
    const char *gang;
    struct wanted_gang wanted;
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

static int load(void *context, struct loader *loader, const struct config *config, struct err *err)
{
    struct arguments *arguments = context;

    return load_gang(loader, arguments->gang, config->scheduler_name, &arguments->wanted, err);
}

static int answer(void *context, struct core *core, struct err *err)
{
    const struct arguments *arguments = context;
    const struct wanted_gang *wanted = &arguments->wanted;
    const struct gang *gang = core_gang_of(core, wanted->uid);

    (void)err;
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
    struct source_question question = {"plan", &arguments.source, &arguments, load, answer};

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    return source_ask(&question);
}
