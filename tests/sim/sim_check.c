/* What must hold at the API server, whatever the core believes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

void sim_check(struct sim *sim, int replica)
{
    struct err err = ERR_INIT;

    if (core_check(sim->replicas[replica].core, &err) < 0)
        sim_fail(sim, "%s", err.text);
}

/* I6: what had changed before the Lease was acquired was read before anything is decided. */
void sim_check_active(struct sim *sim, int replica)
{
    struct sim_replica *self = &sim->replicas[replica];
    bool active = core_active(self->core), began = active && !self->was_active;

    if (self->was_active && !active)
        for (int i = 0; i < SIM_JOBS * 4; i++)
            sim->records[i].acknowledged_by = 0; /* it may be written again in the next term */
    self->was_active = active;
    for (int i = 0; i < sim->npods && began; i++)
        if ((sim->pods[i].seen.late[replica] || sim->pods[i].seen.gone[replica]) &&
            sim->pods[i].seen.changed_ns < sim->lease.acquired_ns)
            sim_fail(sim, "I6: replica %d acts and has not read of %s", replica, sim->pods[i].name);
}

/* GPUs on the node that the writer gave away itself or knew of when it sent this binding. */
static int known_use(const struct sim *sim, const struct sim_write *write, int node)
{
    int used = 0;

    for (int i = 0; i < sim->npods; i++) {
        const struct sim_pod *pod = &sim->pods[i];
        int64_t seen_ns = pod->seen_ns[write->replica];

        if (!pod->used || pod->node != node || pod->phase == POD_SUCCEEDED ||
            pod->phase == POD_FAILED)
            continue;
        if (pod->by_us || (seen_ns && seen_ns < write->sent_ns))
            used += pod->gpus;
    }
    return used;
}

static bool planned_there(const struct sim_record *record, const char *node)
{
    char entry[32];

    snprintf(entry, sizeof(entry), "\"name\":\"%s\"", node);
    return strstr(record->body, entry) != NULL;
}

/* A required domain: a node of which it is unknown is in none. */
static void check_block(struct sim *sim, const struct sim_job *job, const struct sim_pod *pod, int node)
{
    int block = sim_block(sim, node);

    if (block < 0)
        sim_fail(sim, "I15: %s must be in one block with its gang, and n%d is in none", pod->name, node);
    for (int i = 0; i < sim->npods; i++) {
        const struct sim_pod *other = &sim->pods[i];

        if (other->used && other->job == pod->job && other->node >= 0 && !job->mixed &&
            other->phase < POD_SUCCEEDED && sim_block(sim, other->node) != block)
            sim_fail(sim, "I9: %s is bound to n%d, %s of its gang to n%d of another block", pod->name,
                     node, other->name, other->node);
    }
}

/* Each subgroup in one block; those that are to be spread share none. */
static void check_subgroup(struct sim *sim, const struct sim_job *job, const struct sim_pod *pod, int node)
{
    int block = sim_block(sim, node), subgroup = sim_subgroup(sim, pod);

    if (block < 0)
        sim_fail(sim, "I15: %s must be in one block with its subgroup, and n%d is in none", pod->name, node);
    for (int i = 0; i < sim->npods && !job->mixed; i++) {
        const struct sim_pod *other = &sim->pods[i];
        int others = other->used && other->job == pod->job ? sim_subgroup(sim, other) : 0;

        if (!others || other == pod || other->node < 0 || other->phase >= POD_SUCCEEDED)
            continue;
        if (others == subgroup && sim_block(sim, other->node) != block)
            sim_fail(sim, "I9: %s is bound to n%d, %s of its subgroup to n%d of another block", pod->name, node,
                     other->name, other->node);
        if (others != subgroup && sim_is_spread(job) && sim_block(sim, other->node) == block)
            sim_fail(sim, "I9: %s is bound to n%d, %s of a subgroup that it must be apart from to n%d of that block",
                     pod->name, node, other->name, other->node);
    }
}

/* Its own was deleted behind our back, and this one is left from a former life under another name. */
static bool is_left_over(struct sim *sim, const struct sim_write *write, const struct sim_pod *pod,
                         const struct sim_record *record)
{
    const struct core *core = sim->replicas[write->replica].core;
    const struct gang *gang = core ? core_gang_of(core, pod->uid) : NULL;

    return gang && strcmp(gang->record.name, record->name) != 0;
}

static void check_gang_bind(struct sim *sim, const struct sim_write *write, const struct sim_pod *pod)
{
    static const char *const before[] = {"Forming", "Waiting", "Planned", "Replacing"};
    const struct sim_job *job = &sim->jobs[pod->job];
    const struct sim_record *record = sim_gang_record(sim, job);
    char state[40];

    if (job->required && !(job->orphaned && job->kind == SIM_GROUP)) /* its wish went with the PodGroup */
        check_block(sim, job, pod, (int)strtol(write->node + 1, NULL, 10));
    if (sim_subgroup(sim, pod))
        check_subgroup(sim, job, pod, (int)strtol(write->node + 1, NULL, 10));
    if (!record || record->made_ns > write->sent_ns)
        return; /* it was deleted behind our back (it goes with its PodGroup), and is written anew */
    if (is_left_over(sim, write, pod, record))
        return;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        snprintf(state, sizeof(state), "\"state\":\"%s\"", before[i]);
        if (!record->stale && strstr(record->body, state))
            sim_fail(sim, "I1: %s is bound while the record of its gang says %s", pod->name, before[i]);
    }
    if (!record->stale && strstr(record->body, "\"state\":\"Binding\"") && !planned_there(record, write->node) &&
        sim->nodes[strtol(write->node + 1, NULL, 10)].present) /* one that is gone is in no plan that is read anew */
        sim_fail(sim, "I13: %s is bound to %s, which is not in the stored plan", pod->name, write->node);
    if (job->rejected_node >= 0 && job->rejected_ns[write->replica] &&
        pod->created_ns > job->rejected_ns[write->replica] &&
        write->sent_ns < job->rejected_ns[write->replica] + 55 * SIM_SECOND &&
        (int)strtol(write->node + 1, NULL, 10) == job->rejected_node)
        sim_fail(sim, "I14: %s goes to %s, whose kubelet has just rejected its gang", pod->name,
                 write->node);
}

/* I5: whoever writes leads, at the very time when the write is applied. */
void sim_check_writer(struct sim *sim, const struct sim_write *write)
{
    if (sim->lease.holder != write->replica || sim->now_ns - sim->lease.renewed_ns > LEASE_NS)
        sim_fail(sim, "I5: replica %d writes (%s %s), the Lease is replica %d's", write->replica,
                 action_kind_name(write->outcome.action), write->name, sim->lease.holder);
}

void sim_check_bind(struct sim *sim, const struct sim_write *write, const struct sim_pod *pod)
{
    int node = (int)strtol(write->node + 1, NULL, 10);

    if (!write->uid[0])
        sim_fail(sim, "I7: the binding of %s carries no UID", pod->name);
    if (known_use(sim, write, node) + pod->gpus > SIM_GPUS)
        sim_fail(sim, "I2: %s with %d GPUs is bound to %s, where %d are in use", pod->name, pod->gpus,
                 write->node, known_use(sim, write, node));
    if (pod->job >= 0)
        check_gang_bind(sim, write, pod);
}
