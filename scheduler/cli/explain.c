/* lockstep explain: where a gang of the cluster is, or why it waits and what would let it fit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"

#define NAMED_MAX 3 /* gangs that are named where the one asked for does not exist */

struct arguments {
    struct source source;
    const char *gang;
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->source;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->gang)
            argp_error(state, "one gang can be asked for, found '%s' too", argument);
        arguments->gang = argument;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected a gang: NAME or NAMESPACE/NAME");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&source_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
    NULL, parse_option, "[NAMESPACE/]GANG",
    "Says where a gang is, or why it waits and what would have to be otherwise for it to fit; each of "
    "these answers was planned. GANG is the name of its GangPlacement, as kubectl get gangplacements "
    "prints it; without a namespace it is looked for in 'default'. Of the live cluster, nodes, pods, jobs, "
    "PodGroups, namespaces and GangPlacements are listed once: whoever asks must be allowed to.\v"
    "Examples:\n"
    "  lockstep explain team-a/train        (the live cluster, through the kubeconfig)\n"
    "  kubectl get nodes,pods,jobs,gangplacements -A -o json | lockstep explain -f - train -o json\n\n"
    "Exit: 0 it has its places, 3 it waits, 2 there is no such gang, or bad input.\n",
    children, NULL, NULL};

/* ---- which gang ---------------------------------------------------------------------------------------- */

static const struct gang *find(const struct core *core, const char *name)
{
    const char *slash = strchr(name, '/');
    char ns[NAME_TEXT];

    if (!slash)
        return core_gang(core, "default", name);
    snprintf(ns, sizeof(ns), "%.*s", (int)(slash - name), name);
    return core_gang(core, ns, slash + 1);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All gangs as "namespace/name", sorted; NULL: no memory. */
static char **list_gangs(const struct core *core, size_t *ret_n)
{
    struct core_counts counts;
    char **list;
    size_t n = 0;

    core_counts(core, &counts);
    list = calloc(counts.gangs + 1, sizeof(*list));
    for (size_t i = 0; list && i < counts.gangs; i++) {
        const struct gang *gang = core_gang_at(core, i);

        if (asprintf(&list[n], "%s/%s", gang->ns, gang->record.name) >= 0)
            n++;
    }
    if (list)
        qsort(list, n, sizeof(*list), compare_texts);
    *ret_n = n;
    return list;
}

/* The one of the nearest name, else one of the same name in another namespace, else the first few. */
static void suggest(char **list, size_t n, const char *asked)
{
    const char *slash = strchr(asked, '/'), *bare = slash ? slash + 1 : asked;
    const char *nearest;
    char full[2 * NAME_TEXT];
    size_t shown = 0;

    snprintf(full, sizeof(full), "%s%s", slash ? "" : "default/", asked);
    nearest = nearest_name(full, (const char *const *)list, n);
    for (size_t i = 0; i < n && shown < NAMED_MAX; i++) {
        bool alike = strcmp(strchr(list[i], '/') + 1, bare) == 0;

        if (alike || (nearest && strcmp(list[i], nearest) == 0))
            fprintf(stderr, "%s %s", shown++ ? "," : "; did you mean", list[i]);
    }
    for (size_t i = 0; i < n && i < NAMED_MAX && !nearest && shown == 0; i++)
        fprintf(stderr, "%s %s", i ? "," : "; there are", list[i]);
    if (n == 0)
        fprintf(stderr, "; there are none");
    else if (shown == 0 && n > NAMED_MAX)
        fprintf(stderr, " and %zu more", n - NAMED_MAX);
}

static int unknown_gang(const struct core *core, const char *asked)
{
    size_t n = 0;
    char **list = list_gangs(core, &n);

    fprintf(stderr, "lockstep explain: no gang '%s%s'", strchr(asked, '/') ? "" : "default/", asked);
    if (list)
        suggest(list, n, asked);
    fprintf(stderr, "\n");
    for (size_t i = 0; list && i < n; i++)
        free(list[i]);
    free(list);
    return EXIT_BAD_INPUT;
}

/* ---- the answer ---------------------------------------------------------------------------------------- */

/* Of what is stored only what is not the same here: a command comes later than the scheduler. */
static const struct obj_placement *stored_otherwise(const struct core *core, const struct gang *gang)
{
    const struct obj_placement *stored = core_placement(core, gang);

    if (!stored || !stored->state[0] ||
        (strcmp(stored->state, gang_state_text(gang)) == 0 &&
         strcmp(stored->reason_code, reason_code_name(gang->reason.code)) == 0))
        return NULL;
    return stored;
}

static json_t *stored_json(const struct core *core, const struct gang *gang)
{
    const struct obj_placement *stored = core_placement(core, gang);

    return stored && stored->state[0]
               ? json_pack("{s:s, s:s}", "state", stored->state, "reason", stored->reason_code)
               : json_null();
}

static void explain_json(struct core *core, const struct gang *gang)
{
    struct plan_level_use use[PLAN_LEVELS_MAX + 1];
    struct why why = {0};
    json_t *root;

    if (gang_is_placed(gang)) {
        root = placed_json(core, gang, core_certify(core, gang, use) == 0 ? use : NULL);
    } else {
        core_why(core, gang, &why);
        root = json_pack("{s:b, s:o, s:i, s:o}", "feasible", 0, "reason", reason_json(gang),
                         "gangs_ahead", (int)core_ahead(core, gang), "would_fit",
                         would_fit_json(core, &why));
        why_release(&why);
    }
    json_object_set_new(root, "gang", json_sprintf("%s/%s", gang->ns, gang->record.name));
    json_object_set_new(root, "state", json_string(gang_state_text(gang)));
    json_object_set_new(root, "stored", stored_json(core, gang));
    print_json(root);
}

static void explain_waiting(struct core *core, const struct gang *gang)
{
    size_t ahead = core_ahead(core, gang);
    struct why why = {0};

    printf("%s%s/%s is %s%s: %s%s%s\n", paint("\033[31m"), gang->ns, gang->record.name,
           gang_state_text(gang), paint("\033[0m"), reason_code_name(gang->reason.code),
           gang->reason.code == REASON_NONE ? "nothing is known to be in its way" : ": ",
           gang->reason.text);
    core_why(core, gang, &why);
    show_would_fit(&why);
    why_release(&why);
    if (ahead > 0)
        printf("  before it in the line: %zu gang%s\n", ahead, ahead == 1 ? "" : "s");
}

static void explain_text(struct core *core, const struct gang *gang)
{
    const struct obj_placement *stored = stored_otherwise(core, gang);
    struct plan_level_use use[PLAN_LEVELS_MAX + 1];
    char how[80];

    snprintf(how, sizeof(how), "is %s", gang_state_text(gang));
    if (gang_is_placed(gang))
        show_placed(core, gang, core_certify(core, gang, use) == 0 ? use : NULL, how);
    else
        explain_waiting(core, gang);
    if (stored)
        printf("  its GangPlacement says: %s%s%s\n", stored->state,
               stored->reason_code[0] ? ", " : "", stored->reason_code);
}

static int answer(void *context, struct core *core, struct err *err)
{
    const struct arguments *arguments = context;
    const struct gang *gang = find(core, arguments->gang);

    (void)err;
    if (!gang)
        return unknown_gang(core, arguments->gang);
    if (arguments->source.json)
        explain_json(core, gang);
    else
        explain_text(core, gang);
    return gang_is_placed(gang) ? EXIT_OK : EXIT_NO;
}

int cmd_explain(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct source_question question = {"explain", &arguments.source, &arguments, NULL, answer};

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    return source_ask(&question);
}
