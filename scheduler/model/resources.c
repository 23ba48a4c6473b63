#include "scheduler/model/resources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int resource_table_init(struct resource_table *table)
{
    static const char *const known[RES_KNOWN] = {"cpu", "memory", "pods"};

    *table = (struct resource_table){0};
    for (unsigned i = 0; i < RES_KNOWN; i++) {
        table->names[i] = strdup(known[i]);
        if (!table->names[i])
            return -ENOMEM;
        table->n = i + 1;
    }
    return 0;
}

void resource_table_release(struct resource_table *table)
{
    for (unsigned i = 0; i < table->n; i++)
        free(table->names[i]);
    *table = (struct resource_table){0};
}

int resource_column(const struct resource_table *table, const char *name)
{
    for (unsigned i = 0; i < table->n; i++)
        if (strcmp(table->names[i], name) == 0)
            return (int)i;
    return -1;
}

int resource_column_add(struct resource_table *table, const char *name)
{
    int column = resource_column(table, name);

    if (column >= 0 || table->n == RES_MAX)
        return column;
    table->names[table->n] = strdup(name);
    if (!table->names[table->n])
        return -1;
    return (int)table->n++;
}

bool resources_read(struct resource_table *table, const struct amounts *amounts,
                    struct resources *ret)
{
    bool complete = true;

    *ret = (struct resources){0};
    for (size_t i = 0; i < amounts->n; i++) {
        int column = resource_column_add(table, amounts->items[i].resource);

        if (column < 0)
            complete = false;
        else
            ret->v[column] = amounts->items[i].value;
    }
    return complete;
}

void resources_add(struct resources *sum, const struct resources *more)
{
    for (unsigned i = 0; i < RES_MAX; i++)
        sum->v[i] += more->v[i];
}

void resources_sub(struct resources *sum, const struct resources *less)
{
    for (unsigned i = 0; i < RES_MAX; i++)
        sum->v[i] -= less->v[i];
}

uint32_t resources_fit(const struct resources *total, const struct resources *used,
                       const struct resources *held, const struct resources *request)
{
    int64_t fit = INT32_MAX;
    bool asked = false;

    for (unsigned i = 0; i < RES_MAX; i++) {
        int64_t room;

        if (request->v[i] <= 0)
            continue;
        asked = true;
        room = (total->v[i] - used->v[i] - held->v[i]) / request->v[i];
        if (room <= 0 || total->v[i] - used->v[i] - held->v[i] < 0)
            return 0;
        if (room < fit)
            fit = room;
    }
    return asked ? (uint32_t)fit : 0;
}
