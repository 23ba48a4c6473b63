#include "scheduler/model/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

#define DOMAINS_KEPT 1024 /* beside two for each node and level before their ids are given anew */
#define DOMAIN_PATH_MAX 2048 /* bytes: PLAN_LEVELS_MAX label values of at most 63 characters */

int cluster_init(struct cluster *cluster)
{
    *cluster = (struct cluster){.capacity_version = 1};
    cluster->log.items = calloc(LOG_NODES, sizeof(*cluster->log.items));
    if (!cluster->log.items)
        return -ENOMEM;
    return resource_table_init(&cluster->resources);
}

static void node_free(struct node *node)
{
    obj_node_free(node->object);
    free(node->name);
    free(node);
}

static void pod_free(struct pod *pod)
{
    obj_pod_free(pod->object);
    free(pod);
}

static void domains_clear(struct cluster *cluster)
{
    hashmap_release(&cluster->domain_ids);
    for (uint32_t i = 0; i < cluster->ndomains; i++)
        free(cluster->domain_names[i]);
    cluster->ndomains = 0;
}

void cluster_release(struct cluster *cluster)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(&cluster->pods_by_uid, &iter, &key, &value))
        pod_free(value);
    for (size_t i = 0; i < cluster->nnodes; i++)
        node_free(cluster->nodes[i]);
    hashmap_release(&cluster->pods_by_uid);
    hashmap_release(&cluster->nodes_by_name);
    hashmap_release(&cluster->machines);
    hashmap_release(&cluster->products);
    machine_kinds_release(&cluster->kinds);
    domains_clear(cluster);
    free(cluster->domain_names);
    free(cluster->nodes);
    free(cluster->log.items);
    resource_table_release(&cluster->resources);
}

/* ---- domains ------------------------------------------------------------------------------- */

static uint32_t domain_id(struct cluster *cluster, const char *path, const char *name)
{
    uintptr_t known = (uintptr_t)hashmap_get(&cluster->domain_ids, path);

    if (known)
        return (uint32_t)(known - 1);
    if (cluster->ndomains == cluster->domains_size) {
        uint32_t size = cluster->domains_size ? cluster->domains_size * 2 : 64;
        char **names = realloc(cluster->domain_names, size * sizeof(*names));

        if (!names)
            return PLAN_UNKNOWN;
        cluster->domain_names = names;
        cluster->domains_size = size;
    }
    cluster->domain_names[cluster->ndomains] = strdup(name);
    if (!cluster->domain_names[cluster->ndomains] ||
        hashmap_set(&cluster->domain_ids, path, (void *)(uintptr_t)(cluster->ndomains + 1)) < 0) {
        free(cluster->domain_names[cluster->ndomains]);
        return PLAN_UNKNOWN;
    }
    return cluster->ndomains++;
}

/* Ids are per path, so that two racks called "r1" in two blocks stay two racks. */
static void compute_domains(struct cluster *cluster, struct node *node)
{
    struct strbuf path = STRBUF_INIT(DOMAIN_PATH_MAX);
    uint32_t before[PLAN_LEVELS_MAX];
    bool known = node->object != NULL;

    memcpy(before, node->domain, sizeof(before));
    for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++) {
        const char *value = known && level < cluster->nlevels
                                ? labels_get(&node->object->labels, cluster->levels[level])
                                : NULL;

        node->domain[level] = PLAN_UNKNOWN;
        if (!value || !*value) {
            known = false;
            continue;
        }
        if (strbuf_addf(&path, "/%u:%s", level, value) == 0)
            node->domain[level] = domain_id(cluster, path.data, value);
    }
    strbuf_release(&path);
    cluster->log.layout += memcmp(before, node->domain, sizeof(before)) != 0;
}

void cluster_set_levels(struct cluster *cluster, const char *const *levels, uint32_t nlevels)
{
    domains_clear(cluster);
    cluster->nlevels = nlevels < PLAN_LEVELS_MAX ? nlevels : PLAN_LEVELS_MAX;
    for (uint32_t i = 0; i < cluster->nlevels; i++)
        cluster->levels[i] = levels[i];
    for (size_t i = 0; i < cluster->nnodes; i++)
        compute_domains(cluster, cluster->nodes[i]);
    cluster->capacity_version++;
    cluster->log.layout++;
}

