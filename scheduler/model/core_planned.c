/* A gang that is Planned: its members take their places and vote, until all have or the time is up. */
#include <string.h>

#include "scheduler/model/core_internal.h"

/* The place was made for its subgroup, or both are of none. */
static bool is_of(const struct slot *slot, const struct pod *pod)
{
    return strcmp(slot->subgroup ? slot->subgroup : "", core__subgroup_of(pod)) == 0;
}

static bool suits(const struct slot *slot, const struct pod *pod)
{
    return !slot->pod && (!slot->held || memcmp(&slot->hold, &pod->requests, sizeof(slot->hold)) == 0) &&
           is_of(slot, pod);
}

/* true: somebody took one. */
static bool fill_slots(struct core *core, struct gang *gang)
{
    const char *key = gang->shape_key;
    uint32_t next = 0;
    bool filled = false;

    for (size_t i = 0; i < gang->nmembers; i++) {
        struct pod *pod = gang->members[i];
        int32_t index = pod->object->index;

        if (pod->slot >= 0 || (key && key[0] && strcmp(pod->object->shape.key, key) != 0))
            continue;
        if (index >= 0 && (uint32_t)index < gang->nslots && suits(&gang->slots[index], pod)) {
            core__slot_take(core, gang, (uint32_t)index, pod);
            filled = true;
            continue;
        }
        if (key && !key[0]) /* of several kinds: the free ones in between are for others */
            next = 0;
        while (next < gang->nslots && !suits(&gang->slots[next], pod))
            next++;
        if (next < gang->nslots) {
            core__slot_take(core, gang, next, pod);
            filled = true;
        }
    }
    return filled;
}

/* false: the plan was given up. */
static bool check_nodes(struct core *core, struct gang *gang)
{
    struct required_domain domain = core__required_domain(core, gang);

    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (slot->cleared >= CLEARED_LIMIT) {
            core__exclude(core, gang, slot->node);
            core__release_plan(core, gang, "the planned node refused the pod");
            return false;
        }
        /* Without a hold: a stranger bound its pod elsewhere, and that pod is gone. */
        if (core__place_lost(core, slot) || core__is_cut_off(core, gang, &domain, slot) ||
            (slot->state == SLOT_EMPTY && !slot->held)) {
            core__release_plan(core, gang, "the planned node changed");
            return false;
        }
    }
    return true;
}

static void planned_too_late(struct core *core, struct gang *gang)
{
    uint32_t voted = gang_count(gang, SLOT_VOTED), slots = gang->nslots;

    if (gang->early) {
        gang->no_early = true;
        core__release_plan(core, gang, "the gang's other pods did not come in time");
        return;
    }
    gang->failures++;
    gang->not_before_ns = core->now_ns + core__backoff_ns(gang->failures);
    core__release_plan(core, gang, "the gang's other pods did not arrive at bind in time");
    core__set_reason(core, gang, REASON_VOTES_MISSING,
                     "%u of %u pods arrived at bind before the hold ran out; trying again",
                     voted, slots);
}

static bool has_slot_for(const struct gang *gang, const struct pod *pod)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (suits(&gang->slots[i], pod))
            return true;
    return false;
}

/* A workload of the same name with other requests has come: the plan is not for it. */
static bool shape_changed(const struct gang *gang)
{
    const char *key = gang->shape_key;

    for (size_t i = 0; key && key[0] && i < gang->nmembers; i++)
        if (strcmp(gang->members[i]->object->shape.key, key) != 0)
            return true;
    if (key && key[0])
        return core__has_subgroups(gang); /* of which a plan of one shape knows nothing */
    for (size_t i = 0; key && i < gang->nmembers; i++)
        if (gang->members[i]->slot >= 0 && !is_of(&gang->slots[gang->members[i]->slot], gang->members[i]))
            return true;
    if (!key || gang_count(gang, SLOT_EMPTY) == 0)
        return false;
    for (size_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i]->slot < 0 && !has_slot_for(gang, gang->members[i]))
            return true;
    return false;
}

static void set_deadline(const struct core *core, struct gang *gang, int64_t wait_ns, int64_t last_ns)
{
    int64_t deadline_ns = core->now_ns + wait_ns;

    if (!MUTANT(NO_DEADLINE))
        gang->deadline_ns = deadline_ns < last_ns ? deadline_ns : last_ns;
}

/*
 * An early plan waits for the next member as long as for the first, up to half of a hold if that is more. All
 * in all no vote is held longer than holdDeadline and earlyPlanDeadline: kube-scheduler's httpTimeout is above that.
 */
static void wait_for_more(const struct core *core, struct gang *gang)
{
    int64_t early_ns = core->config->early_plan_deadline_ns, half_ns = core->config->hold_deadline_ns / 2;

    set_deadline(core, gang, early_ns, gang->planned_ns + (early_ns > half_ns ? early_ns : half_ns));
}

static void wait_for_votes(const struct core *core, struct gang *gang)
{
    gang->early = false;
    set_deadline(core, gang, core->config->hold_deadline_ns,
                 gang->planned_ns + core->config->hold_deadline_ns + core->config->early_plan_deadline_ns);
}

bool core__all_voted(const struct gang *gang)
{
    return gang_count(gang, SLOT_VOTED) + gang_bound(gang) + MUTANT(BIND_EARLY) >= gang->nslots;
}

void core__settle_planned(struct core *core, struct gang *gang)
{
    uint32_t empty;
    bool filled;

    if (shape_changed(gang)) {
        core__release_plan(core, gang, "the gang's pods changed what they ask for");
        return;
    }
    if (!check_nodes(core, gang))
        return;
    filled = fill_slots(core, gang);
    empty = gang_count(gang, SLOT_EMPTY);
    if (gang->early && empty == 0)
        wait_for_votes(core, gang);
    else if (gang->early && filled)
        wait_for_more(core, gang);
    if (core->now_ns >= gang->deadline_ns) {
        planned_too_late(core, gang);
        return;
    }
    for (uint32_t i = 0; i < gang->nslots; i++)
        core__nominate(core, gang, i);
    core__wake_at(core, gang, gang->deadline_ns);
    if (!core__all_voted(gang))
        return;
    gang->deadline_ns = core->now_ns + core->config->hold_deadline_ns;
    core__set_state(core, gang, GANG_BINDING);
}
