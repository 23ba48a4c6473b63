/* The gang's states: what each waits for, and how it is left. The table stands in gang.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

#define BACKOFF_FIRST_NS NS_PER_S
#define BACKOFF_MAX_NS (60 * NS_PER_S)
#define REFILL_AGAIN_NS (2 * NS_PER_S) /* a member without a place: room may have come */

void core__set_state(struct core *core, struct gang *gang, enum gang_state state)
{
    if (gang->state == state && gang->state_since_s)
        return;
    gang->state = state;
    gang->persisted = false;
    gang->state_since_s = core->epoch_s + core->now_ns / NS_PER_S;
    gang->record.dirty = true;
    core__touch(core, gang);
}

void core__set_reason(struct core *core, struct gang *gang, enum reason_code code,
                      const char *format, ...)
{
    struct reason reason = {.code = code};
    va_list args;

    va_start(args, format);
    vsnprintf(reason.text, sizeof(reason.text), format, args);
    va_end(args);
    if (gang->reason.code == code && strcmp(gang->reason.text, reason.text) == 0)
        return;
    if (gang->reason.code != code) {
        gang->reason_since_ns = core->now_ns;
        gang->reason_told = false;
    }
    gang->reason = reason;
    gang->reason_text_ns = core->now_ns;
    core__forget_would_fit(gang);
    gang->record.dirty = true;
    core__touch(core, gang);
}

int64_t core__backoff_ns(uint32_t failures)
{
    int64_t wait = BACKOFF_FIRST_NS;

    while (failures-- > 1 && wait < BACKOFF_MAX_NS)
        wait *= 2;
    return wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS;
}

/* ---- Forming, Waiting -------------------------------------------------------------------------- */

/* A pod that has succeeded without a node (a status written by hand) has done its work all the same. */
static bool needs_no_plan(const struct pod *pod)
{
    return pod->object->node[0] || pod->object->phase == POD_SUCCEEDED;
}

static bool bound_already(const struct gang *gang)
{
    for (size_t i = 0; i < gang->nmembers; i++)
        if (needs_no_plan(gang->members[i]))
            return true;
    return false;
}

/* Somebody else bound members, or our record is lost: what is bound is taken as it is. */
static void take_over_bound(struct core *core, struct gang *gang)
{
    struct reason unused;

    core__unqueue(core, gang);
    gang_sort_members(gang);
    core__wants(core, gang, &unused);
    if (gang_more_slots(gang, gang->size) < 0) /* all ranks, so that each index finds its own */
        return;
    for (size_t i = 0; i < gang->nmembers; i++)
        if (needs_no_plan(gang->members[i]))
            core__refill(core, gang, gang->members[i]);
    gang->adopted = true;
    gang_count_use(&core->cluster, gang);
    core__set_state(core, gang, GANG_BOUND);
}

static void settle_forming(struct core *core, struct gang *gang)
{
    struct reason why;
    bool complete;

    if (bound_already(gang)) {
        take_over_bound(core, gang);
        return;
    }
    if (core__gave_up(core, gang))
        return;
    if (!core__wants(core, gang, &why)) {
        core__set_reason(core, gang, why.code, "%s", why.text);
        core__unqueue(core, gang);
        core__set_state(core, gang, GANG_FORMING);
        return;
    }
    complete = gang->nmembers >= gang->min;
    if (complete || (!gang->no_early && core->config->early_plan_deadline_ns > 0)) {
        core__queue(core, gang);
        return;
    }
    core__unqueue(core, gang);
    core__set_state(core, gang, GANG_FORMING);
    core__set_reason(core, gang, REASON_MEMBERS_MISSING, "%zu of %u pods exist", gang->nmembers,
                     gang->min);
}

/* ---- places ------------------------------------------------------------------------------------ */

