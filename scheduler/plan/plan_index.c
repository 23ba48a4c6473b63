/*
 * The tree of domains with, for each of them, how many nodes have room for how many pods: built from the
 * nodes' paths, then kept by change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_internal.h"

#define MOST_LEAST 8 /* capacities that are counted at least: so many devices most machines have */

struct plan_index *plan_index_new(void)
{
    return calloc(1, sizeof(struct plan_index));
}

void plan_index_free(struct plan_index *index)
{
    if (!index)
        return;
    free(index->domains);
    free(index->order);
    free(index->leaf);
    free(index->capacity);
    free(index->free_units);
    free(index->hist);
    free(index->seen);
    free(index->child_of);
    free(index->sorted);
    free(index);
}

/* ---- memory: each array grows and is never given back before the index is ---------------------------- */

static int grow(void *array, size_t n, size_t size)
{
    void *old, *grown;

    memcpy(&old, array, sizeof(old));
    grown = realloc(old, (n ? n : 1) * size);
    if (!grown)
        return -ENOMEM;
    memcpy(array, &grown, sizeof(grown));
    return 0;
}

static int make_room(struct plan_index *index, uint32_t nnodes, uint32_t ids)
{
    if (nnodes > index->nodes_size || !index->order) {
        if (grow(&index->order, nnodes, sizeof(uint32_t)) < 0 ||
            grow(&index->leaf, nnodes, sizeof(uint32_t)) < 0 ||
            grow(&index->child_of, nnodes, sizeof(uint32_t)) < 0 ||
            grow(&index->sorted, nnodes, sizeof(uint32_t)) < 0 ||
            grow(&index->capacity, nnodes, sizeof(uint16_t)) < 0 ||
            grow(&index->free_units, nnodes, sizeof(uint16_t)) < 0)
            return -ENOMEM;
        index->nodes_size = nnodes;
    }
    if (ids > index->seen_size || !index->seen) {
        if (grow(&index->seen, ids, sizeof(uint32_t)) < 0)
            return -ENOMEM;
        index->seen_size = ids;
    }
    memset(index->seen, 0xff, (size_t)index->seen_size * sizeof(uint32_t));
    return 0;
}

static struct plan_domain *add_domain(struct plan_index *index)
{
    struct plan_domain *domain;

    if (index->ndomains == index->domains_size) {
        uint32_t size = index->domains_size ? index->domains_size * 2 : 64;

        if (grow(&index->domains, size, sizeof(struct plan_domain)) < 0)
            return NULL;
        index->domains_size = size;
    }
    domain = &index->domains[index->ndomains++];
    *domain = (struct plan_domain){.id = PLAN_UNKNOWN};
    return domain;
}

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* Numbers the children by their lowest node, loose nodes as one more; returns how many are known. */
static uint32_t number_children(struct plan_index *index, const struct plan_domain *domain,
                                const struct plan_node *nodes)
{
    const uint32_t *order = index->order + domain->first_node;
    uint32_t n = 0;

    for (uint32_t i = 0; i < domain->nnodes; i++) {
        uint32_t id = nodes[order[i]].domain[domain->level];

        if (id != PLAN_UNKNOWN && index->seen[id] == PLAN_UNKNOWN)
            index->seen[id] = n++;
        index->child_of[i] = id == PLAN_UNKNOWN ? PLAN_UNKNOWN : index->seen[id];
    }
    for (uint32_t i = 0; i < domain->nnodes; i++) {
        uint32_t id = nodes[order[i]].domain[domain->level];

        if (id != PLAN_UNKNOWN)
            index->seen[id] = PLAN_UNKNOWN;
        else
            index->child_of[i] = n;
    }
    return n;
}

