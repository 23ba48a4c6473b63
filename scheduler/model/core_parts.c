/*
 * A gang whose members are not alike, such as a leader and its workers: each shape among them is a part of
 * the planner's question. There is no plan before all members exist, as nothing says what the others will ask
 * for. What a slot holds tells which members may have it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_parts.h"

void core__parts_free(struct parts_room *room)
{
    if (!room)
        return;
    plan_parts_scratch_free(room->scratch);
    plan_groups_scratch_free(room->subgroups);
    free(room->nodes);
    free(room->free);
    free(room->eligible);
    free(room->shares);
    free(room);
}

struct parts_room *parts_room_of(struct core *core)
{
    if (!core->parts)
        core->parts = calloc(1, sizeof(*core->parts));
    if (core->parts && !core->parts->scratch)
        core->parts->scratch = plan_parts_scratch_new();
    if (core->parts && !core->parts->subgroups)
        core->parts->subgroups = plan_groups_scratch_new();
    return core->parts && core->parts->scratch && core->parts->subgroups ? core->parts : NULL;
}

static int grow(void **array, size_t n, size_t size)
{
    void *grown = realloc(*array, n * size);

    if (!grown)
        return -ENOMEM;
    *array = grown;
    return 0;
}

int parts_grow_room(struct parts_room *room, size_t n)
{
    void *nodes = room->nodes, *amounts = room->free, *eligible = room->eligible, *shares = room->shares;
    int r = 0;

    if (n <= room->nodes_size && room->nodes)
        return 0;
    r |= grow(&nodes, n + 1, sizeof(*room->nodes));
    r |= grow(&amounts, n + 1, RES_MAX * sizeof(int64_t));
    r |= grow(&eligible, n + 1, 1);
    r |= grow(&shares, n + 1, PLAN_PARTS_MAX * sizeof(*room->shares));
    room->nodes = nodes;
    room->free = amounts;
    room->eligible = eligible;
    room->shares = shares;
    room->nodes_size = r == 0 ? n : 0;
    return r == 0 ? 0 : -ENOMEM;
}

/* ---- the question --------------------------------------------------------------------------------------- */

/* Keys of shapes are interned. */
bool core__is_mixed(const struct gang *gang)
{
    for (size_t i = 1; i < gang->nmembers; i++)
        if (gang->members[i]->object->shape.key != gang->members[0]->object->shape.key)
            return true;
    return core__has_subgroups(gang);
}

uint32_t parts_find(const struct parts *parts, const struct pod *pod)
{
    for (uint32_t p = 0; p < parts->n; p++)
        if (parts->like[p]->object->shape.key == pod->object->shape.key)
            return p;
    return PLAN_PARTS_MAX;
}

static void read_columns(const struct core *core, struct parts *parts)
{
    parts->ncolumns = 0;
    for (unsigned r = 0; r < core->cluster.resources.n; r++) {
        bool wanted = false;

        for (uint32_t p = 0; p < parts->n; p++) {
            parts->requests[p][parts->ncolumns] = parts->like[p]->requests.v[r];
            wanted |= parts->like[p]->requests.v[r] > 0;
        }
        parts->columns[parts->ncolumns] = r;
        parts->ncolumns += wanted;
    }
}

bool parts_read(const struct core *core, const struct gang *gang, struct parts *ret)
{
    *ret = (struct parts){0};
    for (size_t i = 0; i < gang->nmembers; i++) {
        uint32_t p = parts_find(ret, gang->members[i]);

        if (p == PLAN_PARTS_MAX && ret->n == PLAN_PARTS_MAX)
            return false;
        if (p == PLAN_PARTS_MAX) {
            p = ret->n++;
            ret->like[p] = gang->members[i];
            ret->items[p].requests = ret->requests[p];
        }
        ret->items[p].pods++;
    }
    read_columns(core, ret);
    return true;
}

