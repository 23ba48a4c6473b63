/* Votes (bind calls), the bindings they lead to, and what became of those. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scheduler/model/core_internal.h"
#include "topology/gpu_set.h"

#define RETRY_FIRST_NS (200 * NS_PER_MS)
#define RETRY_MAX_NS (5 * NS_PER_S)
#define ANSWER_NS (2 * NS_PER_S) /* for the watch to show what is bound */

/* ---- pods of no gang ---------------------------------------------------------------------------- */

static void held_remove(struct core *core, const struct pod *pod)
{
    for (size_t i = 0; i < core->nheld; i++) {
        if (core->held[i] != pod)
            continue;
        core->held[i] = core->held[--core->nheld];
        return;
    }
}

void core__release_hold(struct core *core, struct pod *pod, const char *why)
{
    struct node *node = pod->hold.node;

    if (!node)
        return;
    core__reply(core, pod->hold.ticket, why);
    pod->hold = (struct pod_hold){0};
    held_remove(core, pod);
    node_unhold(&core->cluster, node, &pod->requests);
    node_unref(&core->cluster, node);
}

static void post_binding(struct core *core, struct pod *pod, const char *node, uint64_t *ret_write,
                         char *annotations)
{
    struct action *action = core__act(core, ACT_BIND);

    if (!action) {
        free(annotations);
        return;
    }
    core__act_on_pod(action, pod->object, node);
    action->body = annotations;
    action->ticket = *ret_write = ++core->next_ticket;
    core->binds++;
}

static int held_add(struct core *core, struct pod *pod)
{
    if (core->nheld == core->held_size) {
        size_t size = core->held_size ? core->held_size * 2 : 16;
        struct pod **held = realloc(core->held, size * sizeof(struct pod *));

        if (!held)
            return -1;
        core->held = held;
        core->held_size = size;
    }
    core->held[core->nheld++] = pod;
    return 0;
}

/* However short holds are to be: the write has its time, and one whose answer was lost the same once more. */
static int64_t hold_ns(const struct core *core)
{
    int64_t least_ns = 2 * LEASE_WRITE_NS, wanted_ns = core->config->hold_deadline_ns;

    return wanted_ns > least_ns ? wanted_ns : least_ns;
}

static void vote_ordinary(struct core *core, struct pod *pod, const char *name, uint64_t ticket)
{
    struct node *node = cluster_node(&core->cluster, name);

    if (pod->hold.node) { /* an earlier binding may have been applied: the watch or its deadline tells */
        core__reply(core, ticket, "an earlier binding of this pod is not settled yet");
        return;
    }
    if (core__is_undecided(core, pod)) {
        core__reply(core, ticket, "lockstep has not seen the pod's namespace yet");
        return;
    }
    if (core__in_doubt(core)) {
        core__reply(core, ticket, "bindings sent before this lockstep began may still arrive");
        return;
    }
    if (!node || !node->object) { /* what it has room for is not known */
        core__reply(core, ticket, "lockstep has not seen this node yet");
        return;
    }
    if (core__node_room(core, node, &pod->requests) == 0) {
        core__reply(core, ticket, "no room on the node beside what is held for gangs");
        return;
    }
    if (held_add(core, pod) < 0) {
        core__reply(core, ticket, "out of memory");
        return;
    }
    pod->hold = (struct pod_hold){.node = node_ref(node),
                                  .ticket = ticket,
                                  .deadline_ns = core->now_ns + hold_ns(core)};
    if (pod->hold.deadline_ns < core->next_wake_ns)
        core->next_wake_ns = pod->hold.deadline_ns;
    node_hold(&core->cluster, node, &pod->requests);
    post_binding(core, pod, node->name, &pod->hold.write, NULL);
}

/* Its binding was answered, or the answer was lost, and the watch has not shown it yet: is it bound? */
static void ask_about_hold(struct core *core, struct pod *pod)
{
    struct action *action = core__act(core, ACT_READ_POD);

    pod->hold.deadline_ns = core->now_ns + hold_ns(core);
    if (!action)
        return;
    core__act_on_pod(action, pod->object, "");
    action->ticket = pod->hold.write = ++core->next_ticket;
}

