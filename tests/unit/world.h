/* world.h - a small cluster for tests of the core: objects from a few words, a loop that plays kube-scheduler. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/config.h"
#include "scheduler/model/core.h"
#include "scheduler/model/gang.h"

#define SECOND INT64_C(1000000000)

struct world {
    struct config config;
    struct core *core;
    struct actions actions;
    int64_t now_ns;
    uint64_t ticket;
};

static inline void world_check(struct world *world)
{
    struct err err = ERR_INIT;

    if (core_check(world->core, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void world_step(struct world *world, struct event event)
{
    core_step(world->core, &event, world->now_ns, &world->actions);
    core_settle(world->core, world->now_ns, &world->actions);
    world_check(world);
}

static inline void world_open(struct world *world)
{
    *world = (struct world){.now_ns = SECOND};
    assert_int_equal(config_init(&world->config), 0);
    world->config.lease[0] = '\0'; /* always leading */
    world->config.levels = calloc(3, sizeof(char *));
    world->config.levels[0] = strdup("block");
    world->config.levels[1] = strdup("rack");
    world->config.nlevels = 2;
    world->core = core_new(&world->config);
    assert_non_null(world->core);
}

static inline void world_close(struct world *world)
{
    core_free(world->core);
    config_release(&world->config);
    actions_release(&world->actions);
}

static inline void set_label(struct labels *labels, const char *key, const char *value)
{
    labels->items = realloc(labels->items, (labels->n + 1) * sizeof(struct label));
    labels->items[labels->n].key = strdup(key);
    labels->items[labels->n++].value = strdup(value);
}

static inline void set_amount(struct amounts *amounts, const char *resource, int64_t value)
{
    amounts->items = realloc(amounts->items, (amounts->n + 1) * sizeof(struct amount));
    amounts->items[amounts->n].resource = strdup(resource);
    amounts->items[amounts->n++].value = value;
}

static inline struct obj_node *make_node(const char *name, const char *block, const char *rack)
{
    struct obj_node *node = calloc(1, sizeof(*node));

    node->name = strdup(name);
    node->uid = strdup(name);
    set_label(&node->labels, "block", block);
    set_label(&node->labels, "rack", rack);
    set_amount(&node->allocatable, "nvidia.com/gpu", 8);
    set_amount(&node->allocatable, "pods", 110);
    return node;
}

static inline void add_node(struct world *world, const char *name, const char *block,
                            const char *rack)
{
    world_step(world, (struct event){.kind = EV_NODE, .object.node = make_node(name, block, rack)});
}

static inline struct obj_pod *make_pod(const char *name, int64_t gpus, const char *gang,
                                       int32_t size)
{
    struct obj_pod *pod = calloc(1, sizeof(*pod));

    pod->ns = strdup("ns");
    pod->name = strdup(name);
    pod->uid = strdup(name);
    pod->scheduler = strdup("lockstep");
    pod->node = strdup("");
    pod->nominated = strdup("");
    pod->refusal = strdup("");
    pod->index = -1;
    pod->owner = (struct owner){OWNER_NONE, strdup(""), strdup(""), strdup(""), strdup("")};
    pod->wish = (struct gang_wish){.name = strdup(gang), .size = size, .required = strdup(""),
                                   .preferred = strdup(""), .role = strdup(""), .subgroup = strdup(""),
                                   .within = strdup(""), .spread = strdup(""), .unsupported = strdup("")};
    pod->group_native = strdup("");
    pod->group_sigs = strdup("");
    pod->unsupported = strdup("");
    set_amount(&pod->shape.requests, "nvidia.com/gpu", gpus);
    set_amount(&pod->shape.requests, "pods", 1);
    assert_int_equal(pod_shape_seal(&pod->shape), 0);
    return pod;
}

static inline void set_text(char **text, const char *value)
{
    free(*text);
    *text = strdup(value);
}

/* The gang's member of that index, running on the node unless that is "". */
static inline struct obj_pod *make_member(const char *gang, int index, int size, const char *node)
{
    char name[32];
    struct obj_pod *pod;

    snprintf(name, sizeof(name), "%s-%d", gang, index);
    pod = make_pod(name, 8, gang, size);
    pod->index = index;
    set_text(&pod->node, node);
    pod->phase = node[0] ? POD_RUNNING : POD_PENDING;
    return pod;
}

static inline void put_pod(struct world *world, struct obj_pod *pod)
{
    world_step(world, (struct event){.kind = EV_POD, .object.pod = pod});
}

