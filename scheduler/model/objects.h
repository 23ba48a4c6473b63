/*
 * objects.h - what lockstep reads of Kubernetes objects, as plain values.
 *
 * scheduler/kube/read_*.c fills them from the API's JSON (the only place that knows field names);
 * the core takes them over inside events. Strings are heap copies that nobody changes, the object's own
 * or shared (base/intern.h), never NULL unless the comment says so; "" is absent. X_free() frees an
 * object and all it owns and takes NULL; no object refers to another. Values only: any thread, one
 * owner at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "topology/machine.h"

/* Limits on what is taken from outside; a reader refuses an object beyond them. */
#define OBJ_RESOURCES_MAX 64
#define OBJ_LABELS_MAX 1024
#define OBJ_GANG_PODS_MAX 20000 /* members of one gang */

/* An amount of one resource: cpu in thousandths of a core, memory and storage in bytes, else units. */
struct amount {
    char *resource; /* "cpu", "memory", "pods", "nvidia.com/gpu", ... */
    int64_t value;
};
struct amounts {
    struct amount *items; /* sorted by resource, no duplicates */
    size_t n;
};

struct label {
    char *key, *value;
};
struct labels {
    struct label *items; /* sorted by key */
    size_t n;
};
const char *labels_get(const struct labels *labels, const char *key); /* NULL: absent */

enum taint_effect { EFFECT_ANY, EFFECT_NO_SCHEDULE, EFFECT_PREFER_NO_SCHEDULE, EFFECT_NO_EXECUTE };
struct taint {
    char *key, *value;
    enum taint_effect effect;
};
struct toleration {
    char *key, *value; /* key "": every key */
    bool exists; /* operator Exists: the value does not matter */
    enum taint_effect effect; /* EFFECT_ANY: every effect */
};

/* Node affinity as in core/v1: terms are alternatives, the requirements of one term must all hold. */
enum requirement_op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_DOES_NOT_EXIST, OP_GT, OP_LT };
struct requirement {
    char *key;
    enum requirement_op op;
    bool is_field; /* matchFields (metadata.name) instead of a label */
    char **values;
    size_t nvalues;
};
struct selector_term {
    struct requirement *items;
    size_t n;
};

/* Everything of a pod that decides where it can run; pods with the same key are interchangeable. */
struct pod_shape {
    struct amounts requests; /* effective: init containers, sidecars and overhead counted; "pods": 1 */
    struct labels node_selector;
    struct selector_term *affinity; /* required during scheduling; naffinity 0: anywhere */
    size_t naffinity;
    struct toleration *tolerations;
    size_t ntolerations;
    int32_t own_cpus; /* whole CPUs that kubelet's CPU manager may give a container with devices alone */
    char *key; /* canonical text of all of the above */
};

enum owner_kind { OWNER_NONE, OWNER_JOB, OWNER_OTHER };
struct owner {
    enum owner_kind kind;
    char *api_version, *kind_name, *name, *uid; /* of the managing controller; "" when OWNER_NONE */
};

/* What becomes of a gang whose probe finds it slow. */
enum probe_policy {
    PROBE_UNSAID, /* as the configuration has it */
    PROBE_OFF, /* not measured */
    PROBE_WARN, /* told */
    PROBE_GATE, /* held back, for a while */
};
const char *probe_policy_name(enum probe_policy policy); /* "warn"; "" when not said */
bool probe_policy_from_name(const char *name, enum probe_policy *ret_policy);

/* What a workload says about its gang; the same keys on pods, pod templates and jobs. */
struct gang_wish {
    char *name; /* label lockstep.dev/gang */
    int32_t size; /* annotation lockstep.dev/gang-size, 0: not said */
    char *required, *preferred; /* annotation lockstep.dev/topology: a level's name each */
    char *role; /* annotation lockstep.dev/role */
    char *subgroup; /* label lockstep.dev/subgroup */
    enum probe_policy probe; /* label lockstep.dev/probe */
    char *within, *spread; /* annotation lockstep.dev/subgroup-topology: what it requires, is spread over */
    char *unsupported; /* "" or what of the wish is not understood or not built yet, in words */
};

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };
struct obj_pod {
    char *ns, *name, *uid;
    char *scheduler; /* spec.schedulerName */
    char *node; /* spec.nodeName, "": not bound */
    char *nominated; /* status.nominatedNodeName */
    char *refusal; /* message of condition PodScheduled=False, "" otherwise */
    char *waiting; /* Pending on its node: at what, as its kubelet tells; ASCII, short. NULL: at nothing, not known */
    bool stuck; /* ... and that does not pass by itself: an image that is not there, a container that fails */
    enum pod_phase phase;
    bool rejected; /* Failed because the kubelet would not take it (OutOfcpu, TopologyAffinityError, ...) */
    bool terminating; /* deletionTimestamp is set */
    bool gated; /* has schedulingGates */
    int32_t priority;
    int64_t created_s; /* seconds since 1970 */
    int32_t index; /* completion index or pod index, -1: none */
    struct owner owner;
    struct gang_wish wish;
    char *group_native; /* spec.schedulingGroup.podGroupName */
    char *group_sigs; /* label scheduling.x-k8s.io/pod-group */
    char *unsupported; /* "" or why lockstep cannot place such a pod yet ("resource claims", ...) */
    struct pod_shape shape;
};

