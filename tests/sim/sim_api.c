/* The simulated API server: it applies writes, loses answers, refuses, and is slow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scheduler/model/gang.h"
#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

static int node_number(const char *name)
{
    return name[0] == 'n' ? (int)strtol(name + 1, NULL, 10) : -1;
}

/* ---- pods -------------------------------------------------------------------------------------------- */

static struct sim_pod *free_pod(struct sim *sim)
{
    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (!pod->used && !pod->seen.gone[0] && !pod->seen.gone[1])
            return pod;
    }
    return NULL;
}

static struct sim_pod *add_pod(struct sim *sim, struct sim_pod content)
{
    struct sim_pod *pod = free_pod(sim);

    if (!pod)
        return NULL;
    *pod = content;
    pod->used = true;
    pod->node = pod->nominated = -1;
    pod->created_ns = sim->now_ns;
    snprintf(pod->uid, sizeof(pod->uid), "u%llu", (unsigned long long)++sim->next_id);
    if (!pod->name[0])
        snprintf(pod->name, sizeof(pod->name), "p%llu", (unsigned long long)sim->next_id);
    sim_changed(sim, &pod->seen);
    return pod;
}

/* A pod that was made anew has its predecessor's name and another UID. */
struct sim_pod *sim_new_pod(struct sim *sim, int job, int index)
{
    const struct sim_job *of = &sim->jobs[job];
    struct sim_pod pod = {.job = job, .index = index, .priority = of->priority, .size = of->size,
                          .gpus = index == 0 && sim_has_leader(of) ? 2 : of->gpus};

    snprintf(pod.name, sizeof(pod.name), "%.15s-%d", of->name, index % 100000);
    return add_pod(sim, pod);
}

/* One workload in twelve has a leader that asks for less than the others. */
bool sim_has_leader(const struct sim_job *job)
{
    return strtol(job->uid + 1, NULL, 10) % 12 == 1;
}

struct sim_pod *sim_ordinary_pod(struct sim *sim, int gpus, bool foreign)
{
    return add_pod(sim, (struct sim_pod){.job = -1, .index = -1, .gpus = gpus, .foreign = foreign});
}

void sim_delete_pod(struct sim *sim, struct sim_pod *pod)
{
    pod->used = pod->voting = false;
    sim_gone(sim, &pod->seen);
}

static const char *ns_of(const struct sim *sim, const struct sim_pod *pod)
{
    return pod->job >= 0 ? sim->jobs[pod->job].ns : "ns";
}

static struct sim_pod *pod_named(struct sim *sim, const char *ns, const char *name)
{
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].used && strcmp(sim->pods[i].name, name) == 0 &&
            strcmp(ns_of(sim, &sim->pods[i]), ns) == 0)
            return &sim->pods[i];
    return NULL;
}

/* ---- what the core wants done ---------------------------------------------------------------------------- */

static void answer_vote(struct sim *sim, uint64_t ticket, const char *text)
{
    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (!pod->used || !pod->voting || pod->ticket != ticket)
            continue;
        if (!text[0] && pod->node < 0)
            sim_fail(sim, "I20: %s was called bound and is not", pod->name);
        pod->voting = false;
    }
}

static void check_placement(struct sim *sim, int replica, const struct action *action)
{
    const struct sim_record *record = sim_record_of(sim, action->ns, action->name);

    if (record && record->acknowledged_by == sim->replicas[replica].process * REPLICAS +
                                                 (uint64_t)replica &&
        strcmp(record->body, action->body) == 0)
        sim_fail(sim, "I18: GangPlacement %s is written again, unchanged", action->name);
}

#define NOMINATIONS_MAX 8 /* of one pod under way: plans may follow each other faster than a slow API server answers */

static void check_nomination(struct sim *sim, int replica, const struct action *action)
{
    unsigned n = 0;

    for (unsigned i = 0; i < sim->nwrites; i++)
        n += sim->writes[i].used && sim->writes[i].outcome.action == ACT_NOMINATE &&
             sim->writes[i].process == sim->replicas[replica].process &&
             sim->now_ns - sim->writes[i].sent_ns < WRITE_NS &&
             sim->writes[i].replica == replica && strcmp(sim->writes[i].uid, action->uid) == 0;
    if (n >= NOMINATIONS_MAX)
        sim_fail(sim, "I18: %s is nominated again while %u nominations are under way", action->name, n);
}

