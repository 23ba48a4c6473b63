/*
 * A gang whose pods name subgroups: the planner's question, and how its answer becomes slots. As for unlike pods
 * there is no plan before all members exist. A label without the annotation says nothing about places.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_parts.h"

/* What is asked of the planner; released as a whole. */
struct subgroups {
    struct parts parts;
    struct hashmap by_name; /* -> group + 1 */
    const struct pod *first[PLAN_GROUPS_MAX]; /* of each: speaks for it */
    struct plan_group groups[PLAN_GROUPS_MAX];
    uint32_t members[PLAN_GROUPS_MAX]; /* how many */
    uint32_t item_at[PLAN_GROUPS_MAX + 1][PLAN_PARTS_MAX]; /* + 1; the last: of none */
    struct plan_groups_item *items;
    uint32_t *item_of; /* by member */
    uint32_t ngroups, nitems;
    uint64_t work_max; /* for one answer; 0: the planner's default */
};

/* Whether it would fit is asked many times in a row, and takes no more than what is counted quickly. */
#define WHAT_IF_WORK (PLAN_GROUPS_WORK / 10)

static void subgroups_free(struct subgroups *subgroups)
{
    if (!subgroups)
        return;
    hashmap_release(&subgroups->by_name);
    free(subgroups->items);
    free(subgroups->item_of);
    free(subgroups);
}

bool core__has_subgroups(const struct gang *gang)
{
    for (size_t i = 0; i < gang->nmembers && !MUTANT(SUBGROUP_IGNORED); i++)
        if (core__subgroup_of(gang->members[i])[0])
            return true;
    return false;
}

