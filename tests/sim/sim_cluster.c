/* Kubelets, controllers and people: everything that changes the cluster besides lockstep. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

/* ---- kubelets ------------------------------------------------------------------------------------------ */

static int admitted_on(const struct sim *sim, int node)
{
    int used = 0;

    for (int i = 0; i < sim->npods; i++) {
        const struct sim_pod *pod = &sim->pods[i];

        if (pod->used && pod->node == node && pod->admitted && pod->phase == POD_RUNNING)
            used += pod->gpus;
    }
    return used;
}

static void admit(struct sim *sim, struct sim_pod *pod)
{
    const struct sim_node *node = &sim->nodes[pod->node];

    pod->rejected = node->rejects_until_ns > sim->now_ns ||
                    admitted_on(sim, pod->node) + pod->gpus > SIM_GPUS;
    pod->admitted = !pod->rejected;
    pod->phase = pod->rejected ? POD_FAILED : POD_RUNNING;
    sim->rejected += pod->rejected;
    if (pod->rejected && pod->job >= 0) {
        struct sim_job *job = &sim->jobs[pod->job];

        job->rejected_node = pod->node;
        memset(job->rejected_ns, 0, sizeof(job->rejected_ns));
    }
    sim_changed(sim, &pod->seen);
}

/* From a random one on, the first that is bound and in this phase. */
static struct sim_pod *bound_pod(struct sim *sim, enum pod_phase phase)
{
    unsigned from = sim_random(sim, (unsigned)sim->npods);

    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (pod->used && pod->node >= 0 && pod->phase == (int)phase)
            return pod;
    }
    return NULL;
}

void sim_kubelet(struct sim *sim)
{
    struct sim_pod *pod = bound_pod(sim, POD_PENDING);

    if (pod) {
        admit(sim, pod);
        return;
    }
    pod = bound_pod(sim, POD_RUNNING);
    if (pod && !sim->calm && sim_random(sim, 30) == 0) {
        pod->phase = sim_random(sim, 4) ? POD_SUCCEEDED : POD_FAILED;
        sim_changed(sim, &pod->seen);
    }
}

/* ---- workloads ------------------------------------------------------------------------------------------- */

/* Nothing is left of a namesake that was there before. */
static bool is_free(const struct sim *sim, int number)
{
    const struct sim_job *job = &sim->jobs[number];

    if (job->used || job->seen.gone[0] || job->seen.gone[1])
        return false;
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].job == number && (sim->pods[i].used || sim->pods[i].seen.gone[0] ||
                                           sim->pods[i].seen.gone[1]))
            return false;
    return true;
}

void sim_new_job(struct sim *sim)
{
    int number = (int)sim_random(sim, SIM_JOBS);
    struct sim_job *job = &sim->jobs[number];

    if (!is_free(sim, number))
        return;
    *job = (struct sim_job){.used = true,
                            .kind = (enum sim_workload)sim_random(sim, 3),
                            .ns = sim_random(sim, 2) ? "ev" : "ns",
                            .size = 1 + (int)sim_random(sim, SIM_SIZE_MAX - 1),
                            .gpus = sim_random(sim, 2) ? 8 : 4,
                            .priority = 5 * (int)sim_random(sim, 3),
                            .required = sim_random(sim, 3) == 0,
                            .rejected_node = -1};
    snprintf(job->name, sizeof(job->name), "g%d", number);
    snprintf(job->uid, sizeof(job->uid), "j%llu", (unsigned long long)++sim->next_id);
    if (job->kind != SIM_BARE)
        sim_changed(sim, &job->seen);
}

/* One more member than before: also a gang that runs, or has ended, may grow. */
void sim_grow(struct sim *sim, int number)
{
    struct sim_job *job = &sim->jobs[number];

    if (!job->used || job->orphaned || job->kind == SIM_BARE || job->size >= SIM_SIZE_MAX)
        return;
    sim_changed(sim, &job->seen);
    sim_new_pod(sim, number, job->size++);
}

static bool has_member(const struct sim *sim, int job, int index)
{
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].used && sim->pods[i].job == job && sim->pods[i].index == index &&
            sim->pods[i].phase != POD_FAILED)
            return true;
    return false;
}

static void remove_failed(struct sim *sim, int job, int index)
{
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].used && sim->pods[i].job == job && sim->pods[i].index == index &&
            sim->pods[i].phase == POD_FAILED)
            sim_delete_pod(sim, &sim->pods[i]);
}

/* true: one was made. */
static bool make_members(struct sim *sim, int number, bool one)
{
    const struct sim_job *job = &sim->jobs[number];
    bool made = false;

    if (!job->used || (job->orphaned && job->kind == SIM_JOB))
        return false;
    for (int index = 0; index < job->size && !(made && one); index++) {
        if (has_member(sim, number, index))
            continue;
        remove_failed(sim, number, index);
        if (!sim_new_pod(sim, number, index))
            break;
        made = true;
    }
    return made;
}

