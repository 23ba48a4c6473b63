/* What machines a cluster's nodes are: their NodeTopology says so, else their labels by the catalogue. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "scheduler/model/cluster.h"

#define PRODUCT_LABEL "nvidia.com/gpu.product" /* by NVIDIA's GPU feature discovery */
#define COUNT_LABEL "nvidia.com/gpu.count"
#define PRODUCTS_MAX 1000 /* looked up once each; nodes of further ones are not known */

static struct machine_kind not_there; /* what is kept of a product that the catalogue does not have */

/* By its labels; NULL: the catalogue does not have it. */
static struct machine_kind *kind_of_product(struct cluster *cluster, const struct obj_node *object)
{
    const char *product = labels_get(&object->labels, PRODUCT_LABEL);
    const char *count = labels_get(&object->labels, COUNT_LABEL);
    struct machine_kind *kind;
    struct machine *machine;
    char key[160];
    uint64_t gpus;
    bool found;

    if (!cluster->find_machine || !product || !count ||
        parse_u64(count, strlen(count), MACHINE_GPUS_MAX, &gpus) < 0)
        return NULL;
    snprintf(key, sizeof(key), "%s %s", product, count);
    kind = hashmap_get(&cluster->products, key);
    if (kind || cluster->products.n >= PRODUCTS_MAX)
        return kind == &not_there ? NULL : kind;
    machine = calloc(1, sizeof(*machine));
    found = machine && cluster->find_machine(product, (uint32_t)gpus, machine) == 0;
    if (found)
        kind = machine_kinds_take(&cluster->kinds, machine);
    free(machine);
    if (!machine || (found && !kind))
        return NULL; /* there may be room for it later */
    if (hashmap_set(&cluster->products, key, kind ? kind : &not_there) < 0) {
        machine_kind_drop(&cluster->kinds, kind);
        kind = NULL;
    }
    return kind;
}

/* A NodeTopology knows better than labels. */
void cluster__find_kind(struct cluster *cluster, struct node *node)
{
    struct machine_kind *kind = hashmap_get(&cluster->machines, node->name);

    if (!kind && node->object)
        kind = kind_of_product(cluster, node->object);
    if (kind == node->kind)
        return;
    node->kind = kind;
    cluster->machines_version++;
    cluster_log_node(cluster, node);
}

int cluster_put_machine(struct cluster *cluster, const char *name, const struct machine *machine)
{
    struct machine_kind *before = hashmap_get(&cluster->machines, name), *kind = NULL;
    struct node *node = cluster_node(cluster, name);
    int r = 0;

    if (machine) {
        kind = machine_kinds_take(&cluster->kinds, machine);
        r = kind ? 0 : -EDQUOT;
    }
    if (kind && kind != before && hashmap_set(&cluster->machines, name, kind) < 0) {
        machine_kind_drop(&cluster->kinds, kind);
        kind = NULL;
        r = -ENOMEM;
    }
    if (!kind)
        hashmap_remove(&cluster->machines, name);
    if (node)
        cluster__find_kind(cluster, node);
    machine_kind_drop(&cluster->kinds, before);
    return r < 0 ? r : kind != before;
}
