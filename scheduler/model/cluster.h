/*
 * cluster.h - nodes and pods as they are now, and what is free on each node.
 *
 * used = requests of the pods bound to a node that are not finished (terminating ones included);
 * held = what the ledger keeps for gang slots and for bindings under way. Both are kept by change,
 * never recounted but by core_check(). Owned by the core's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hashmap.h"
#include "scheduler/model/machine_kinds.h"
#include "scheduler/model/objects.h"
#include "scheduler/model/resources.h"
#include "scheduler/plan/plan.h"

struct gang;

struct node {
    char *name;
    struct obj_node *object; /* NULL: known only because a pod names it */
    struct resources total, used, held;
    const struct gang *reserved_for; /* what frees up here is this gang's (core_order.c); or NULL */
    int64_t reserved_ns; /* since when */
    bool reserved_beside; /* ... though the gang's plan is for other nodes: it keeps all that it could use */
    uint32_t domain[PLAN_LEVELS_MAX]; /* path-qualified ids, PLAN_UNKNOWN without the label */
    int64_t rejected_until_ns; /* its kubelet refused a pod: nothing is planned there until then */
    int64_t rejected_for_ns; /* how long that was: doubles when it happens again */
    struct machine_kind *kind; /* what machine it is; NULL: not known. Owned by the cluster's maps */
    uint32_t gpus_used, gpus_held; /* sets: which ones bound pods have, which ones are held */
    uint32_t at; /* its place in cluster.nodes */
    uint32_t pods; /* bound pods counted in used */
    uint32_t refs; /* slots and holds that point here: it is not freed while there are some */
};

/* What the ledger keeps for a binding under way of a pod that is in no gang. */
struct pod_hold {
    struct node *node; /* NULL: nothing is held */
    uint64_t ticket; /* the held bind call, 0: none */
    uint64_t write; /* ticket of the binding's write, 0: none in flight */
    int64_t deadline_ns;
};

struct pod {
    struct obj_pod *object;
    struct resources requests;
    bool countable; /* all that it asks for has a column */
    struct node *node; /* bound there and counted in used; NULL: not bound or finished */
    struct gang *gang;
    bool left_out; /* of the gang that it names: there is no room for more members. Not an ordinary pod */
    int64_t undecided_until_ns; /* a Job's, seen before its Namespace: see core__is_undecided(); 0: no */
    int32_t slot; /* in the gang's slots, -1: none */
    uint32_t gpus; /* the set that it has, or is to have on gpus_on; 0: not known */
    const struct node *gpus_on; /* its slot's; compared, never followed */
    uint32_t seat_need; /* core__seat_first()'s own */
    bool refused; /* filter said no since the last wake-up */
    uint64_t evict; /* ticket of the eviction under way, 0: none */
    int64_t evict_retry_ns; /* the next one not before */
    struct pod_hold hold;
};

/*
 * Which nodes changed in anything that room for pods depends on, by their place in cluster.nodes: who keeps
 * something per node reads on from where it was. The last LOG_NODES entries are there; whoever is further
 * behind, or has seen another layout, looks at all nodes.
 */
#define LOG_NODES 16384
struct node_log {
    uint32_t *items; /* a ring */
    uint64_t n; /* entries since the beginning */
    uint64_t layout; /* grows when nodes come, go or change their domains */
};

struct cluster {
    struct hashmap nodes_by_name, pods_by_uid;
    struct node **nodes; /* sorted by name */
    size_t nnodes, nodes_size;
    struct resource_table resources;
    const char *levels[PLAN_LEVELS_MAX]; /* label keys, outermost first; owned by the config */
    uint32_t nlevels;
    struct hashmap domain_ids; /* path text -> id + 1 */
    char **domain_names; /* id -> the innermost label value */
    uint32_t ndomains, domains_size;
    struct machine_kinds kinds;
    struct hashmap machines; /* node name -> a reference to its kind */
    struct hashmap products; /* "product count" of nodes -> a reference, where the catalogue has it */
    uint32_t machines_version; /* grows when what machine a node is changes */
    machine_finder *find_machine; /* the catalogue; NULL: none */
    uint64_t capacity_version; /* grows when room may have appeared */
    struct node_log log;
};

int cluster_init(struct cluster *cluster);
void cluster_release(struct cluster *cluster);

/* Sets the levels (label keys, not copied) and computes every node's domains anew. */
void cluster_set_levels(struct cluster *cluster, const char *const *levels, uint32_t nlevels);

struct node *cluster_node(const struct cluster *cluster, const char *name); /* NULL: unknown */
struct pod *cluster_pod(const struct cluster *cluster, const char *uid);

/*
 * Takes the object over. Did anything change that a plan depends on? Most updates of a node (its
 * heartbeat, images, conditions) change nothing. Without memory: false, and the object is freed.
 */
bool cluster_put_node(struct cluster *cluster, struct obj_node *object);
void cluster_drop_node(struct cluster *cluster, const char *name);

/*
 * What machine the node of that name is, whether it is there or not (NULL: that is not known any more). Did it
 * change? -EDQUOT: of a kind more than can be kept, so it is unknown; -ENOMEM likewise.
 */
int cluster_put_machine(struct cluster *cluster, const char *name, const struct machine *machine);

void cluster__find_kind(struct cluster *cluster, struct node *node); /* anew */

/* Takes the object over and keeps used in step with where the pod is bound. */
struct pod *cluster_put_pod(struct cluster *cluster, struct obj_pod *object);
void cluster_drop_pod(struct cluster *cluster, struct pod *pod); /* frees it */

bool pod_finished(const struct obj_pod *object);
/*
 * Which accelerators it has or will have on that node; counted there as long as the pod is. 0: not known, as
 * is what another pod has already.
 */
void cluster_set_gpus(struct pod *pod, const struct node *node, uint32_t gpus);

/* May a pod of this shape run there: selector, required affinity, taints, cordon (not room). */
bool node_admits(const struct node *node, const struct pod_shape *shape);
/* How many pods with these requests fit now beside what is used and held. */
uint32_t node_room(const struct node *node, const struct resources *requests);
/* Is more used and held than there is? Somebody else bound a pod to a held place. */
bool node_overheld(const struct node *node);

/* Something changed there: used, held, or whether pods may go there. */
void cluster_log_node(struct cluster *cluster, const struct node *node);

/* References: a holder of a struct node pointer beyond one call takes one. */
struct node *node_ref(struct node *node);
void node_unref(struct cluster *cluster, struct node *node);

/* The ledger's two verbs; they keep no reference. */
void node_hold(struct cluster *cluster, struct node *node, const struct resources *requests);
void node_unhold(struct cluster *cluster, struct node *node, const struct resources *requests);

const char *cluster_domain_name(const struct cluster *cluster, uint32_t domain);