/* Asked when it is sent: till it is applied, the record may be deleted by hand and made anew. */
static void check_eviction(struct sim *sim, const struct action *action)
{
    const struct sim_pod *pod = pod_named(sim, action->ns, action->name);
    const struct sim_record *record = pod && pod->job >= 0 ? sim_gang_record(sim, &sim->jobs[pod->job]) : NULL;

    if (record && !record->stale && strcmp(pod->uid, action->uid) == 0 && pod->phase < POD_SUCCEEDED &&
        !strstr(record->body, "\"state\":\"Replacing\""))
        sim_fail(sim, "I1: %s is evicted and its gang is not Replacing", pod->name);
}

static void send_write(struct sim *sim, int replica, struct action *action)
{
    struct sim_write *write = sim->writes;

    while (write < sim->writes + sim->nwrites && write->used)
        write++;
    if (write == sim->writes + sim->nwrites)
        sim_fail(sim, "more than %u writes under way", sim->nwrites);
    if (action->kind == ACT_PLACEMENT)
        check_placement(sim, replica, action);
    if (action->kind == ACT_NOMINATE && !sim->lazy)
        check_nomination(sim, replica, action);
    if (action->kind == ACT_EVICT)
        check_eviction(sim, action);
    *write = (struct sim_write){.used = true, .replica = replica, .sent_ns = sim->now_ns,
                                .process = sim->replicas[replica].process, .body = action->body};
    action->body = NULL;
    write->outcome = (struct event){.kind = EV_WRITE_DONE, .ticket = action->ticket,
                                    .action = action->kind};
    snprintf(write->outcome.uid, sizeof(write->outcome.uid), "%s", action->uid);
    snprintf(write->outcome.ns_name, sizeof(write->outcome.ns_name), "%s", action->ns);
    snprintf(write->outcome.name, sizeof(write->outcome.name), "%s", action->name);
    snprintf(write->uid, sizeof(write->uid), "%.23s", action->uid);
    snprintf(write->name, sizeof(write->name), "%.31s", action->name);
    snprintf(write->node, sizeof(write->node), "%.15s", action->node);
}

static void take_action(struct sim *sim, int replica, struct action *action)
{
    if (sim->trace)
        fprintf(stderr, "%llu   r%d %s %s uid=%s node=%s ticket=%llu %s\n",
                (unsigned long long)sim->step, replica, action_kind_name(action->kind), action->name,
                action->uid, action->node, (unsigned long long)action->ticket,
                action->text ? action->text : action->body ? action->body : "");
    switch (action->kind) {
    case ACT_REPLY:
        answer_vote(sim, action->ticket, action->text);
        break;
    case ACT_RELIST:
        sim->replicas[replica].relist_term = action->ticket;
        break;
    case ACT_POD_EVENT:
    case ACT_PROBE: /* answered by sim_stray.c, or never */
    case ACT_PROBE_END:
    case ACT_PROBE_POD:
        break;
    default:
        send_write(sim, replica, action);
        break;
    }
}

/* A crash ends the process between any two of them. */
void sim_take_actions(struct sim *sim, int replica)
{
    for (size_t i = 0; i < sim->actions.n; i++)
        if (sim->crash_after < 0 || (int)i < sim->crash_after)
            take_action(sim, replica, &sim->actions.items[i]);
    actions_clear(&sim->actions);
}

/* ---- writes ---------------------------------------------------------------------------------------------- */

struct sim_record *sim_record_of(struct sim *sim, const char *ns, const char *name)
{
    for (int i = 0; i < SIM_JOBS * 4; i++)
        if (sim->records[i].used && strcmp(sim->records[i].name, name) == 0 &&
            strcmp(sim->records[i].ns, ns) == 0)
            return &sim->records[i];
    return NULL;
}

/*
 * By what it is about, as its name may have been another gang's when it was made; and of two the one
 * that a restart would take. A gang that came again before the watch had shown its former record,
 * "g.gang", has the plain name now; the former one is nobody's and goes as soon as it is seen.
 */
struct sim_record *sim_gang_record(struct sim *sim, const struct sim_job *job)
{
    struct sim_record *first = NULL;
    char gang[96];

    snprintf(gang, sizeof(gang), "\"gang\":{\"kind\":\"%s\",\"name\":\"%s\"}",
             job->kind == SIM_GROUP ? "PodGroup.scheduling.k8s.io" : "Gang", job->name);
    for (int i = 0; i < SIM_JOBS * 4; i++) {
        struct sim_record *record = &sim->records[i];

        if (record->used && strcmp(record->ns, job->ns) == 0 && strstr(record->body, gang) &&
            (!first || strcmp(record->name, first->name) < 0)) /* "g" is before "g.gang" */
            first = record;
    }
    return first;
}

