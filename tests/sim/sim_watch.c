/* What the replicas are told, when, how often; and their starts and ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read.h"
#include "tests/sim/sim.h"

#define LATE_NS SIM_SECOND
#define CRASH_ONE_IN 600 /* events after which the process ends among their actions */

bool sim_runs(const struct sim *sim, int replica)
{
    return sim->replicas[replica].core && !sim->replicas[replica].paused;
}

void sim_changed(struct sim *sim, struct sim_seen *seen)
{
    seen->changed_ns = sim->now_ns;
    for (int i = 0; i < REPLICAS; i++)
        seen->late[i] = true;
}

void sim_gone(struct sim *sim, struct sim_seen *seen)
{
    seen->changed_ns = sim->now_ns;
    for (int i = 0; i < REPLICAS; i++) {
        seen->gone[i] = sim->replicas[i].core != NULL; /* one that starts later never hears of it */
        seen->late[i] = false;
    }
}

/* ---- one event ------------------------------------------------------------------------------------ */

static void trace_event(const struct sim *sim, int replica, const struct event *event)
{
    if (!sim->trace)
        return;
    fprintf(stderr, "%llu %.3f r%d %s uid=%s name=%s ticket=%llu", (unsigned long long)sim->step,
            (double)sim->now_ns / 1e9, replica, event_kind_name(event->kind), event->uid, event->name,
            (unsigned long long)event->ticket);
    if (event->kind == EV_NODE)
        fprintf(stderr, " %s", event->object.node->name);
    if (event->kind == EV_POD)
        fprintf(stderr, " %s uid=%s gpus=%lld node=%s nominated=%s phase=%d", event->object.pod->name,
                event->object.pod->uid, (long long)event->object.pod->shape.requests.items[0].value,
                event->object.pod->node, event->object.pod->nominated,
                (int)event->object.pod->phase);
    if (event->kind == EV_LEASE)
        fprintf(stderr, " %s", event->object.lease->holder);
    if (event->kind == EV_WRITE_DONE)
        fprintf(stderr, " %s %s", action_kind_name(event->action), write_result_name(event->result));
    fputc('\n', stderr);
}

/* A gang that comes back under its old name is another one: it is written anew. */
static void forget_ended_gangs(struct sim *sim, const struct core *core)
{
    for (int i = 0; i < SIM_JOBS * 4; i++)
        if (sim->records[i].used && !core_gang(core, sim->records[i].ns, sim->records[i].name))
            sim->records[i].acknowledged_by = 0;
}

/* The extender settles once for all events that have come meanwhile: so do lives with an even seed. */
#define BATCH_ONE_IN 4

static bool settles_now(struct sim *sim)
{
    if (sim->lazy)
        return sim->step % 64 == 0;
    return sim->calm || sim->seed % 2 != 0 || sim_random(sim, BATCH_ONE_IN) != 0;
}

void sim_deliver(struct sim *sim, int replica, struct event event, enum sim_fault fault)
{
    struct sim_replica *self = &sim->replicas[replica];
    bool crash = !sim->calm && !sim->lazy && sim_random(sim, CRASH_ONE_IN) == 0;
    bool settled;

    event.wall_ns = EPOCH_S * SIM_SECOND + sim->now_ns;
    trace_event(sim, replica, &event);
    sim_table_count(self->core, &event, fault);
    if (crash)
        sim_table_crash(self->core);
    core_step(self->core, &event, sim->now_ns, &sim->actions);
    self->members_changed |= event.kind == EV_POD_GONE || event.kind == EV_POD;
    settled = settles_now(sim);
    if (settled)
        core_settle(self->core, sim->now_ns, &sim->actions);
    sim->crash_after = crash ? (int)sim_random(sim, (unsigned)sim->actions.n + 1) : -1;
    sim_take_actions(sim, replica);
    if (crash) {
        sim_end_extender(sim, replica);
        return;
    }
    sim_check_active(sim, replica);
    if (settled && self->members_changed) {
        forget_ended_gangs(sim, self->core);
        self->members_changed = false;
    }
    if (!sim->lazy || sim->step % 4096 == 0)
        sim_check(sim, replica);
}

static enum sim_fault lateness(const struct sim *sim, const struct sim_seen *seen, int replica)
{
    if (!seen->late[replica] && !seen->gone[replica])
        return FAULT_REPEATED;
    return sim->now_ns - seen->changed_ns > LATE_NS ? FAULT_LATE : FAULT_NONE;
}

/* ---- objects ---------------------------------------------------------------------------------------- */

/* One that went and came again is another one to whom its former life was told last. */
static bool knows_node(const struct sim *sim, int replica, int number)
{
    const struct node *node;
    char name[16];

    snprintf(name, sizeof(name), "n%d", number);
    node = cluster_node(core_cluster(sim->replicas[replica].core), name);
    return node && node->object;
}

