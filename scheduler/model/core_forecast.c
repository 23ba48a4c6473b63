/* How fast a whole gang reduces where it is: what bandwidth.h says of its pods' accelerators, machines and domains. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"
#include "scheduler/model/known_levels.h"

/* bandwidth.h wants pods of one domain, and of one machine, to stand together. */
static int compare_places(const void *a, const void *b)
{
    const struct bandwidth_pod *left = a, *right = b;

    for (unsigned l = 0; l < BANDWIDTH_LEVELS_MAX; l++)
        if (left->domain[l] != right->domain[l])
            return left->domain[l] < right->domain[l] ? -1 : 1;
    if (left->nvl_domain != right->nvl_domain)
        return left->nvl_domain < right->nvl_domain ? -1 : 1;
    if (left->host != right->host)
        return left->host < right->host ? -1 : 1;
    if (left->mask != right->mask)
        return left->mask < right->mask ? -1 : 1;
    return left->count < right->count ? -1 : left->count > right->count;
}

static uint32_t merge_pods(struct bandwidth_pod *pods, uint32_t n)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct bandwidth_pod *last = kept ? &pods[kept - 1] : NULL;

        if (last && last->host == pods[i].host && !(last->mask & pods[i].mask) &&
            (last->mask != 0) == (pods[i].mask != 0)) {
            last->mask |= pods[i].mask;
            last->count += pods[i].count;
        } else {
            pods[kept++] = pods[i];
        }
    }
    return kept;
}

/* The level that says which NVLink domain a node is in, where pods may use NVLink between nodes; -1: they may not. */
static int nvlink_level(const struct core *core)
{
    for (uint32_t l = 0; core->config->nvlink_between_nodes && l < core->cluster.nlevels; l++)
        if (is_nvlink_domain_key(core->cluster.levels[l]))
            return (int)l;
    return -1;
}

/* Those with accelerators, of one host together. How many; 0: a place or its machine is not known. */
static uint32_t list_pods(const struct core *core, const struct gang *gang, struct bandwidth_pod *ret)
{
    int nvlink = nvlink_level(core);
    uint32_t n = 0;

    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];
        uint32_t gpus = core_accelerators(core, slot->pod ? &slot->pod->requests : &gang->requests);

        if (gpus == 0)
            continue;
        if (!slot->node || !slot->node->kind || !machine_kind_is_answered(slot->node->kind))
            return 0;
        ret[n] = (struct bandwidth_pod){
            .machine = &slot->node->kind->machine,
            .mask = slot->gpus,
            .count = gpus,
            .host = slot->node->at,
            .nvl_domain = nvlink < 0 ? 0 : slot->node->domain[nvlink] + 1, /* PLAN_UNKNOWN: none */
        };
        memcpy(ret[n++].domain, slot->node->domain, core->cluster.nlevels * sizeof(uint32_t));
    }
    if (n > 1)
        qsort(ret, n, sizeof(*ret), compare_places);
    return n;
}

static void set_oversubscription(const struct core *core, struct bandwidth_shape *shape)
{
    shape->nlevels = core->cluster.nlevels;
    for (uint32_t l = 0; l < core->cluster.nlevels; l++)
        for (size_t i = 0; i < core->config->noversubscription; i++)
            if (strcmp(core->config->oversubscription[i].key, core->cluster.levels[l]) == 0)
                shape->oversubscription[l] = core->config->oversubscription[i].ratio;
}

struct bandwidth core_predict(const struct core *core, const struct gang *gang, bool merged)
{
    struct bandwidth predicted = {.why = "what machine a node is is not known"};
    struct bandwidth_pod *pods = calloc(gang->nslots + 1, sizeof(*pods));
    struct bandwidth_shape shape = {.pods = pods};

    set_oversubscription(core, &shape);
    if (pods)
        shape.npods = list_pods(core, gang, pods);
    if (merged)
        shape.npods = merge_pods(pods, shape.npods);
    if (shape.npods > 0)
        predicted = bandwidth_of_shape(&shape);
    free(pods);
    return predicted;
}

void core__predict(const struct core *core, struct gang *gang)
{
    uint64_t of = ((uint64_t)core->cluster.machines_version << 32 | gang->plan_version) + 1;

    if (gang->nslots == 0 || gang->predicted_of == of)
        return;
    gang->predicted_of = of;
    gang->predicted = core_predict(core, gang, false);
}
