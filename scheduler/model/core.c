/* The core's front: an event changes the state, settling plans. Who decides what: core_internal.h. */
#include "scheduler/model/core.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

/* Before any other resource takes a column: there are fewer of them than columns. */
static void find_accelerators(struct core *core)
{
    for (size_t i = 0; i < core->config->naccelerators; i++) {
        int column = resource_column_add(&core->cluster.resources, core->config->accelerators[i]);

        if (column >= 0)
            core->accelerators |= UINT32_C(1) << column;
    }
}

struct core *core_new(const struct config *config)
{
    struct core *core = calloc(1, sizeof(*core));

    if (!core)
        return NULL;
    core->config = config;
    core->next_wake_ns = core->rejection_ends_ns = INT64_MAX;
    core->levels_stale = true;
    core->follows_lease = config->lease[0] != '\0';
    core->scratch = plan_scratch_new();
    core->race = plan_race_new();
    core->room = core__room_new();
    if (core->scratch && core->race && core->room && cluster_init(&core->cluster) == 0) {
        core->cluster.find_machine = config->find_machine;
        find_accelerators(core);
        return core;
    }
    core_free(core);
    return NULL;
}

static void free_values(struct hashmap *map, void (*free_value)(void *))
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(map, &iter, &key, &value))
        free_value(value);
    hashmap_release(map);
}

static void free_job(void *job)
{
    obj_job_free(job);
}

static void free_group(void *group)
{
    obj_group_free(group);
}

static void free_namespace(void *ns)
{
    obj_namespace_free(ns);
}

static void free_placement(void *placement)
{
    obj_placement_free(placement);
}

void core_free(struct core *core)
{
    if (!core)
        return;
    for (size_t i = 0; i < core->all.n; i++)
        gang_free(&core->cluster, core->all.items[i]);
    free_values(&core->jobs, free_job);
    free_values(&core->groups, free_group);
    free_values(&core->namespaces, free_namespace);
    free_values(&core->placements, free_placement);
    hashmap_release(&core->gangs);
    hashmap_release(&core->records);
    hashmap_release(&core->former_writes);
    core__forget_orphans(core);
    cluster_release(&core->cluster);
    free(core->all.items);
    free(core->dirty.items);
    free(core->ready.items);
    free(core->batch.items);
    free(core->unsaved.items);
    free(core->held);
    core__room_free(core->room);
    core__parts_free(core->parts);
    plan_scratch_free(core->scratch);
    plan_race_free(core->race);
    free(core);
}

void core_set_epoch(struct core *core, int64_t epoch_s)
{
    core->epoch_s = epoch_s;
}

/* ---- pods and nodes ----------------------------------------------------------------------------- */

static bool same_wait(const struct obj_pod *a, const struct obj_pod *b)
{
    return strcmp(a->waiting ? a->waiting : "", b->waiting ? b->waiting : "") == 0;
}

static void on_pod(struct core *core, struct obj_pod *object)
{
    struct pod *pod = cluster_pod(&core->cluster, object->uid);
    bool cleared = false, was_bound = pod && pod->object->node[0];
    bool waits_anew = pod && !same_wait(pod->object, object), was_stuck = pod && pod->object->stuck;

    if (object->rejected && object->node[0] && (pod ? !pod->object->rejected : core->listed))
        core__rejected(core, object->node);
    if (pod && pod->slot >= 0 && !object->node[0]) {
        struct slot *slot = &pod->gang->slots[pod->slot];

        cleared = slot->nominated && slot->state == SLOT_TAKEN && pod->object->nominated[0] &&
                  !object->nominated[0];
        slot->cleared = (uint8_t)(slot->cleared + cleared);
    }
    core__note_regrouped(pod, object);
    pod = cluster_put_pod(&core->cluster, object);
    if (!pod)
        return;
    if (cleared) {
        /* kube-scheduler tried the node and failed: wake it once more, then believe it. */
        pod->refused = true;
        pod->gang->slots[pod->slot].nominated = false;
    }
    if (object->refusal[0] && !object->node[0])
        pod->refused = true;
    core__assign(core, pod);
    if (object->node[0] && (!was_bound || object->phase == POD_SUCCEEDED))
        core__saw_bound(core, pod);
    if (waits_anew)
        core__probe_waits(core, pod, was_stuck);
    if (pod->node && !was_bound) /* somebody may have put it where others have a place */
        core->crowded |= node_overheld(pod->node);
}

static void on_pod_gone(struct core *core, const char *uid)
{
    struct pod *pod = cluster_pod(&core->cluster, uid);

    if (!pod)
        return;
    core__leave(core, pod);
    core__release_hold(core, pod, "the pod is gone");
    if (MUTANT(USE_FORGOTTEN))
        pod->node = NULL;
    cluster_drop_pod(&core->cluster, pod);
}

static void on_node(struct core *core, struct obj_node *object)
{
    if (cluster_put_node(&core->cluster, object))
        core->nodes_changed = core->levels_stale = true;
}