/* The parent's nodes in the order of its children; each of them stays in order in its child. */
static void sort_into_children(struct plan_index *index, const struct plan_domain *parent)
{
    struct plan_domain *children = index->domains + parent->first_child;
    uint32_t *order = index->order + parent->first_node;
    uint32_t start = parent->first_node;

    for (uint32_t c = 0; c < parent->nchildren; c++) {
        children[c].first_node = start;
        start += children[c].nnodes;
        children[c].nnodes = 0;
    }
    for (uint32_t i = 0; i < parent->nnodes; i++) {
        struct plan_domain *child = &children[index->child_of[i]];

        index->sorted[child->first_node + child->nnodes++] = order[i];
    }
    memcpy(order, index->sorted + parent->first_node, (size_t)parent->nnodes * sizeof(*order));
}

static int add_children(struct plan_index *index, uint32_t parent, uint32_t known, uint32_t n)
{
    uint32_t level = index->domains[parent].level + 1;

    index->domains[parent].first_child = index->ndomains;
    index->domains[parent].nchildren = n;
    for (uint32_t c = 0; c < n; c++) {
        struct plan_domain *child = add_domain(index);

        if (!child)
            return -ENOMEM;
        child->parent = parent;
        child->level = level;
        child->loose = c == known;
    }
    return 0;
}

static int divide(struct plan_index *index, uint32_t number, const struct plan_node *nodes)
{
    const struct plan_domain *parent = &index->domains[number];
    struct plan_domain *children;
    uint32_t known, n = 0;

    if (parent->loose || parent->nnodes == 0)
        return 0;
    known = number_children(index, parent, nodes);
    for (uint32_t i = 0; i < parent->nnodes; i++)
        n = index->child_of[i] >= n ? index->child_of[i] + 1 : n;
    if (add_children(index, number, known, n) < 0)
        return -ENOMEM;
    parent = &index->domains[number]; /* they may have moved */
    children = index->domains + parent->first_child;
    for (uint32_t i = 0; i < parent->nnodes; i++) {
        struct plan_domain *child = &children[index->child_of[i]];

        child->id = nodes[index->order[parent->first_node + i]].domain[parent->level];
        child->nnodes++;
    }
    sort_into_children(index, parent);
    return 0;
}

static int build_tree(struct plan_index *index, const struct plan_node *nodes)
{
    struct plan_domain *root = add_domain(index);

    if (!root)
        return -ENOMEM;
    root->nnodes = index->nnodes;
    for (uint32_t i = 0; i < index->nnodes; i++)
        index->order[i] = i;
    for (uint32_t level = 0; level < index->nlevels; level++) {
        uint32_t end = index->ndomains;

        for (uint32_t d = index->level_first[level]; d < end; d++)
            if (divide(index, d, nodes) < 0)
                return -ENOMEM;
        index->level_first[level + 1] = end;
    }
    index->level_first[index->nlevels + 1] = index->ndomains;
    for (uint32_t d = 0; d < index->ndomains; d++)
        for (uint32_t i = 0; index->domains[d].nchildren == 0 && i < index->domains[d].nnodes; i++)
            index->leaf[index->order[index->domains[d].first_node + i]] = d;
    return 0;
}

/* ---- room ------------------------------------------------------------------------------------------------ */

static uint16_t clip(uint32_t value, uint32_t most)
{
    return (uint16_t)(value < most ? value : most);
}

static int make_hist(struct plan_index *index, const struct plan_node *nodes)
{
    uint32_t most = MOST_LEAST;
    size_t size;

    for (uint32_t i = 0; i < index->nnodes; i++)
        while (most < nodes[i].capacity && most < PLAN_NODE_PODS_MAX)
            most = most * 2 < PLAN_NODE_PODS_MAX ? most * 2 : PLAN_NODE_PODS_MAX;
    size = (size_t)index->ndomains * (most + 1);
    if (size > index->hist_size) {
        if (grow(&index->hist, size, sizeof(uint32_t)) < 0)
            return -ENOMEM;
        index->hist_size = size;
    }
    memset(index->hist, 0, size * sizeof(uint32_t));
    index->most = most;
    for (uint32_t d = 0; d < index->ndomains; d++)
        index->hist[(size_t)d * (most + 1)] = index->domains[d].nnodes; /* all full, until set */
    memset(index->capacity, 0, (size_t)index->nnodes * sizeof(uint16_t));
    return 0;
}

