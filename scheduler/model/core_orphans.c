/*
 * GangPlacements that are nobody's: their gang went, and no owner takes them along. They are deleted, each
 * exactly as it was seen (UID and resourceVersion), so that a deletion that is late never takes what a gang
 * of the same name has stored since. One that failed is tried again while the object is still seen and
 * still nobody's; a gang that takes the name first waits for a deletion under way (gang_record.former).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scheduler/model/core_internal.h"

#define RETRY_SHIFT_MAX 6 /* 1, 2, 4, ... 64 s */

struct orphan {
    char uid[NAME_TEXT], version[NAME_TEXT]; /* of the object as it was to be deleted */
    uint64_t write; /* ticket of the deletion under way, 0: none */
    uint32_t failures; /* in a row */
    int64_t retry_ns; /* INT64_MAX: it is done, the watch will tell */
};

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static bool is_of(const struct orphan *orphan, const struct obj_placement *placement)
{
    return strcmp(orphan->uid, or_empty(placement->uid)) == 0 &&
           strcmp(orphan->version, or_empty(placement->version)) == 0;
}

static char *preconditions(const struct orphan *orphan)
{
    json_t *object = json_object();
    char *text;

    if (orphan->uid[0])
        json_object_set_new(object, "uid", json_string(orphan->uid));
    if (orphan->version[0])
        json_object_set_new(object, "resourceVersion", json_string(orphan->version));
    text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return text;
}

static void send_deletion(struct core *core, struct orphan *orphan,
                          const struct obj_placement *placement)
{
    struct action *action = core__act(core, ACT_PLACEMENT_DELETE);

    if (!action)
        return;
    snprintf(orphan->uid, sizeof(orphan->uid), "%s", or_empty(placement->uid));
    snprintf(orphan->version, sizeof(orphan->version), "%s", or_empty(placement->version));
    snprintf(action->ns, sizeof(action->ns), "%s", placement->ns);
    snprintf(action->name, sizeof(action->name), "%s", placement->name);
    action->body = preconditions(orphan);
    action->ticket = orphan->write = ++core->next_ticket;
}

static struct orphan *orphan_of(struct core *core, const char *key)
{
    struct orphan *orphan = hashmap_get(&core->orphans, key);

    if (orphan)
        return orphan;
    orphan = calloc(1, sizeof(*orphan));
    if (orphan && hashmap_set(&core->orphans, key, orphan) == 0)
        return orphan;
    free(orphan);
    return NULL;
}

void core__delete_orphan(struct core *core, const struct obj_placement *placement)
{
    struct orphan *orphan;
    char key[KEY_TEXT];

    core__key(key, "", placement->ns, placement->name);
    /* A write that its gang did not live to see would make the object anew: its end is awaited. */
    if (placement->owned || hashmap_get(&core->records, key) ||
        hashmap_get(&core->former_writes, key))
        return;
    orphan = orphan_of(core, key);
    if (!orphan || orphan->write || (is_of(orphan, placement) && orphan->retry_ns > core->now_ns))
        return;
    send_deletion(core, orphan, placement);
}

/* They went while nobody led. */
void core__delete_orphans(struct core *core)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(&core->placements, &iter, &key, &value))
        core__delete_orphan(core, value);
}

/* Of what is owned now, or a gang's again, there is nothing to delete; core__take_orphan() has seen to it. */
void core__retry_orphans(struct core *core)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(&core->orphans, &iter, &key, &value)) {
        struct orphan *orphan = value;
        const struct obj_placement *placement = hashmap_get(&core->placements, key);

        if (orphan->write == 0 && orphan->retry_ns <= core->now_ns && placement && !placement->owned)
            send_deletion(core, orphan, placement);
        else if (orphan->write == 0 && orphan->retry_ns > core->now_ns &&
                 orphan->retry_ns < core->next_wake_ns)
            core->next_wake_ns = orphan->retry_ns;
    }
}

bool core__orphan_done(struct core *core, const struct event *event)
{
    const struct obj_placement *placement;
    struct orphan *orphan;
    char key[KEY_TEXT];

    core__key(key, "", event->ns_name, event->name);
    orphan = hashmap_get(&core->orphans, key);
    if (!orphan || orphan->write != event->ticket)
        return false;
    orphan->write = 0;
    orphan->retry_ns = INT64_MAX;
    if (event->result != WRITE_OK && event->result != WRITE_GONE) {
        uint32_t shift = orphan->failures < RETRY_SHIFT_MAX ? orphan->failures : RETRY_SHIFT_MAX;

        orphan->failures++;
        orphan->retry_ns = core->now_ns + (NS_PER_S << shift);
        if (orphan->retry_ns < core->next_wake_ns)
            core->next_wake_ns = orphan->retry_ns;
    }
    placement = hashmap_get(&core->placements, key);
    if (!placement || placement->owned)
        free(hashmap_remove(&core->orphans, key));
    else if (!is_of(orphan, placement))
        core__delete_orphan(core, placement); /* another one, or newer, came meanwhile */
    return true;
}

/* The object is gone. A deletion under way may be answered yet. */
void core__orphan_gone(struct core *core, const char *key)
{
    struct orphan *orphan = hashmap_get(&core->orphans, key);

    if (orphan && orphan->write == 0)
        free(hashmap_remove(&core->orphans, key));
}

uint64_t core__take_orphan(struct core *core, const char *key)
{
    struct orphan *orphan = hashmap_remove(&core->orphans, key);
    uint64_t write = orphan ? orphan->write : 0;

    free(orphan);
    return write;
}

void core__forget_orphans(struct core *core)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(&core->orphans, &iter, &key, &value))
        free(value);
    hashmap_release(&core->orphans);
}
