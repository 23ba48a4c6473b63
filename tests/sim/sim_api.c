/* The simulated API server: it applies writes, loses answers, and tells of changes late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scheduler/kube/read.h"
#include "tests/sim/sim.h"

static int node_number(const char *name)
{
    return name[0] == 'n' ? (int)strtol(name + 1, NULL, 10) : -1;
}

/* ---- objects for the core ------------------------------------------------------------------------- */

static struct obj_node *node_object(const struct sim *sim, int node)
{
    struct err err = ERR_INIT;
    struct obj_node *object = NULL;
    json_t *json = json_pack("{s:{s:s, s:s, s:{s:s, s:s}}, s:{s:o}, s:{s:{s:i, s:i}}}", "metadata",
                             "name", "", "uid", "", "labels", "block", node < 5 ? "b0" : "b1", "rack",
                             node % 2 ? "r1" : "r0", "spec", "taints",
                             sim->tainted[node] ? json_pack("[{s:s, s:s}]", "key", "k", "effect",
                                                            "NoSchedule")
                                                : json_array(),
                             "status", "allocatable", "nvidia.com/gpu", SIM_GPUS, "pods", 100);
    char name[16];

    snprintf(name, sizeof(name), "n%d", node);
    json_object_set_new(json_object_get(json, "metadata"), "name", json_string(name));
    json_object_set_new(json_object_get(json, "metadata"), "uid", json_string(name));
    if (read_node(json, &object, &err) < 0)
        sim_fail(sim, "node: %s", err.text);
    json_decref(json);
    return object;
}

static struct obj_pod *pod_object(const struct sim *sim, const struct sim_pod *pod)
{
    static const char *const phases[] = {"Pending", "Running", "Succeeded", "Failed"};
    struct err err = ERR_INIT;
    struct obj_pod *object = NULL;
    char size[16], node[16] = "", nominated[16] = "";
    json_t *json;