static enum write_result apply_bind(struct sim *sim, const struct sim_write *write)
{
    struct sim_pod *pod = pod_named(sim, write->outcome.ns_name, write->name);

    if (!pod)
        return WRITE_GONE;
    if (write->uid[0] && strcmp(write->uid, pod->uid) != 0)
        return WRITE_CONFLICT;
    if (pod->node >= 0)
        return WRITE_CONFLICT;
    sim_check_bind(sim, write, pod);
    pod->node = node_number(write->node);
    pod->nominated = -1;
    pod->by_us = true;
    sim_changed(sim, &pod->seen);
    sim->bound++;
    return WRITE_OK;
}

static enum write_result apply_record(struct sim *sim, struct sim_write *write)
{
    struct sim_record *record = sim_record_of(sim, write->outcome.ns_name, write->name);

    for (int i = 0; i < SIM_JOBS * 4 && !record; i++)
        if (!sim->records[i].used && !sim->records[i].seen.gone[0] && !sim->records[i].seen.gone[1])
            record = &sim->records[i];
    if (!record)
        return WRITE_SERVER;
    if (record->used && strcmp(record->body, write->body) == 0) {
        snprintf(write->outcome.text, sizeof(write->outcome.text), "%llu", (unsigned long long)record->version);
        return WRITE_OK; /* a patch that changes nothing is no event */
    }
    free(record->body);
    if (!record->used) {
        record->uid = ++sim->next_id;
        record->made_ns = sim->now_ns;
    }
    record->version = ++sim->next_id;
    snprintf(write->outcome.text, sizeof(write->outcome.text), "%llu", (unsigned long long)record->version);
    record->used = true;
    record->acknowledged_by = 0;
    record->stale = write->process != sim->replicas[write->replica].process;
    snprintf(record->ns, sizeof(record->ns), "%.7s", write->outcome.ns_name);
    snprintf(record->name, sizeof(record->name), "%.15s", write->name);
    record->body = strdup(write->body);
    sim_changed(sim, &record->seen);
    return WRITE_OK;
}

static bool holds(const json_t *conditions, const char *name, uint64_t number)
{
    const char *wanted = json_string_value(json_object_get(conditions, name));
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return wanted && strcmp(wanted, text) == 0;
}

/* Only what the core has seen: it says which one, and in which version. */
static enum write_result apply_delete(struct sim *sim, const struct sim_write *write)
{
    struct sim_record *record = sim_record_of(sim, write->outcome.ns_name, write->name);
    json_t *conditions;
    bool same;

    if (!record)
        return WRITE_GONE;
    conditions = json_loads(write->body, 0, NULL);
    same = holds(conditions, "uid", record->uid) &&
           holds(conditions, "resourceVersion", record->version);
    json_decref(conditions);
    if (!same)
        return WRITE_CONFLICT;
    record->used = false;
    sim_gone(sim, &record->seen);
    return WRITE_OK;
}

static enum write_result apply_nominate(struct sim *sim, const struct sim_write *write)
{
    struct sim_pod *pod = pod_named(sim, write->outcome.ns_name, write->name);

    if (!pod || strcmp(pod->uid, write->uid) != 0)
        return WRITE_GONE;
    pod->nominated = node_number(write->node);
    pod->asleep = false;
    sim_changed(sim, &pod->seen);
    return WRITE_OK;
}

/* Whole gangs only, and only where it is allowed. */
static enum write_result apply_evict(struct sim *sim, const struct sim_write *write)
{
    struct sim_pod *pod = pod_named(sim, write->outcome.ns_name, write->name);

    if (!pod || strcmp(pod->uid, write->uid) != 0)
        return WRITE_GONE;
    if (strcmp(ns_of(sim, pod), "ev") != 0)
        sim_fail(sim, "I1: %s is evicted in a namespace that does not allow it", pod->name);
    if (!sim->calm && sim_random(sim, 3) == 0)
        return WRITE_BUSY; /* a PodDisruptionBudget */
    sim->evicted++;
    sim_delete_pod(sim, pod);
    return WRITE_OK;
}

/* Asked after the lost write's time is over for the server too. */
static enum write_result apply_read(struct sim *sim, struct sim_write *write)
{
    struct sim_pod *pod = pod_named(sim, write->outcome.ns_name, write->name);

    if (!pod || strcmp(pod->uid, write->uid) != 0)
        return WRITE_GONE;
    if (pod->node >= 0)
        snprintf(write->outcome.text, sizeof(write->outcome.text), "n%d", pod->node);
    return WRITE_OK;
}

