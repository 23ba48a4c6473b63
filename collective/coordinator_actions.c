/* What comes out. Without memory an action is left out and counted. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/coordinator_internal.h"

const char *coordinator_refusal_name(enum coordinator_refusal refusal)
{
    static const char *const names[REFUSALS] = {"unknown", "superseded", "stale", "identity",
                                                "mismatch"};

    return names[refusal];
}

bool coordinator_refusal_again(enum coordinator_refusal refusal)
{
    return refusal == REFUSED_UNKNOWN || refusal == REFUSED_SUPERSEDED;
}

static void action_release(struct coordinator_action *action)
{
    if (action->kind == COORD_SEND)
        coord__order_unref(action->send.order);
    else if (action->kind == COORD_VERDICT || action->kind == COORD_HOLD_ENDED) {
        free(action->result->pair_gb_s);
        free(action->result);
    }
}

void coordinator_actions_clear(struct coordinator_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_release(&actions->items[i]);
    actions->n = 0;
}

void coordinator_actions_release(struct coordinator_actions *actions)
{
    if (!actions)
        return;
    coordinator_actions_clear(actions);
    free(actions->items);
    *actions = (struct coordinator_actions){0};
}

static struct coordinator_action *act(struct coordinator *coordinator,
                                      enum coordinator_action_kind kind)
{
    struct coordinator_actions *out = coordinator->out;
    struct coordinator_action *action;

    if (out->n == out->size) {
        size_t size = out->size ? out->size * 2 : 32;
        struct coordinator_action *items = realloc(out->items, size * sizeof(*items));

        if (!items) {
            coordinator->counts.left_out++;
            return NULL;
        }
        out->items = items;
        out->size = size;
    }
    action = &out->items[out->n++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    return action;
}

/* ---- orders ---------------------------------------------------------------------------------- */

struct coordinator_order *coord__order(const struct cgang *gang, enum probe_order_kind kind)
{
    struct coordinator_order *order = calloc(1, sizeof(*order));

    if (!order) {
        gang->coordinator->counts.left_out++;
        return NULL;
    }
    atomic_init(&order->refs, 1);
    order->order.gang = gang->id;
    order->order.kind = kind;
    return order;
}

struct coordinator_order *coord__abort_order(const struct cgang *gang, bool again,
                                             const char *reason)
{
    struct coordinator_order *order = coord__order(gang, PROBE_ABORT);

    if (!order)
        return NULL;
    order->order.abort.again = again;
    probe_text_set(order->order.abort.reason, sizeof(order->order.abort.reason), reason);
    return order;
}

void coord__order_unref(struct coordinator_order *order)
{
    if (!order || atomic_fetch_sub_explicit(&order->refs, 1, memory_order_acq_rel) != 1)
        return;
    probe_order_release(&order->order);
    free(order);
}

void coord__send(struct coordinator *coordinator, const struct member *member, uint64_t stream,
                 struct coordinator_order *order, bool last)
{
    struct coordinator_action *action = order ? act(coordinator, COORD_SEND) : NULL;

    if (!action)
        return;
    atomic_fetch_add_explicit(&order->refs, 1, memory_order_relaxed);
    action->stream = stream;
    action->send.order = order;
    action->send.first_rank = member->first_rank;
    action->send.devices = member->devices;
    action->send.last = last;
}

/* ---- answers --------------------------------------------------------------------------------- */

void coord__reply(struct coordinator *coordinator, uint64_t call, bool counted)
{
    struct coordinator_action *action = act(coordinator, COORD_REPLY);

    if (!action)
        return;
    action->stream = call;
    action->counted = counted;
}

void coord__refuse(struct coordinator *coordinator, uint64_t call, enum coordinator_refusal refusal,
                   const char *format, ...)
{
    struct coordinator_action *action = act(coordinator, COORD_REFUSE);
    va_list args;

    coordinator->counts.refused[refusal]++;
    if (!action)
        return;
    action->stream = call;
    action->refuse.refusal = refusal;
    va_start(args, format);
    vsnprintf(action->refuse.text, sizeof(action->refuse.text), format, args);
    va_end(args);
}

void coord__result(struct coordinator *coordinator, enum coordinator_action_kind kind,
                   const struct cgang *gang)
{
    size_t pairs = gang->result.pair_gb_s ? (size_t)gang->ranks * gang->ranks : 0;
    struct coordinator_result *result = malloc(sizeof(*result));
    float *copy = pairs ? malloc(pairs * sizeof(*copy)) : NULL;
    struct coordinator_action *action = result ? act(coordinator, kind) : NULL;

    if (!action) {
        free(result);
        free(copy);
        return;
    }
    *result = gang->result;
    if (copy)
        memcpy(copy, gang->result.pair_gb_s, pairs * sizeof(*copy));
    result->pair_gb_s = copy;
    action->result = result;
}