/* `members` of the `size` pods of a gang, of 8 GPUs each. */
static inline void add_gang(struct world *world, const char *gang, int members, int size)
{
    for (int i = 0; i < members; i++) {
        char name[64];

        snprintf(name, sizeof(name), "%s-%d", gang, i);
        put_pod(world, make_pod(name, 8, gang, size));
    }
}

static inline void drop_pod(struct world *world, const char *uid)
{
    struct event event = {.kind = EV_POD_GONE};

    snprintf(event.uid, sizeof(event.uid), "%s", uid);
    world_step(world, event);
}

/* A pod bound by somebody: it uses `gpus` of the node. */
static inline void use_node(struct world *world, const char *node, const char *name, int64_t gpus)
{
    struct obj_pod *pod = make_pod(name, gpus, "", 0);

    set_text(&pod->scheduler, "default-scheduler");
    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    put_pod(world, pod);
}

static inline void drop_node(struct world *world, const char *name)
{
    struct event event = {.kind = EV_NODE_GONE};

    snprintf(event.name, sizeof(event.name), "%s", name);
    world_step(world, event);
}

static inline void sync_world(struct world *world)
{
    world_step(world, (struct event){.kind = EV_SYNCED});
}

/* A world for a test of its own: nodes n0, n1, ... in blocks b0, b1, ... and racks r0, r1, ... of so many. */
static inline struct world *new_world(int nodes, int per_block, int per_rack)
{
    struct world *world = calloc(1, sizeof(*world));

    world_open(world);
    for (int i = 0; i < nodes; i++) {
        char name[16], block[16], rack[16];

        snprintf(name, sizeof(name), "n%d", i);
        snprintf(block, sizeof(block), "b%d", i / per_block);
        snprintf(rack, sizeof(rack), "r%d", i / per_rack);
        add_node(world, name, block, rack);
    }
    return world;
}

static inline int close_world(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

/* The node that filter would name, "" when the pod waits. */
static inline const char *planned(const struct world *world, const char *uid)
{
    struct answer answer;

    core_answer(world->core, uid, &answer);
    return answer.kind == ANSWER_PLANNED ? answer.node : "";
}

static inline uint64_t vote(struct world *world, const char *uid, const char *node)
{
    struct event event = {.kind = EV_VOTE, .ticket = ++world->ticket};

    snprintf(event.uid, sizeof(event.uid), "%s", uid);
    snprintf(event.name, sizeof(event.name), "%s", node);
    world_step(world, event);
    return event.ticket;
}

static inline const struct action *find_action(const struct world *world, enum action_kind kind,
                                               const char *uid)
{
    for (size_t i = 0; i < world->actions.n; i++)
        if (world->actions.items[i].kind == kind &&
            (!uid || strcmp(world->actions.items[i].uid, uid) == 0))
            return &world->actions.items[i];
    return NULL;
}

static inline size_t count_actions(const struct world *world, enum action_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < world->actions.n; i++)
        n += world->actions.items[i].kind == kind;
    return n;
}

/* The reply to a held bind call: NULL: still held. */
static inline const char *reply_to(const struct world *world, uint64_t ticket)
{
    for (size_t i = 0; i < world->actions.n; i++)
        if (world->actions.items[i].kind == ACT_REPLY && world->actions.items[i].ticket == ticket)
            return world->actions.items[i].text;
    return NULL;
}

/* Answers every write that is in the list with one result, and forgets the list. */
static inline void answer_writes(struct world *world, enum action_kind kind,
                                 enum write_result result)
{
    struct actions taken = world->actions;

    world->actions = (struct actions){0};
    for (size_t i = 0; i < taken.n; i++) {
        struct event event = {.kind = EV_WRITE_DONE,
                              .ticket = taken.items[i].ticket,
                              .action = taken.items[i].kind,
                              .result = result};

        if (taken.items[i].kind != kind)
            continue;
        snprintf(event.uid, sizeof(event.uid), "%s", taken.items[i].uid);
        snprintf(event.ns_name, sizeof(event.ns_name), "%s", taken.items[i].ns);
        snprintf(event.name, sizeof(event.name), "%s", taken.items[i].name);
        world_step(world, event);
    }
    actions_release(&taken);
}

static inline void pass_time(struct world *world, int64_t ns)
{
    world->now_ns += ns;
    world_step(world, (struct event){.kind = EV_TICK});
}

static inline const struct gang *the_gang(const struct world *world, const char *name)
{
    const struct gang *gang = core_gang(world->core, "ns", name);

    assert_non_null(gang);
    return gang;
}