    snprintf(size, sizeof(size), "%d", pod->size);
    if (pod->node >= 0)
        snprintf(node, sizeof(node), "n%d", pod->node);
    if (pod->nominated >= 0)
        snprintf(nominated, sizeof(nominated), "n%d", pod->nominated);
    json = json_pack("{s:{s:s, s:s, s:s, s:{s:s}}, s:{s:s, s:s, s:[{s:{s:{s:i}}}]}, s:{s:s, s:s}}",
                     "metadata", "name", pod->name, "namespace", "ns", "uid", pod->uid, "annotations",
                     "lockstep.dev/gang-size", size, "spec", "schedulerName", "lockstep", "nodeName",
                     node, "containers", "resources", "limits", "nvidia.com/gpu", pod->gpus, "status",
                     "phase", phases[pod->phase], "nominatedNodeName", nominated);
    if (pod->gang[0])
        json_object_set_new(json_object_get(json, "metadata"), "labels",
                            json_pack("{s:s}", "lockstep.dev/gang", pod->gang));
    else
        json_object_del(json_object_get(json, "metadata"), "annotations");
    if (read_pod(json, &object, &err) < 0)
        sim_fail(sim, "pod: %s", err.text);
    json_decref(json);
    return object;
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void trace_event(const struct sim *sim, const struct event *event)
{
    if (!sim->trace)
        return;
    if (event->kind == EV_POD)
        fprintf(stderr, "%llu pod %s gang=%s gpus=%lld node=%s nominated=%s phase=%d\n",
                (unsigned long long)sim->step, event->object.pod->uid, event->object.pod->wish.name,
                (long long)event->object.pod->shape.requests.items[0].value,
                event->object.pod->node, event->object.pod->nominated,
                (int)event->object.pod->phase);
    else
        fprintf(stderr, "%llu event %d uid=%s name=%s ticket=%llu action=%d result=%d\n",
                (unsigned long long)sim->step, (int)event->kind, event->uid, event->name,
                (unsigned long long)event->ticket, (int)event->action, (int)event->result);
}

static void trace_action(const struct sim *sim, const struct action *action)
{
    if (sim->trace)
        fprintf(stderr, "%llu   action %d %s uid=%s node=%s ticket=%llu %s\n",
                (unsigned long long)sim->step, (int)action->kind, action->name, action->uid,
                action->node, (unsigned long long)action->ticket, action->text ? action->text : "");
}

void sim_deliver(struct sim *sim, struct event event)
{
    trace_event(sim, &event);
    core_step(sim->core, &event, sim->now_ns, &sim->actions);
    core_settle(sim->core, sim->now_ns, &sim->actions);
    sim_take_actions(sim);
    sim_check(sim);
}

static void deliver_pod(struct sim *sim, struct sim_pod *pod)
{
    struct event event = {.kind = pod->gone_unseen ? EV_POD_GONE : EV_POD};

    if (pod->gone_unseen) {
        snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
        *pod = (struct sim_pod){0};
    } else {
        pod->unseen = false;
        event.object.pod = pod_object(sim, pod);
    }
    sim_deliver(sim, event);
}

static void deliver_node(struct sim *sim, int node)
{
    struct event event = {.kind = sim->present[node] ? EV_NODE : EV_NODE_GONE};

    sim->node_unseen[node] = false;
    if (sim->present[node])
        event.object.node = node_object(sim, node);
    else
        snprintf(event.name, sizeof(event.name), "n%d", node);
    sim_deliver(sim, event);
}

static bool pod_changed(const struct sim_pod *pod)
{
    return (pod->used && pod->unseen) || pod->gone_unseen;
}

void sim_deliver_some(struct sim *sim)
{
    unsigned from = sim_random(sim, SIM_PODS);
    int node = (int)sim_random(sim, SIM_NODES);

    if (sim->node_unseen[node]) {
        deliver_node(sim, node);
        return;
    }
    for (unsigned i = 0; i < SIM_PODS; i++) {
        struct sim_pod *pod = &sim->pods[(from + i) % SIM_PODS];

        if (!pod_changed(pod))
            continue;
        deliver_pod(sim, pod);
        return;
    }
}

void sim_deliver_all(struct sim *sim)
{
    for (int node = 0; node < SIM_NODES; node++)
        if (sim->node_unseen[node])
            deliver_node(sim, node);
    for (int i = 0; i < SIM_PODS; i++)
        if (pod_changed(&sim->pods[i]))
            deliver_pod(sim, &sim->pods[i]);
}

struct sim_pod *sim_new_pod(struct sim *sim, const char *gang, int size, int gpus)
{
    for (int i = 0; i < SIM_PODS; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (pod->used || pod->gone_unseen)
            continue;
        *pod = (struct sim_pod){.used = true, .unseen = true, .size = size, .gpus = gpus,
                                .node = -1, .nominated = -1};
        snprintf(pod->name, sizeof(pod->name), "p%llu", (unsigned long long)++sim->next_id);
        snprintf(pod->uid, sizeof(pod->uid), "u%llu", (unsigned long long)sim->next_id);
        snprintf(pod->gang, sizeof(pod->gang), "%s", gang);
        return pod;
    }
    return NULL;
}

void sim_delete_pod(struct sim *sim, struct sim_pod *pod)
{
    (void)sim;
    pod->used = false;
    pod->gone_unseen = true;
}

/* ---- writes ------------------------------------------------------------------------------------------ */

static struct sim_pod *pod_of(struct sim *sim, const char *uid)
{
    for (int i = 0; i < SIM_PODS; i++)
        if (sim->pods[i].used && strcmp(sim->pods[i].uid, uid) == 0)
            return &sim->pods[i];
    return NULL;
}

static void answer_vote(struct sim *sim, uint64_t ticket, const char *text)
{
    for (int i = 0; i < SIM_PODS; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (!pod->used || !pod->voting || pod->ticket != ticket)
            continue;
        if (!text[0] && pod->node < 0)
            sim_fail(sim, "I20: %s was called bound and is not", pod->name);
        pod->voting = false;
    }
}

void sim_take_actions(struct sim *sim)
{
    for (size_t i = 0; i < sim->actions.n; i++) {
        struct action *action = &sim->actions.items[i];
        struct sim_write *write = sim->writes;

        trace_action(sim, action);
        if (action->kind == ACT_REPLY)
            answer_vote(sim, action->ticket, action->text);
        if (action->kind != ACT_BIND && action->kind != ACT_NOMINATE &&
            action->kind != ACT_PLACEMENT)
            continue;
        while (write < sim->writes + SIM_WRITES && write->used)
            write++;
        if (write == sim->writes + SIM_WRITES)
            sim_fail(sim, "more than %d writes under way", SIM_WRITES);
        *write = (struct sim_write){.used = true, .body = action->body};
        action->body = NULL;
        write->outcome = (struct event){.kind = EV_WRITE_DONE, .ticket = action->ticket,
                                        .action = action->kind};
        snprintf(write->outcome.uid, sizeof(write->outcome.uid), "%s", action->uid);
        snprintf(write->outcome.ns_name, sizeof(write->outcome.ns_name), "%s", action->ns);
        snprintf(write->outcome.name, sizeof(write->outcome.name), "%s", action->name);
        snprintf(write->node, sizeof(write->node), "%.15s", action->node);
    }
    actions_clear(&sim->actions);
}

static const char *record_state(const struct sim *sim, const char *gang, char *ret, size_t size)
{
    ret[0] = '\0';
    for (size_t i = 0; i < sizeof(sim->records) / sizeof(sim->records[0]); i++) {
        json_t *json;

        if (!sim->records[i].used || strcmp(sim->records[i].name, gang) != 0)
            continue;
        json = json_loads(sim->records[i].body, 0, NULL);
        snprintf(ret, size, "%s",
                 json_string_value(json_object_get(json_object_get(json, "status"), "state")));
        json_decref(json);
    }
    return ret;
}

/* The heart of it: no member of a gang is bound before its plan is stored as Binding. */
static enum write_result apply_bind(struct sim *sim, const struct sim_write *write)
{
    struct sim_pod *pod = pod_of(sim, write->outcome.uid);
    int node = node_number(write->node);
    char state[32];

