/*
 * Taking over after a start: bound pods and GangPlacements are all there is.
 *
 * Planned gangs start over (nothing was bound, the votes are lost, and the same state gives the
 * same plan); Binding ones are finished without new votes; bound ones are taken as they are.
 */
#include <string.h>

#include "scheduler/model/core_internal.h"

static const struct obj_placement *placement_of(const struct core *core, const struct gang *gang)
{
    char key[KEY_TEXT];
    const struct obj_placement *placement;

    core__key(key, "", gang->ns, gang->record.name);
    placement = hashmap_get(&core->placements, key);
    if (!placement || strcmp(placement->gang_kind, gang_kind_name(gang->kind)) != 0 ||
        strcmp(placement->gang_name, gang->name) != 0)
        return NULL;
    return placement;
}

static int slots_from(struct core *core, struct gang *gang, const struct obj_placement *placement)
{
    if (placement->pods <= 0 || placement->pods > OBJ_GANG_PODS_MAX ||
        gang_make_slots(gang, (uint32_t)placement->pods) < 0)
        return -1;
    for (size_t i = 0; i < placement->nshares; i++) {
        const struct placement_share *share = &placement->shares[i];
        struct node *node = cluster_node(&core->cluster, share->node);

        for (int32_t k = 0; k < share->count; k++)
            if (share->first >= 0 && share->first + k < placement->pods && node)
                slot_set_node(&core->cluster, &gang->slots[share->first + k], node);
    }
    return 0;
}

/* A bound member sits where it is bound: at its index if that slot has its node, else anywhere there. */
static void seat_bound(struct core *core, struct gang *gang, struct pod *pod)
{
    struct node *node = cluster_node(&core->cluster, pod->object->node);
    int32_t index = pod->object->index;

    if (index >= 0 && (uint32_t)index < gang->nslots && !gang->slots[index].pod) {
        slot_set_node(&core->cluster, &gang->slots[index], node);
        core__slot_take(core, gang, (uint32_t)index, pod);
        return;
    }
    for (uint32_t i = 0; i < gang->nslots; i++) {
        if (gang->slots[i].pod || gang->slots[i].node != node)
            continue;
        core__slot_take(core, gang, i, pod);
        return;
    }
}

static void seat_unbound(struct core *core, struct gang *gang, struct pod *pod)
{
    int32_t index = pod->object->index;

    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (slot->pod || !slot->node || (index >= 0 && (uint32_t)index != i) ||
            !core__may_use(core, gang, slot->node, &pod->object->shape) ||
            node_room(slot->node, &pod->requests) == 0)
            continue; /* where it cannot be any more the gang looks for another place */
        slot_hold(slot, &pod->requests);
        core__slot_take(core, gang, i, pod);
        return;
    }
}

static void finish_binding(struct core *core, struct gang *gang)
{
    gang->requests = gang->members[0]->requests;
    for (size_t i = 0; i < gang->nmembers; i++)
        if (!gang->members[i]->object->node[0])
            seat_unbound(core, gang, gang->members[i]);
    gang->deadline_ns = core->now_ns + core->config->hold_deadline_ns;
    core__set_state(core, gang, GANG_BINDING);
    gang->persisted = true; /* that is where it was read */
}

static void adopt_gang(struct core *core, struct gang *gang)
{
    const struct obj_placement *placement = placement_of(core, gang);
    bool binding = placement && strcmp(placement->state, "Binding") == 0;
    bool replacing = placement && strcmp(placement->state, "Replacing") == 0;
    struct reason unused;
    uint32_t bound = 0;

    for (size_t i = 0; i < gang->nmembers; i++) {
        gang->members[i]->refused = true; /* nobody knows: a wake-up too many does no harm */
        bound += gang->members[i]->object->node[0] != '\0';
    }
    if (placement)
        gang->generation = placement->generation;
    if (!placement || (!binding && bound == 0) || !core__wants(core, gang, &unused) ||
        slots_from(core, gang, placement) < 0)
        return; /* Forming; bound members are taken over there */
    gang_sort_members(gang);
    for (size_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i]->object->node[0])
            seat_bound(core, gang, gang->members[i]);
    gang->adopted = true;
    gang_count_use(&core->cluster, gang);
    gang->torn = strcmp(placement->reason_code, reason_code_name(REASON_PARTLY_BOUND)) == 0;
    if (binding)
        finish_binding(core, gang);
    else if (replacing && core__may_evict(core, gang->ns))
        core__replace(core, gang);
    else
        core__set_state(core, gang, GANG_BOUND);
}

void core__adopt(struct core *core)
{
    core__name_records(core);
    core__delete_orphans(core);
    for (size_t i = 0; i < core->all.n; i++) {
        adopt_gang(core, core->all.items[i]);
        core__touch(core, core->all.items[i]);
    }
}