static void deliver_pod(struct sim *sim, int replica, struct sim_pod *pod)
{
    enum sim_fault fault = lateness(sim, &pod->seen, replica);
    struct event event = {.kind = pod->seen.gone[replica] ? EV_POD_GONE : EV_POD};

    if (event.kind == EV_POD) {
        event.object.pod = sim_pod_object(sim, pod);
        if (pod->node >= 0 && !pod->seen_ns[replica])
            pod->seen_ns[replica] = sim->now_ns;
        if (pod->rejected && pod->job >= 0 && !pod->told_rejected[replica] &&
            pod->node == sim->jobs[pod->job].rejected_node && knows_node(sim, replica, pod->node))
            sim->jobs[pod->job].rejected_ns[replica] = sim->now_ns;
        pod->told_rejected[replica] = pod->rejected;
    } else {
        snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
    }
    pod->seen.late[replica] = pod->seen.gone[replica] = false;
    sim_deliver(sim, replica, event, fault);
}

/* Its NodeTopology comes and goes with the node. */
static void deliver_machine(struct sim *sim, int replica, int number, enum sim_fault fault)
{
    struct event event = {.kind = sim->nodes[number].present ? EV_MACHINE : EV_MACHINE_GONE};

    if (!sim_has_machines(sim) || !sim->replicas[replica].core)
        return;
    if (event.kind == EV_MACHINE)
        event.object.machine = sim_machine_object(sim, number);
    else
        snprintf(event.name, sizeof(event.name), "n%d", number);
    sim_deliver(sim, replica, event, fault);
}

static void deliver_node(struct sim *sim, int replica, int number)
{
    struct sim_node *node = &sim->nodes[number];
    enum sim_fault fault = lateness(sim, &node->seen, replica);
    struct event event = {.kind = node->present ? EV_NODE : EV_NODE_GONE};

    node->seen.late[replica] = node->seen.gone[replica] = false;
    if (node->present)
        event.object.node = sim_node_object(sim, number);
    else
        snprintf(event.name, sizeof(event.name), "n%d", number);
    sim_deliver(sim, replica, event, fault);
    deliver_machine(sim, replica, number, fault);
}

static void deliver_job(struct sim *sim, int replica, struct sim_job *job)
{
    enum sim_fault fault = lateness(sim, &job->seen, replica);
    bool group = job->kind == SIM_GROUP, gone = job->seen.gone[replica];
    struct event event = {.kind = group ? (gone ? EV_GROUP_GONE : EV_GROUP)
                                        : (gone ? EV_JOB_GONE : EV_JOB),
                          .group_kind = GROUP_NATIVE};

    job->seen.late[replica] = job->seen.gone[replica] = false;
    snprintf(event.ns_name, sizeof(event.ns_name), "%s", job->ns);
    snprintf(event.name, sizeof(event.name), "%s", job->name);
    if (!gone && group)
        event.object.group = sim_group_object(sim, job);
    else if (!gone)
        event.object.job = sim_job_object(sim, job);
    sim_deliver(sim, replica, event, fault);
}

static void deliver_record(struct sim *sim, int replica, struct sim_record *record);

/* One watch brings what happened to one name in order: the end of a namesake comes first. */
static bool namesake_ends_first(struct sim *sim, int replica, const struct sim_record *record)
{
    for (int i = 0; i < SIM_JOBS * 4 && !record->seen.gone[replica]; i++) {
        struct sim_record *other = &sim->records[i];

        if (other == record || !other->seen.gone[replica] || strcmp(other->name, record->name) != 0 ||
            strcmp(other->ns, record->ns) != 0)
            continue;
        deliver_record(sim, replica, other);
        return true;
    }
    return false;
}

/* What the API server adds to an object. */
static void set_number(json_t *object, const char *name, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    json_object_set_new(json_object_get(object, "metadata"), name, json_string(text));
}

static void deliver_record(struct sim *sim, int replica, struct sim_record *record)
{
    enum sim_fault fault = lateness(sim, &record->seen, replica);
    struct event event = {.kind = record->seen.gone[replica] ? EV_PLACEMENT_GONE : EV_PLACEMENT};
    struct err err = ERR_INIT;

    if (namesake_ends_first(sim, replica, record))
        return;
    snprintf(event.ns_name, sizeof(event.ns_name), "%s", record->ns);
    snprintf(event.name, sizeof(event.name), "%s", record->name);
    record->seen.late[replica] = record->seen.gone[replica] = false;
    if (event.kind == EV_PLACEMENT_GONE) { /* the core cannot know which one ended: it writes again */
        struct sim_record *newer = sim_record_of(sim, record->ns, record->name);

        if (newer)
            newer->acknowledged_by = 0;
    }
    if (event.kind == EV_PLACEMENT) {
        json_t *json = json_loads(record->body, 0, NULL);

        set_number(json, "uid", record->uid);
        set_number(json, "resourceVersion", record->version);

        if (read_placement(json, &event.object.placement, &err) < 0)
            sim_fail(sim, "the core wrote a GangPlacement that it cannot read: %s", err.text);
        json_decref(json);
    }
    sim_deliver(sim, replica, event, fault);
}

