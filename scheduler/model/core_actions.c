#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

const char *write_result_name(enum write_result result)
{
    static const char *const names[] = {
        [WRITE_OK] = "ok",           [WRITE_CONFLICT] = "conflict", [WRITE_GONE] = "gone",
        [WRITE_FORBIDDEN] = "forbidden", [WRITE_INVALID] = "invalid",   [WRITE_BUSY] = "busy",
        [WRITE_SERVER] = "server error", [WRITE_UNKNOWN] = "no answer",
    };

    return names[result];
}

const char *event_kind_name(enum event_kind kind)
{
    static const char *const names[EVENT_KINDS] = {
        "tick",  "node",      "node gone",  "machine", "machine gone", "pod",       "pod gone",       "job",   "job gone",
        "group", "group gone", "namespace", "namespace gone", "placement", "placement gone",
        "lease", "lease gone", "synced",    "refused",   "missed",         "vote",  "probed",
        "write done"};

    return names[kind];
}

const char *action_kind_name(enum action_kind kind)
{
    static const char *const names[ACTION_KINDS] = {"reply",     "bind",             "nominate",
                                                    "placement", "event",            "delete placement",
                                                    "evict",     "read",             "probe",
                                                    "probe end", "probe pod",        "relist"};

    return names[kind];
}

void actions_clear(struct actions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        free(actions->items[i].text);
        free(actions->items[i].body);
    }
    actions->n = 0;
}

void actions_release(struct actions *actions)
{
    if (!actions)
        return;
    actions_clear(actions);
    free(actions->items);
    *actions = (struct actions){0};
}

struct action *core__act(struct core *core, enum action_kind kind)
{
    struct actions *out = core->out;
    struct action *action;

    if (out->n == out->size) {
        size_t size = out->size ? out->size * 2 : 64;
        struct action *items = realloc(out->items, size * sizeof(*items));

        if (!items)
            return NULL;
        out->items = items;
        out->size = size;
    }
    action = &out->items[out->n++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    action->term = core->term;
    return action;
}

void core__reply(struct core *core, uint64_t ticket, const char *text)
{
    struct action *action = ticket ? core__act(core, ACT_REPLY) : NULL;

    if (!action)
        return;
    action->ticket = ticket;
    action->text = strdup(text);
}

void core__act_on_pod(struct action *action, const struct obj_pod *pod, const char *node)
{
    snprintf(action->ns, sizeof(action->ns), "%s", pod->ns);
    snprintf(action->name, sizeof(action->name), "%s", pod->name);
    snprintf(action->uid, sizeof(action->uid), "%s", MUTANT(NO_UID) ? "" : pod->uid);
    snprintf(action->node, sizeof(action->node), "%s", node);
}

void core__key(char ret[KEY_TEXT], const char *prefix, const char *ns, const char *name)
{
    snprintf(ret, KEY_TEXT, "%s%s%s/%s", prefix, *prefix ? ":" : "", ns, name);
}
