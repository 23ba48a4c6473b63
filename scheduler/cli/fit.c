/* lockstep fit: the largest gang that fits now, per level and for pods of so many accelerators. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/fit.h"

struct arguments {
    struct source source;
    const char *resource;
    int64_t shapes[FIT_SHAPES_MAX];
    size_t nshapes;
};

static const struct argp_option options[] = {
    {"pod-gpus", 'p', "K", 0, "accelerators of one pod; may be repeated (default 1, 2, 4 and 8)", 0},
    {"resource", 'r', "NAME", 0, "the accelerators' resource name (default nvidia.com/gpu)", 0},
    {0}};

static void add_shape(struct arguments *arguments, const char *text, struct argp_state *state)
{
    char *end;
    long k;

    errno = 0;
    k = strtol(text, &end, 10);
    if (errno || *end || k < 1 || k > 1024)
        argp_error(state, "--pod-gpus '%s': expected a number from 1 to 1024", text);
    if (arguments->nshapes == FIT_SHAPES_MAX)
        argp_error(state, "--pod-gpus: at most %d may be asked at once", FIT_SHAPES_MAX);
    arguments->shapes[arguments->nshapes++] = k;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->source;
        return 0;
    case 'p':
        add_shape(arguments, argument, state);
        return 0;
    case 'r':
        arguments->resource = argument;
        return 0;
    case ARGP_KEY_END:
        for (int64_t k = 1; arguments->nshapes == 0 || (k > 1 && k <= 8); k *= 2)
            arguments->shapes[arguments->nshapes++] = k;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&source_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
    options, parse_option, NULL,
    "Says how many pods the largest gang has that fits now: anywhere, in one domain of each level, on one "
    "node. A pod is taken to ask for K accelerators and nothing else; nodes that are cordoned, tainted "
    "or outside of the pool do not count. FRAGMENTATION is 1 - the largest gang's accelerators in one domain "
    "of the level / all that are free: 0 where one domain has them all, near 1 where they are scattered.\v"
    "Examples:\n"
    "  lockstep fit                         (the live cluster, through the kubeconfig)\n"
    "  kubectl get nodes,pods -A -o json | lockstep fit -f - --pod-gpus 8 -o json\n\n"
    "Exit: 0 a gang fits, 3 none, not even of one pod; 2 bad input.\n",
    children, NULL, NULL};

/* ---- the answer ---------------------------------------------------------------------------------------- */

static json_t *cells_json(const struct fit_table *table, size_t level)
{
    json_t *list = json_array();

    for (size_t shape = 0; shape < table->nshapes; shape++) {
        const struct fit_cell *cell = &table->levels[level].cells[shape];

        json_array_append_new(
            list, json_pack("{s:I, s:I, s:I, s:s, s:f}", "pod_gpus", (json_int_t)table->shapes[shape],
                            "pods", (json_int_t)cell->pods, "gpus",
                            (json_int_t)cell->pods * table->shapes[shape], "domain", cell->domain,
                            "fragmentation", fit_fragmentation(table, level, shape)));
    }
    return list;
}

static json_t *table_json(const struct fit_table *table, const char *resource)
{
    json_t *levels = json_array();

    for (size_t level = 0; level < table->nlevels; level++)
        json_array_append_new(levels,
                              json_pack("{s:s, s:f, s:o}", "level", table->levels[level].name,
                                        "fragmentation", fit_level_fragmentation(table, level),
                                        "largest", cells_json(table, level)));
    return json_pack("{s:s, s:I, s:I, s:o}", "resource", resource, "free", (json_int_t)table->free,
                     "nodes", (json_int_t)table->nodes, "levels", levels);
}

static void show_cell(const struct fit_cell *cell)
{
    char text[300];

    snprintf(text, sizeof(text), "%llu%s%s", (unsigned long long)cell->pods,
             cell->domain[0] ? " in " : "", cell->domain);
    printf(" %-20s", text);
}

static void show_table(const struct fit_table *table, const char *resource)
{
    printf("%llu %s free on %llu nodes; the largest gang that fits now:\n\n",
           (unsigned long long)table->free, resource, (unsigned long long)table->nodes);
    printf("  %-36s", "LEVEL");
    for (size_t shape = 0; shape < table->nshapes; shape++) {
        char title[24];

        snprintf(title, sizeof(title), "PODS OF %lld", (long long)table->shapes[shape]);
        printf(" %-20s", title);
    }
    printf(" FRAGMENTATION\n");
    for (size_t level = 0; level < table->nlevels; level++) {
        printf("  %-36s", table->levels[level].name);
        for (size_t shape = 0; shape < table->nshapes; shape++)
            show_cell(&table->levels[level].cells[shape]);
        printf(" %.2f\n", fit_level_fragmentation(table, level));
    }
}

static bool any_fits(const struct fit_table *table)
{
    for (size_t shape = 0; shape < table->nshapes; shape++)
        if (table->levels[0].cells[shape].pods > 0)
            return true;
    return false;
}

static int answer(void *context, struct core *core, struct err *err)
{
    const struct arguments *arguments = context;
    const char *resource = arguments->resource ? arguments->resource : "nvidia.com/gpu";
    struct fit_table table;
    int r = core_fit(core, resource, arguments->shapes, arguments->nshapes, &table);

    if (r == -EINVAL)
        return err_set(err, r, "no node and no pod names resource '%s'; name another with --resource",
                       resource);
    if (r < 0)
        return r;
    if (arguments->source.json)
        print_json(table_json(&table, resource));
    else
        show_table(&table, resource);
    return any_fits(&table) ? EXIT_OK : EXIT_NO;
}

int cmd_fit(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct source_question question = {"fit", &arguments.source, &arguments, NULL, answer};

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    return source_ask(&question);
}