void core__expire_holds(struct core *core)
{
    for (size_t i = core->nheld; i-- > 0;) {
        struct pod *pod = core->held[i];

        if (pod->hold.deadline_ns <= core->now_ns && pod->hold.write == 0)
            ask_about_hold(core, pod);
        else if (pod->hold.deadline_ns <= core->now_ns)
            core__release_hold(core, pod, "the binding took too long");
        if (pod->hold.node && pod->hold.deadline_ns < core->next_wake_ns)
            core->next_wake_ns = pod->hold.deadline_ns;
    }
}

/* It is not bound, and no binding of ours is on its way any more; else the watch will show it. */
static void hold_answered(struct core *core, struct pod *pod, const struct event *event)
{
    pod->hold.write = 0;
    if (event->result == WRITE_GONE || (event->result == WRITE_OK && !event->text[0]))
        core__release_hold(core, pod, "");
}

static void ordinary_bind_done(struct core *core, struct pod *pod, const struct event *event)
{
    char text[NAME_TEXT + 64];

    pod->hold.write = 0;
    snprintf(text, sizeof(text), "binding: %s: %s", write_result_name(event->result), event->text);
    if (event->result == WRITE_OK || event->result == WRITE_UNKNOWN ||
        event->result == WRITE_CONFLICT) {
        /* It is, or may be, bound: the hold stays until the pod is seen or the deadline passes. */
        core__reply(core, pod->hold.ticket, event->result == WRITE_OK ? "" : text);
        pod->hold.ticket = 0;
        return;
    }
    core__release_hold(core, pod, text);
}

/* ---- members ------------------------------------------------------------------------------------- */

static void vote_member(struct core *core, struct pod *pod, const struct event *event)
{
    struct gang *gang = pod->gang;
    struct slot *slot = pod->slot >= 0 ? &gang->slots[pod->slot] : NULL;

    if (!slot) {
        pod->refused = true;
        core__reply(core, event->ticket, "the gang has no plan now");
        return;
    }
    if (strcmp(slot->node->name, event->name) != 0) {
        pod->refused = true;
        core__reply(core, event->ticket, "the plan has another node for this pod");
        core__touch(core, gang);
        return;
    }
    if (slot_is_bound(slot)) {
        core__reply(core, event->ticket, "");
        return;
    }
    core__reply(core, slot->ticket, "a newer bind call took this one's place");
    slot->ticket = event->ticket;
    if (MUTANT(EARLY_YES))
        core__reply(core, slot->ticket, "");
    if (slot->state == SLOT_TAKEN)
        slot_set_state(gang, slot, SLOT_VOTED);
    /* A settling looks at every slot: of 10,000 votes only the last one changes what the gang does. */
    if (gang->state != GANG_PLANNED || core__all_voted(gang))
        core__touch(core, gang);
}

void core__vote(struct core *core, const struct event *event)
{
    struct pod *pod = cluster_pod(&core->cluster, event->uid);

    if (!core->active)
        core__reply(core, event->ticket, core->synced ? "this lockstep does not lead"
                                                      : "lockstep has not read the cluster yet");
    else if (!pod)
        core__reply(core, event->ticket, "lockstep has not seen this pod yet");
    else if (pod->object->node[0])
        core__reply(core, event->ticket, strcmp(pod->object->node, event->name) == 0
                                             ? ""
                                             : "the pod is bound to another node");
    else if (pod->left_out)
        core__reply(core, event->ticket, "the gang has as many members as one can have");
    else if (pod->gang)
        vote_member(core, pod, event);
    else
        vote_ordinary(core, pod, event->name, event->ticket);
}

