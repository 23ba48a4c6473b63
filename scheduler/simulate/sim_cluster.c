/* The cluster as the policies see it, taken from a core that has read it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/cluster.h"
#include "scheduler/simulate/sim_internal.h"

void sim_config(struct config *config)
{
    config->lease[0] = '\0';
    config->give_up_ns = 0;
    config->preemption = false;
}

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

/* ---- taking over ------------------------------------------------------------------------------ */

static size_t count_waiting(const struct cluster *cluster, const char **ret_uids)
{
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;
    size_t n = 0;

    while (hashmap_next(&cluster->pods_by_uid, &iter, &uid, &value)) {
        const struct pod *pod = value;

        if (pod->object->node[0] || pod_finished(pod->object))
            continue;
        if (ret_uids)
            ret_uids[n] = uid;
        n++;
    }
    return n;
}

/* Who waits in CLUSTER would compete with the trace, and nobody says for how long it would run. */
static int drop_waiting(struct core *core, struct actions *actions, size_t *ret_n)
{
    const struct cluster *cluster = core_cluster(core);
    const char **uids = calloc(count_waiting(cluster, NULL) + 1, sizeof(*uids));

    if (!uids)
        return -ENOMEM;
    *ret_n = count_waiting(cluster, uids); /* apart from dropping: no map changes while it is walked */
    for (size_t i = 0; i < *ret_n; i++) {
        struct event event = {.kind = EV_POD_GONE};

        snprintf(event.uid, sizeof(event.uid), "%s", uids[i]);
        core_step(core, &event, 0, actions);
    }
    free(uids);
    return 0;
}

/* Synced and settled once: only then the levels are known. */
static int sync_core(struct core *core, size_t *ret_left_out)
{
    struct event synced = {.kind = EV_SYNCED};
    struct actions actions = {0};
    int r = drop_waiting(core, &actions, ret_left_out);

    if (r == 0) {
        core_step(core, &synced, 0, &actions);
        core_settle(core, 0, &actions);
    }
    actions_release(&actions);
    return r;
}

/* Tainted, cordoned and other pools' nodes are not for pods that say nothing about them. */
static bool is_usable(const struct node *node, const struct labels *pool)
{
    static const struct pod_shape plain;

    if (!node->object || !node_admits(node, &plain))
        return false;
    for (size_t i = 0; i < pool->n; i++) {
        const char *value = labels_get(&node->object->labels, pool->items[i].key);

        if (!value || strcmp(value, pool->items[i].value) != 0)
            return false;
    }
    return true;
}

static uint32_t clamp(int64_t n)
{
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void take_node(struct sim_cluster *cluster, const struct node *node, int column,
                      const struct labels *pool, struct sim_node *ret)
{
    ret->name = node->name;
    memcpy(ret->domain, node->domain, sizeof(ret->domain));
    for (uint32_t level = 0; level < cluster->nlevels; level++)
        if (node->domain[level] != PLAN_UNKNOWN)
            cluster->domain_level[node->domain[level]] = level;
    ret->total = clamp(node->total.v[column]);
    ret->total_pods = clamp(node->total.v[RES_PODS]);
    ret->usable = is_usable(node, pool);
    if (!ret->usable)
        return;
    ret->room = clamp(node->total.v[column] - node->used.v[column]);
    ret->pods = clamp(node->total.v[RES_PODS] - node->used.v[RES_PODS]);
    cluster->room += ret->room;
}

static int take_nodes(struct sim_cluster *cluster, const struct cluster *from, int column,
                      const struct config *config)
{
    cluster->nlevels = from->nlevels;
    cluster->ndomains = from->ndomains;
    memcpy(cluster->levels, from->levels, sizeof(cluster->levels));
    cluster->nodes = calloc(from->nnodes + 1, sizeof(*cluster->nodes));
    cluster->domain_names = calloc(from->ndomains + 1, sizeof(*cluster->domain_names));
    cluster->domain_level = calloc(from->ndomains + 1, sizeof(*cluster->domain_level));
    if (!cluster->nodes || !cluster->domain_names || !cluster->domain_level)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->ndomains; i++)
        cluster->domain_names[i] = cluster_domain_name(from, i);
    for (size_t i = 0; i < from->nnodes; i++)
        take_node(cluster, from->nodes[i], column, &config->node_selector,
                  &cluster->nodes[cluster->nnodes++]);
    return 0;
}