bool plan_index_set(struct plan_index *index, uint32_t node, uint32_t capacity, uint32_t free_units)
{
    uint32_t now = clip(capacity, PLAN_NODE_PODS_MAX), before = index->capacity[node];

    index->free_units[node] = clip(free_units, UINT16_MAX);
    if (now > index->most)
        return false;
    if (now == before)
        return true;
    index->capacity[node] = (uint16_t)now;
    for (uint32_t d = index->leaf[node];; d = index->domains[d].parent) {
        uint32_t *hist = index->hist + (size_t)d * (index->most + 1);

        hist[before]--;
        hist[now]++;
        index->domains[d].capacity += now - before;
        index->domains[d].with_room += now > 0;
        index->domains[d].with_room -= before > 0;
        if (d == 0)
            return true;
    }
}

uint32_t plan_index_capacity(const struct plan_index *index, uint32_t node)
{
    return index->capacity[node];
}

int plan_index_build(struct plan_index *index, uint32_t nlevels, const struct plan_node *nodes,
                     uint32_t nnodes)
{
    uint32_t ids = 0;

    if (nlevels > PLAN_LEVELS_MAX || nnodes > PLAN_NODES_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < nnodes; i++)
        for (uint32_t level = 0; level < nlevels; level++)
            if (nodes[i].domain[level] != PLAN_UNKNOWN && nodes[i].domain[level] >= ids)
                ids = nodes[i].domain[level] + 1;
    if (ids > PLAN_NODES_MAX * PLAN_LEVELS_MAX)
        return -EINVAL;
    index->ndomains = index->nnodes = 0;
    index->nlevels = nlevels;
    if (make_room(index, nnodes, ids) < 0)
        return -ENOMEM;
    index->nnodes = nnodes;
    if (build_tree(index, nodes) < 0 || make_hist(index, nodes) < 0) {
        index->ndomains = index->nnodes = 0;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < nnodes; i++)
        plan_index_set(index, i, nodes[i].capacity, nodes[i].free_units);
    return 0;
}

int plan__index_copy(struct plan_index *copy, const struct plan_index *index)
{
    size_t cells = (size_t)index->ndomains * (index->most + 1), nodes = index->nnodes;

    copy->ndomains = copy->nnodes = 0;
    if (make_room(copy, index->nnodes, 1) < 0)
        return -ENOMEM;
    if (index->ndomains > copy->domains_size) {
        if (grow(&copy->domains, index->ndomains, sizeof(struct plan_domain)) < 0)
            return -ENOMEM;
        copy->domains_size = index->ndomains;
    }
    if (cells > copy->hist_size) {
        if (grow(&copy->hist, cells, sizeof(uint32_t)) < 0)
            return -ENOMEM;
        copy->hist_size = cells;
    }
    memcpy(copy->domains, index->domains, index->ndomains * sizeof(*copy->domains));
    memcpy(copy->level_first, index->level_first, sizeof(copy->level_first));
    memcpy(copy->order, index->order, nodes * sizeof(*copy->order));
    memcpy(copy->leaf, index->leaf, nodes * sizeof(*copy->leaf));
    memcpy(copy->capacity, index->capacity, nodes * sizeof(*copy->capacity));
    memcpy(copy->free_units, index->free_units, nodes * sizeof(*copy->free_units));
    memcpy(copy->hist, index->hist, cells * sizeof(*copy->hist));
    copy->nlevels = index->nlevels;
    copy->nnodes = index->nnodes;
    copy->ndomains = index->ndomains;
    copy->most = index->most;
    return 0;
}