/* The stamp of a bound member: people and the workload read it, lockstep never does. */
static char *stamp(const struct gang *gang, uint32_t rank, const char *hosts)
{
    const struct slot *slot = &gang->slots[rank];
    json_t *annotations = json_object();
    char number[16], gpus[GPU_SET_TEXT];
    char *text;

    snprintf(number, sizeof(number), "%u", rank);
    json_object_set_new(annotations, "lockstep.dev/rank", json_string(number));
    json_object_set_new(annotations, "lockstep.dev/role", json_string(gang_role(gang, rank)));
    if (hosts)
        json_object_set_new(annotations, "lockstep.dev/placement", json_string(hosts));
    gpu_set_text(slot->gpus, gpus);
    if (slot->gpus) {
        json_object_set_new(annotations, "lockstep.dev/gpus", json_string(gpus));
        json_object_set_new(annotations, "lockstep.dev/gpus-are",
                            json_string(core__has_all(slot) ? "exact" : "predicted"));
    }
    text = json_dumps(annotations, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(annotations);
    return text;
}

/* May the binding of this slot be written now? Finishing a persisted plan needs no vote. */
static bool due(const struct core *core, const struct gang *gang, const struct slot *slot)
{
    if (!slot->pod || slot->write || slot->pod->object->node[0])
        return false;
    switch (slot->state) {
    case SLOT_VOTED:
        return true;
    case SLOT_RETRY:
        return slot->retry_ns <= core->now_ns && !core__place_lost(core, slot);
    case SLOT_TAKEN:
        return gang->state == GANG_BINDING && gang->adopted && !slot->needs_vote;
    default:
        return false;
    }
}

void core__post_bindings(struct core *core, struct gang *gang)
{
    char *hosts = NULL;

    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (!due(core, gang, slot)) {
            if (slot->state == SLOT_RETRY && !slot->write)
                core__wake_at(core, gang, slot->retry_ns);
            continue;
        }
        if (!hosts)
            hosts = gang_host_list(gang);
        slot_set_state(gang, slot, SLOT_POSTED);
        post_binding(core, slot->pod, slot->node->name, &slot->write, stamp(gang, i, hosts));
    }
    free(hosts);
}

void core__slot_reply(struct core *core, struct slot *slot, const char *why)
{
    core__reply(core, slot->ticket, slot_is_bound(slot) ? "" : why);
    slot->ticket = 0;
}

/* Bindings under way, or those that a watch has not shown yet (until the time that is given to it). */
static bool still_spreading(const struct core *core, const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];

        if (slot->write)
            return true;
        if (slot_is_bound(slot) && slot->ticket && slot->pod && !slot->pod->object->node[0] &&
            core->now_ns < gang->answer_by_ns)
            return true;
    }
    return false;
}

void core__answer_bound(struct core *core, struct gang *gang)
{
    if (still_spreading(core, gang)) {
        if (core->now_ns < gang->answer_by_ns)
            core__wake_at(core, gang, gang->answer_by_ns);
        return;
    }
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (slot_is_bound(&gang->slots[i]))
            core__slot_reply(core, &gang->slots[i], "");
}

void core__ask(struct core *core, struct slot *slot)
{
    struct action *action;

    if (!slot->pod || slot->write || slot->retry_ns > core->now_ns)
        return;
    if (slot->ask_ns > core->now_ns) {
        core__wake_at(core, slot->pod->gang, slot->ask_ns);
        return;
    }
    action = core__act(core, ACT_READ_POD);
    if (!action)
        return;
    core__act_on_pod(action, slot->pod->object, "");
    action->ticket = slot->write = ++core->next_ticket;
}

/* The lost write is over for the API server too (both were given the same time): what it says is final. */
static void asked(struct core *core, struct gang *gang, struct slot *slot, const struct event *event)
{
    slot->write = 0;
    slot->retry_ns = core->now_ns + RETRY_FIRST_NS;
    core__wake_at(core, gang, slot->retry_ns);
    if (event->result == WRITE_OK && !event->text[0] && slot->state == SLOT_RETRY)
        slot->unsure = false;
    core__touch(core, gang);
}

static void slot_retry(struct core *core, struct gang *gang, struct slot *slot)
{
    int64_t wait = RETRY_FIRST_NS << (slot->tries < 5 ? slot->tries : 5);

    if (slot->tries < UINT8_MAX)
        slot->tries++;
    slot_set_state(gang, slot, SLOT_RETRY);
    slot->retry_ns = core->now_ns + (wait < RETRY_MAX_NS ? wait : RETRY_MAX_NS);
    core__wake_at(core, gang, slot->retry_ns);
}

