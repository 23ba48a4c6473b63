/* settle.h - what the targets that fill a core share. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/cluster.h"

/* Plans what can be planned; a broken invariant ends the run. */
static inline void settle_at(struct loader *loader, enum event_kind kind, int64_t now_ns)
{
    struct event event = {.kind = kind};
    struct err err = ERR_INIT;

    actions_clear(&loader->actions);
    core_step(loader->core, &event, now_ns, &loader->actions);
    core_settle(loader->core, now_ns, &loader->actions);
    if (core_check(loader->core, &err) == 0)
        return;
    fprintf(stderr, "broken invariant: %s\n", err.text);
    abort();
}

#define INPUT_MAX 4096 /* bytes: 300 gangs of 20,000 fit into 64 KiB, and a minute of this build */
#define ASKED_MAX 100000 /* members that gangs say they have; a plan has a slot for each */

/* Not when it takes long. */
static inline bool may_settle(const struct core *core)
{
    struct hashmap_iter iter = {0};
    int64_t asked = 0;
    const char *uid;
    void *value;

    while (hashmap_next(&core_cluster(core)->pods_by_uid, &iter, &uid, &value)) {
        asked += ((struct pod *)value)->object->wish.size;
        if (asked > ASKED_MAX)
            return false;
    }
    return true;
}