bool core__place_lost(const struct core *core, const struct slot *slot)
{
    const struct node *node = slot->node;
    bool overfull = false;

    if (!node)
        return false;
    for (unsigned r = 0; r < RES_MAX && node->object; r++)
        overfull |= slot->held && slot->hold.v[r] > 0 &&
                    node->used.v[r] + node->held.v[r] > node->total.v[r];
    return !node->object || (overfull && !MUTANT(OVERFULL_KEPT)) ||
           (slot->pod && !node_admits(node, &slot->pod->object->shape)) ||
           (slot->state != SLOT_BOUND && node->rejected_until_ns > core->now_ns);
}

/* A member was bound by others outside of the domain that the plan is in: the rest cannot go there. */
bool core__is_cut_off(const struct core *core, const struct gang *gang,
                       const struct required_domain *domain, const struct slot *slot)
{
    return gang->drifted && slot->node && !slot_is_bound(slot) &&
           !core__keeps_required(core, gang, domain, slot->node);
}

/* ---- Binding ----------------------------------------------------------------------------------- */

/* The same; where the place is lost meanwhile, the API server is asked instead of told again. */
static bool still_open(struct core *core, struct slot *slot)
{
    if (slot->unsure && !slot->write && core__place_lost(core, slot))
        core__ask(core, slot);
    return slot_is_open(slot);
}

static void binding_too_late(struct core *core, struct gang *gang)
{
    uint32_t bound = gang_bound(gang);

    gang->failures++;
    gang->not_before_ns = core->now_ns + core__backoff_ns(gang->failures);
    if (gang_is_open(gang)) { /* a retry or the watch will tell: nothing is given away before */
        core__set_reason(core, gang, REASON_PARTLY_BOUND,
                         "%u of %u pods are bound; the API server's answer on the others is awaited",
                         bound, gang->nslots);
        gang->deadline_ns = gang->not_before_ns;
        core__wake_at(core, gang, gang->deadline_ns);
    } else if (bound == 0) {
        core__release_plan(core, gang, "the gang could not be bound in time");
        core__set_reason(core, gang, REASON_BIND_FAILED,
                         "the API server took none of the gang's bindings in time; trying again");
    } else if (core__may_evict(core, gang->ns)) {
        core__replace(core, gang);
        core__set_reason(core, gang, REASON_PARTLY_BOUND,
                         "%u of %u pods were bound and the rest could not be: evicting them to start "
                         "over",
                         bound, gang->nslots);
    } else {
        core__tear(core, gang);
    }
}

/* A place that was lost before its pod was bound; false: nothing is bound yet, so all start over. */
static bool keep_places(struct core *core, struct gang *gang)
{
    struct required_domain domain = core__required_domain(core, gang);

    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (slot_is_bound(slot) || still_open(core, slot))
            continue;
        if (slot->cleared >= CLEARED_LIMIT)
            core__exclude(core, gang, slot->node);
        else if (!core__place_lost(core, slot) && !core__is_cut_off(core, gang, &domain, slot))
            continue;
        if (gang_bound(gang) == 0 && !gang_is_open(gang)) {
            core__release_plan(core, gang, "the planned node changed");
            return false;
        }
        core__vacate(core, gang, slot, "the planned node changed");
    }
    return true;
}

/* Members without a place: one that was deleted meanwhile and came back, or lost its node. */
static void seat_rest(struct core *core, struct gang *gang)
{
    uint32_t without = 0, surplus = gang->nmembers > gang->nslots ? (uint32_t)gang->nmembers - gang->nslots : 0;

    for (size_t i = 0; i < gang->nmembers; i++) {
        struct pod *pod = gang->members[i];

        if (pod->slot < 0 && !core__refill(core, gang, pod))
            without++;
        else
            core__nominate(core, gang, (uint32_t)pod->slot);
    }
    if (without <= surplus) /* those are more than the plan is for: they get theirs when it is bound */
        return;
    without -= surplus;
    core__wake_at(core, gang, core->now_ns + REFILL_AGAIN_NS);
    core__set_reason(core, gang, REASON_PARTLY_BOUND,
                     "%u of %u pods are bound; %u lost their place and no node has room for them: "
                     "trying again",
                     gang_bound(gang), gang->nslots, without);
}

