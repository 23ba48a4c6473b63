/*
 * Taking over after a start: bound pods and GangPlacements are all there is.
 *
 * Planned gangs start over (nothing was bound, the votes are lost, and the same state gives the
 * same plan); Binding ones are finished without new votes; bound ones are taken as they are.
 */
#include <string.h>

#include "scheduler/model/core_internal.h"
#include "topology/gpu_set.h"

const struct obj_placement *core_placement(const struct core *core, const struct gang *gang)
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

/* Which accelerators each rank of the share has, where all of that can be read. */
static void gpus_from(struct gang *gang, const struct placement_share *share)
{
    const char *at = share->gpus;

    for (int32_t k = 0; at && *at && k < share->count; k++) {
        size_t len = strcspn(at, " ");
        uint32_t set = 0;

        if (share->first + k >= (int32_t)gang->nslots ||
            (strncmp(at, "-", len) != 0 && gpu_set_parse(at, len, MACHINE_GPUS_MAX, &set) < 0))
            return;
        gang->slots[share->first + k].gpus = set;
        at += len + (at[len] == ' ');
    }
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
        if (node && share->first >= 0)
            gpus_from(gang, share);
    }
    return 0;
}

enum seat { SEAT_AS_STORED, SEAT_ON_ITS_NODE, SEAT_AT_ITS_INDEX };

static bool suits(const struct gang *gang, uint32_t rank, const struct pod *pod,
                  const struct node *node, enum seat seat)
{
    bool own = pod->object->index < 0 || (uint32_t)pod->object->index == rank;

    if (gang->slots[rank].pod)
        return false;
    if (seat == SEAT_AT_ITS_INDEX)
        return pod->object->index >= 0 && own;
    return gang->slots[rank].node == node && (own || seat == SEAT_ON_ITS_NODE);
}

/*
 * A bound member sits where the plan has it: at its index if that rank is on its node, else at another
 * rank there. One that the plan has not on its node was bound by somebody else: its index decides.
 */
static void seat_bound(struct core *core, struct gang *gang, struct pod *pod, enum seat seat)
{
    struct node *node = cluster_node(&core->cluster, pod->object->node);
    int32_t index = pod->object->index;
    bool at_index = index >= 0 && seat != SEAT_ON_ITS_NODE;

    for (uint32_t rank = at_index ? (uint32_t)index : 0; rank < gang->nslots; rank++) {
        if (!suits(gang, rank, pod, node, seat))
            continue;
        core__slot_take(core, gang, rank, pod);
        return;
    }
}

static void seat_all_bound(struct core *core, struct gang *gang)
{
    for (enum seat seat = SEAT_AS_STORED; seat <= SEAT_AT_ITS_INDEX; seat++)
        for (size_t i = 0; i < gang->nmembers; i++)
            if (gang->members[i]->object->node[0] && gang->members[i]->slot < 0)
                seat_bound(core, gang, gang->members[i], seat);
}

/* Younger ones come to their bind call first: they have not voted. */
static void seat_unbound(struct core *core, struct gang *gang, struct pod *pod, int64_t since_s)
{
    struct required_domain domain = core__required_domain(core, gang);
    bool in_subgroup = core__subgroup_of(pod)[0] != '\0';
    uint32_t at = in_subgroup ? core__subgroup_slot(core, gang, pod) : PLAN_UNKNOWN;
    int32_t index = in_subgroup ? (int32_t)at : pod->object->index;

    for (uint32_t i = 0; i < gang->nslots && (!in_subgroup || at != PLAN_UNKNOWN); i++) {
        struct slot *slot = &gang->slots[i];

        if (slot->pod || !slot->node || (index >= 0 && (uint32_t)index != i) ||
            !core__may_use(core, gang, slot->node, &pod->object->shape) ||
            !core__keeps_required(core, gang, &domain, slot->node) || /* a former member was bound there by others */
            core__node_room(core, slot->node, &pod->requests) == 0)
            continue; /* where it cannot be any more the gang looks for another place */
        core__keep_or_choose_gpus(core, slot, pod);
        slot_hold(&core->cluster, slot, &pod->requests);
        core__slot_take(core, gang, i, pod);
        slot->needs_vote = pod->object->created_s > since_s;
        return;
    }
}

/* A plan that is being bound is finished for whom it was made: pods that are older than that state. */
static bool has_older_member(const struct gang *gang, int64_t since_s)
{
    for (size_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i]->object->created_s <= since_s)
            return true;
    return false;
}

static void finish_binding(struct core *core, struct gang *gang, int64_t since_s, uint32_t stored)
{
    gang->requests = gang->members[0]->requests;
    core__seat_first(gang);
    for (size_t i = 0; i < gang->nmembers; i++)
        if (!gang->members[i]->object->node[0])
            seat_unbound(core, gang, gang->members[i], since_s);
    gang_sort_members(gang);
    gang->deadline_ns = core->now_ns + core->config->hold_deadline_ns;
    core__set_state(core, gang, GANG_BINDING);
    gang->persisted = gang->plan_version == stored; /* that is where it was read */
}

static void adopt_gang(struct core *core, struct gang *gang)
{
    const struct obj_placement *placement = core_placement(core, gang);
    bool binding = placement && strcmp(placement->state, "Binding") == 0 &&
                   has_older_member(gang, placement->since_s);
    uint32_t stored = gang->plan_version;
    bool replacing = placement && strcmp(placement->state, "Replacing") == 0;
    struct reason unused;
    uint32_t bound = 0;

    for (size_t i = 0; i < gang->nmembers; i++) {
        gang->members[i]->refused = true; /* nobody knows: a wake-up too many does no harm */
        bound += gang->members[i]->object->node[0] != '\0';
    }
    if (placement) {
        gang->generation = placement->generation;
        core__adopt_probe(gang, placement);
    }
    core__wants(core, gang, &unused); /* its PodGroup may be gone: what is stored is finished all the same */
    if (!placement || (!binding && bound == 0) || slots_from(core, gang, placement) < 0)
        return; /* Forming; bound members are taken over there */
    gang_sort_members(gang);
    seat_all_bound(core, gang);
    gang->adopted = true;
    gang_count_use(&core->cluster, gang);
    gang->torn = strcmp(placement->reason_code, reason_code_name(REASON_PARTLY_BOUND)) == 0;
    if (binding)
        finish_binding(core, gang, placement->since_s, stored);
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
