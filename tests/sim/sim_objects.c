/* Simulated objects as the readers of scheduler/kube would hand them to the core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static char *text(const char *from)
{
    return need(strdup(from));
}

static char *name_of(const char *prefix, int number)
{
    char name[32];

    snprintf(name, sizeof(name), "%s%d", prefix, number);
    return text(name);
}

static void add_amount(struct amounts *amounts, const char *resource, int64_t value)
{
    amounts->items = need(realloc(amounts->items, (amounts->n + 1) * sizeof(struct amount)));
    amounts->items[amounts->n++] = (struct amount){text(resource), value};
}

static void add_label(struct labels *labels, const char *key, char *value)
{
    labels->items = need(realloc(labels->items, (labels->n + 1) * sizeof(struct label)));
    labels->items[labels->n++] = (struct label){text(key), value};
}

/* Blocks of 5 nodes, of which the last one is in none, and two racks that cross them. */
int sim_block(const struct sim *sim, int node)
{
    return !sim->lazy && node == sim->nnodes - 1 ? -1 : node / 5;
}

struct obj_node *sim_node_object(const struct sim *sim, int node)
{
    struct obj_node *object = need(calloc(1, sizeof(*object)));

    object->name = name_of("n", node);
    object->uid = name_of("n", node);
    if (sim_block(sim, node) >= 0)
        add_label(&object->labels, "block", name_of("b", sim_block(sim, node)));
    add_label(&object->labels, "rack", name_of("r", node % 2));
    add_amount(&object->allocatable, "nvidia.com/gpu", SIM_GPUS);
    add_amount(&object->allocatable, "pods", 100);
    if (sim->nodes[node].tainted) {
        object->taints = need(calloc(1, sizeof(struct taint)));
        object->taints[0] = (struct taint){text("k"), text(""), EFFECT_NO_SCHEDULE};
        object->ntaints = 1;
    }
    return object;
}

bool sim_has_machines(const struct sim *sim)
{
    return sim->seed % 5 == 0 || sim->seed % 5 == 2;
}

/* Every third one is faster; on the others half of the accelerators are nearer to each other than to the rest. */
struct obj_machine *sim_machine_object(const struct sim *sim, int node)
{
    struct obj_machine *object = need(calloc(1, sizeof(*object)));
    struct machine *machine = &object->machine;
    bool fast = node % 3 == 0;

    (void)sim;
    object->name = name_of("n", node);
    machine->ngpus = SIM_GPUS;
    machine->fabric = fast ? FABRIC_SWITCH : FABRIC_MESH;
    for (uint32_t a = 0; a < machine->ngpus; a++) {
        machine->gpus[a] = (struct machine_gpu){.sm = fast ? 80 : 70, .numa = -1, .bridge = -1};
        for (uint32_t b = 0; b < machine->ngpus; b++) {
            uint8_t links = fast ? 12 : a % 2 == b % 2 ? 2 : 1;

            machine->link[a][b] = (struct machine_link){LINK_NVLINK, links, (float)links * 25};
        }
    }
    return object;
}

static void set_owner(struct obj_pod *object, const struct sim_job *job)
{
    bool owned = job && job->kind == SIM_JOB && !job->orphaned;

    object->owner = (struct owner){owned ? OWNER_JOB : OWNER_NONE, text(owned ? "batch/v1" : ""),
                                   text(owned ? "Job" : ""), text(owned ? job->name : ""),
                                   text(owned ? job->uid : "")};
}

/* In every second life two workloads in three have two subgroups, and half of those a pod that is in neither. */
int sim_subgroup(const struct sim *sim, const struct sim_pod *pod)
{
    long number = pod->job >= 0 ? strtol(sim->jobs[pod->job].uid + 1, NULL, 10) : 0;

    if (sim->seed % 2 || sim->lazy || pod->job < 0 || number % 3 == 0 || (number % 2 && pod->index == 0))
        return 0;
    return 1 + pod->index % 2;
}

bool sim_is_spread(const struct sim_job *job)
{
    return strtol(job->uid + 1, NULL, 10) % 3 == 1;
}