/* ---- fragmentation ------------------------------------------------------------------------------ */

/*
 * Accelerators on whole free nodes of the innermost domain that has the most of them, and how many are
 * free in all. Without levels the cluster is one domain; a node without a label is one of its own.
 */
static uint32_t largest_whole(const struct sim_cluster *cluster, const struct sim_free *left,
                              uint32_t *domain_room, uint64_t *ret_free)
{
    uint32_t largest = 0, all = 0;

    *ret_free = 0;
    memset(domain_room, 0, (cluster->ndomains + 1) * sizeof(*domain_room));
    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        const struct sim_node *node = &cluster->nodes[i];
        uint32_t domain = cluster->nlevels ? node->domain[cluster->nlevels - 1] : PLAN_UNKNOWN;
        uint32_t *sum = !cluster->nlevels ? &all : domain_room + domain, alone = 0;

        if (cluster->nlevels && domain == PLAN_UNKNOWN)
            sum = &alone;
        *ret_free += left[i].gpus;
        if (left[i].gpus == node->total)
            *sum += left[i].gpus;
        if (*sum > largest)
            largest = *sum;
    }
    return largest;
}

/*
 * 1 - G / min(F, D): G accelerators has the largest gang of whole free nodes in one innermost domain, F are
 * free, D the largest such domain has when nothing of the trace runs. 0: no domain could be freer.
 */
double sim__fragmentation(const struct sim_cluster *cluster, const struct sim_free *left,
                          uint32_t *domain_room)
{
    uint64_t all;
    uint32_t largest = largest_whole(cluster, left, domain_room, &all);
    uint64_t best = all < cluster->largest_domain ? all : cluster->largest_domain;

    return best ? 1 - (double)largest / (double)best : -1;
}

static int measure_domains(struct sim_cluster *cluster)
{
    struct sim_free *left = calloc(cluster->nnodes + 1, sizeof(*left));
    uint32_t *domain_room = calloc(cluster->ndomains + 1, sizeof(*domain_room));
    uint64_t all;

    for (uint32_t i = 0; left && i < cluster->nnodes; i++)
        left[i].gpus = cluster->nodes[i].room;
    if (left && domain_room)
        cluster->largest_domain = largest_whole(cluster, left, domain_room, &all);
    free(left);
    free(domain_room);
    return left && domain_room ? 0 : -ENOMEM;
}

/* ---- all ---------------------------------------------------------------------------------------- */

int sim_cluster_init(struct sim_cluster *cluster, struct core *core, const struct config *config,
                     struct err *err)
{
    const struct cluster *from = core_cluster(core);
    int column, r;

    *cluster = (struct sim_cluster){.resource = config->accelerators[0]};
    r = sync_core(core, &cluster->left_out);
    if (r < 0)
        return no_memory(err);
    column = resource_column(&from->resources, cluster->resource);
    if (column < 0)
        return err_set(err, -EINVAL, "no node of CLUSTER has %s", cluster->resource);
    if (from->nnodes > PLAN_NODES_MAX)
        return err_set(err, -E2BIG, "more than %d nodes", PLAN_NODES_MAX);
    if (take_nodes(cluster, from, column, config) < 0 || measure_domains(cluster) < 0) {
        sim_cluster_release(cluster);
        return no_memory(err);
    }
    if (cluster->room == 0) {
        sim_cluster_release(cluster);
        return err_set(err, -EINVAL, "no %s is free on any node of the pool", config->accelerators[0]);
    }
    return 0;
}

void sim_cluster_release(struct sim_cluster *cluster)
{
    free(cluster->nodes);
    free(cluster->domain_names);
    free(cluster->domain_level);
    *cluster = (struct sim_cluster){0};
}

uint32_t sim__find_node(const struct sim_cluster *cluster, const char *name)
{
    uint32_t low = 0, high = cluster->nnodes;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(cluster->nodes[middle].name, name);

        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return UINT32_MAX;
}

uint32_t sim__fits(const struct sim_free *left, int64_t gpus)
{
    uint32_t n = (uint32_t)(left->gpus / gpus);

    return n < left->pods ? n : left->pods;
}
