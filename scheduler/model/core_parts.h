/* core_parts.h - the planner's question of unlike members; included by core_parts.c and core_subgroups.c. */
#pragma once

#include "scheduler/model/core_internal.h"
#include "scheduler/plan/plan_groups.h"
#include "scheduler/plan/plan_parts.h"

/* Memory of the questions; the core has one. */
struct parts_room {
    struct plan_parts_scratch *scratch;
    struct plan_groups_scratch *subgroups;
    struct plan_node *nodes;
    int64_t *free; /* [node][column] */
    uint8_t *eligible;
    struct plan_share *shares;
    size_t nodes_size;
};

struct parts {
    const struct pod *like[PLAN_PARTS_MAX]; /* one of each, in the order of the members */
    struct plan_part items[PLAN_PARTS_MAX];
    int64_t requests[PLAN_PARTS_MAX][RES_MAX]; /* by column */
    unsigned columns[RES_MAX]; /* the resources that any part asks for */
    uint32_t n, ncolumns;
};

struct parts_room *parts_room_of(struct core *core); /* NULL: no memory */
int parts_grow_room(struct parts_room *room, size_t n); /* to so many nodes; -ENOMEM */

/* What the members ask for; they are in order. false: more kinds than can be planned. */
bool parts_read(const struct core *core, const struct gang *gang, struct parts *ret);
uint32_t parts_find(const struct parts *parts, const struct pod *pod); /* PLAN_PARTS_MAX: of none */
/* Into the core's room: what the parts need of each node, as it is, or as if nothing ran there. */
void parts_read_nodes(const struct core *core, const struct gang *gang, const struct parts *parts,
                      bool emptied, struct room_count *ret_count);
bool parts_are_indexed(const struct gang *gang); /* each member has an index of its own: then that is its rank */