static enum write_result apply(struct sim *sim, struct sim_write *write)
{
    if (write->outcome.action != ACT_READ_POD)
        sim_check_writer(sim, write);
    switch (write->outcome.action) {
    case ACT_BIND:
        return apply_bind(sim, write);
    case ACT_PLACEMENT:
        return apply_record(sim, write);
    case ACT_PLACEMENT_DELETE:
        return apply_delete(sim, write);
    case ACT_READ_POD:
        return apply_read(sim, write);
    case ACT_EVICT:
        return apply_evict(sim, write);
    default:
        return apply_nominate(sim, write);
    }
}

/* What the server did with it, and what the client will hear. */
static void decide(struct sim *sim, struct sim_write *write)
{
    static const enum write_result refusals[] = {WRITE_SERVER, WRITE_BUSY, WRITE_FORBIDDEN,
                                                 WRITE_INVALID};
    unsigned luck = sim->calm || sim->lazy ? 99 : sim_random(sim, 100);
    bool late = sim->now_ns - write->sent_ns >= WRITE_NS;
    enum write_result result;

    write->decided = true;
    if (luck < 5 && !late) {
        write->fault = FAULT_REFUSED;
        write->outcome.result = refusals[sim_random(sim, 4)];
        return;
    }
    if (luck < 8 || late) {
        write->fault = FAULT_LOST_UNAPPLIED;
        write->outcome.result = WRITE_UNKNOWN;
        return;
    }
    result = apply(sim, write);
    write->fault = result == WRITE_OK ? FAULT_NONE : FAULT_REFUSED;
    write->outcome.result = result;
    if (luck < 14 && result == WRITE_OK) {
        write->fault = FAULT_LOST_APPLIED;
        write->outcome.result = WRITE_UNKNOWN;
    }
}

static void forget_write(struct sim_write *write)
{
    free(write->body);
    *write = (struct sim_write){0};
}

static bool is_awaited(const struct core *core, const struct sim_record *record, uint64_t ticket)
{
    const struct gang *gang = core_gang(core, record->ns, record->name);

    return gang && gang->record.write == ticket && !gang->record.former;
}

static void tell(struct sim *sim, struct sim_write *write)
{
    struct sim_replica *to = &sim->replicas[write->replica];
    struct sim_record *record = sim_record_of(sim, write->outcome.ns_name, write->name);
    struct event outcome = write->outcome;
    enum sim_fault fault = write->fault;
    int replica = write->replica;
    bool heard = to->core && to->process == write->process;

    if (to->paused)
        return; /* later */
    if (heard && core_active(to->core) && outcome.action == ACT_PLACEMENT &&
        outcome.result == WRITE_OK && record && is_awaited(to->core, record, outcome.ticket) &&
        strcmp(record->body, write->body) == 0) /* a former process may have written since */
        record->acknowledged_by = to->process * REPLICAS + (uint64_t)replica;
    if (outcome.action == ACT_PLACEMENT && outcome.result == WRITE_UNKNOWN && record)
        record->acknowledged_by = 0; /* what is stored is unknown to it */
    sim->lost += outcome.result == WRITE_UNKNOWN;
    forget_write(write);
    if (heard)
        sim_deliver(sim, replica, outcome, fault);
}

/* Any of the writes under way goes one step further: the server acts, or the client hears of it. */
void sim_finish_write(struct sim *sim)
{
    unsigned from = sim_random(sim, sim->nwrites);

    for (unsigned i = 0; i < sim->nwrites; i++) {
        struct sim_write *write = &sim->writes[(from + i) % sim->nwrites];

        if (!write->used || (write->decided && sim->replicas[write->replica].paused))
            continue;
        if (!write->decided)
            decide(sim, write);
        if (sim->calm || sim_random(sim, 4))
            tell(sim, write);
        return;
    }
}

void sim_expire_writes(struct sim *sim)
{
    for (unsigned i = 0; i < sim->nwrites; i++) /* nobody is left to hear of it */
        if (sim->writes[i].used && sim->writes[i].decided &&
            sim->writes[i].process != sim->replicas[sim->writes[i].replica].process)
            forget_write(&sim->writes[i]);
    for (unsigned i = 0; i < sim->nwrites; i++)
        if (sim->writes[i].used && !sim->writes[i].decided &&
            sim->now_ns - sim->writes[i].sent_ns >= WRITE_NS)
            decide(sim, &sim->writes[i]);
}
