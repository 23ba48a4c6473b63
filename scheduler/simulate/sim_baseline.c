/* best-fit and first-fit: what a scheduler does that counts and knows no topology. See simulate.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/simulate/sim_internal.h"

#define NOBODY UINT32_MAX

struct candidate {
    uint32_t node, left, fits;
};

struct baseline {
    struct candidate *candidates; /* of the try under way */
    uint32_t *domains; /* all ids, by name */
    uint32_t *nodes; /* of the pods placed so far */
    uint32_t head; /* with keep_nodes: the gang for which nodes are kept, or NOBODY */
    bool *kept; /* by node */
};

/* What a try sees: the cluster as it is, without the nodes that are barred, or as it was at first. */
struct view {
    bool emptied;
    const bool *barred; /* by node; NULL: none */
};

/* ---- one domain ----------------------------------------------------------------------------------- */

/* A node that was chosen has the fewest free still: so each is filled before the next. */
static int compare_left(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;

    if (left->left != right->left)
        return left->left < right->left ? -1 : 1;
    return left->node < right->node ? -1 : left->node > right->node;
}

static struct sim_free left_on(const struct sim_run *run, struct view view, uint32_t node)
{
    const struct sim_node *whole = &run->simulation->cluster->nodes[node];

    if (view.barred && view.barred[node])
        return (struct sim_free){0, 0};
    return view.emptied ? (struct sim_free){whole->room, whole->pods} : run->left[node];
}

/* At level nlevels the domains are nodes; level -1: everywhere. */
static bool is_inside(const struct sim_cluster *cluster, uint32_t node, int level, uint32_t domain)
{
    if (level < 0)
        return true;
    return ((uint32_t)level == cluster->nlevels ? node : cluster->nodes[node].domain[level]) == domain;
}

static bool place_in(struct sim_run *run, const struct trace_gang *wish, struct view view, int level,
                     uint32_t domain)
{
    const struct sim_cluster *cluster = run->simulation->cluster;
    struct baseline *baseline = run->state;
    uint32_t n = 0, placed = 0;
    uint64_t fit = 0;

    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        struct sim_free left = left_on(run, view, i);
        uint32_t fits = sim__fits(&left, wish->gpus);

        if (fits == 0 || !is_inside(cluster, i, level, domain))
            continue;
        baseline->candidates[n++] = (struct candidate){i, left.gpus, fits};
        fit += fits;
    }
    if (fit < (uint64_t)wish->pods)
        return false;
    if (run->policy == &sim__best_fit)
        qsort(baseline->candidates, n, sizeof(struct candidate), compare_left);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < baseline->candidates[i].fits && placed < wish->pods; k++)
            baseline->nodes[placed++] = baseline->candidates[i].node;
    return true;
}

static bool place(struct sim_run *run, const struct trace_gang *wish, struct view view)
{
    const struct sim_cluster *cluster = run->simulation->cluster;
    const struct baseline *baseline = run->state;
    uint32_t level = (uint32_t)wish->required_level;

    if (wish->required_level < 0)
        return place_in(run, wish, view, -1, 0);
    for (uint32_t i = 0; level == cluster->nlevels && i < cluster->nnodes; i++)
        if (place_in(run, wish, view, wish->required_level, i))
            return true;
    for (uint32_t i = 0; level < cluster->nlevels && i < cluster->ndomains; i++)
        if (cluster->domain_level[baseline->domains[i]] == level &&
            place_in(run, wish, view, wish->required_level, baseline->domains[i]))
            return true;
    return false;
}

/* ---- the line ------------------------------------------------------------------------------------- */

static bool heads_line(const struct sim_run *run, uint32_t gang)
{
    int64_t since_ns = sim__gang(run, gang)->submit_s * NS_PER_S;

    return run->simulation->bounds[gang].fits &&
           run->now_ns >= since_ns + run->simulation->config->head_of_line_ns;
}

