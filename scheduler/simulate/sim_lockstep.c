/* Policy lockstep: the real core, and everybody around it that answers at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/parse.h"
#include "scheduler/model/cluster.h"
#include "scheduler/model/event.h"
#include "scheduler/model/gang.h"
#include "scheduler/simulate/sim_internal.h"

#define EPOCH_S 1 /* wall clock at the trace's beginning: any but 0, which means not known */
#define NAMESPACE "lockstep-simulate"
#define ROUNDS_MAX 100 /* settlings of one moment; a gang takes four to be bound */
#define UID_PREFIX "sim-" /* then the gang and the pod of it, as numbers */
#define UID_TEXT 32

struct lockstep {
    struct actions actions;
    uint32_t *nodes; /* of a gang that starts */
    uint64_t ticket; /* of votes */
};

/* ---- pods ----------------------------------------------------------------------------------------- */

static void set_uid(char ret[UID_TEXT], uint32_t gang, uint32_t pod)
{
    snprintf(ret, UID_TEXT, UID_PREFIX "%u-%u", gang, pod);
}

static int set_amounts(struct amounts *amounts, const char *resource, int64_t gpus)
{
    struct amount pod = {intern("pods"), 1}, accelerators = {intern(resource), gpus};
    bool first = strcmp(resource, "pods") < 0; /* sorted by resource */

    amounts->items = calloc(2, sizeof(*amounts->items));
    if (!amounts->items || !pod.resource || !accelerators.resource) {
        intern_free(pod.resource);
        intern_free(accelerators.resource);
        return -ENOMEM;
    }
    amounts->items[0] = first ? accelerators : pod;
    amounts->items[1] = first ? pod : accelerators;
    amounts->n = 2;
    return 0;
}

static const char *level_name(const struct sim_cluster *cluster, int level)
{
    return level < 0 ? "" : (uint32_t)level == cluster->nlevels ? "node" : cluster->levels[level];
}

/* false: no memory for one of them. */
static bool set_texts(const struct sim_run *run, const struct trace_gang *wish, const char *uid,
                      const char *node, struct obj_pod *pod)
{
    const struct sim_cluster *cluster = run->simulation->cluster;
    const struct {
        char **field;
        const char *text;
    } texts[] = {{&pod->ns, NAMESPACE},
                 {&pod->name, uid},
                 {&pod->uid, uid},
                 {&pod->scheduler, run->simulation->config->scheduler_name},
                 {&pod->node, node},
                 {&pod->nominated, ""},
                 {&pod->refusal, ""},
                 {&pod->owner.api_version, ""},
                 {&pod->owner.kind_name, ""},
                 {&pod->owner.name, ""},
                 {&pod->owner.uid, ""},
                 {&pod->wish.name, wish->name},
                 {&pod->wish.required, level_name(cluster, wish->required_level)},
                 {&pod->wish.preferred, level_name(cluster, wish->preferred_level)},
                 {&pod->wish.role, ""},
                 {&pod->wish.subgroup, ""},
                 {&pod->wish.within, ""},
                 {&pod->wish.spread, ""},
                 {&pod->wish.unsupported, ""},
                 {&pod->group_native, ""},
                 {&pod->group_sigs, ""},
                 {&pod->unsupported, ""}};
    bool whole = true;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i].field = intern(texts[i].text);
        whole &= *texts[i].field != NULL;
    }
    return whole;
}

/* The gang's pod of that rank; node "": not bound. */
static int put_pod(struct sim_run *run, uint32_t gang, uint32_t rank, const char *node)
{
    const struct trace_gang *wish = sim__gang(run, gang);
    struct lockstep *lockstep = run->state;
    struct obj_pod *pod = calloc(1, sizeof(*pod));
    struct event event = {.kind = EV_POD, .object.pod = pod};
    char uid[UID_TEXT];

    set_uid(uid, gang, rank);
    if (!pod || !set_texts(run, wish, uid, node, pod) ||
        set_amounts(&pod->shape.requests, run->simulation->cluster->resource, wish->gpus) < 0 ||
        pod_shape_seal(&pod->shape) < 0) {
        obj_pod_free(pod);
        return err_set(run->err, -ENOMEM, "out of memory");
    }
    pod->wish.size = (int32_t)wish->pods;
    pod->priority = (int32_t)wish->priority;
    pod->index = (int32_t)rank;
    pod->created_s = EPOCH_S + wish->submit_s;
    pod->phase = node[0] ? POD_RUNNING : POD_PENDING;
    core_step(run->simulation->core, &event, run->now_ns, &lockstep->actions);
    return 0;
}

