/* The gang's GangPlacement (the plan's authority after a restart) and its Events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/strbuf.h"

#include "scheduler/model/core_internal.h"
#include "topology/gpu_set.h"

#define EVENTS_MAX 100 /* pods of one gang that get an Event for one reason */
#define EVENT_NOTE_MAX 1000 /* the API server takes 1,024 bytes */
#define RECORD_RETRY_NS NS_PER_S
#define RECORD_COUNTS_NS NS_PER_S

void core__time_text(char ret[TIME_TEXT], int64_t wall_s)
{
    time_t when = (time_t)wall_s;
    struct tm tm;

    gmtime_r(&when, &tm);
    strftime(ret, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static json_t *time_json(int64_t wall_s)
{
    char text[TIME_TEXT];

    core__time_text(text, wall_s);
    return json_string(text);
}

#define GPUS_TEXT 1024 /* of all pods on a node: each index stands there once, and some pods have none */

/* "0-3 - 4-7": a set for each rank, "-" where it is not known; false: of none. */
static bool gpus_text(const struct gang *gang, uint32_t first, uint32_t end, char ret[GPUS_TEXT])
{
    bool known = false;
    size_t at = 0;

    for (uint32_t i = first; i < end; i++) {
        char set[GPU_SET_TEXT];

        known |= gang->slots[i].gpus != 0;
        gpu_set_text(gang->slots[i].gpus, set);
        at += (size_t)snprintf(ret + at, GPUS_TEXT - at, "%s%s", at ? " " : "", set[0] ? set : "-");
        if (at >= GPUS_TEXT)
            return false;
    }
    return known;
}

/* Compact: consecutive ranks on one node are one entry. */
static json_t *nodes_json(const struct gang *gang)
{
    json_t *nodes = json_array();
    char gpus[GPUS_TEXT];

    for (uint32_t i = 0, end; i < gang->nslots; i = end) {
        const struct node *node = gang->slots[i].node;

        for (end = i + 1; end < gang->nslots && gang->slots[end].node == node;)
            end++;
        if (node)
            json_array_append_new(nodes, json_pack("{s:s, s:i, s:i, s:s*}", "name", node->name, "first",
                                                   (int)i, "count", (int)(end - i), "gpus",
                                                   gpus_text(gang, i, end, gpus) ? gpus : NULL));
    }
    return nodes;
}

static json_t *condition_json(const struct gang *gang)
{
    bool placed = gang->state == GANG_BOUND || gang->state == GANG_RUNNING ||
                  gang->state == GANG_DONE;
    const char *reason = gang->reason.code != REASON_NONE ? reason_code_name(gang->reason.code)
                                                          : gang_state_name(gang->state);

    return json_pack("[{s:s, s:s, s:s, s:s, s:o}, {s:s, s:s, s:s, s:s, s:o}]", "type", "Placed", "status",
                     placed ? "True" : "False", "reason", reason, "message", gang->reason.text,
                     "lastTransitionTime", time_json(gang->state_since_s), "type", "Drifted", "status",
                     gang->drifted ? "True" : "False", "reason",
                     gang->drifted ? "BoundElsewhere" : "AsPlanned", "message",
                     gang->drifted ? "a pod was bound to another node than planned, not by lockstep"
                                   : "",
                     "lastTransitionTime", time_json(gang->state_since_s));
}

static json_t *reason_json(const struct reason *reason)
{
    if (reason->code == REASON_NONE)
        return json_null(); /* a merge patch removes it */
    return json_pack("{s:s, s:s}", "code", reason_code_name(reason->code), "message", reason->text);
}

static json_t *would_fit_json(const struct gang *gang)
{
    json_t *list = json_array();

    for (size_t i = 0; i < GANG_WOULD_FIT && gang->would_fit[i]; i++)
        json_array_append_new(list, json_string(gang->would_fit[i]));
    if (json_array_size(list) > 0)
        return list;
    json_decref(list);
    return json_null();
}

/* A quantity, bytes per second: "342G". */
static json_t *predicted_json(const struct gang *gang)
{
    char text[32];

    if (gang->nslots == 0 || gang->predicted.busbw_gb_s <= 0)
        return json_null();
    if (gang->predicted.busbw_gb_s < 10) /* one that is not zero, and two figures at least */
        snprintf(text, sizeof(text), "%.0fM", gang->predicted.busbw_gb_s * 1000);
    else
        snprintf(text, sizeof(text), "%.0fG", gang->predicted.busbw_gb_s);
    return json_string(text);
}

static json_t *status_json(const struct gang *gang)
{
    bool planned = gang->nslots > 0;
    char hash[GANG_HASH_TEXT] = "";

    if (planned)
        gang_hash(gang, hash);
    return json_pack("{s:s, s:o, s:o, s:I, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state",
                     gang_state_text(gang), "reason", reason_json(&gang->reason),
                     "wouldFit", would_fit_json(gang),
                     "generation", (json_int_t)gang->generation, "pods",
                     (int)(planned ? gang->nslots : gang->size), "min", (int)gang->min, "bound",
                     (int)gang_bound(gang), "nodes", nodes_json(gang), "nodeCount",
                     planned ? json_integer((json_int_t)gang->use[gang->nlevels].used)
                             : json_null(),
                     "hash", planned ? json_string(hash) : json_null(),
                     "predictedBusBandwidth", predicted_json(gang), "measuredBusBandwidth",
                     gang->probe.measured[0] ? json_string(gang->probe.measured) : json_null(), "probe",
                     core__probe_json(gang), "conditions", condition_json(gang));
}

/* The controller of its pods, else its PodGroup: the GangPlacement goes with it. */
static json_t *owner_json(const struct core *core, const struct gang *gang)
{
    const struct owner *owner = gang->nmembers ? &gang->members[0]->object->owner : NULL;
    const struct obj_group *group = core__group_of(core, gang);

    if ((!owner || owner->kind == OWNER_NONE) && group)
        return json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", group->api_version, "kind",
                         "PodGroup", "name", group->name, "uid", group->uid);
    if (!owner || owner->kind == OWNER_NONE)
        return NULL;
    return json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", owner->api_version, "kind",
                     owner->kind_name, "name", owner->name, "uid", owner->uid);
}