void parts_read_nodes(const struct core *core, const struct gang *gang, const struct parts *parts,
                       bool emptied, struct room_count *ret_count)
{
    struct parts_room *room = core->parts;

    *ret_count = (struct room_count){0};
    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        const struct node *node = core->cluster.nodes[i];
        int64_t *left = room->free + i * parts->ncolumns;

        memcpy(room->nodes[i].domain, node->domain, sizeof(node->domain));
        room->nodes[i].free_units = 0;
        room->eligible[i] = 0;
        for (uint32_t c = 0; c < parts->ncolumns; c++) {
            unsigned r = parts->columns[c];

            left[c] = node->total.v[r] - (emptied ? 0 : node->used.v[r] + node->held.v[r]);
        }
        for (uint32_t p = 0; p < parts->n; p++)
            if (core__may_use(core, gang, node, &parts->like[p]->object->shape))
                room->eligible[i] |= (uint8_t)(1u << p);
        ret_count->nodes += node->object != NULL;
        ret_count->matching += room->eligible[i] != 0;
        ret_count->kept += core__is_kept(core, gang, node) && core__could_use(core, gang, node);
    }
}

static int ask_on(struct core *core, const struct gang *gang, struct parts *parts, int required_level,
                  bool emptied, struct plan_parts *ret_plan, struct room_count *ret_count,
                  bool *ret_certain)
{
    struct parts_room *room = parts_room_of(core);
    struct plan_parts_request request = {.nlevels = core->cluster.nlevels,
                                         .nnodes = (uint32_t)core->cluster.nnodes,
                                         .nresources = parts->ncolumns, .nparts = parts->n,
                                         .parts = parts->items, .required_level = required_level,
                                         .preferred_level = gang->preferred_level};

    if (!room || parts_grow_room(room, core->cluster.nnodes) < 0)
        return -ENOMEM;
    parts_read_nodes(core, gang, parts, emptied, ret_count);
    request.nodes = room->nodes;
    request.free = room->free;
    request.eligible = room->eligible;
    return plan_parts(&request, room->scratch, ret_plan, ret_certain);
}

static int ask(struct core *core, const struct gang *gang, struct parts *parts, bool emptied,
               struct plan_parts *ret_plan, struct room_count *ret_count, bool *ret_certain)
{
    return ask_on(core, gang, parts, gang->required_level, emptied, ret_plan, ret_count, ret_certain);
}

int core__parts_emptied(struct core *core, const struct gang *gang, struct plan *ret_plan)
{
    struct room_count count;
    struct plan_parts plan;
    struct parts parts;
    bool certain;
    int r;

    if (core__has_subgroups(gang))
        return core__subgroups_fit(core, gang, gang->required_level, true, ret_plan);
    if (!parts_read(core, gang, &parts))
        return -ENOSPC;
    r = ask(core, gang, &parts, true, &plan, &count, &certain);
    if (r < 0)
        return r;
    *ret_plan = (struct plan){.shares = core->parts->shares};
    for (uint32_t i = 0; i < plan.nshares; i++)
        ret_plan->shares[ret_plan->nshares++] = (struct plan_share){plan.shares[i].node, plan.shares[i].count, 0};
    return 0;
}

int core__parts_fit(struct core *core, const struct gang *gang, int required_level)
{
    struct room_count count;
    struct plan_parts plan;
    struct parts parts;
    bool certain = false;
    int r;

    if (core__has_subgroups(gang))
        return core__subgroups_fit(core, gang, required_level, false, NULL);
    if (!parts_read(core, gang, &parts))
        return -EAGAIN;
    r = ask_on(core, gang, &parts, required_level, false, &plan, &count, &certain);
    return r == -ENOSPC && !certain ? -EAGAIN : r;
}

/* ---- the answer -------------------------------------------------------------------------------------------- */

bool parts_are_indexed(const struct gang *gang)
{
    for (size_t i = 0; i < gang->nmembers; i++) {
        int32_t index = gang->members[i]->object->index;

        if (index < 0 || (size_t)index >= gang->nmembers ||
            (i > 0 && gang->members[i - 1]->object->index == index)) /* they are in order */
            return false;
    }
    return true;
}

/* The next member of the part from `*from` on. */
static struct pod *next_of(const struct gang *gang, const struct parts *parts, uint32_t part, size_t *from)
{
    while (*from < gang->nmembers && parts_find(parts, gang->members[*from]) != part)
        ++*from;
    return *from < gang->nmembers ? gang->members[(*from)++] : NULL;
}