/* Makes the members that some workload lacks: mostly all, now and then one. */
void sim_controllers(struct sim *sim)
{
    unsigned from = sim_random(sim, SIM_JOBS);
    bool one = sim_random(sim, 3) == 0;

    for (unsigned i = 0; i < SIM_JOBS; i++)
        if (make_members(sim, (int)((from + i) % SIM_JOBS), one))
            return;
}

/* Its object goes, and the garbage collector takes the GangPlacement that it owned. */
static void delete_object(struct sim *sim, struct sim_job *job)
{
    struct sim_record *record = sim_gang_record(sim, job);

    if (job->kind == SIM_BARE || job->orphaned)
        return;
    sim_gone(sim, &job->seen);
    if (!record)
        return;
    record->used = false;
    sim_gone(sim, &record->seen);
}

void sim_delete_job(struct sim *sim, int number)
{
    struct sim_job *job = &sim->jobs[number];

    if (!job->used)
        return;
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].used && sim->pods[i].job == number)
            sim_delete_pod(sim, &sim->pods[i]);
    delete_object(sim, job);
    job->used = false;
}

/* kubectl delete --cascade=orphan; or a PodGroup deleted under its pods. */
void sim_orphan(struct sim *sim, int number)
{
    struct sim_job *job = &sim->jobs[number];

    if (!job->used || job->orphaned)
        return;
    delete_object(sim, job);
    job->orphaned = true;
    for (int i = 0; i < sim->npods && job->kind == SIM_JOB; i++)
        if (sim->pods[i].used && sim->pods[i].job == number)
            sim_changed(sim, &sim->pods[i].seen); /* nobody's any more */
}

/* ---- people ------------------------------------------------------------------------------------------------ */

void sim_delete_something(struct sim *sim)
{
    struct sim_pod *pod = &sim->pods[sim_random(sim, (unsigned)sim->npods)];

    for (int i = 0; i < 3 && !pod->used; i++)
        pod = &sim->pods[sim_random(sim, (unsigned)sim->npods)];
    if (!pod->used)
        return;
    if (pod->job >= 0 && sim_random(sim, 4) == 0)
        sim_delete_job(sim, pod->job);
    else
        sim_delete_pod(sim, pod);
}

/* A node that comes back is another one: what its kubelet did is forgotten with the old one. */
static void forget_rejections(struct sim *sim, int node)
{
    for (int i = 0; i < SIM_JOBS; i++)
        if (sim->jobs[i].rejected_node == node)
            sim->jobs[i].rejected_node = -1;
}

void sim_change_node(struct sim *sim)
{
    int number = (int)sim_random(sim, (unsigned)sim->nnodes);
    struct sim_node *node = &sim->nodes[number];

    switch (sim_random(sim, 6)) {
    case 0:
        if (sim_node_use(sim, number, false) > 0)
            return;
        node->present = !node->present;
        forget_rejections(sim, number);
        break;
    default:
        node->tainted = !node->tainted;
        break;
    }
    sim_changed(sim, &node->seen);
}

/* A device plugin fails: the kubelet takes no pod for a while, and nobody sees it before. */
/* Rather where a pod was just bound: there it matters. */
void sim_bad_kubelet(struct sim *sim)
{
    const struct sim_pod *bound = &sim->pods[sim_random(sim, (unsigned)sim->npods)];
    unsigned any = sim_random(sim, (unsigned)sim->nnodes);
    bool matters = bound->used && bound->node >= 0 && !bound->admitted;
    struct sim_node *node = &sim->nodes[matters ? (unsigned)bound->node : any];

    node->rejects_until_ns = sim->now_ns + (int64_t)sim_random(sim, 90) * SIM_SECOND;
}

static struct sim_pod *waiting_member(struct sim *sim)
{
    unsigned from = sim_random(sim, (unsigned)sim->npods);

    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (pod->used && pod->job >= 0 && pod->node < 0 && pod->phase == POD_PENDING)
            return pod;
    }
    return NULL;
}

/* Somebody else's pod takes a place, or somebody binds a member by hand. */
void sim_foreign_bind(struct sim *sim)
{
    int node = (int)sim_random(sim, (unsigned)sim->nnodes);
    struct sim_pod *pod = sim_random(sim, 2) ? NULL : waiting_member(sim);

    if (!sim->nodes[node].present)
        return;
    if (!pod)
        pod = sim_ordinary_pod(sim, 1 + (int)sim_random(sim, 8), true);
    if (!pod || sim_node_use(sim, node, false) + pod->gpus > SIM_GPUS)
        return;
    pod->node = node;
    pod->nominated = -1;
    if (pod->job >= 0)
        sim->jobs[pod->job].mixed = true;
    sim_changed(sim, &pod->seen);
}
