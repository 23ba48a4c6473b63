/* Which gang a pod belongs to, and what joining and leaving does to the gang's slots. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

#define NAMESPACE_WAIT_NS (5 * NS_PER_S) /* for the Namespace of a pod that was seen before it */

int gang_list_add(struct gang_list *list, struct gang *gang)
{
    if (list->n == list->size) {
        size_t size = list->size ? list->size * 2 : 64;
        struct gang **items = realloc(list->items, size * sizeof(struct gang *));

        if (!items)
            return -1;
        list->items = items;
        list->size = size;
    }
    list->items[list->n++] = gang;
    return 0;
}

void gang_list_remove(struct gang_list *list, const struct gang *gang)
{
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i] != gang)
            continue;
        memmove(list->items + i, list->items + i + 1,
                (list->n - i - 1) * sizeof(struct gang *));
        list->n--;
        return;
    }
}

void core__touch(struct core *core, struct gang *gang)
{
    if (!gang->dirty && gang_list_add(&core->dirty, gang) == 0)
        gang->dirty = true;
    if (!gang->unsaved && gang_list_add(&core->unsaved, gang) == 0)
        gang->unsaved = true;
}

void core__wake_at(struct core *core, struct gang *gang, int64_t when_ns)
{
    if (when_ns < gang->wake_ns)
        gang->wake_ns = when_ns;
    if (when_ns < core->next_wake_ns)
        core->next_wake_ns = when_ns;
}

static struct gang *gang_create(struct core *core, const char *key, enum gang_kind kind,
                                const char *ns, const char *name)
{
    struct gang *gang = gang_new(key, kind, ns, name);
    char record[KEY_TEXT];

    if (!gang)
        return NULL;
    gang->wake_ns = INT64_MAX;
    free(gang->record.name);
    gang->record.name = core__record_name(core, gang);
    if (!gang->record.name || gang_list_add(&core->all, gang) < 0)
        goto fail;
    core__key(record, "", ns, gang->record.name);
    if (hashmap_set(&core->gangs, key, gang) < 0 || hashmap_set(&core->records, record, gang) < 0) {
        hashmap_remove(&core->gangs, key);
        core->all.n--;
        goto fail;
    }
    gang->record.exists = hashmap_get(&core->placements, record) != NULL;
    core__take_former_write(core, gang, record);
    return gang;
fail:
    gang_free(&core->cluster, gang);
    return NULL;
}

void core__drop_gang(struct core *core, struct gang *gang)
{
    const struct obj_placement *placement;
    char record[KEY_TEXT];

    core__key(record, "", gang->ns, gang->record.name);
    placement = hashmap_get(&core->placements, record);
    if (core->head == gang)
        core__unreserve(core);
    core__keep_former_write(core, gang, record);
    hashmap_remove(&core->records, record);
    if (placement) /* else the watch has not brought it yet: it is deleted when it comes */
        core__delete_orphan(core, placement);
    hashmap_remove(&core->gangs, gang->key);
    gang_list_remove(&core->all, gang);
    gang_list_remove(&core->dirty, gang);
    gang_list_remove(&core->ready, gang);
    gang_list_remove(&core->unsaved, gang);
    gang_free(&core->cluster, gang);
}

/* ---- which gang ------------------------------------------------------------------------------ */

struct belonging {
    enum gang_kind kind;
    const char *name; /* NULL: none */
};

static struct belonging belongs_to(const struct core *core, const struct obj_pod *pod)
{
    const struct obj_namespace *ns;

    if (strcmp(pod->scheduler, core->config->scheduler_name) != 0 || pod->terminating ||
        pod->phase == POD_FAILED || pod->gated)
        return (struct belonging){GANG_LABEL, NULL};
    if (pod->wish.name[0])
        return (struct belonging){GANG_LABEL, pod->wish.name};
    if (pod->group_native[0])
        return (struct belonging){GANG_GROUP_NATIVE, pod->group_native};
    if (pod->group_sigs[0])
        return (struct belonging){GANG_GROUP_SIGS, pod->group_sigs};
    ns = hashmap_get(&core->namespaces, pod->ns);
    if (ns && ns->jobs_are_gangs && pod->owner.kind == OWNER_JOB)
        return (struct belonging){GANG_JOB, pod->owner.name};
    return (struct belonging){GANG_LABEL, NULL};
}

/* The slot of a member that goes: its node and hold stay with the gang until the gang decides. */
static void slot_vacate(struct core *core, struct gang *gang, struct slot *slot)
{
    core__slot_reply(core, slot, "the pod left its gang");
    slot->pod = NULL;
    slot->nominated = slot->steering = slot->unsteered = slot->unsure = slot->needs_vote = false;
    slot->cleared = slot->tries = 0;
    slot->write = 0;
    slot->deadline_ns = 0;
    if (!slot->held)
        slot->gpus = 0; /* nobody keeps them for it */
    slot_set_state(gang, slot, SLOT_EMPTY);
}

/* The place is given up whole: its pod goes back and waits for another one. */
void core__vacate(struct core *core, struct gang *gang, struct slot *slot, const char *why)
{
    struct pod *pod = slot->pod;

    if (pod) {
        core__slot_reply(core, slot, why);
        pod->slot = -1;
        pod->refused = true; /* it was sent back: it needs a wake-up next time */
        if (!pod->node)
            cluster_set_gpus(pod, NULL, 0);
    }
    if (MUTANT(HOLD_LEAK))
        slot->held = false;
    slot_unhold(&core->cluster, slot);
    slot_vacate(core, gang, slot);
    slot_set_node(&core->cluster, slot, NULL);
}