static json_t *record_json(const struct core *core, const struct gang *gang, json_t *status)
{
    json_t *meta = json_pack("{s:s, s:s}", "name", gang->record.name, "namespace", gang->ns);
    json_t *owner = owner_json(core, gang);

    if (owner)
        json_object_set_new(meta, "ownerReferences", owner);
    return json_pack("{s:s, s:s, s:o, s:{s:{s:s, s:s}}, s:o}", "apiVersion",
                     "lockstep.dev/v1alpha1", "kind", "GangPlacement", "metadata", meta, "spec",
                     "gang", "kind", gang_kind_name(gang->kind), "name", gang->name, "status",
                     status);
}

/* Does the status text (our own JSON) say that the gang is in its state? */
static bool tells_state(const char *status, const struct gang *gang)
{
    char field[40];

    snprintf(field, sizeof(field), "\"state\":\"%s\"", gang_state_text(gang));
    return strstr(status, field) != NULL;
}

/* What is stored is state and plan as they are: bindings and evictions may follow. */
static void note_persisted(struct core *core, struct gang *gang)
{
    if (gang->persisted || gang->record.written_version != gang->plan_version ||
        !tells_state(gang->record.written, gang))
        return;
    gang->persisted = true;
    core__touch(core, gang);
}

/*
 * Nothing but counts has changed since the last write: a thousand pods that start or go are told once a
 * second, not one by one.
 */
static bool can_wait(const struct core *core, const struct gang *gang)
{
    const struct gang_record *record = &gang->record;

    return record->written && record->told_state == gang->state &&
           record->written_version == gang->plan_version && record->told.code == gang->reason.code &&
           (gang->reason.code == REASON_MEMBERS_MISSING ||
            strcmp(record->told.text, gang->reason.text) == 0) &&
           core->now_ns < record->told_ns + RECORD_COUNTS_NS;
}

/* One write at a time and only when the text differs from what the API server has. */
void core__write_record(struct core *core, struct gang *gang)
{
    struct gang_record *record = &gang->record;
    struct action *action;
    json_t *status, *object;
    char *text;

    if ((!record->dirty && !MUTANT(WRITES_REPEATED)) || record->write)
        return;
    if (record->retry_ns > core->now_ns) {
        core__wake_at(core, gang, record->retry_ns);
        return;
    }
    if (can_wait(core, gang)) {
        core__wake_at(core, gang, record->told_ns + RECORD_COUNTS_NS);
        return;
    }
    core__predict(core, gang);
    status = status_json(gang);
    text = json_dumps(status, JSON_COMPACT | JSON_SORT_KEYS);
    record->dirty = false;
    if (!text || (record->written && strcmp(text, record->written) == 0 &&
                  !MUTANT(WRITES_REPEATED))) {
        gang->record.written_version = gang->plan_version;
        note_persisted(core, gang);
        json_decref(status);
        free(text);
        return;
    }
    action = core__act(core, ACT_PLACEMENT);
    object = record_json(core, gang, status);
    if (action) {
        snprintf(action->ns, sizeof(action->ns), "%s", gang->ns);
        snprintf(action->name, sizeof(action->name), "%s", record->name);
        action->body = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
        action->ticket = record->write = ++core->next_ticket;
        free(record->writing);
        record->writing = TAKE(text);
        record->writing_version = gang->plan_version;
        action->fresh = !record->exists;
        record->told = gang->reason;
        record->told_state = gang->state;
        record->told_ns = core->now_ns;
    }
    json_decref(object);
    free(text);
}

