#include "scheduler/model/fit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

struct counting {
    const struct core *core;
    int column; /* of the resource */
    struct fit_table *table;
    uint64_t *domains; /* [domain id * shapes + shape]: pods; ids are unique over all levels */
};

static int64_t free_on(const struct node *node, int column)
{
    int64_t left = node->total.v[column] - node->used.v[column] - node->held.v[column];

    return left > 0 ? left : 0;
}

static int64_t pods_on(const struct node *node, int column, int64_t shape)
{
    int64_t slots = free_on(node, RES_PODS), pods = free_on(node, column) / shape;

    return pods < slots ? pods : slots;
}

static void offer(struct fit_cell *cell, uint64_t pods, const char *domain)
{
    if (pods > cell->pods)
        *cell = (struct fit_cell){pods, domain};
}

static void count_node(struct counting *counting, const struct node *node)
{
    struct fit_table *table = counting->table;
    uint32_t nlevels = counting->core->cluster.nlevels;

    table->nodes++;
    table->free += (uint64_t)free_on(node, counting->column);
    for (size_t shape = 0; shape < table->nshapes; shape++) {
        uint64_t pods = (uint64_t)pods_on(node, counting->column, table->shapes[shape]);

        table->levels[0].cells[shape].pods += pods;
        offer(&table->levels[nlevels + 1].cells[shape], pods, node->name);
        for (uint32_t level = 0; level < nlevels && node->domain[level] != PLAN_UNKNOWN; level++) {
            uint64_t *sum = &counting->domains[node->domain[level] * table->nshapes + shape];

            *sum += pods;
        }
    }
}

/* In the order of the nodes' names, so that of equal domains the first is named. */
static void find_best(struct counting *counting, const struct node *node)
{
    const struct cluster *cluster = &counting->core->cluster;
    struct fit_table *table = counting->table;

    for (uint32_t level = 0; level < cluster->nlevels && node->domain[level] != PLAN_UNKNOWN; level++)
        for (size_t shape = 0; shape < table->nshapes; shape++)
            offer(&table->levels[level + 1].cells[shape],
                  counting->domains[node->domain[level] * table->nshapes + shape],
                  cluster_domain_name(cluster, node->domain[level]));
}

static void name_levels(const struct core *core, struct fit_table *table)
{
    table->nlevels = core->cluster.nlevels + 2;
    for (size_t level = 0; level < table->nlevels; level++) {
        table->levels[level].name = level == 0 ? "anywhere" : core_level_name(core, (int)level - 1);
        for (size_t shape = 0; shape < table->nshapes; shape++)
            table->levels[level].cells[shape].domain = "";
    }
}

static void count(struct counting *counting, const char *resource)
{
    const struct core *core = counting->core;
    struct toleration own = {.key = (char *)(uintptr_t)resource, .value = (char *)(uintptr_t)"",
                             .exists = true, .effect = EFFECT_NO_SCHEDULE};
    struct pod_shape shape = {.tolerations = &own, .ntolerations = 1};
    struct gang last = {.key = (char *)(uintptr_t)"", .created_s = INT64_MAX};

    for (size_t i = 0; i < core->cluster.nnodes; i++)
        if (core->cluster.nodes[i]->total.v[counting->column] > 0 &&
            core__may_use(core, &last, core->cluster.nodes[i], &shape))
            count_node(counting, core->cluster.nodes[i]);
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        find_best(counting, core->cluster.nodes[i]);
}

int core_fit(const struct core *core, const char *resource, const int64_t *shapes, size_t nshapes,
             struct fit_table *ret)
{
    struct counting counting = {.core = core, .table = ret};

    *ret = (struct fit_table){.nshapes = nshapes < FIT_SHAPES_MAX ? nshapes : FIT_SHAPES_MAX};
    memcpy(ret->shapes, shapes, ret->nshapes * sizeof(*shapes));
    counting.column = resource_column(&core->cluster.resources, resource);
    if (counting.column < 0)
        return -EINVAL;
    counting.domains = calloc((core->cluster.ndomains + 1) * FIT_SHAPES_MAX,
                              sizeof(*counting.domains));
    if (!counting.domains)
        return -ENOMEM;
    name_levels(core, ret);
    count(&counting, resource);
    free(counting.domains);
    return 0;
}

double fit_fragmentation(const struct fit_table *table, size_t level, size_t shape)
{
    uint64_t taken = table->levels[level].cells[shape].pods * (uint64_t)table->shapes[shape];

    return table->free ? 1.0 - (double)taken / (double)table->free : 0;
}

double fit_level_fragmentation(const struct fit_table *table, size_t level)
{
    double least = 1;

    for (size_t shape = 0; shape < table->nshapes; shape++) {
        double own = fit_fragmentation(table, level, shape);

        least = own < least ? own : least;
    }
    return table->free ? least : 0;
}