void core__leave(struct core *core, struct pod *pod)
{
    struct gang *gang = pod->gang;

    if (!gang)
        return;
    if (pod->slot >= 0)
        slot_vacate(core, gang, &gang->slots[pod->slot]);
    if (!pod->node)
        cluster_set_gpus(pod, NULL, 0);
    gang_remove_member(gang, pod);
    core__touch(core, gang);
}

bool core__is_undecided(const struct core *core, const struct pod *pod)
{
    return !pod->gang && pod->undecided_until_ns > core->now_ns &&
           !hashmap_get(&core->namespaces, pod->object->ns);
}

/* The watches of pods and namespaces know nothing of each other: which comes first is chance. */
static void await_namespace(struct core *core, struct pod *pod)
{
    const struct obj_pod *object = pod->object;

    if (pod->undecided_until_ns || object->owner.kind != OWNER_JOB || object->node[0] ||
        strcmp(object->scheduler, core->config->scheduler_name) != 0 ||
        hashmap_get(&core->namespaces, object->ns))
        return;
    pod->undecided_until_ns = core->now_ns + NAMESPACE_WAIT_NS;
}

void core__assign(struct core *core, struct pod *pod)
{
    struct belonging to = belongs_to(core, pod->object);
    char key[KEY_TEXT];
    struct gang *gang;

    pod->left_out = false;
    if (!to.name) {
        await_namespace(core, pod);
        core__leave(core, pod);
        return;
    }
    core__key(key, gang_kind_name(to.kind), pod->object->ns, to.name);
    gang = hashmap_get(&core->gangs, key);
    if (gang && pod->gang == gang) {
        core__touch(core, gang);
        return;
    }
    core__leave(core, pod);
    if (!gang)
        gang = gang_create(core, key, to.kind, pod->object->ns, to.name);
    if (!gang || gang->nmembers >= OBJ_GANG_PODS_MAX || gang_add_member(gang, pod) < 0) {
        pod->left_out = true;
        return;
    }
    if (pod->object->created_s > gang->newest_s)
        gang->newest_s = pod->object->created_s;
    core__touch(core, gang);
}

/* It came with a node already: that is its place, whatever was planned. */
static void seat_where_bound(struct core *core, struct gang *gang, struct slot *slot,
                             const struct pod *pod)
{
    struct node *node = cluster_node(&core->cluster, pod->object->node);

    slot_unhold(&core->cluster, slot);
    gang->drifted |= gang->state == GANG_PLANNED; /* in Planned we bind nobody */
    if (slot->node == node)
        return;
    gang->drifted |= slot->node != NULL;
    slot_set_node(&core->cluster, slot, node);
    core__plan_changed(gang);
}

void core__slot_take(struct core *core, struct gang *gang, uint32_t index, struct pod *pod)
{
    struct slot *slot = &gang->slots[index];

    if (pod->object->node[0])
        seat_where_bound(core, gang, slot, pod);
    slot->pod = pod;
    slot_set_subgroup(slot, core__subgroup_of(pod));
    slot->nominated = slot->steering = slot->unsteered = slot->unsure = slot->needs_vote = false;
    slot->cleared = slot->tries = 0;
    slot->deadline_ns = 0;
    slot_set_state(gang, slot, pod->object->phase == POD_SUCCEEDED ? SLOT_DONE
                               : pod->object->node[0]              ? SLOT_BOUND
                                                                   : SLOT_TAKEN);
    pod->slot = (int32_t)index;
    if ((uint32_t)__builtin_popcount(slot->gpus) != core_accelerators(core, &pod->requests))
        slot->gpus = 0; /* stored for another one */
    cluster_set_gpus(pod, slot->node, slot->gpus);
    if (pod->node)
        slot->gpus = pod->gpus;
}

void core__seat(struct core *core, struct gang *gang, uint32_t index, struct pod *pod, struct node *node,
                uint32_t gpus)
{
    struct slot *slot = &gang->slots[index];

    slot_set_node(&core->cluster, slot, node);
    slot->gpus = gpus;
    slot_hold(&core->cluster, slot, &pod->requests);
    core__slot_take(core, gang, index, pod);
}

/* ---- other objects that say something about gangs --------------------------------------------- */

static void touch_key(struct core *core, enum gang_kind kind, const char *ns, const char *name)
{
    char key[KEY_TEXT];
    struct gang *gang;

    core__key(key, gang_kind_name(kind), ns, name);
    gang = hashmap_get(&core->gangs, key);
    if (gang)
        core__touch(core, gang);
}

void core__touch_job(struct core *core, const struct obj_job *job)
{
    touch_key(core, GANG_JOB, job->ns, job->name);
    if (job->template && job->template->wish.name[0])
        touch_key(core, GANG_LABEL, job->ns, job->template->wish.name);
}

void core__touch_group(struct core *core, const struct obj_group *group)
{
    touch_key(core, group->kind == GROUP_NATIVE ? GANG_GROUP_NATIVE : GANG_GROUP_SIGS, group->ns,
              group->name);
}

void core__group_key(const struct obj_group *group, char *ret, size_t size)
{
    snprintf(ret, size, "%d:%s/%s", (int)group->kind, group->ns, group->name);
}