static void set_wish(struct obj_pod *object, const struct sim *sim, const struct sim_pod *pod)
{
    static const char *const names[] = {"", "even", "odd"};
    const struct sim_job *job = pod->job >= 0 ? &sim->jobs[pod->job] : NULL;
    int subgroup = sim_subgroup(sim, pod);
    bool label = job && job->kind != SIM_GROUP, spread = subgroup && sim_is_spread(job);

    object->wish = (struct gang_wish){.name = text(label ? job->name : ""), .size = label ? pod->size : 0,
                                      .required = text(label && job->required ? "block" : ""),
                                      .preferred = text(""), .role = text(""), .subgroup = text(names[subgroup]),
                                      .within = text(subgroup && !spread ? "block" : ""),
                                      .spread = text(spread ? "block" : ""), .unsupported = text("")};
    object->group_native = text(job && job->kind == SIM_GROUP ? job->name : "");
    object->group_sigs = text("");
}

struct obj_pod *sim_pod_object(const struct sim *sim, const struct sim_pod *pod)
{
    const struct sim_job *job = pod->job >= 0 ? &sim->jobs[pod->job] : NULL;
    struct obj_pod *object = need(calloc(1, sizeof(*object)));

    object->ns = text(job ? job->ns : "ns");
    object->name = text(pod->name);
    object->uid = text(pod->uid);
    object->scheduler = text(pod->foreign ? "other" : "lockstep");
    object->node = pod->node >= 0 ? name_of("n", pod->node) : text("");
    object->nominated = pod->nominated >= 0 ? name_of("n", pod->nominated) : text("");
    object->refusal = text("");
    if (pod->node >= 0 && pod->phase == POD_PENDING) {
        object->stuck = pod->index % 4 == 1;
        object->waiting = text(object->stuck ? "container c: ErrImagePull" : "container c: ContainerCreating");
    }
    object->phase = (enum pod_phase)pod->phase;
    object->rejected = pod->rejected;
    object->priority = pod->priority;
    object->created_s = EPOCH_S + pod->created_ns / SIM_SECOND;
    object->index = pod->index;
    object->unsupported = text("");
    set_owner(object, job);
    set_wish(object, sim, pod);
    add_amount(&object->shape.requests, "nvidia.com/gpu", pod->gpus);
    add_amount(&object->shape.requests, "pods", 1);
    if (pod_shape_seal(&object->shape) < 0)
        abort();
    return object;
}

struct obj_job *sim_job_object(const struct sim *sim, const struct sim_job *job)
{
    struct obj_job *object = need(calloc(1, sizeof(*object)));

    (void)sim;
    object->ns = text(job->ns);
    object->name = text(job->name);
    object->uid = text(job->uid);
    object->parallelism = object->completions = job->size;
    object->indexed = true;
    return object;
}

struct obj_group *sim_group_object(const struct sim *sim, const struct sim_job *job)
{
    struct obj_group *object = need(calloc(1, sizeof(*object)));

    (void)sim;
    object->kind = GROUP_NATIVE;
    object->ns = text(job->ns);
    object->name = text(job->name);
    object->uid = text(job->uid);
    object->api_version = text("scheduling.k8s.io/v1beta1");
    /* One in eight is elastic: it starts with half of its pods and grows. */
    object->min = strtol(job->uid + 1, NULL, 10) % 8 == 3 ? (job->size + 1) / 2 : job->size;
    object->required = text(job->required ? "block" : "");
    object->preferred = text("");
    object->unsupported = text("");
    return object;
}

struct obj_lease *sim_lease_object(const struct sim *sim)
{
    struct obj_lease *object = need(calloc(1, sizeof(*object)));
    char holder[32];

    snprintf(holder, sizeof(holder), "r%d_%d", sim->lease.holder, sim->lease.identity);
    object->ns = text("ls");
    object->name = text("lease");
    object->holder = text(holder);
    object->duration_ns = LEASE_NS;
    object->acquired_ns = EPOCH_S * SIM_SECOND + sim->lease.acquired_ns;
    object->renewed_ns = EPOCH_S * SIM_SECOND + sim->lease.renewed_ns;
    object->transitions = sim->lease.transitions;
    return object;
}

struct obj_namespace *sim_namespace_object(const struct sim *sim, const char *name)
{
    struct obj_namespace *object = need(calloc(1, sizeof(*object)));

    (void)sim;
    object->name = text(name);
    object->evict_allowed = strcmp(name, "ev") == 0;
    return object;
}