static void deliver_lease(struct sim *sim, int replica)
{
    struct event event = {.kind = EV_LEASE};

    sim->replicas[replica].lease_late = false;
    event.object.lease = sim_lease_object(sim);
    sim_deliver(sim, replica, event, FAULT_NONE);
}

static bool stale(const struct sim_seen *seen, int replica)
{
    return seen->late[replica] || seen->gone[replica];
}

static bool listed(const struct sim_job *job)
{
    return job->kind != SIM_BARE;
}

/* ---- some, or all ------------------------------------------------------------------------------------- */

static bool deliver_other(struct sim *sim, int replica)
{
    struct sim_job *job = &sim->jobs[sim_random(sim, SIM_JOBS)];
    struct sim_record *record = &sim->records[sim_random(sim, SIM_JOBS * 4)];
    int node = (int)sim_random(sim, (unsigned)sim->nnodes);
    bool again = sim_random(sim, 5) == 0;

    if (stale(&sim->nodes[node].seen, replica) || (again && sim->nodes[node].present))
        deliver_node(sim, replica, node);
    else if (listed(job) && (stale(&job->seen, replica) || (again && job->used && !job->orphaned)))
        deliver_job(sim, replica, job);
    else if (stale(&record->seen, replica) || (again && record->used))
        deliver_record(sim, replica, record);
    else
        return false;
    return true;
}

void sim_deliver_some(struct sim *sim, int replica)
{
    unsigned from = sim_random(sim, (unsigned)sim->npods);
    struct sim_pod *again = &sim->pods[from];

    if (!sim_runs(sim, replica))
        return;
    if (sim->replicas[replica].lease_late && sim_random(sim, 3) == 0) {
        deliver_lease(sim, replica);
        return;
    }
    if (sim_random(sim, 3) == 0 && deliver_other(sim, replica))
        return;
    if (again->used && sim_random(sim, 20) == 0) {
        deliver_pod(sim, replica, again);
        return;
    }
    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (!stale(&pod->seen, replica))
            continue;
        deliver_pod(sim, replica, pod);
        return;
    }
}

/* One of the objects that a gang is made of, whether it has changed or not. */
void sim_deliver_of(struct sim *sim, int replica, int number)
{
    struct sim_job *job = &sim->jobs[number];
    struct sim_record *record = sim_gang_record(sim, job);
    unsigned from = sim_random(sim, (unsigned)sim->npods);

    switch (sim_random(sim, 3)) {
    case 0:
        if (listed(job) && ((job->used && !job->orphaned) || stale(&job->seen, replica)))
            deliver_job(sim, replica, job);
        return;
    case 1:
        if (record)
            deliver_record(sim, replica, record);
        return;
    default:
        break;
    }
    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (pod->job != number || (!pod->used && !stale(&pod->seen, replica)))
            continue;
        deliver_pod(sim, replica, pod);
        return;
    }
}

static void deliver_objects(struct sim *sim, int replica)
{
    struct sim_replica *self = &sim->replicas[replica];

    for (int i = 0; i < sim->nnodes && self->core; i++)
        if (stale(&sim->nodes[i].seen, replica))
            deliver_node(sim, replica, i);
    for (int i = 0; i < SIM_JOBS && self->core; i++)
        if (listed(&sim->jobs[i]) && stale(&sim->jobs[i].seen, replica))
            deliver_job(sim, replica, &sim->jobs[i]);
    for (int i = 0; i < SIM_JOBS * 4 && self->core; i++)
        while (self->core && stale(&sim->records[i].seen, replica))
            deliver_record(sim, replica, &sim->records[i]);
    for (int i = 0; i < sim->npods && self->core; i++)
        if (stale(&sim->pods[i].seen, replica))
            deliver_pod(sim, replica, &sim->pods[i]);
}

/* Whatever is late, then the list that a term begins with. */
void sim_deliver_all(struct sim *sim, int replica)
{
    struct sim_replica *self = &sim->replicas[replica];
    uint64_t term = self->relist_term, process = self->process;

    if (!sim_runs(sim, replica))
        return;
    deliver_objects(sim, replica);
    if (self->core && self->process == process && term) {
        self->relist_term = 0;
        sim_deliver(sim, replica, (struct event){.kind = EV_SYNCED, .ticket = term}, FAULT_NONE);
    }
    if (self->core && self->process == process && self->lease_late)
        deliver_lease(sim, replica);
}