    if (!pod)
        return WRITE_GONE;
    if (pod->node >= 0)
        return WRITE_CONFLICT;
    if (pod->gang[0]) {
        record_state(sim, pod->gang, state, sizeof(state));
        if (strcmp(state, "Forming") == 0 || strcmp(state, "Waiting") == 0 ||
            strcmp(state, "Planned") == 0 || !state[0])
            sim_fail(sim, "I1: %s of gang %s is bound while its record says '%s'", pod->name,
                     pod->gang, state);
    }
    pod->node = node;
    pod->nominated = -1;
    pod->unseen = true;
    sim->bound++;
    return WRITE_OK;
}

static enum write_result apply_record(struct sim *sim, struct sim_write *write)
{
    struct sim_record *free_record = NULL;

    for (size_t i = 0; i < sizeof(sim->records) / sizeof(sim->records[0]); i++) {
        struct sim_record *record = &sim->records[i];

        if (!record->used && !free_record)
            free_record = record;
        if (record->used && strcmp(record->name, write->outcome.name) == 0)
            free_record = record;
        if (record->used && strcmp(record->name, write->outcome.name) == 0)
            break;
    }
    if (!free_record)
        return WRITE_SERVER;
    free(free_record->body);
    free_record->used = true;
    snprintf(free_record->name, sizeof(free_record->name), "%.15s", write->outcome.name);
    free_record->body = strdup(write->body);
    return WRITE_OK;
}

static enum write_result apply(struct sim *sim, struct sim_write *write)
{
    struct sim_pod *pod;

    if (write->outcome.action == ACT_BIND)
        return apply_bind(sim, write);
    if (write->outcome.action == ACT_PLACEMENT)
        return apply_record(sim, write);
    pod = pod_of(sim, write->outcome.uid);
    if (!pod)
        return WRITE_GONE;
    pod->nominated = node_number(write->node);
    pod->asleep = false;
    pod->unseen = true;
    return WRITE_OK;
}

/* Any of the writes under way ends: applied and told, applied and lost, or failed. */
void sim_finish_write(struct sim *sim)
{
    unsigned from = sim_random(sim, SIM_WRITES);

    for (unsigned i = 0; i < SIM_WRITES; i++) {
        struct sim_write *write = &sim->writes[(from + i) % SIM_WRITES];
        struct event outcome = write->outcome;
        unsigned luck = sim->calm ? 99 : sim_random(sim, 100);

        if (!write->used)
            continue;
        outcome.result = luck < 5 ? WRITE_SERVER : luck < 8 ? WRITE_UNKNOWN : apply(sim, write);
        if (luck >= 8 && luck < 14 && outcome.result == WRITE_OK)
            outcome.result = WRITE_UNKNOWN; /* applied, and the answer lost */
        sim->lost += outcome.result == WRITE_UNKNOWN;
        free(write->body);
        *write = (struct sim_write){0};
        sim_deliver(sim, outcome);
        return;
    }
}

/* ---- a new core --------------------------------------------------------------------------------------- */

/* The old process is gone: its votes are, and what it sent may or may not have arrived. */
static void forget_process(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_WRITES; i++) {
        if (sim->writes[i].used && sim_random(sim, 2))
            apply(sim, &sim->writes[i]);
        free(sim->writes[i].body);
        sim->writes[i] = (struct sim_write){0};
    }
    for (int i = 0; i < SIM_PODS; i++) {
        sim->pods[i].voting = false;
        if (sim->pods[i].gone_unseen)
            sim->pods[i] = (struct sim_pod){0};
    }
    core_free(sim->core);
    actions_clear(&sim->actions);
}

void sim_start_core(struct sim *sim)
{
    if (sim->core)
        forget_process(sim);
    sim->core = core_new(&sim->config);
    for (int node = 0; node < SIM_NODES; node++)
        if (sim->present[node])
            deliver_node(sim, node);
    for (int i = 0; i < SIM_PODS; i++)
        if (sim->pods[i].used)
            deliver_pod(sim, &sim->pods[i]);
    for (size_t i = 0; i < sizeof(sim->records) / sizeof(sim->records[0]); i++) {
        struct event event = {.kind = EV_PLACEMENT};
        json_t *json;

        if (!sim->records[i].used)
            continue;
        json = json_loads(sim->records[i].body, 0, NULL);
        if (read_placement(json, &event.object.placement, NULL) == 0)
            sim_deliver(sim, event);
        json_decref(json);
    }
    sim_deliver(sim, (struct event){.kind = EV_SYNCED});
}
