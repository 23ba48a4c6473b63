/* Which cluster a command asks: files, or the live one; by which levels; and in which form it answers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "topology/catalogue.h"

#define ROUNDS_MAX 8

static const struct argp_option options[] = {
    {"file", 'f', "CLUSTER", 0, "nodes, pods, ... as kubectl get -o json prints them; - is standard "
                                "input; may be repeated. Without it the live cluster is read", 0},
    {"kubeconfig", 'k', "FILE", 0, "how to reach the live cluster (default $KUBECONFIG, else "
                                   "~/.kube/config)", 0},
    {"levels", 'l', "KEY,KEY", 0, "node-label keys, outermost first", 0},
    {"config", 'c', "FILE", 0, "lockstep.yaml, for its levels and pool", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct source *source = state->input;

    switch (key) {
    case 'f':
        if (source->nfiles == SOURCE_FILES_MAX)
            argp_error(state, "more than %d files", SOURCE_FILES_MAX);
        source->files[source->nfiles++] = argument;
        return 0;
    case 'k':
        source->kubeconfig = argument;
        return 0;
    case 'l':
        source->levels = argument;
        return 0;
    case 'c':
        source->config = argument;
        return 0;
    case 'o':
        source->json = cli_wants_json(argument, state);
        return 0;
    case ARGP_KEY_END:
        if (source->nfiles > 0 && source->kubeconfig)
            argp_error(state, "-f and --kubeconfig: one cluster can be asked, not two");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp source_argp = {options, parse_option, NULL, NULL, NULL, NULL, NULL};

/* ---- configuration ------------------------------------------------------------------------------------ */

/* lockstep.yaml or the defaults, and --levels in their place; for a core that only answers. */
static int source_config(const struct source *source, struct config *ret, struct err *err)
{
    int r = source->config ? config_load(source->config, ret, err) : config_init(ret);

    if (r < 0)
        return r;
    config_what_if(ret);
    ret->find_machine = catalogue_machine;
    if (source->levels)
        r = cli_set_levels(ret, source->levels, err);
    if (r < 0)
        config_release(ret);
    return r;
}

int source_failed(const char *command, const struct err *err)
{
    fprintf(stderr, "lockstep %s: %s\n", command, err->text[0] ? err->text : "out of memory");
    return err->text[0] ? EXIT_BAD_INPUT : EXIT_INTERNAL;
}

/* ---- the core ----------------------------------------------------------------------------------------- */

/* Files or live, as the source says. Released by the caller, on failure too. */
static int loader_open(struct loader *loader, const struct source *source, const struct config *config,
                       struct err *err)
{
    int r = 0;

    *loader = (struct loader){.core = core_new(config)};
    if (!loader->core)
        return -ENOMEM;
    if (source->nfiles == 0)
        return load_live(loader, source->kubeconfig, err);
    for (size_t i = 0; r == 0 && i < source->nfiles; i++)
        r = load_cluster(loader, source->files[i], err);
    if (r == 0 && loader->nodes == 0)
        fprintf(stderr, "lockstep: warning: no nodes in CLUSTER\n");
    return r;
}

/* Plays the API server: bindings under way and plans that are stored succeed. How many there were. */
static size_t answer_writes(struct loader *loader)
{
    struct actions taken = loader->actions;
    size_t n = 0;

    loader->actions = (struct actions){0};
    for (size_t i = 0; i < taken.n; i++) {
        const struct action *action = &taken.items[i];
        struct event event = {.kind = EV_WRITE_DONE, .ticket = action->ticket,
                              .action = action->kind, .result = WRITE_OK};

        if (action->kind != ACT_BIND && action->kind != ACT_PLACEMENT)
            continue;
        snprintf(event.uid, sizeof(event.uid), "%s", action->uid);
        snprintf(event.ns_name, sizeof(event.ns_name), "%s", action->ns);
        snprintf(event.name, sizeof(event.name), "%s", action->name);
        core_step(loader->core, &event, loader->now_ns, &loader->actions);
        n++;
    }
    actions_release(&taken);
    return n;
}

void loader_settle(struct loader *loader)
{
    struct event synced = {.kind = EV_SYNCED};

    loader->now_ns++;
    core_step(loader->core, &synced, loader->now_ns, &loader->actions);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        core_settle(loader->core, loader->now_ns, &loader->actions);
        if (answer_writes(loader) == 0)
            break;
    }
}

void loader_release(struct loader *loader)
{
    core_free(loader->core);
    actions_release(&loader->actions);
    *loader = (struct loader){0};
}

int source_ask(const struct source_question *question)
{
    struct err err = ERR_INIT;
    struct config config = {0};
    struct loader loader = {0};
    int r = source_config(question->source, &config, &err);

    if (r < 0)
        return source_failed(question->command, &err);
    r = loader_open(&loader, question->source, &config, &err);
    if (r == 0 && question->load)
        r = question->load(question->context, &loader, &config, &err);
    if (r == 0) {
        loader_settle(&loader);
        r = question->answer(question->context, loader.core, &err);
    }
    loader_release(&loader);
    config_release(&config);
    return r < 0 ? source_failed(question->command, &err) : r;
}