static void *as_value(uint64_t ticket)
{
    return (void *)(uintptr_t)ticket;
}

/* The gang goes while its GangPlacement is being written: one of the same name waits for the end of that. */
void core__keep_former_write(struct core *core, const struct gang *gang, const char *key)
{
    if (gang->record.write)
        hashmap_set(&core->former_writes, key, as_value(gang->record.write));
}

void core__take_former_write(struct core *core, struct gang *gang, const char *key)
{
    uint64_t deletion = core__take_orphan(core, key);

    gang->record.write = (uint64_t)(uintptr_t)hashmap_remove(&core->former_writes, key);
    if (gang->record.write == 0)
        gang->record.write = deletion;
    gang->record.former = gang->record.write != 0;
}

void core__forget_written(struct gang *gang)
{
    free(gang->record.written);
    free(gang->record.version);
    gang->record.written = gang->record.version = NULL;
}

static bool shows_own_write(const struct gang_record *record, const struct obj_placement *placement)
{
    return record->version && placement && placement->version &&
           strcmp(placement->version, record->version) == 0;
}

/* Somebody wrote it by hand, or a write of a former process came late: what is stored must be true again. */
void core__record_seen(struct core *core, struct gang *gang, const struct obj_placement *placement)
{
    struct gang_record *record = &gang->record;

    record->exists = true;
    if (shows_own_write(record, placement)) {
        record->version_seen = true;
    } else if (record->version && record->version_seen && record->write == 0) {
        core__forget_written(gang);
        gang->persisted = false;
        record->dirty = true;
        core__touch(core, gang);
    }
}

static void note_written(struct core *core, struct gang *gang, const struct event *event, const char *key)
{
    struct gang_record *record = &gang->record;

    core__forget_written(gang);
    record->written = TAKE(record->writing);
    record->version = event->text[0] ? strdup(event->text) : NULL;
    record->version_seen = shows_own_write(record, hashmap_get(&core->placements, key));
    record->exists = true;
    record->failures = 0;
    record->written_version = record->writing_version;
}

void core__record_done(struct core *core, const struct event *event)
{
    char key[KEY_TEXT];
    struct gang *gang;

    core__key(key, "", event->ns_name, event->name);
    gang = hashmap_get(&core->records, key);
    if (hashmap_get(&core->former_writes, key) == as_value(event->ticket)) {
        const struct obj_placement *placement = hashmap_get(&core->placements, key);

        hashmap_remove(&core->former_writes, key);
        if (placement && core->active)
            core__delete_orphan(core, placement);
    }
    if (!gang || gang->record.write != event->ticket)
        return;
    gang->record.write = 0;
    core__touch(core, gang);
    if (gang->record.former) {
        gang->record.former = false;
        gang->record.dirty = true;
        return;
    }
    if (event->result == WRITE_OK) {
        note_written(core, gang, event, key);
        note_persisted(core, gang);
        return;
    }
    if (event->result == WRITE_UNKNOWN) { /* it may have been applied: what is stored is unknown */
        core__forget_written(gang);
        gang->persisted = false;
    }
    gang->record.dirty = true;
    gang->record.failures++;
    gang->record.retry_ns = core->now_ns + RECORD_RETRY_NS *
                                               (gang->record.failures < 10 ? gang->record.failures
                                                                           : 10);
}

/* The reason, and what would let the gang fit as far as the API server takes so long a note. */
static char *note_text(const struct gang *gang)
{
    struct strbuf text = STRBUF_INIT(EVENT_NOTE_MAX);

    strbuf_adds(&text, gang->reason.text);
    for (size_t i = 0; i < GANG_WOULD_FIT && gang->would_fit[i] && !text.failed; i++)
        strbuf_addf(&text, "; %s", gang->would_fit[i]);
    return strbuf_take(&text, NULL);
}

void core__tell_reason(struct core *core, struct gang *gang)
{
    size_t told = 0;

    gang->reason_told = true;
    for (size_t i = 0; i < gang->nmembers && told < EVENTS_MAX; i++) {
        struct action *action;

        if (gang->members[i]->object->node[0])
            continue;
        action = core__act(core, ACT_POD_EVENT);
        if (!action)
            return;
        core__act_on_pod(action, gang->members[i]->object, "");
        snprintf(action->reason, sizeof(action->reason), "%s",
                 reason_code_name(gang->reason.code));
        action->warning = true;
        action->text = note_text(gang);
        told++;
    }
}