/* ---- starts and ends ------------------------------------------------------------------------------------ */

/* A new process knows nothing: everything that there is, is late for it. */
static void all_late(struct sim *sim, int replica)
{
    for (int i = 0; i < sim->nnodes; i++) {
        sim->nodes[i].seen.late[replica] = sim->nodes[i].present;
        sim->nodes[i].seen.gone[replica] = false;
    }
    for (int i = 0; i < sim->npods; i++) {
        sim->pods[i].seen.late[replica] = sim->pods[i].used;
        sim->pods[i].seen.gone[replica] = false;
        sim->pods[i].seen_ns[replica] = 0;
        sim->pods[i].told_rejected[replica] = false;
    }
    for (int i = 0; i < SIM_JOBS; i++) {
        sim->jobs[i].seen.late[replica] = sim->jobs[i].used && !sim->jobs[i].orphaned;
        sim->jobs[i].seen.gone[replica] = false;
        sim->jobs[i].rejected_ns[replica] = 0;
    }
    for (int i = 0; i < SIM_JOBS * 4; i++) {
        sim->records[i].seen.late[replica] = sim->records[i].used;
        sim->records[i].seen.gone[replica] = false;
    }
}

void sim_start_extender(struct sim *sim, int replica)
{
    struct sim_replica *self = &sim->replicas[replica];
    char host[8];
    bool calm = sim->calm;

    snprintf(host, sizeof(host), "r%d", replica);
    self->core = core_new(&sim->config);
    self->process++;
    self->relist_term = 0;
    self->was_active = false;
    core_set_host(self->core, host);
    core_set_predecessor(self->core, sim->now_ns);
    core_set_epoch(self->core, EPOCH_S);
    all_late(sim, replica);
    sim->calm = true; /* it does not crash before it lives */
    for (int i = 0; i < 2; i++) {
        struct event event = {.kind = EV_NAMESPACE};

        event.object.ns = sim_namespace_object(sim, i ? "ev" : "ns");
        sim_deliver(sim, replica, event, FAULT_NONE);
    }
    deliver_objects(sim, replica);
    for (int i = 0; i < SIM_JOBS; i++)
        sim->jobs[i].rejected_ns[replica] = 0; /* what lies there from before is no news */
    sim_deliver(sim, replica, (struct event){.kind = EV_SYNCED}, FAULT_NONE);
    if (sim->lease.holder >= 0)
        deliver_lease(sim, replica);
    sim->calm = calm;
}

/* Its held calls break off; what it sent may still arrive. */
void sim_end_extender(struct sim *sim, int replica)
{
    struct sim_replica *self = &sim->replicas[replica];

    if (!self->core)
        return;
    core_free(self->core);
    self->core = NULL;
    actions_clear(&sim->actions);
    self->up_at_ns = sim->now_ns + (int64_t)sim_random(sim, 5000) * 1000000;
    sim->restarts++;
    if (sim->lease.holder == replica)
        for (int i = 0; i < sim->npods; i++)
            sim->pods[i].voting = false;
    for (int i = 0; i < sim->npods; i++)
        sim->pods[i].seen.gone[replica] = sim->pods[i].seen.late[replica] = false;
}

/* ---- the Lease -------------------------------------------------------------------------------------------- */

static bool may_lead(const struct sim *sim, int replica)
{
    return !sim->replicas[replica].paused && !sim->replicas[replica].scheduler_down;
}

static void lease_changed(struct sim *sim)
{
    for (int i = 0; i < REPLICAS; i++)
        sim->replicas[i].lease_late = true;
}

void sim_lease_tick(struct sim *sim)
{
    struct sim_lease *lease = &sim->lease;
    int candidate = (int)sim_random(sim, REPLICAS);

    if (lease->holder >= 0 && may_lead(sim, lease->holder) &&
        lease->identity == sim->identity_of[lease->holder]) {
        lease->renewed_ns = sim->now_ns;
        lease_changed(sim);
        return;
    }
    if (lease->holder >= 0 && sim->now_ns - lease->renewed_ns <= LEASE_NS)
        return;
    if (!may_lead(sim, candidate))
        candidate = (candidate + 1) % REPLICAS;
    if (!may_lead(sim, candidate))
        return;
    lease->transitions += lease->holder >= 0;
    sim->failovers += lease->holder >= 0 && candidate != lease->holder;
    lease->holder = candidate;
    lease->identity = sim->identity_of[candidate];
    lease->acquired_ns = lease->renewed_ns = sim->now_ns;
    sim_forget_scheduler(sim);
    lease_changed(sim);
}