static void on_machine(struct core *core, struct obj_machine *object)
{
    if (cluster_put_machine(&core->cluster, object->name, &object->machine) < 0)
        core->machines_refused++;
    obj_machine_free(object);
}

static void on_refused(struct core *core, const struct event *event)
{
    struct pod *pod = cluster_pod(&core->cluster, event->uid);

    if (!pod)
        return;
    pod->refused = true;
    if (pod->gang)
        core__touch(core, pod->gang);
}

/* ---- other objects -------------------------------------------------------------------------------- */

static void put_object(struct hashmap *map, const char *key, void *object, void (*free_it)(void *))
{
    void *old = hashmap_get(map, key);

    if (hashmap_set(map, key, object) < 0) {
        free_it(object);
        return;
    }
    if (old)
        free_it(old);
}

static void on_job(struct core *core, struct obj_job *job)
{
    char key[KEY_TEXT];

    core__key(key, "", job->ns, job->name);
    put_object(&core->jobs, key, job, free_job);
    if (hashmap_get(&core->jobs, key) == job)
        core__touch_job(core, job);
}

static void on_group(struct core *core, struct obj_group *group)
{
    char key[KEY_TEXT];

    core__group_key(group, key, sizeof(key));
    put_object(&core->groups, key, group, free_group);
    if (hashmap_get(&core->groups, key) == group)
        core__touch_group(core, group);
}

static void on_group_gone(struct core *core, const struct event *event)
{
    struct obj_group probe = {.kind = event->group_kind,
                              .ns = (char *)(uintptr_t)event->ns_name,
                              .name = (char *)(uintptr_t)event->name};
    char key[KEY_TEXT];

    core__group_key(&probe, key, sizeof(key));
    obj_group_free(hashmap_remove(&core->groups, key));
    core__touch_group(core, &probe);
}

/* The label that makes Jobs gangs may come or go: its pods are looked at again. And it may allow evicting. */
static void on_namespace(struct core *core, struct obj_namespace *ns)
{
    struct obj_namespace *old = hashmap_get(&core->namespaces, ns->name);
    bool changed = (old && old->jobs_are_gangs) != ns->jobs_are_gangs;
    bool opened = ns->evict_allowed && !(old && old->evict_allowed);
    struct hashmap_iter iter = {0};
    const char *key, *name = ns->name;
    void *value;

    put_object(&core->namespaces, ns->name, ns, free_namespace);
    if (opened)
        core->cluster.capacity_version++; /* a preemptor may find room there now */
    if (!changed)
        return;
    while (hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value)) {
        struct pod *pod = value;

        if (strcmp(pod->object->ns, name) == 0 && !pod->object->node[0])
            core__assign(core, pod);
    }
}

static void on_placement(struct core *core, struct obj_placement *placement)
{
    char key[KEY_TEXT];
    struct gang *gang;

    core__key(key, "", placement->ns, placement->name);
    put_object(&core->placements, key, placement, free_placement);
    gang = hashmap_get(&core->records, key);
    if (gang)
        core__record_seen(core, gang, placement);
    else if (core->active && hashmap_get(&core->placements, key) == placement)
        core__delete_orphan(core, placement); /* its gang went while it was being written */
}

static void on_placement_gone(struct core *core, const struct event *event)
{
    char key[KEY_TEXT];
    struct gang *gang;

    core__key(key, "", event->ns_name, event->name);
    obj_placement_free(hashmap_remove(&core->placements, key));
    core__orphan_gone(core, key);
    gang = hashmap_get(&core->records, key);
    if (!gang)
        return;
    gang->record.exists = false;
    gang->record.dirty = true;
    gang->persisted = false; /* no binding without a stored plan */
    core__forget_written(gang);
    core__touch(core, gang);
}

static void on_write_done(struct core *core, const struct event *event)
{
    struct pod *pod;

    switch (event->action) {
    case ACT_BIND:
    case ACT_READ_POD:
        core__bind_done(core, event);
        break;
    case ACT_PLACEMENT:
        core__record_done(core, event);
        break;
    case ACT_PLACEMENT_DELETE:
        if (!core__orphan_done(core, event))
            core__record_done(core, event); /* a gang of that name waits for it */
        break;
    case ACT_EVICT:
        core__evict_done(core, event);
        break;
    case ACT_NOMINATE:
        pod = cluster_pod(&core->cluster, event->uid);
        if (!pod || pod->slot < 0)
            break;
        pod->gang->slots[pod->slot].steering = false;
        if (event->result == WRITE_OK)
            break;
        /* The wake-up did not arrive: send it again at the next look. */
        pod->refused = true;
        pod->gang->slots[pod->slot].nominated = false;
        core__wake_at(core, pod->gang, core->now_ns + NS_PER_S);
        break;
    default:
        break;
    }
}

