/* sim_internal.h - module-internal: one run of a simulation, and what a policy is. */
#pragma once

#include "scheduler/simulate/simulate.h"

#define NS_PER_S INT64_C(1000000000)

/* What is free now. */
struct sim_free {
    uint32_t gpus, pods;
};

struct sim_end {
    int64_t ns;
    uint32_t gang;
};

struct sim_run {
    const struct simulation *simulation;
    const struct sim_policy *policy;
    void *state; /* the policy's */
    int64_t now_ns;
    struct sim_free *left; /* by node */
    uint32_t *waiting; /* gangs in the order of their turn: priority, submission, name */
    size_t nwaiting;
    struct sim_end *ends; /* of what runs: a heap, the earliest first */
    size_t nends;
    uint32_t **places; /* by gang: the node of each pod, NULL: not running */
    size_t submitted, ended;
    struct sim_gang *gangs;
    double fragmentation; /* sum over `samples` starts */
    size_t samples;
    struct sim_planner *planner;
    struct err *err;
};

/* All return 0 or a negative errno with run->err. A gang is its index in the trace. */
struct sim_policy {
    const char *name;
    int (*open)(struct sim_run *run);
    void (*close)(struct sim_run *run); /* takes what open left behind when it failed, too */
    int (*submit)(struct sim_run *run, uint32_t gang);
    int (*end)(struct sim_run *run, uint32_t gang);
    int (*settle)(struct sim_run *run); /* starts what can start now by sim__start() */
    int64_t (*deadline_ns)(const struct sim_run *run); /* when to settle without an event; INT64_MAX */
    void (*why)(const struct sim_run *run, uint32_t gang, char *ret, size_t size); /* it never started */
};
extern const struct sim_policy sim__lockstep, sim__best_fit, sim__first_fit;

/* All pods of the gang start now, pod i on node nodes[i]. -EIO: there is no room for that. */
int sim__start(struct sim_run *run, uint32_t gang, const uint32_t *nodes);

static inline const struct trace_gang *sim__gang(const struct sim_run *run, uint32_t gang)
{
    return &run->simulation->trace->gangs[gang];
}

/* ---- sim_cluster.c ----------------------------------------------------------------------------- */

uint32_t sim__find_node(const struct sim_cluster *cluster, const char *name); /* UINT32_MAX: none */
/* How many pods of so many accelerators fit. */
uint32_t sim__fits(const struct sim_free *left, int64_t gpus);
double sim__fragmentation(const struct sim_cluster *cluster, const struct sim_free *left,
                          uint32_t *domain_room); /* scratch of ndomains; < 0: nothing is free */

/* ---- sim_plan.c: the planner as a yardstick ------------------------------------------------------- */

struct sim_planner;
struct sim_planner *sim__planner_new(const struct sim_cluster *cluster); /* NULL: no memory */
void sim__planner_free(struct sim_planner *planner);
/* 0 or -ENOSPC with the shortage; what the gang needs at least of what is free. */
int sim__least(struct sim_planner *planner, const struct sim_free *left,
               const struct trace_gang *gang, uint32_t ret_least[PLAN_LEVELS_MAX + 1],
               struct plan_shortage *ret_shortage);
/* Counts the domains that pods on these nodes are in; an unknown domain is each node's own. */
void sim__count_used(struct sim_planner *planner, const uint32_t *nodes, uint32_t pods,
                     uint32_t ret_used[PLAN_LEVELS_MAX + 1]);
uint32_t *sim__planner_domains(struct sim_planner *planner); /* scratch of ndomains */
