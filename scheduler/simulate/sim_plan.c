/* The planner as a yardstick for all policies: how few domains any placement could use. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"
#include "scheduler/simulate/sim_internal.h"

struct sim_planner {
    const struct sim_cluster *cluster;
    struct plan_scratch *scratch;
    struct plan_node *nodes;
    uint32_t *domains; /* by id; scratch for whoever counts domains */
    uint32_t *seen; /* by domain, then by node: in which count it was met last */
    uint32_t count;
};

void sim__planner_free(struct sim_planner *planner)
{
    if (!planner)
        return;
    plan_scratch_free(planner->scratch);
    free(planner->nodes);
    free(planner->domains);
    free(planner->seen);
    free(planner);
}

struct sim_planner *sim__planner_new(const struct sim_cluster *cluster)
{
    struct sim_planner *planner = calloc(1, sizeof(*planner));

    if (!planner)
        return NULL;
    planner->cluster = cluster;
    planner->scratch = plan_scratch_new();
    planner->nodes = calloc(cluster->nnodes + 1, sizeof(*planner->nodes));
    planner->domains = calloc(cluster->ndomains + 1, sizeof(*planner->domains));
    planner->seen = calloc((size_t)cluster->ndomains + cluster->nnodes + 1, sizeof(*planner->seen));
    if (planner->scratch && planner->nodes && planner->domains && planner->seen)
        return planner;
    sim__planner_free(planner);
    return NULL;
}

uint32_t *sim__planner_domains(struct sim_planner *planner)
{
    return planner->domains;
}

int sim__least(struct sim_planner *planner, const struct sim_free *left,
               const struct trace_gang *gang, uint32_t ret_least[PLAN_LEVELS_MAX + 1],
               struct plan_shortage *ret_shortage)
{
    const struct sim_cluster *cluster = planner->cluster;
    struct plan_request request = {.nlevels = cluster->nlevels,
                                   .nnodes = cluster->nnodes,
                                   .nodes = planner->nodes,
                                   .pods = (uint32_t)gang->pods,
                                   .required_level = gang->required_level,
                                   .preferred_level = gang->preferred_level};
    struct plan plan = {0};
    int r;

    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        struct plan_node *node = &planner->nodes[i];

        memcpy(node->domain, cluster->nodes[i].domain, sizeof(node->domain));
        node->capacity = sim__fits(&left[i], gang->gpus);
        node->free_units = left[i].gpus;
    }
    r = plan_gang(&request, planner->scratch, &plan, ret_shortage);
    for (uint32_t level = 0; r == 0 && level <= cluster->nlevels; level++)
        ret_least[level] = plan.use[level].lower_bound;
    return r;
}

void sim__count_used(struct sim_planner *planner, const uint32_t *nodes, uint32_t pods,
                     uint32_t ret_used[PLAN_LEVELS_MAX + 1])
{
    const struct sim_cluster *cluster = planner->cluster;

    for (uint32_t level = 0; level <= cluster->nlevels; level++) {
        ret_used[level] = 0;
        planner->count++;
        for (uint32_t i = 0; i < pods; i++) {
            uint32_t domain = level < cluster->nlevels ? cluster->nodes[nodes[i]].domain[level]
                                                       : PLAN_UNKNOWN;
            uint32_t *seen = planner->seen +
                             (domain == PLAN_UNKNOWN ? cluster->ndomains + nodes[i] : domain);

            ret_used[level] += *seen != planner->count;
            *seen = planner->count;
        }
    }
}

/* ---- bounds ------------------------------------------------------------------------------------- */

/* The cluster without the trace, and without what runs in it either. */
struct emptied {
    struct sim_free *left, *all;
};

static int find_bound(struct sim_planner *planner, const struct emptied *emptied,
                      const struct trace_gang *gang, struct sim_bound *ret)
{
    struct plan_shortage shortage;
    uint32_t unused[PLAN_LEVELS_MAX + 1];
    int r = sim__least(planner, emptied->left, gang, ret->least, &shortage);

    ret->fits = r == 0;
    if (r != -ENOSPC)
        return r;
    r = sim__least(planner, emptied->all, gang, unused, &shortage);
    ret->blocked = r == 0;
    return r == -ENOSPC ? 0 : r;
}

/* Many gangs of a trace are alike: one plan for each kind. */
static int bound_of(struct sim_planner *planner, struct hashmap *known, const struct emptied *emptied,
                    const struct trace_gang *gang, struct sim_bound *ret)
{
    const struct sim_bound *before;
    char key[96];
    int r;

    snprintf(key, sizeof(key), "%lld/%lld/%d", (long long)gang->pods, (long long)gang->gpus,
             gang->required_level);
    before = hashmap_get(known, key);
    if (before) {
        *ret = *before;
        return 0;
    }
    r = find_bound(planner, emptied, gang, ret);
    return r < 0 ? r : hashmap_set(known, key, ret);
}

static int fill_bounds(const struct simulation *simulation, struct sim_planner *planner,
                       struct sim_bound *bounds)
{
    const struct sim_cluster *cluster = simulation->cluster;
    struct emptied emptied = {calloc(cluster->nnodes + 1, sizeof(*emptied.left)),
                              calloc(cluster->nnodes + 1, sizeof(*emptied.all))};
    struct hashmap known = {0};
    int r = emptied.left && emptied.all ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < cluster->nnodes; i++) {
        const struct sim_node *node = &cluster->nodes[i];

        emptied.left[i] = (struct sim_free){node->room, node->pods};
        if (node->usable)
            emptied.all[i] = (struct sim_free){node->total, node->total_pods};
    }
    for (size_t i = 0; r == 0 && i < simulation->trace->n; i++)
        r = bound_of(planner, &known, &emptied, &simulation->trace->gangs[i], &bounds[i]);
    hashmap_release(&known);
    free(emptied.left);
    free(emptied.all);
    return r;
}

int sim_bounds(struct simulation *simulation, struct err *err)
{
    struct sim_planner *planner = sim__planner_new(simulation->cluster);
    struct sim_bound *bounds = calloc(simulation->trace->n + 1, sizeof(*bounds));
    int r = planner && bounds ? fill_bounds(simulation, planner, bounds) : -ENOMEM;

    sim__planner_free(planner);
    if (r == 0) {
        simulation->bounds = bounds;
        return 0;
    }
    free(bounds);
    return err_set(err, r, r == -ENOMEM ? "out of memory" : "the planner refused a gang of the trace");
}