struct obj_node {
    char *name, *uid;
    bool unschedulable;
    struct labels labels;
    struct taint *taints;
    size_t ntaints;
    struct amounts allocatable;
};

/* NodeTopology: what machine a node is. */
struct obj_machine {
    char *name; /* of the node */
    struct machine machine;
};

struct obj_job {
    char *ns, *name, *uid;
    int32_t parallelism;
    int32_t completions; /* -1: not set */
    bool indexed, suspended;
    bool finished; /* complete, failed, or being deleted */
    int64_t created_s;
    struct obj_pod *template; /* a pod as this Job makes them, without uid, name and node */
};

enum group_kind { GROUP_NATIVE, GROUP_SIGS }; /* scheduling.k8s.io, scheduling.x-k8s.io */
struct obj_group {
    enum group_kind kind;
    char *ns, *name, *uid, *api_version;
    int32_t min; /* members that must start together; 0: no gang policy */
    char *required; /* level, from scheduling constraints or lockstep's annotation */
    char *preferred;
    char *unsupported;
    int64_t created_s;
};

struct obj_namespace {
    char *name;
    bool jobs_are_gangs; /* label lockstep.dev/jobs: gang */
    bool evict_allowed; /* label lockstep.dev/evict: allowed */
};

/* kube-scheduler's own Lease: who leads, as the API server has it (scheduler/model/lease.h). */
struct obj_lease {
    char *ns, *name;
    char *holder; /* spec.holderIdentity: host name, '_', a random part; "": nobody */
    int64_t duration_ns; /* spec.leaseDurationSeconds */
    int64_t acquired_ns, renewed_ns; /* since 1970, by the holder's clock; 0: not said */
    int32_t transitions; /* how often it changed hands */
};

/* GangPlacement as it was last written: the plan's authority after a restart. */
struct placement_share {
    char *node;
    int32_t first, count; /* ranks first .. first + count - 1 */
    char *gpus; /* a set for each of them, "0-3 4-7"; "": not known */
};
struct obj_placement {
    char *ns, *name, *uid;
    char *version; /* metadata.resourceVersion: compared for equality only */
    char *gang_kind, *gang_name; /* spec.gang */
    char *state; /* status.state, "" before the first write */
    char *reason_code;
    bool owned; /* it goes with its owner */
    int64_t since_s; /* status.conditions, Placed: since when the gang is in this state */
    int64_t generation; /* status.generation of the plan */
    int32_t pods; /* status.pods: slots of the plan */
    struct placement_share *shares;
    size_t nshares;
    int64_t probe_generation; /* status.probe: of which plan's pods; 0: none was measured */
    char *probe_verdict, *probe_message; /* "" while it goes on */
    int64_t probe_began_s, probe_ended_s;
    char *measured; /* status.measuredBusBandwidth, as it was written */
};

void amounts_free(struct amounts *amounts);
void labels_free(struct labels *labels);
void pod_shape_free(struct pod_shape *shape); /* releases the content, not the struct */
/* Fills shape->key from the other fields. -ENOMEM. */
int pod_shape_seal(struct pod_shape *shape);

void obj_pod_free(struct obj_pod *pod);
void obj_node_free(struct obj_node *node);
bool obj_node_equal(const struct obj_node *a, const struct obj_node *b); /* in all that is read of it */
void obj_machine_free(struct obj_machine *machine);
void obj_job_free(struct obj_job *job);
void obj_group_free(struct obj_group *group);
void obj_namespace_free(struct obj_namespace *ns);
void obj_placement_free(struct obj_placement *placement);
void obj_lease_free(struct obj_lease *lease);
