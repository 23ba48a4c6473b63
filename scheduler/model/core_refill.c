/* One more place for a gang that has its plan: a member was created anew, or lost its node. */
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "scheduler/model/core_internal.h"

/* Where its members are or are about to be, and first where others have bound one; NULL: nobody is left. */
static struct node *anchor_of(const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots && gang->drifted; i++)
        if (gang->slots[i].node && gang->slots[i].state == SLOT_BOUND)
            return gang->slots[i].node;
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].node && gang->slots[i].state != SLOT_EMPTY &&
            gang->slots[i].state != SLOT_DONE)
            return gang->slots[i].node;
    return NULL;
}

bool core__same_domain(const struct core *core, const struct node *a, const struct node *b, uint32_t level)
{
    if (level >= core->cluster.nlevels)
        return a == b;
    return a->domain[level] == b->domain[level] && a->domain[level] != PLAN_UNKNOWN;
}

/* Where nobody is left to be near to, a required domain must at least be known. */
static bool keeps_required(const struct core *core, const struct gang *gang, const struct node *node,
                           const struct node *anchor)
{
    if (gang->required_level < 0)
        return true;
    return core__same_domain(core, node, anchor ? anchor : node, (uint32_t)gang->required_level);
}

/* Members that others have bound may be in several: then no place keeps to it. */
static bool is_split(const struct core *core, const struct gang *gang, const struct node *anchor)
{
    for (uint32_t i = 0; i < gang->nslots && anchor; i++)
        if (gang->slots[i].state == SLOT_BOUND && gang->slots[i].node &&
            !core__same_domain(core, gang->slots[i].node, anchor, (uint32_t)gang->required_level))
            return true;
    return false;
}

struct required_domain core__required_domain(const struct core *core, const struct gang *gang)
{
    struct node *anchor = gang->required_level >= 0 ? anchor_of(gang) : NULL;

    return (struct required_domain){anchor, gang->drifted && anchor && is_split(core, gang, anchor)};
}

bool core__keeps_required(const struct core *core, const struct gang *gang,
                          const struct required_domain *domain, const struct node *node)
{
    return keeps_required(core, gang, node, domain->anchor) && !domain->split;
}

/* A node for one pod, in the anchor's domain at `level` (NULL: anywhere); NULL: none there. */
static struct node *node_near(struct core *core, struct gang *gang, const struct pod *pod,
                              const struct node *anchor, uint32_t level)
{
    struct plan_request request = core__request(gang, 1);
    struct plan_pin pin = {anchor ? anchor->at : 0, 1};
    struct plan_shortage shortage;
    struct room_count count;
    struct plan plan = {0};

    if (anchor) { /* where it is a pod is said to be: so that is the domain to stay in */
        request.required_level = (int)level;
        request.pins = &pin;
        request.npins = 1;
    }
    if (core__plan(core, gang, pod, &request, &plan, &shortage, &count) < 0 || plan.nshares == 0)
        return NULL;
    return core->cluster.nodes[plan.shares[0].node];
}

/*
 * As near as may be to where the pod's predecessor (or else another member) sits: from the innermost
 * level outwards, never out of the domain that the gang is required to stay in.
 */
static struct node *replacement_node(struct core *core, struct gang *gang,
                                     const struct pod *pod, const struct node *before)
{
    const struct node *anchor = anchor_of(gang);
    const struct node *near = before ? before : anchor;
    int outermost = gang->required_level >= 0 && anchor ? gang->required_level : 0;

    for (int level = (int)core->cluster.nlevels - 1; near && level >= outermost; level--) {
        struct node *node = node_near(core, gang, pod, near, (uint32_t)level);

        if (node && keeps_required(core, gang, node, anchor))
            return node;
    }
    if (gang->required_level >= 0 && anchor)
        return node_near(core, gang, pod, anchor, (uint32_t)gang->required_level);
    return node_near(core, gang, pod, NULL, 0);
}

/*
 * Of 200 members that lost their places the first one's search (a plan of the whole cluster) tells for all of
 * them that there is none, and for every later look too until something changes that it depends on. Where the
 * predecessor sat decides only what is preferred.
 */
static bool searched_in_vain(const struct core *core, const struct gang *gang, const struct pod *pod)
{
    const struct no_place *last = &gang->no_place;

    return last->shape_key && last->version == core->cluster.capacity_version &&
           core->now_ns < last->until_ns && last->required_level == gang->required_level &&
           last->priority == gang->priority && last->anchor == anchor_of(gang) &&
           strcmp(last->shape_key, pod->object->shape.key) == 0 &&
           strcmp(last->subgroup ? last->subgroup : "", core__subgroup_of(pod)) == 0;
}