/* Members of one part are alike: they get its places in their order, depth-first over the nodes. */
static void seat_part(struct core *core, struct gang *gang, const struct parts *parts, uint32_t part,
                      uint32_t rank, const struct plan_parts *plan)
{
    bool indexed = parts_are_indexed(gang);
    size_t from = 0;

    for (uint32_t i = 0; i < plan->nshares; i++) {
        struct node *node = core->cluster.nodes[plan->shares[i].node];
        uint32_t gpus[MACHINE_GPUS_MAX];

        for (uint32_t k = 0; plan->shares[i].part == part && k < plan->shares[i].count; k++) {
            struct pod *pod = next_of(gang, parts, part, &from);
            uint32_t at = indexed ? (uint32_t)pod->object->index : rank++;

            if (k == 0)
                core__choose_gpus(core, node, &pod->requests, plan->shares[i].count, gpus);
            core__seat(core, gang, at, pod, node, k < MACHINE_GPUS_MAX ? gpus[k] : 0);
        }
    }
}

static int take_parts(struct core *core, struct gang *gang, const struct parts *parts,
                      const struct plan_parts *plan)
{
    uint32_t rank = 0;
    char *key = strdup(""); /* of no one shape */

    if (!key || gang_make_slots(gang, (uint32_t)gang->nmembers) < 0) {
        free(key);
        return -ENOMEM;
    }
    free(gang->shape_key);
    gang->shape_key = key;
    for (uint32_t p = 0; p < parts->n; rank += parts->items[p++].pods)
        seat_part(core, gang, parts, p, rank, plan);
    memcpy(gang->use, plan->use, sizeof(gang->use));
    gang->nlevels = core->cluster.nlevels;
    gang->preferred_met = plan->preferred_met;
    return 0;
}

static void set_shortage(struct core *core, struct gang *gang, const struct parts *parts,
                         const struct room_count *count, bool certain)
{
    enum reason_code code = gang->required_level >= 0 ? REASON_NO_DOMAIN_FITS : REASON_INSUFFICIENT;
    const char *where = gang->required_level < 0 ? "the nodes"
                        : (uint32_t)gang->required_level < core->cluster.nlevels
                            ? core->cluster.levels[gang->required_level]
                            : "one node";
    char kept[KEPT_TEXT];

    core__kept_text(core, count, kept);
    if (count->kept > 0 && count->matching == 0)
        core__set_reason(core, gang, REASON_HEAD_OF_LINE, "%s", kept);
    else
        core__set_reason(core, gang, code,
                         "no place for all %zu pods of %u kinds together on %.100s (required: %s); %u of "
                         "%u nodes match%s%s%s",
                         gang->nmembers, parts->n, where, gang->required_level >= 0 ? "yes" : "no",
                         count->matching, count->nodes, certain ? "" : "; not every combination was tried",
                         kept[0] ? "; " : "", kept);
    gang->reason.pods = (uint32_t)gang->nmembers;
    gang->reason.fit = 0;
    core__tried_in_vain(core, gang);
}

bool core__try_parts(struct core *core, struct gang *gang)
{
    struct room_count count;
    struct plan_parts plan;
    struct parts parts;
    bool certain = false;
    int r;

    gang_sort_members(gang);
    if (gang->nmembers < gang->min) {
        core__set_reason(core, gang, REASON_MEMBERS_MISSING,
                         "%zu of %u pods exist, and they ask for different things: no plan before all do",
                         gang->nmembers, gang->min);
        return false;
    }
    if (!parts_read(core, gang, &parts)) {
        core__set_reason(core, gang, REASON_UNSUPPORTED,
                         "not supported: its pods ask for more than %d different things", PLAN_PARTS_MAX);
        return false;
    }
    r = ask(core, gang, &parts, false, &plan, &count, &certain);
    if (r == -ENOSPC)
        set_shortage(core, gang, &parts, &count, certain);
    else if (r == -EINVAL)
        core__tell_limits(core, gang);
    return r == 0 && take_parts(core, gang, &parts, &plan) == 0;
}