/* ---- what the core wants done ---------------------------------------------------------------------- */

static void write_done(struct sim_run *run, const struct action *action)
{
    struct lockstep *lockstep = run->state;
    struct event event = {.kind = EV_WRITE_DONE, .ticket = action->ticket, .action = action->kind};

    event.result = WRITE_OK;
    snprintf(event.uid, sizeof(event.uid), "%s", action->uid);
    snprintf(event.ns_name, sizeof(event.ns_name), "%s", action->ns);
    snprintf(event.name, sizeof(event.name), "%s", action->name);
    core_step(run->simulation->core, &event, run->now_ns, &lockstep->actions);
}

static bool read_uid(const char *uid, uint64_t *ret_gang, uint64_t *ret_rank)
{
    const char *gang = uid + strlen(UID_PREFIX), *dash = strrchr(uid, '-');

    return strncmp(uid, UID_PREFIX, strlen(UID_PREFIX)) == 0 && dash > gang &&
           parse_u64(gang, (size_t)(dash - gang), UINT32_MAX, ret_gang) == 0 &&
           parse_u64(dash + 1, strlen(dash + 1), UINT32_MAX, ret_rank) == 0;
}

/* The API server takes it, kubelet starts it, and the watch shows it. */
static int bind_pod(struct sim_run *run, const struct action *action)
{
    uint64_t gang, rank;

    if (!read_uid(action->uid, &gang, &rank))
        return err_set(run->err, -EIO, "the core binds pod %s, which is none of the trace's",
                       action->uid);
    write_done(run, action);
    return put_pod(run, (uint32_t)gang, (uint32_t)rank, action->node);
}

/* Negative, or whether anything was answered. */
static int answer_actions(struct sim_run *run)
{
    struct lockstep *lockstep = run->state;
    struct actions taken = lockstep->actions;
    int r = 0, answered = 0;

    lockstep->actions = (struct actions){0};
    for (size_t i = 0; i < taken.n && r == 0; i++) {
        switch (taken.items[i].kind) {
        case ACT_BIND:
            r = bind_pod(run, &taken.items[i]);
            answered = 1;
            break;
        case ACT_PLACEMENT:
        case ACT_PLACEMENT_DELETE:
        case ACT_NOMINATE:
            write_done(run, &taken.items[i]);
            answered = 1;
            break;
        case ACT_REPLY:
        case ACT_POD_EVENT:
            break;
        default:
            r = err_set(run->err, -EIO, "the core wants %s, which a simulation has no reason for",
                        action_kind_name(taken.items[i].kind));
        }
    }
    actions_release(&taken);
    return r < 0 ? r : answered;
}

/* ---- gangs ----------------------------------------------------------------------------------------- */

static const struct gang *gang_of(const struct sim_run *run, uint32_t gang)
{
    char uid[UID_TEXT];

    set_uid(uid, gang, 0);
    return core_gang_of(run->simulation->core, uid);
}

/* kube-scheduler comes for each pod of a planned gang and finds it fit on the planned node. */
static bool vote(struct sim_run *run, uint32_t index)
{
    struct lockstep *lockstep = run->state;
    const struct gang *gang = gang_of(run, index);

    if (!gang || gang->state != GANG_PLANNED)
        return false;
    for (uint32_t i = 0; i < (uint32_t)sim__gang(run, index)->pods; i++) {
        struct event event = {.kind = EV_VOTE, .ticket = ++lockstep->ticket};
        struct answer answer;

        set_uid(event.uid, index, i);
        core_answer(run->simulation->core, event.uid, &answer);
        if (answer.kind != ANSWER_PLANNED)
            continue;
        snprintf(event.name, sizeof(event.name), "%s", answer.node);
        core_step(run->simulation->core, &event, run->now_ns, &lockstep->actions);
    }
    return true;
}

