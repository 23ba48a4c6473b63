/* Ways out of what cannot go on: evicting whole gangs, tearing plans, giving up. */
#include <string.h>

#include "scheduler/model/core_internal.h"

#define EVICT_RETRY_NS (5 * NS_PER_S)
#define EVICT_AGAIN_NS (30 * NS_PER_S) /* accepted, and the pod is there still: its grace period */
#define EVICT_DEADLINE_NS (600 * NS_PER_S)

/* ---- evicting ------------------------------------------------------------------------------------ */

bool core__may_evict(const struct core *core, const char *ns)
{
    const struct obj_namespace *found = hashmap_get(&core->namespaces, ns);

    return found && found->evict_allowed;
}

void core__evict(struct core *core, struct pod *pod)
{
    struct action *action;

    if (pod->evict || pod->evict_retry_ns > core->now_ns || pod->object->terminating)
        return;
    action = core__act(core, ACT_EVICT);
    if (!action)
        return;
    core__act_on_pod(action, pod->object, "");
    action->ticket = pod->evict = ++core->next_ticket;
}

void core__evict_done(struct core *core, const struct event *event)
{
    struct pod *pod = cluster_pod(&core->cluster, event->uid);

    if (!pod || pod->evict != event->ticket)
        return;
    pod->evict = 0;
    pod->evict_retry_ns = core->now_ns + (event->result == WRITE_OK ? EVICT_AGAIN_NS
                                                                    : EVICT_RETRY_NS);
    if (pod->gang)
        core__touch(core, pod->gang);
}

/* ---- Replacing ------------------------------------------------------------------------------------ */

void core__replace(struct core *core, struct gang *gang)
{
    core__unqueue(core, gang);
    core__end_probe(core, gang);
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (!slot_is_bound(&gang->slots[i]))
            core__vacate(core, gang, &gang->slots[i], "the gang starts over");
    gang->persisted = false;
    gang->deadline_ns = core->now_ns + EVICT_DEADLINE_NS;
    core__set_state(core, gang, GANG_REPLACING);
}

static uint32_t evict_members(struct core *core, struct gang *gang)
{
    uint32_t left = 0;

    for (size_t i = 0; i < gang->nmembers; i++) {
        struct pod *pod = gang->members[i];

        if (!pod->object->node[0] || pod->object->phase == POD_SUCCEEDED)
            continue;
        left++;
        if (gang->persisted)
            core__evict(core, pod);
        if (pod->evict_retry_ns > core->now_ns)
            core__wake_at(core, gang, pod->evict_retry_ns);
    }
    return left;
}

/* A member that was bound and left before the watch had brought its binding: its hold ends here. */
static void give_back_left(struct core *core, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].held && !gang->slots[i].pod)
            core__vacate(core, gang, &gang->slots[i], "the gang starts over");
}

void core__settle_replacing(struct core *core, struct gang *gang)
{
    uint32_t left = evict_members(core, gang);

    give_back_left(core, gang);
    if (left == 0) {
        gang->torn = gang->adopted = false;
        core__release_plan(core, gang, "the gang starts over");
        return;
    }
    if (core->now_ns < gang->deadline_ns) {
        core__wake_at(core, gang, gang->deadline_ns);
        return;
    }
    core__tear(core, gang);
    core__set_reason(core, gang, REASON_EVICTION_BLOCKED,
                     "%u pods could not be evicted in time (a PodDisruptionBudget?). To start over: "
                     "kubectl delete pods of this gang in namespace %.80s",
                     left, gang->ns);
}

/* ---- bound in part --------------------------------------------------------------------------------- */

/* What is bound cannot be unbound; what is not gives its places back and looks for others. */
void core__tear(struct core *core, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (!slot_is_bound(slot))
            core__vacate(core, gang, slot, "the gang could not be bound whole");
    }
    gang->torn = true;
    gang->deadline_ns = INT64_MAX;
    core__set_state(core, gang, GANG_BROKEN);
}

/* ---- giving up -------------------------------------------------------------------------------------- */

bool core__gave_up(struct core *core, struct gang *gang)
{
    int64_t wall_s = core->epoch_s + core->now_ns / NS_PER_S, left_ns;
    struct reason last = gang->reason;

    if (core->config->give_up_ns == 0 || core->epoch_s == 0)
        return false;
    if (gang->gave_up && gang->changes == gang->gave_up_changes)
        return true;
    gang->gave_up = false;
    left_ns = core->config->give_up_ns - (wall_s - gang->newest_s) * NS_PER_S;
    if (left_ns > 0) {
        core__wake_at(core, gang, core->now_ns + left_ns);
        return false;
    }
    gang->gave_up = true;
    gang->gave_up_changes = gang->changes;
    core__unqueue(core, gang);
    core__set_state(core, gang, GANG_WAITING);
    core__set_reason(core, gang, REASON_GAVE_UP,
                     "not placed within %llds (giveUpAfter), not tried any more until its pods are "
                     "created anew; last: %.250s",
                     (long long)(core->config->give_up_ns / NS_PER_S),
                     last.text[0] ? last.text : "not all of its pods came");
    return true;
}