/*
 * What is stored may be a plan that the former process had given up already, its room given to somebody else
 * whose binding is still on its way; or one of two that collide; or the plan has fewer places than pods, and
 * which of those a binding was for it does not say. Finishing it could fill a node twice, and a pod that
 * gets another place may be bound to the stored one yet: nothing changes until all has arrived.
 */
static bool stored_in_doubt(struct core *core, const struct gang *gang)
{
    return gang->adopted && core__in_doubt(core);
}

/* false: the plan was given up. */
static bool go_on_binding(struct core *core, struct gang *gang)
{
    if (!keep_places(core, gang))
        return false;
    seat_rest(core, gang);
    if (gang->persisted || MUTANT(BIND_UNPERSISTED))
        core__post_bindings(core, gang);
    return true;
}

static void settle_binding(struct core *core, struct gang *gang)
{
    if (stored_in_doubt(core, gang))
        core__wake_at(core, gang, core->doubt_until_ns);
    else if (!go_on_binding(core, gang))
        return;
    if (gang_bound(gang) == gang->nslots) {
        gang->deadline_ns = INT64_MAX;
        gang->failures = 0;
        core__set_reason(core, gang, REASON_NONE, "%s", "");
        core__set_state(core, gang, GANG_BOUND);
        return;
    }
    if (core->now_ns >= gang->deadline_ns)
        binding_too_late(core, gang);
    else
        core__wake_at(core, gang, gang->deadline_ns);
}

/* ---- Bound, Running, Broken, Done --------------------------------------------------------------- */

/* A refill's hold has its deadline: a node that kube-scheduler does not take is left alone a while. */
static void check_refills(struct core *core, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];
        bool late = slot->deadline_ns && slot->deadline_ns <= core->now_ns;

        if (!slot->held || slot->state == SLOT_BOUND || still_open(core, slot))
            continue;
        if (slot->pod && (late || slot->cleared >= CLEARED_LIMIT))
            core__exclude(core, gang, slot->node);
        else if (slot->pod && !core__place_lost(core, slot)) {
            core__wake_at(core, gang, slot->deadline_ns);
            continue;
        }
        core__vacate(core, gang, slot, "the node did not take the pod");
    }
}

/* Members without a place get one; how many could not. */
static uint32_t seat_members(struct core *core, struct gang *gang)
{
    struct reason unused;
    uint32_t waiting = 0;
    bool filled = false;

    for (size_t i = 0; i < gang->nmembers; i++) {
        struct pod *pod = gang->members[i];

        if (pod->slot >= 0)
            continue;
        if ((pod->object->node[0] ||
             (!core__in_doubt(core) && core__wants(core, gang, &unused))) &&
            core__refill(core, gang, pod))
            filled = true;
        else
            waiting++;
    }
    if (filled)
        gang_count_use(&core->cluster, gang);
    return waiting;
}

/* Slots that are bound, or could be as soon as we post their bindings. */
static uint32_t count_ready(const struct gang *gang, bool seated)
{
    uint32_t n = gang_bound(gang);

    for (uint32_t i = 0; i < gang->nslots; i++)
        n += slot_is_open(&gang->slots[i]) || gang->slots[i].state == SLOT_VOTED ||
             (seated && gang->slots[i].state == SLOT_TAKEN);
    return n;
}

/*
 * Below min the missing members are a gang again: places for all of them or for none, and bindings when
 * all of them have voted. Above it each comes back by itself.
 */
static void refill(struct core *core, struct gang *gang)
{
    uint32_t waiting;

    check_refills(core, gang);
    waiting = seat_members(core, gang);
    if (waiting > 0)
        core__wake_at(core, gang, core->now_ns + REFILL_AGAIN_NS);
    if (waiting > 0 && count_ready(gang, true) < core__least(gang))
        for (uint32_t i = 0; i < gang->nslots; i++)
            if (gang->slots[i].held && gang->slots[i].pod && !slot_is_open(&gang->slots[i]) &&
                gang->slots[i].state < SLOT_BOUND)
                core__vacate(core, gang, &gang->slots[i], "there is no room for the others of its gang");
    for (uint32_t i = 0; i < gang->nslots; i++)
        core__nominate(core, gang, i);
    if (gang->persisted && count_ready(gang, false) >= core__least(gang))
        core__post_bindings(core, gang);
}