void core__note_regrouped(const struct pod *pod, const struct obj_pod *now)
{
    const struct gang_wish *before = pod ? &pod->object->wish : NULL;

    if (before && pod->gang &&
        (strcmp(before->subgroup, now->wish.subgroup) != 0 || strcmp(before->within, now->wish.within) != 0 ||
         strcmp(before->spread, now->wish.spread) != 0))
        pod->gang->changes++;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* One that its first member speaks for. */
static bool add_group(const struct core *core, struct subgroups *subgroups, const struct pod *pod,
                      struct reason *ret_why)
{
    const struct gang_wish *wish = &pod->object->wish;
    struct plan_group *group = &subgroups->groups[subgroups->ngroups];

    if (subgroups->ngroups == PLAN_GROUPS_MAX)
        return core__lacks(ret_why, REASON_UNSUPPORTED, "not supported: more than %d subgroups in one gang",
                     PLAN_GROUPS_MAX);
    if (!core__read_level(core, "required", wish->within, &group->required_level, ret_why) ||
        !core__read_level(core, "spread", wish->spread, &group->spread_level, ret_why))
        return false;
    if (group->required_level >= 0 && group->required_level < group->spread_level)
        return core__lacks(ret_why, REASON_UNSUPPORTED,
                     "lockstep.dev/subgroup-topology of %.60s: required=%.80s is outside of spread=%.80s; it must "
                     "be that level or one inside of it", wish->subgroup, wish->within, wish->spread);
    if (hashmap_set(&subgroups->by_name, wish->subgroup, (void *)(uintptr_t)(subgroups->ngroups + 1)) < 0)
        return core__lacks(ret_why, REASON_UNSUPPORTED, "out of memory");
    subgroups->first[subgroups->ngroups++] = pod;
    return true;
}

/* The subgroup of the pod, PLAN_GROUP_NONE: in none. false: it contradicts others. */
static bool find_group(const struct core *core, struct subgroups *subgroups, const struct pod *pod,
                       uint32_t *ret_group, struct reason *ret_why)
{
    const struct gang_wish *wish = &pod->object->wish, *first;
    uintptr_t found;

    *ret_group = PLAN_GROUP_NONE;
    if (!wish->subgroup[0])
        return true;
    found = (uintptr_t)hashmap_get(&subgroups->by_name, wish->subgroup);
    if (!found && !add_group(core, subgroups, pod, ret_why))
        return false;
    *ret_group = found ? (uint32_t)found - 1 : subgroups->ngroups - 1;
    first = &subgroups->first[*ret_group]->object->wish;
    if (strcmp(first->within, wish->within) != 0 || strcmp(first->spread, wish->spread) != 0)
        return core__lacks(ret_why, REASON_UNSUPPORTED,
                     "pods of subgroup %.60s disagree in lockstep.dev/subgroup-topology: %.60s and %.60s",
                     wish->subgroup, subgroups->first[*ret_group]->object->name, pod->object->name);
    if (subgroups->groups[*ret_group].required_level < 0 && subgroups->groups[*ret_group].spread_level < 0)
        *ret_group = PLAN_GROUP_NONE;
    else
        subgroups->members[*ret_group]++;
    return true;
}

/* Subgroups that want nothing are none: the planner is not told of them. */
static void drop_empty(struct subgroups *subgroups)
{
    uint32_t kept = 0;

    for (uint32_t g = 0; g < subgroups->ngroups; g++) {
        if (subgroups->members[g] == 0)
            continue;
        for (uint32_t i = 0; kept < g && i < subgroups->nitems; i++)
            if (subgroups->items[i].group == g)
                subgroups->items[i].group = kept;
        subgroups->first[kept] = subgroups->first[g];
        subgroups->members[kept] = subgroups->members[g];
        subgroups->groups[kept++] = subgroups->groups[g];
    }
    subgroups->ngroups = kept;
}

static bool read_member(const struct core *core, const struct gang *gang, size_t i, struct subgroups *subgroups,
                        struct reason *ret_why)
{
    uint32_t group, part = parts_find(&subgroups->parts, gang->members[i]), *at;

    if (!find_group(core, subgroups, gang->members[i], &group, ret_why))
        return false;
    at = &subgroups->item_at[group == PLAN_GROUP_NONE ? PLAN_GROUPS_MAX : group][part];
    if (!*at) {
        subgroups->items[subgroups->nitems] = (struct plan_groups_item){group, part, 0};
        *at = ++subgroups->nitems;
    }
    subgroups->item_of[i] = *at - 1;
    subgroups->items[*at - 1].pods++;
    return true;
}

/* The members are in order. NULL: *ret_why says why there is no question. */
static struct subgroups *read_subgroups(const struct core *core, const struct gang *gang, struct reason *ret_why)
{
    struct subgroups *subgroups = calloc(1, sizeof(*subgroups));
    bool whole;

    *ret_why = (struct reason){.code = REASON_UNSUPPORTED, .text = "out of memory"};
    if (!subgroups)
        return NULL;
    subgroups->items = calloc(gang->nmembers + 1, sizeof(*subgroups->items));
    subgroups->item_of = calloc(gang->nmembers + 1, sizeof(*subgroups->item_of));
    whole = subgroups->items && subgroups->item_of;
    if (whole && !parts_read(core, gang, &subgroups->parts))
        whole = core__lacks(ret_why, REASON_UNSUPPORTED, "not supported: its pods ask for more than %d different things",
                      PLAN_PARTS_MAX);
    for (size_t i = 0; whole && i < gang->nmembers; i++)
        whole = read_member(core, gang, i, subgroups, ret_why);
    if (whole) {
        drop_empty(subgroups);
        return subgroups;
    }
    subgroups_free(subgroups);
    return NULL;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

static int ask(struct core *core, const struct gang *gang, const struct subgroups *subgroups, int required_level,
               bool emptied, struct plan_groups *ret_plan, struct plan_groups_shortage *ret_shortage,
               struct room_count *ret_count)
{
    struct parts_room *room = parts_room_of(core);
    struct plan_groups_request request = {.groups = subgroups->groups, .ngroups = subgroups->ngroups,
                                          .items = subgroups->items, .nitems = subgroups->nitems,
                                          .work_max = subgroups->work_max};

    if (!room || parts_grow_room(room, core->cluster.nnodes) < 0)
        return -ENOMEM;
    parts_read_nodes(core, gang, &subgroups->parts, emptied, ret_count);
    request.cluster = (struct plan_parts_request){
        .nlevels = core->cluster.nlevels, .nnodes = (uint32_t)core->cluster.nnodes,
        .nresources = subgroups->parts.ncolumns, .nparts = subgroups->parts.n, .nodes = room->nodes,
        .free = room->free, .eligible = room->eligible, .parts = subgroups->parts.items,
        .required_level = required_level, .preferred_level = gang->preferred_level};
    if (core->cluster.nnodes == 0) {
        *ret_shortage = (struct plan_groups_shortage){.certain = true, .of = subgroups->ngroups};
        return -ENOSPC;
    }
    return plan_groups(&request, room->subgroups, ret_plan, ret_shortage);
}

/* How many pods are on each node, in name order. */
static void list_nodes(struct core *core, const struct plan_groups *plan, struct plan *ret)
{
    struct parts_room *room = core->parts;

    *ret = (struct plan){.shares = room->shares};
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        room->nodes[i].capacity = 0;
    for (uint32_t i = 0; i < plan->nshares; i++)
        room->nodes[plan->shares[i].node].capacity += plan->shares[i].count;
    for (uint32_t i = 0; i < core->cluster.nnodes; i++)
        if (room->nodes[i].capacity > 0)
            ret->shares[ret->nshares++] = (struct plan_share){i, room->nodes[i].capacity, 0};
}

int core__subgroups_fit(struct core *core, const struct gang *gang, int required_level, bool emptied,
                        struct plan *ret_plan)
{
    struct plan_groups_shortage shortage = {0};
    struct subgroups *subgroups;
    struct room_count count;
    struct plan_groups plan;
    struct reason unused;
    int r;

    subgroups = read_subgroups(core, gang, &unused);
    if (!subgroups)
        return -EAGAIN;
    subgroups->work_max = WHAT_IF_WORK;
    r = ask(core, gang, subgroups, required_level, emptied, &plan, &shortage, &count);
    subgroups_free(subgroups);
    if (r == 0 && ret_plan)
        list_nodes(core, &plan, ret_plan);
    return r == -ENOSPC && !shortage.certain ? -EAGAIN : r;
}

/* ---- the answer --------------------------------------------------------------------------------------------------- */

/* The next member of the item from `*from` on; the planner counted them. */
static size_t next_of(const struct gang *gang, const struct subgroups *subgroups, uint32_t item, size_t *from)
{
    while (*from + 1 < gang->nmembers && subgroups->item_of[*from] != item)
        ++*from;
    return (*from)++;
}

static int take_places(struct core *core, struct gang *gang, const struct subgroups *subgroups,
                       const struct plan_groups *plan)
{
    size_t *from = calloc(subgroups->nitems + (size_t)1, sizeof(*from));
    bool indexed = parts_are_indexed(gang);
    char *key = strdup(""); /* of no one shape */
    uint32_t rank = 0, gpus[MACHINE_GPUS_MAX];

    if (!key || !from || gang_make_slots(gang, (uint32_t)gang->nmembers) < 0) {
        free(key);
        free(from);
        return -ENOMEM;
    }
    free(gang->shape_key);
    gang->shape_key = key;
    for (uint32_t i = 0; i < plan->nshares; i++)
        for (uint32_t k = 0; k < plan->shares[i].count; k++, rank++) {
            uint32_t item = plan->shares[i].item;
            struct pod *pod = gang->members[next_of(gang, subgroups, item, &from[item])];
            uint32_t at = indexed ? (uint32_t)pod->object->index : rank;
            struct node *node = core->cluster.nodes[plan->shares[i].node];

            if (k == 0)
                core__choose_gpus(core, node, &pod->requests, plan->shares[i].count, gpus);
            core__seat(core, gang, at, pod, node, k < MACHINE_GPUS_MAX ? gpus[k] : 0);
        }
    free(from);
    memcpy(gang->use, plan->use, sizeof(gang->use));
    gang->nlevels = core->cluster.nlevels;
    gang->preferred_met = plan->preferred_met;
    return 0;
}

static void describe(const struct pod *pod, uint32_t pods, char *ret, size_t size)
{
    const struct gang_wish *wish = &pod->object->wish;

    snprintf(ret, size, "%.60s (%u pods, %s%.60s%s%s%.60s)", wish->subgroup, pods, wish->within[0] ? "required=" : "",
             wish->within, wish->within[0] && wish->spread[0] ? "," : "", wish->spread[0] ? "spread=" : "",
             wish->spread);
}

static void set_shortage(struct core *core, struct gang *gang, const struct subgroups *subgroups,
                         const struct plan_groups_shortage *shortage, const struct room_count *count)
{
    const char *unsure = shortage->certain ? "" : "; not every combination was tried";
    char text[240] = "";

    if (subgroups->ngroups > 0)
        describe(subgroups->first[shortage->group], subgroups->members[shortage->group], text, sizeof(text));
    if (shortage->fit < shortage->of)
        core__set_reason(core, gang, REASON_NO_DOMAIN_FITS,
                         "%u of %u subgroups like %s fit: the best domain has room for %u of its pods; %u of %u "
                         "nodes match%s", shortage->fit, shortage->of, text, shortage->best, count->matching,
                         count->nodes, unsure);
    else
        core__set_reason(core, gang, REASON_NO_DOMAIN_FITS,
                         "no place for all %zu pods in %u subgroups together, though all like %s fit alone; %u of "
                         "%u nodes match%s", gang->nmembers, subgroups->ngroups, text, count->matching, count->nodes,
                         unsure);
    gang->reason.pods = (uint32_t)gang->nmembers;
    gang->reason.fit = 0;
    core__tried_in_vain(core, gang);
}

bool core__try_subgroups(struct core *core, struct gang *gang)
{
    struct plan_groups_shortage shortage = {0};
    struct subgroups *subgroups;
    struct room_count count;
    struct plan_groups plan;
    struct reason why;
    int r;

    gang_sort_members(gang);
    if (gang->nmembers < gang->min) {
        core__set_reason(core, gang, REASON_MEMBERS_MISSING,
                         "%zu of %u pods exist, and they are in subgroups: no plan before all do", gang->nmembers,
                         gang->min);
        return false;
    }
    subgroups = read_subgroups(core, gang, &why);
    if (!subgroups) {
        core__set_reason(core, gang, why.code, "%s", why.text);
        return false;
    }
    r = ask(core, gang, subgroups, gang->required_level, false, &plan, &shortage, &count);
    if (r == -ENOSPC)
        set_shortage(core, gang, subgroups, &shortage, &count);
    if (r == 0)
        r = take_places(core, gang, subgroups, &plan);
    subgroups_free(subgroups);
    return r == 0;
}