static void member_bind_done(struct core *core, struct pod *pod, struct slot *slot,
                             const struct event *event)
{
    struct gang *gang = pod->gang;

    slot->write = 0;
    if (slot->state == SLOT_POSTED && event->result == WRITE_OK) {
        slot_set_state(gang, slot, SLOT_BOUND);
        gang->answer_by_ns = core->now_ns + ANSWER_NS; /* by core__answer_bound() */
        if (gang->state != GANG_BINDING || gang_count(gang, SLOT_POSTED) == 0)
            core__touch(core, gang); /* else the others' answers are awaited */
        return;
    }
    core__touch(core, gang);
    if (slot->state != SLOT_POSTED)
        return; /* the watch was faster */
    if (event->result == WRITE_UNKNOWN || event->result == WRITE_CONFLICT) {
        slot->unsure = true;
        slot->ask_ns = core->now_ns + LEASE_WRITE_NS;
    }
    /* 409: bound already, by an earlier try whose answer was lost, or by somebody else: the watch
     * tells. 404: the pod is going. The rest may pass: the gang's deadline ends the retries. */
    slot_retry(core, gang, slot);
    if (event->result == WRITE_FORBIDDEN || event->result == WRITE_INVALID)
        core__set_reason(core, gang, REASON_BIND_FAILED, "binding of pod %.100s was refused: %.200s",
                         pod->object->name, event->text);
}

static void slot_write_done(struct core *core, struct pod *pod, struct slot *slot,
                            const struct event *event)
{
    if (event->action == ACT_READ_POD)
        asked(core, pod->gang, slot, event);
    else
        member_bind_done(core, pod, slot, event);
}

void core__bind_done(struct core *core, const struct event *event)
{
    struct pod *pod = cluster_pod(&core->cluster, event->uid);

    if (!pod)
        return;
    if (pod->hold.node && pod->hold.write == event->ticket && event->action == ACT_READ_POD)
        hold_answered(core, pod, event);
    else if (pod->hold.node && pod->hold.write == event->ticket)
        ordinary_bind_done(core, pod, event);
    else if (pod->gang && pod->slot >= 0 && pod->gang->slots[pod->slot].write == event->ticket)
        slot_write_done(core, pod, &pod->gang->slots[pod->slot], event);
}

/*
 * What was held is used now: no room has come, and nobody who waits is tried again for it. With preemption it
 * is as good as room: its gang may be evicted from now on.
 */
static void end_hold(struct core *core, struct slot *slot, const struct pod *pod)
{
    uint64_t version = core->cluster.capacity_version;
    bool becomes_use = slot->held && pod->node == slot->node &&
                       memcmp(&slot->hold, &pod->requests, sizeof(slot->hold)) == 0;

    slot_unhold(&core->cluster, slot);
    if (becomes_use && !core->config->preemption)
        core->cluster.capacity_version = version;
}

/* The pod was read with a node: the ledger's part of it ends here. */
void core__saw_bound(struct core *core, struct pod *pod)
{
    struct gang *gang = pod->gang;
    struct slot *slot;

    core__release_hold(core, pod, "");
    if (!gang || pod->slot < 0)
        return;
    slot = &gang->slots[pod->slot];
    end_hold(core, slot, pod);
    if (!slot_is_bound(slot)) {
        bool ours = slot->node && strcmp(slot->node->name, pod->object->node) == 0;

        if (!ours)
            core__slot_reply(core, slot, "the pod is bound to another node");
        slot_set_state(gang, slot, SLOT_BOUND);
        gang->drifted |= !ours || gang->state == GANG_PLANNED; /* in Planned we bind nobody */
        if (!ours && !MUTANT(DRIFT_HIDDEN)) {
            slot_set_node(&core->cluster, slot, cluster_node(&core->cluster, pod->object->node));
            core__plan_changed(gang);
        }
    }
    if (pod->node)
        slot->gpus = pod->gpus;
    if (pod->object->phase == POD_SUCCEEDED)
        slot_set_state(gang, slot, SLOT_DONE);
    core__touch(core, gang);
}