static void count_phases(const struct gang *gang, uint32_t *ret_running, uint32_t *ret_done)
{
    *ret_running = *ret_done = 0;
    for (size_t i = 0; i < gang->nmembers; i++) {
        enum pod_phase phase = gang->members[i]->object->phase;

        *ret_done += phase == POD_SUCCEEDED;
        *ret_running += phase == POD_RUNNING || phase == POD_SUCCEEDED;
    }
}

/* Its Job is gone, ended or suspended: pods that go now are not missed. */
static bool is_leaving(const struct core *core, const struct gang *gang)
{
    const struct obj_pod *pod = gang->members[0]->object;
    const struct obj_job *job = core__job_of(core, pod);

    return pod->owner.kind == OWNER_JOB && (!job || job->finished || job->suspended);
}

static void tell_broken(struct core *core, struct gang *gang, uint32_t bound, uint32_t min)
{
    if (gang->torn && gang->reason.code == REASON_EVICTION_BLOCKED)
        return; /* it says more */
    if (gang->torn)
        core__set_reason(core, gang, REASON_PARTLY_BOUND,
                         "%u of %u pods are bound and the rest could not be; still trying. To start "
                         "over: kubectl delete pods of this gang in namespace %.80s",
                         bound, min, gang->ns);
    else
        core__set_reason(core, gang, REASON_BELOW_MIN,
                         "%u of %u pods are bound; their replacements get their places when they "
                         "are created and there is room",
                         bound, min);
}

static void settle_bound(struct core *core, struct gang *gang)
{
    uint32_t bound, running, done, min;
    struct reason unused;

    refill(core, gang);
    core__wants(core, gang, &unused);
    bound = gang_bound(gang);
    count_phases(gang, &running, &done);
    min = core__least(gang);
    if (done > 0 && done == gang->nmembers && done >= min) {
        core__set_reason(core, gang, REASON_NONE, "%s", "");
        core__set_state(core, gang, GANG_DONE);
    } else if (bound < min && is_leaving(core, gang)) {
        return;
    } else if (bound < min) {
        core__set_state(core, gang, GANG_BROKEN);
        tell_broken(core, gang, bound, min);
    } else {
        gang->torn = false;
        core__set_reason(core, gang, REASON_NONE, "%s", "");
        core__set_state(core, gang, running >= min ? GANG_RUNNING : GANG_BOUND);
        core__probe(core, gang);
    }
}

/* ---- all ---------------------------------------------------------------------------------------- */

static void release_slots(struct core *core, struct gang *gang)
{
    core__end_probe(core, gang);
    for (uint32_t i = 0; i < gang->nslots; i++) {
        core__slot_reply(core, &gang->slots[i], "the gang is gone");
        slot_unhold(&core->cluster, &gang->slots[i]);
    }
}

void core__settle_gang(struct core *core, struct gang *gang)
{
    gang->wake_ns = INT64_MAX;
    if (gang->nmembers == 0) {
        release_slots(core, gang);
        core__drop_gang(core, gang);
        return;
    }
    switch (gang->state) {
    case GANG_FORMING:
    case GANG_WAITING:
        settle_forming(core, gang);
        break;
    case GANG_PLANNED:
        core__settle_planned(core, gang);
        break;
    case GANG_BINDING:
        settle_binding(core, gang);
        break;
    case GANG_BOUND:
    case GANG_RUNNING:
    case GANG_BROKEN:
    case GANG_DONE:
        settle_bound(core, gang);
        break;
    case GANG_REPLACING:
        core__settle_replacing(core, gang);
        break;
    default:
        break;
    }
    core__answer_bound(core, gang);
    core__ask_why(core, gang);
    if (gang->reason.code != REASON_NONE && !gang->reason_told) {
        if (core->now_ns - gang->reason_since_ns >= TELL_AFTER_NS)
            core__tell_reason(core, gang);
        else
            core__wake_at(core, gang, gang->reason_since_ns + TELL_AFTER_NS);
    }
}