/* The first that is due keeps the nodes that it would get on the emptied cluster, until it starts. */
static void choose_head(struct sim_run *run)
{
    struct baseline *baseline = run->state;

    for (size_t i = 0; i < run->nwaiting && baseline->head == NOBODY; i++) {
        const struct trace_gang *wish = sim__gang(run, run->waiting[i]);

        if (!heads_line(run, run->waiting[i]) ||
            !place(run, wish, (struct view){.emptied = true}))
            continue;
        baseline->head = run->waiting[i];
        for (int64_t k = 0; k < wish->pods; k++)
            baseline->kept[baseline->nodes[k]] = true;
    }
}

static void release_head(struct sim_run *run)
{
    struct baseline *baseline = run->state;

    baseline->head = NOBODY;
    memset(baseline->kept, 0, run->simulation->cluster->nnodes * sizeof(*baseline->kept));
}

static int settle(struct sim_run *run)
{
    struct baseline *baseline = run->state;
    bool behind = false;

    if (run->simulation->keep_nodes)
        choose_head(run);
    for (size_t i = 0; i < run->nwaiting; i++) {
        uint32_t gang = run->waiting[i];
        bool placed = place(run, sim__gang(run, gang),
                            (struct view){.barred = behind ? baseline->kept : NULL});
        int r;

        behind |= gang == baseline->head;
        if (!placed && !run->simulation->keep_nodes && heads_line(run, gang))
            break;
        if (!placed)
            continue;
        r = sim__start(run, gang, baseline->nodes);
        if (r < 0)
            return r;
        if (gang == baseline->head)
            release_head(run);
    }
    return 0;
}

/* ---- the policy ----------------------------------------------------------------------------------- */

static int open_baseline(struct sim_run *run)
{
    const struct sim_cluster *cluster = run->simulation->cluster;
    struct baseline *baseline = calloc(1, sizeof(*baseline));

    run->state = baseline;
    if (!baseline)
        return err_set(run->err, -ENOMEM, "out of memory");
    baseline->candidates = calloc(cluster->nnodes + 1, sizeof(*baseline->candidates));
    baseline->domains = calloc(cluster->ndomains + 1, sizeof(*baseline->domains));
    baseline->nodes = calloc(PLAN_PODS_MAX, sizeof(*baseline->nodes));
    baseline->kept = calloc(cluster->nnodes + 1, sizeof(*baseline->kept));
    baseline->head = NOBODY;
    if (!baseline->candidates || !baseline->domains || !baseline->nodes || !baseline->kept)
        return err_set(run->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < cluster->ndomains; i++) { /* by insertion: once a run */
        uint32_t at = i;

        for (; at > 0 && strcmp(cluster->domain_names[baseline->domains[at - 1]],
                                cluster->domain_names[i]) > 0; at--)
            baseline->domains[at] = baseline->domains[at - 1];
        baseline->domains[at] = i;
    }
    return 0;
}

static void close_baseline(struct sim_run *run)
{
    struct baseline *baseline = run->state;

    if (!baseline)
        return;
    free(baseline->candidates);
    free(baseline->domains);
    free(baseline->nodes);
    free(baseline->kept);
    free(baseline);
}

static int nothing(struct sim_run *run, uint32_t gang)
{
    (void)run;
    (void)gang;
    return 0;
}

static int64_t never(const struct sim_run *run)
{
    (void)run;
    return INT64_MAX;
}

static void why(const struct sim_run *run, uint32_t gang, char *ret, size_t size)
{
    const struct trace_gang *wish = sim__gang(run, gang);
    struct plan_shortage shortage = {0};
    uint32_t least[PLAN_LEVELS_MAX + 1];

    if (sim__least(run->planner, run->left, wish, least, &shortage) == 0)
        snprintf(ret, size, "the trace ended before its turn came");
    else
        snprintf(ret, size, "%u of %lld pods fit%s", shortage.fits, (long long)wish->pods,
                 wish->required_level >= 0 ? " in the best domain of its required level" : "");
}

#define BASELINE(policy, text)                                                                     \
    const struct sim_policy policy = {.name = (text),                                              \
                                      .open = open_baseline,                                       \
                                      .close = close_baseline,                                     \
                                      .submit = nothing,                                           \
                                      .end = nothing,                                              \
                                      .settle = settle,                                            \
                                      .deadline_ns = never,                                        \
                                      .why = why}
BASELINE(sim__best_fit, "best-fit");
BASELINE(sim__first_fit, "first-fit");