static void on_gone(struct core *core, const struct event *event)
{
    char key[KEY_TEXT];

    core__key(key, "", event->ns_name, event->name);
    switch (event->kind) {
    case EV_JOB_GONE:
        obj_job_free(hashmap_remove(&core->jobs, key));
        break;
    case EV_NAMESPACE_GONE:
        obj_namespace_free(hashmap_remove(&core->namespaces, event->name));
        break;
    case EV_NODE_GONE:
        cluster_drop_node(&core->cluster, event->name);
        core->nodes_changed = true;
        break;
    case EV_MACHINE_GONE:
        cluster_put_machine(&core->cluster, event->name, NULL);
        break;
    case EV_GROUP_GONE:
        on_group_gone(core, event);
        break;
    case EV_PLACEMENT_GONE:
        on_placement_gone(core, event);
        break;
    default:
        on_pod_gone(core, event->uid);
        break;
    }
}

/* ---- the doors ------------------------------------------------------------------------------------ */

void core_step(struct core *core, struct event *event, int64_t now_ns, struct actions *ret_actions)
{
    core->now_ns = now_ns;
    core->out = ret_actions;
    core->steps++;
    core__check_term(core);
    switch (event->kind) {
    case EV_TICK:
        break;
    case EV_NODE:
        on_node(core, event->object.node);
        break;
    case EV_MACHINE:
        on_machine(core, event->object.machine);
        break;
    case EV_POD:
        on_pod(core, event->object.pod);
        break;
    case EV_JOB:
        on_job(core, event->object.job);
        break;
    case EV_GROUP:
        on_group(core, event->object.group);
        break;
    case EV_NAMESPACE:
        on_namespace(core, event->object.ns);
        break;
    case EV_PLACEMENT:
        on_placement(core, event->object.placement);
        break;
    case EV_SYNCED:
        core->listed = true;
        core->synced |= event->ticket == core->term;
        break;
    case EV_LEASE:
        core__on_lease(core, event->object.lease, event->wall_ns);
        obj_lease_free(event->object.lease);
        break;
    case EV_LEASE_GONE:
        core__on_lease_gone(core);
        break;
    case EV_REFUSED:
    case EV_MISSED:
        on_refused(core, event);
        break;
    case EV_VOTE:
        core__vote(core, event);
        break;
    case EV_PROBED:
        core__on_probed(core, event);
        break;
    case EV_WRITE_DONE:
        on_write_done(core, event);
        break;
    default:
        on_gone(core, event);
        break;
    }
}

/* Gangs whose time has come, and those with a plan when a node changed. */
static void wake_gangs(struct core *core)
{
    bool due = core->next_wake_ns <= core->now_ns;

    if (!due && !core->nodes_changed && !core->crowded)
        return;
    for (size_t i = 0; i < core->all.n; i++) {
        struct gang *gang = core->all.items[i];

        if ((due && gang->wake_ns <= core->now_ns) ||
            (core->nodes_changed && gang->nslots > 0 && gang->state != GANG_RUNNING) ||
            (core->crowded && gang->nslots > 0))
            core__touch(core, gang);
    }
    if (!due)
        return;
    core->next_wake_ns = INT64_MAX;
    core__expire_holds(core);
    core__retry_orphans(core);
    for (size_t i = 0; i < core->all.n; i++)
        if (core->all.items[i]->wake_ns < core->next_wake_ns && !core->all.items[i]->dirty)
            core->next_wake_ns = core->all.items[i]->wake_ns;
}

/* The list is taken away first: settling touches gangs (itself too) and drops empty ones. */
static void settle_dirty(struct core *core)
{
    struct gang_list batch = core->dirty;

    core->dirty = core->batch;
    core->dirty.n = 0;
    core->batch = batch;
    for (size_t i = 0; i < batch.n; i++)
        batch.items[i]->dirty = false;
    for (size_t i = 0; i < batch.n; i++)
        core__settle_gang(core, batch.items[i]);
}

/* A settled gang may touch itself again (a new state has its own rules): a few rounds suffice. */
#define ROUNDS_MAX 8

void core_settle(struct core *core, int64_t now_ns, struct actions *ret_actions)
{
    core->now_ns = now_ns;
    core->out = ret_actions;
    core__check_term(core);
    if (!core->active)
        return;
    core__end_rejections(core);
    wake_gangs(core);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (core->dirty.n > 0)
            settle_dirty(core);
        core__plan_ready(core);
        core->nodes_changed = core->crowded = false;
        if (core->dirty.n == 0)
            break;
    }
    for (size_t i = 0; i < core->unsaved.n; i++) {
        core->unsaved.items[i]->unsaved = false;
        core__write_record(core, core->unsaved.items[i]);
    }
    core->unsaved.n = 0;
}

int64_t core_deadline(const struct core *core)
{
    int64_t term_ns = core__term_deadline(core);
    int64_t due_ns = core->dirty.n ? core->now_ns : core->next_wake_ns;

    if (!core->active)
        return term_ns;
    if (core->rejection_ends_ns < due_ns)
        due_ns = core->rejection_ends_ns;
    return due_ns < term_ns ? due_ns : term_ns;
}
