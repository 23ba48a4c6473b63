/* Which levels the cluster has, and who has to hear when they change. */
#include <string.h>

#include "scheduler/model/core_internal.h"
#include "scheduler/model/known_levels.h"

static bool label_present(void *context, const char *key)
{
    const struct cluster *cluster = context;

    for (size_t i = 0; i < cluster->nnodes; i++)
        if (cluster->nodes[i]->object && labels_get(&cluster->nodes[i]->object->labels, key))
            return true;
    return false;
}

/* What they wish for by name is read anew: it has another index, or has come, or is gone. */
static void touch_waiting(struct core *core)
{
    for (size_t i = 0; i < core->all.n; i++) {
        struct gang *gang = core->all.items[i];

        if (gang->state == GANG_FORMING || gang->state == GANG_WAITING)
            core__touch(core, gang);
    }
}

/* Configured levels never change; without them the known sets that the nodes carry are used. */
bool core__refresh_levels(struct core *core)
{
    const char *found[PLAN_LEVELS_MAX];
    uint32_t n;

    if (!core->levels_stale)
        return false;
    core->levels_stale = false;
    if (core->config->nlevels > 0) {
        if (core->cluster.nlevels == 0)
            cluster_set_levels(&core->cluster, (const char *const *)core->config->levels,
                               (uint32_t)core->config->nlevels);
        return false;
    }
    n = (uint32_t)known_levels(label_present, &core->cluster, found, PLAN_LEVELS_MAX);
    if (n == core->cluster.nlevels &&
        (n == 0 || memcmp(found, core->cluster.levels, n * sizeof(*found)) == 0))
        return false;
    cluster_set_levels(&core->cluster, found, n);
    touch_waiting(core);
    return true;
}