const char *cluster_domain_name(const struct cluster *cluster, uint32_t domain)
{
    return domain < cluster->ndomains ? cluster->domain_names[domain] : "unknown";
}

/* ---- the log ------------------------------------------------------------------------------- */

void cluster_log_node(struct cluster *cluster, const struct node *node)
{
    cluster->log.items[cluster->log.n++ % LOG_NODES] = node->at;
}

/* From `from` on all nodes have another place. */
static void number_nodes(struct cluster *cluster, size_t from)
{
    for (size_t i = from; i < cluster->nnodes; i++)
        cluster->nodes[i]->at = (uint32_t)i;
    cluster->log.layout++;
}

/* ---- nodes --------------------------------------------------------------------------------- */

struct node *cluster_node(const struct cluster *cluster, const char *name)
{
    return hashmap_get(&cluster->nodes_by_name, name);
}

/* Index of the first node whose name is not before `name`. */
static size_t node_position(const struct cluster *cluster, const char *name)
{
    size_t low = 0, high = cluster->nnodes;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (strcmp(cluster->nodes[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct node *node_insert(struct cluster *cluster, const char *name)
{
    size_t at = node_position(cluster, name);
    struct node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    if (cluster->nnodes == cluster->nodes_size) {
        size_t size = cluster->nodes_size ? cluster->nodes_size * 2 : 64;
        struct node **nodes = realloc(cluster->nodes, size * sizeof(struct node *));

        if (!nodes)
            goto fail;
        cluster->nodes = nodes;
        cluster->nodes_size = size;
    }
    node->name = strdup(name);
    if (!node->name || hashmap_set(&cluster->nodes_by_name, name, node) < 0)
        goto fail;
    memmove(cluster->nodes + at + 1, cluster->nodes + at,
            (cluster->nnodes - at) * sizeof(struct node *));
    cluster->nodes[at] = node;
    cluster->nnodes++;
    number_nodes(cluster, at);
    compute_domains(cluster, node);
    return node;
fail:
    free(node->name);
    free(node);
    return NULL;
}

/* A node that the API does not know any more stays while pods of ours are counted on it. */
static void node_forget(struct cluster *cluster, struct node *node)
{
    size_t at = node_position(cluster, node->name);

    if (node->object || node->pods > 0 || node->refs > 0)
        return;
    memmove(cluster->nodes + at, cluster->nodes + at + 1,
            (cluster->nnodes - at - 1) * sizeof(struct node *));
    cluster->nnodes--;
    cluster->capacity_version += cluster->nnodes == PLAN_NODES_MAX; /* the planner takes so many */
    number_nodes(cluster, at);
    hashmap_remove(&cluster->nodes_by_name, node->name);
    node_free(node);
}

/* Nodes come and go and with them domains: ids of those that are no more are not kept for ever. */
static void renumber_domains(struct cluster *cluster)
{
    if (cluster->ndomains <= DOMAINS_KEPT + 2 * cluster->nnodes * cluster->nlevels)
        return;
    domains_clear(cluster);
    for (size_t i = 0; i < cluster->nnodes; i++)
        compute_domains(cluster, cluster->nodes[i]);
    cluster->log.layout++;
}

bool cluster_put_node(struct cluster *cluster, struct obj_node *object)
{
    struct node *node = cluster_node(cluster, object->name);

    if (!node)
        node = node_insert(cluster, object->name);
    if (!node || (node->object && obj_node_equal(node->object, object))) {
        obj_node_free(object);
        return false;
    }
    obj_node_free(node->object);
    node->object = object;
    resources_read(&cluster->resources, &object->allocatable, &node->total);
    cluster_log_node(cluster, node);
    compute_domains(cluster, node);
    renumber_domains(cluster);
    cluster__find_kind(cluster, node);
    cluster->capacity_version++;
    return true;
}

void cluster_drop_node(struct cluster *cluster, const char *name)
{
    struct node *node = cluster_node(cluster, name);

    if (!node)
        return;
    obj_node_free(node->object);
    node->object = NULL;
    node->total = (struct resources){0};
    cluster_log_node(cluster, node);
    compute_domains(cluster, node);
    node_forget(cluster, node);
}

/* ---- pods ---------------------------------------------------------------------------------- */

static void gpus_count(struct pod *pod)
{
    if (pod->gpus_on != pod->node || (pod->node->gpus_used & pod->gpus))
        pod->gpus = 0;
    pod->node->gpus_used |= pod->gpus;
}

void cluster_set_gpus(struct pod *pod, const struct node *node, uint32_t gpus)
{
    if (pod->node)
        pod->node->gpus_used &= ~pod->gpus;
    pod->gpus = gpus;
    pod->gpus_on = node;
    if (pod->node)
        gpus_count(pod);
}

bool pod_finished(const struct obj_pod *object)
{
    return object->phase == POD_SUCCEEDED || object->phase == POD_FAILED;
}

struct pod *cluster_pod(const struct cluster *cluster, const char *uid)
{
    return hashmap_get(&cluster->pods_by_uid, uid);
}

static void pod_uncount(struct cluster *cluster, struct pod *pod)
{
    struct node *node = pod->node;

    if (!node)
        return;
    resources_sub(&node->used, &pod->requests);
    node->gpus_used &= ~pod->gpus;
    cluster_log_node(cluster, node);
    node->pods--;
    pod->node = NULL;
    cluster->capacity_version++;
    node_forget(cluster, node);
}

static void pod_count(struct cluster *cluster, struct pod *pod)
{
    struct node *node;

    if (!pod->object->node[0] || pod_finished(pod->object))
        return;
    node = cluster_node(cluster, pod->object->node);
    if (!node)
        node = node_insert(cluster, pod->object->node);
    if (!node)
        return;
    resources_add(&node->used, &pod->requests);
    cluster_log_node(cluster, node);
    node->pods++;
    pod->node = node;
    gpus_count(pod);
}

struct pod *cluster_put_pod(struct cluster *cluster, struct obj_pod *object)
{
    struct pod *pod = cluster_pod(cluster, object->uid);
    bool moved;

    if (!pod) {
        pod = calloc(1, sizeof(*pod));
        if (!pod || hashmap_set(&cluster->pods_by_uid, object->uid, pod) < 0) {
            free(pod);
            obj_pod_free(object);
            return NULL;
        }
        pod->slot = -1;
    }
    /* Most updates change neither node nor size: then the counters stay, and so does the version. */
    moved = !pod->object || strcmp(pod->object->node, object->node) != 0 ||
            pod_finished(pod->object) != pod_finished(object) ||
            strcmp(pod->object->shape.key, object->shape.key) != 0;
    if (moved)
        pod_uncount(cluster, pod);
    obj_pod_free(pod->object);
    pod->object = object;
    if (moved) {
        if (pod->hold.node) /* its hold follows what it asks for */
            resources_sub(&pod->hold.node->held, &pod->requests);
        pod->countable = resources_read(&cluster->resources, &object->shape.requests,
                                        &pod->requests);
        pod->requests.own_cpus = object->shape.own_cpus;
        if (pod->hold.node) {
            resources_add(&pod->hold.node->held, &pod->requests);
            cluster_log_node(cluster, pod->hold.node);
        }
        pod_count(cluster, pod);
    }
    return pod;
}

void cluster_drop_pod(struct cluster *cluster, struct pod *pod)
{
    pod_uncount(cluster, pod);
    hashmap_remove(&cluster->pods_by_uid, pod->object->uid);
    pod_free(pod);
}

/* ---- holds --------------------------------------------------------------------------------- */

void node_hold(struct cluster *cluster, struct node *node, const struct resources *requests)
{
    resources_add(&node->held, requests);
    cluster_log_node(cluster, node);
}

void node_unhold(struct cluster *cluster, struct node *node, const struct resources *requests)
{
    resources_sub(&node->held, requests);
    cluster_log_node(cluster, node);
    cluster->capacity_version++;
}

struct node *node_ref(struct node *node)
{
    node->refs++;
    return node;
}

void node_unref(struct cluster *cluster, struct node *node)
{
    if (!node)
        return;
    node->refs--;
    node_forget(cluster, node);
}

bool node_overheld(const struct node *node)
{
    for (unsigned r = 0; r < RES_MAX && node->object; r++)
        if (node->held.v[r] > 0 && node->used.v[r] + node->held.v[r] > node->total.v[r])
            return true;
    return false;
}

uint32_t node_room(const struct node *node, const struct resources *requests)
{
    return node->object ? resources_fit(&node->total, &node->used, &node->held, requests) : 0;
}
