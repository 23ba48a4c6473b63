/* lockstep simulate: a trace of gangs on a cluster in virtual time, and how policies fare with it. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "scheduler/cli/cli.h"
#include "scheduler/simulate/simulate.h"
#include "scheduler/simulate/trace_make.h"
#include "topology/catalogue.h"

#define FILES_MAX 64
#define POLICIES_MAX 3
#define LOAD_PERCENT 85
#define LOAD_PERCENT_MAX 1000
#define CSV_MAX ((size_t)128 << 20)
#define PROGRESS_FIRST_NS INT64_C(1000000000)
#define PROGRESS_TTY_NS INT64_C(200000000)
#define PROGRESS_LINES_NS INT64_C(5000000000)

enum { KEY_RESOURCE = 256, KEY_KEEP, KEY_MAKE_TRACE, KEY_LOAD };

struct arguments {
    const char *files[FILES_MAX];
    size_t nfiles;
    const char *trace, *config, *levels, *resource;
    const char *policies[POLICIES_MAX];
    size_t npolicies;
    uint64_t seed, gangs, load_percent; /* gangs 0: no trace is made */
    bool json, keep_nodes;
};

static const struct argp_option options[] = {
    {"file", 'f', "CLUSTER", 0, "nodes and pods as kubectl get -o json prints them; - is standard "
                                "input; may be repeated. Pods that run stay; pods that wait are "
                                "left out", 0},
    {"trace", 't', "TRACE", 0, "CSV or YAML; - is standard input", 0},
    {"policy", 'p', "NAME,NAME", 0, "of lockstep, best-fit, first-fit (default: all)", 0},
    {"levels", 'l', "KEY,KEY", 0, "node-label keys, outermost first", 0},
    {"config", 'c', "FILE", 0, "lockstep.yaml, for levels, pool and headOfLineAfter; preemption and "
                               "giveUpAfter are not simulated", 0},
    {"resource", KEY_RESOURCE, "NAME", 0, "the accelerators (default: the first of "
                                          "acceleratorResources, nvidia.com/gpu)", 0},
    {"keep", KEY_KEEP, "WHAT", 0, "for who has waited for headOfLineAfter best-fit and first-fit keep all "
                                  "(default: nobody behind it starts) or nodes (those that it would get "
                                  "on the emptied cluster, as lockstep does at first)", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {"make-trace", KEY_MAKE_TRACE, "SEED,GANGS", 0, "print a trace for CLUSTER as CSV instead", 0},
    {"load", KEY_LOAD, "PERCENT", 0, "of such a trace: work asked for, of what CLUSTER can do while "
                                     "it is submitted (default 85)", 0},
    {0}};

static void parse_policies(struct arguments *arguments, const char *text, struct argp_state *state)
{
    while (*text) {
        size_t len = strcspn(text, ","), i = 0;

        while (sim_policies[i] && (strlen(sim_policies[i]) != len ||
                                   strncmp(sim_policies[i], text, len) != 0))
            i++;
        if (!sim_policies[i])
            argp_error(state, "--policy '%.*s': expected lockstep, best-fit or first-fit", (int)len,
                       text);
        for (size_t k = 0; k < arguments->npolicies; k++)
            if (arguments->policies[k] == sim_policies[i])
                argp_error(state, "--policy: '%s' stands twice", sim_policies[i]);
        arguments->policies[arguments->npolicies++] = sim_policies[i];
        text += len + (text[len] == ',');
    }
}

static void parse_seed(struct arguments *arguments, const char *text, struct argp_state *state)
{
    size_t len = strcspn(text, ",");

    if (parse_u64(text, len, UINT64_MAX, &arguments->seed) < 0 || text[len] != ',' ||
        parse_u64(text + len + 1, strlen(text + len + 1), TRACE_GANGS_MAX, &arguments->gangs) < 0 ||
        arguments->gangs == 0)
        argp_error(state, "--make-trace '%s': expected SEED,GANGS: two whole numbers, GANGS 1 to %d",
                   text, TRACE_GANGS_MAX);
}

static void parse_load(struct arguments *arguments, const char *text, struct argp_state *state)
{
    if (parse_u64(text, strlen(text), LOAD_PERCENT_MAX, &arguments->load_percent) < 0 ||
        arguments->load_percent == 0)
        argp_error(state, "--load '%s': expected 1 to %d", text, LOAD_PERCENT_MAX);
}

/* One of two words; anything else ends the program. */
static bool is_second(const struct argp_state *state, const char *option, const char *argument,
                      const char *first, const char *second)
{
    bool is = strcmp(argument, second) == 0;

    if (!is && strcmp(argument, first) != 0)
        argp_error(state, "%s '%s': expected %s or %s", option, argument, first, second);
    return is;
}

static void check_arguments(struct arguments *arguments, struct argp_state *state)
{
    if (arguments->nfiles == 0)
        argp_error(state, "-f CLUSTER is needed");
    if (!arguments->trace == !arguments->gangs)
        argp_error(state, "either -t TRACE or --make-trace SEED,GANGS is needed");
    for (size_t i = 0; arguments->trace && i < arguments->nfiles; i++)
        if (strcmp(arguments->files[i], "-") == 0 && strcmp(arguments->trace, "-") == 0)
            argp_error(state, "-f - and -t -: only one of them can be standard input");
    for (size_t i = 0; arguments->npolicies == 0 && i < POLICIES_MAX; i++)
        arguments->policies[i] = sim_policies[i];
    if (arguments->npolicies == 0)
        arguments->npolicies = POLICIES_MAX;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'f':
        if (arguments->nfiles == FILES_MAX)
            argp_error(state, "more than %d files", FILES_MAX);
        arguments->files[arguments->nfiles++] = argument;
        return 0;
    case 't':
        arguments->trace = argument;
        return 0;
    case 'p':
        parse_policies(arguments, argument, state);
        return 0;
    case 'l':
        arguments->levels = argument;
        return 0;
    case 'c':
        arguments->config = argument;
        return 0;
    case KEY_RESOURCE:
        arguments->resource = argument;
        return 0;
    case KEY_KEEP:
        arguments->keep_nodes = is_second(state, "--keep", argument, "all", "nodes");
        return 0;
    case 'o':
        arguments->json = is_second(state, "-o", argument, "text", "json");
        return 0;
    case KEY_MAKE_TRACE:
        parse_seed(arguments, argument, state);
        return 0;
    case KEY_LOAD:
        parse_load(arguments, argument, state);
        return 0;
    case ARGP_KEY_END:
        check_arguments(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Replays a trace of gangs on a cluster in virtual time and compares policies: lockstep itself (the "
    "core that runs in the cluster), best-fit and first-fit.\v"
    "TRACE is CSV whose first line names the columns, or YAML with a list under gangs: whose entries "
    "have them as keys: name, submit_s, duration_s, pods, gpus (per pod), and if wanted priority, "
    "required, preferred (levels).\n\n"
    "Examples:\n"
    "  lockstep simulate -f configs/examples/cluster.yaml -t configs/examples/trace.csv \\\n"
    "    --levels example.com/block,example.com/rack\n"
    "  kubectl get nodes -o json > cluster.json\n"
    "  lockstep simulate -f cluster.json --make-trace 1,2000 | lockstep simulate -f cluster.json -t -\n\n"
    "Exit: 0 done, 2 bad input.\n",
    NULL, NULL, NULL};

/* ---- progress ----------------------------------------------------------------------------------------- */

struct progress {
    int64_t next_ns;
    bool tty, shown;
};

static void show_progress(void *context, const char *policy, size_t ended, size_t gangs)
{
    struct progress *progress = context;
    int64_t now_ns = clock_boot_ns();

    if (now_ns < progress->next_ns)
        return;
    fprintf(stderr, progress->tty ? "\rsimulating %s: %zu of %zu gangs have ended\033[K"
                          : "simulating %s: %zu of %zu gangs have ended\n",
            policy, ended, gangs);
    progress->next_ns = now_ns + (progress->tty ? PROGRESS_TTY_NS : PROGRESS_LINES_NS);
    progress->shown = true;
}

static void end_progress(const struct progress *progress)
{
    if (progress->tty && progress->shown)
        fprintf(stderr, "\r\033[K");
}

/* ---- running ------------------------------------------------------------------------------------------ */

static int run_policies(const struct arguments *arguments, struct simulation *simulation,
                        struct err *err)
{
    struct sim_result results[POLICIES_MAX] = {{0}};
    struct sim_stats stats[POLICIES_MAX];
    struct policy_run runs[POLICIES_MAX];
    int r = sim_bounds(simulation, err);

    for (size_t i = 0; i < arguments->npolicies && r == 0; i++) {
        r = sim_run(simulation, arguments->policies[i], &results[i], err);
        if (r == 0)
            r = sim_stats(simulation, &results[i], &stats[i]);
        runs[i] = (struct policy_run){arguments->policies[i], &results[i], &stats[i]};
    }
    end_progress(simulation->context);
    if (r == 0 && arguments->json) {
        json_t *root = show_simulation_json(simulation, runs, arguments->npolicies);

        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        putchar('\n');
        json_decref(root);
    } else if (r == 0) {
        show_simulation_text(simulation, runs, arguments->npolicies);
    }
    for (size_t i = 0; i < arguments->npolicies; i++)
        sim_result_release(&results[i]);
    free(simulation->bounds);
    return r;
}

static int run_trace(const struct arguments *arguments, struct core *core,
                     const struct config *config, const struct sim_cluster *cluster, struct err *err)
{
    struct progress progress = {clock_boot_ns() + PROGRESS_FIRST_NS, isatty(STDERR_FILENO), false};
    CLEANUP(trace_file_release) struct trace_file trace = {0};
    struct trace_levels levels = {cluster->levels, cluster->nlevels};
    struct simulation simulation = {.cluster = cluster, .trace = &trace, .config = config,
                                    .core = core, .keep_nodes = arguments->keep_nodes,
                                    .progress = show_progress, .context = &progress};
    int r = trace_file_load(arguments->trace, &levels, &trace, err);

    if (r < 0)
        return r;
    if (cluster->left_out > 0)
        fprintf(stderr, "lockstep simulate: %zu pods that wait in CLUSTER are left out\n",
                cluster->left_out);
    return run_policies(arguments, &simulation, err);
}

static int print_trace(const struct arguments *arguments, const struct sim_cluster *cluster)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(CSV_MAX);
    int r = trace_make(arguments->seed, arguments->gangs, (double)arguments->load_percent / 100,
                       cluster, &out);

    if (r == 0)
        fwrite(out.data, 1, out.len, stdout);
    return r;
}

static int simulate(const struct arguments *arguments, const struct config *config, struct err *err)
{
    struct loader loader = {.core = core_new(config)};
    struct sim_cluster cluster = {0};
    int r = loader.core ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < arguments->nfiles; i++)
        r = load_cluster(&loader, arguments->files[i], err);
    if (r == 0)
        r = sim_cluster_init(&cluster, loader.core, config, err);
    if (r == 0)
        r = arguments->gangs ? print_trace(arguments, &cluster)
                             : run_trace(arguments, loader.core, config, &cluster, err);
    sim_cluster_release(&cluster);
    core_free(loader.core);
    actions_release(&loader.actions);
    return r;
}

static int set_resource(struct config *config, const char *name)
{
    char *copy = strdup(name);

    if (!copy)
        return -ENOMEM;
    free(config->accelerators[0]);
    config->accelerators[0] = copy;
    return 0;
}

int cmd_simulate(int argc, char **argv)
{
    struct arguments arguments = {.load_percent = LOAD_PERCENT};
    struct err err = ERR_INIT;
    struct config config = {0};
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    r = arguments.config ? config_load(arguments.config, &config, &err) : config_init(&config);
    config.find_machine = catalogue_machine;
    if (r == 0) {
        sim_config(&config);
        if (arguments.resource)
            r = set_resource(&config, arguments.resource);
    }
    if (r == 0 && arguments.levels)
        r = cli_set_levels(&config, arguments.levels, &err);
    if (r == 0)
        r = simulate(&arguments, &config, &err);
    config_release(&config);
    if (r >= 0)
        return r;
    fprintf(stderr, "lockstep simulate: %s\n", err.text[0] ? err.text : "out of memory");
    return err.text[0] && r != -EIO ? EXIT_BAD_INPUT : EXIT_INTERNAL;
}