static void note_in_vain(const struct core *core, struct gang *gang, const struct pod *pod)
{
    struct no_place *last = &gang->no_place;

    free(last->shape_key);
    intern_free(last->subgroup);
    *last = (struct no_place){.shape_key = strdup(pod->object->shape.key),
                              .subgroup = intern(core__subgroup_of(pod)), .anchor = anchor_of(gang),
                              .required_level = gang->required_level, .priority = gang->priority,
                              .version = core->cluster.capacity_version, .until_ns = INT64_MAX};
    for (size_t i = 0; i < gang->nexcluded; i++)
        if (gang->excluded[i].until_ns > core->now_ns && gang->excluded[i].until_ns < last->until_ns)
            last->until_ns = gang->excluded[i].until_ns;
}

static struct node *find_node(struct core *core, struct gang *gang, const struct pod *pod,
                              const struct node *before)
{
    struct node *node;

    if (searched_in_vain(core, gang, pod))
        return NULL;
    node = core__subgroup_of(pod)[0] ? core__subgroup_node(core, gang, pod, before)
                                     : replacement_node(core, gang, pod, before);
    if (!node)
        note_in_vain(core, gang, pod);
    return node;
}

/* It was, or for all that is known after a start may have been, the place of a pod of this one's subgroup. */
static bool was_its_subgroups(const struct slot *slot, const struct pod *pod)
{
    return strcmp(slot->subgroup ? slot->subgroup : "", core__subgroup_of(pod)) == 0;
}

/*
 * The rank of the pod's index, else one of its subgroup, else one that was a pod's like it, else any that is
 * free, else one more.
 */
static uint32_t rank_for(const struct gang *gang, const struct pod *pod)
{
    int32_t index = pod->object->index;

    if (index >= 0 && (uint32_t)index < gang->nslots && !gang->slots[index].pod &&
        (!gang->slots[index].subgroup || was_its_subgroups(&gang->slots[index], pod)))
        return (uint32_t)index; /* several Jobs of one gang have the same indexes */
    if (index >= 0 && (uint32_t)index >= gang->nslots && (uint32_t)index < gang->size)
        return (uint32_t)index; /* it grew: nobody takes the rank of a member that may come back */
    for (uint32_t i = 0; core__subgroup_of(pod)[0] && i < gang->nslots; i++)
        if (!gang->slots[i].pod && gang->slots[i].state == SLOT_EMPTY && was_its_subgroups(&gang->slots[i], pod))
            return i;
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (!gang->slots[i].pod && gang->slots[i].state == SLOT_EMPTY && gang->slots[i].held &&
            was_its_subgroups(&gang->slots[i], pod) &&
            memcmp(&gang->slots[i].hold, &pod->requests, sizeof(pod->requests)) == 0)
            return i;
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (!gang->slots[i].pod && gang->slots[i].state == SLOT_EMPTY)
            return i;
    return gang->nslots;
}

bool core__refill(struct core *core, struct gang *gang, struct pod *pod)
{
    uint32_t rank = rank_for(gang, pod);
    struct required_domain domain;
    struct slot *slot;
    struct node *node;
    bool may;

    if (rank >= gang->nslots && gang->state == GANG_BINDING)
        return false; /* more than the plan is for: after it is finished */
    if (gang_more_slots(gang, rank + 1) < 0)
        return false;
    slot = &gang->slots[rank];
    if (pod->object->node[0] || pod->object->phase == POD_SUCCEEDED) {
        core__slot_take(core, gang, rank, pod);
        return true;
    }
    gang->requests = pod->requests;
    node = slot->node;
    domain = core__required_domain(core, gang);
    may = node && core__may_use(core, gang, node, &pod->object->shape) &&
          core__keeps_required(core, gang, &domain, node) && core__keeps_subgroup(core, gang, pod, node);
    if (slot->held && (!may || memcmp(&slot->hold, &pod->requests, sizeof(slot->hold)) != 0))
        slot_unhold(&core->cluster, slot); /* its predecessor asked for something else, or failed there */
    if (!slot->held && (!may || core__node_room(core, node, &gang->requests) == 0))
        node = domain.split ? NULL : find_node(core, gang, pod, node);
    if (!node)
        return false;
    if (node != slot->node)
        core__plan_changed(gang);
    slot_set_node(&core->cluster, slot, node);
    core__keep_or_choose_gpus(core, slot, pod);
    slot_hold(&core->cluster, slot, &gang->requests);
    core__slot_take(core, gang, rank, pod);
    slot->needs_vote = true;
    slot->deadline_ns = core->now_ns + core->config->hold_deadline_ns;
    return true; /* its pod is not woken yet: the place may be given up for lack of others */
}