static int start_if_bound(struct sim_run *run, uint32_t index)
{
    struct lockstep *lockstep = run->state;
    const struct gang *gang = gang_of(run, index);

    if (!gang || (gang->state != GANG_BOUND && gang->state != GANG_RUNNING))
        return 0;
    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct node *node = gang->slots[i].node;

        lockstep->nodes[i] = node ? sim__find_node(run->simulation->cluster, node->name) : UINT32_MAX;
        if (lockstep->nodes[i] == UINT32_MAX || !slot_is_bound(&gang->slots[i]))
            return err_set(run->err, -EIO, "the core runs gang %s and its rank %u is nowhere",
                           gang->name, i);
    }
    return sim__start(run, index, lockstep->nodes);
}

static int settle(struct sim_run *run)
{
    struct lockstep *lockstep = run->state;
    int r = 1;

    for (unsigned round = 0; r > 0; round++) {
        if (round == ROUNDS_MAX)
            return err_set(run->err, -EIO, "the core does not come to rest at %lld s",
                           (long long)(run->now_ns / NS_PER_S));
        core_settle(run->simulation->core, run->now_ns, &lockstep->actions);
        r = answer_actions(run);
        for (size_t i = 0; i < run->nwaiting && r >= 0; i++)
            r |= vote(run, run->waiting[i]);
    }
    for (size_t i = 0; i < run->nwaiting && r == 0; i++)
        r = start_if_bound(run, run->waiting[i]);
    return r;
}

/* ---- the policy ----------------------------------------------------------------------------------- */

static int open_lockstep(struct sim_run *run)
{
    struct lockstep *lockstep = calloc(1, sizeof(*lockstep));

    run->state = lockstep;
    if (lockstep)
        lockstep->nodes = calloc(PLAN_PODS_MAX, sizeof(*lockstep->nodes));
    if (!lockstep || !lockstep->nodes)
        return err_set(run->err, -ENOMEM, "out of memory");
    core_set_epoch(run->simulation->core, EPOCH_S);
    return 0;
}

static void close_lockstep(struct sim_run *run)
{
    struct lockstep *lockstep = run->state;

    if (!lockstep)
        return;
    actions_release(&lockstep->actions);
    free(lockstep->nodes);
    free(lockstep);
}

static int submit(struct sim_run *run, uint32_t gang)
{
    int r = 0;

    for (uint32_t i = 0; i < (uint32_t)sim__gang(run, gang)->pods && r == 0; i++)
        r = put_pod(run, gang, i, "");
    return r;
}

static int end(struct sim_run *run, uint32_t gang)
{
    struct lockstep *lockstep = run->state;

    for (uint32_t i = 0; i < (uint32_t)sim__gang(run, gang)->pods; i++) {
        struct event event = {.kind = EV_POD_GONE};

        set_uid(event.uid, gang, i);
        core_step(run->simulation->core, &event, run->now_ns, &lockstep->actions);
    }
    return 0;
}

static int64_t deadline_ns(const struct sim_run *run)
{
    return core_deadline(run->simulation->core);
}

static void why(const struct sim_run *run, uint32_t index, char *ret, size_t size)
{
    const struct gang *gang = gang_of(run, index);

    snprintf(ret, size, "%s: %s", gang ? reason_code_name(gang->reason.code) : "",
             gang ? gang->reason.text : "");
}

const struct sim_policy sim__lockstep = {.name = "lockstep",
                                         .open = open_lockstep,
                                         .close = close_lockstep,
                                         .submit = submit,
                                         .end = end,
                                         .settle = settle,
                                         .deadline_ns = deadline_ns,
                                         .why = why};
