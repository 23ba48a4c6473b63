/*
 * simulate.h - a trace of gangs on a cluster in virtual time, by one policy at a time.
 *
 *   lockstep    the real core (scheduler/model): its actions are answered at once and each pod votes for
 *               its planned node at once, so order, backfill and head of the line are the core's own
 *   best-fit    pods one by one onto the node with the fewest free accelerators that still fits
 *   first-fit   pods one by one onto the first node by name that fits
 *
 * The two baselines know no topology but a required level (its domains are tried in name order), start a
 * gang whole or not at all, and try who waits by priority, submission and name: whoever fits goes
 * (backfill), until one that has waited for headOfLineAfter, and fits on the emptied cluster, does not:
 * nobody behind it starts then. With keep_nodes they keep less for such a head, as lockstep does at first: one
 * head at a time, and only the nodes that it would get on the emptied cluster. preferred levels mean nothing to them.
 *
 * Time is nanoseconds since the trace's beginning. What ends at a moment makes room for what is submitted
 * then. A pod takes its accelerators and one pod's place on a node, nothing else. Pods that run in CLUSTER
 * stay for ever. Nothing takes time but running: no image pulls, no API.
 *
 * Pure but for memory: no I/O, clock or randomness; same input, same result. One thread.
 * The caller owns what it is given and releases it; 0 or a negative errno with err.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scheduler/model/config.h"
#include "scheduler/model/core.h"
#include "scheduler/plan/plan.h"
#include "scheduler/simulate/trace_file.h"

struct sim_node {
    const char *name; /* the core's */
    uint32_t domain[PLAN_LEVELS_MAX];
    uint32_t total, total_pods; /* accelerators and pods' places of the node */
    uint32_t room, pods; /* the same beside what CLUSTER has running */
    bool usable; /* in the pool, not cordoned or tainted; else it has no room */
};

/* The cluster as CLUSTER shows it, before anything of the trace runs. */
struct sim_cluster {
    struct sim_node *nodes; /* in name order, as the core's */
    uint32_t nnodes, nlevels, ndomains;
    const char *levels[PLAN_LEVELS_MAX]; /* the core's */
    const char **domain_names; /* by id; the core's */
    uint32_t *domain_level; /* by id */
    uint64_t room; /* accelerators, all nodes */
    uint32_t largest_domain; /* accelerators on untouched nodes of the largest innermost domain */
    const char *resource; /* the accelerators' name; the config's */
    size_t left_out; /* pods that waited in CLUSTER: they are not part of the simulation */
};

/* Sets what a simulation needs otherwise than a cluster: no leader, no giving up, no preemption. */
void sim_config(struct config *config);

/*
 * The core has read CLUSTER and is not synced yet: that is done here, and pods that wait in CLUSTER are
 * taken out of it. Core and config must outlive the sim_cluster. The first of acceleratorResources counts.
 */
int sim_cluster_init(struct sim_cluster *cluster, struct core *core, const struct config *config,
                     struct err *err);
void sim_cluster_release(struct sim_cluster *cluster);

/* How a gang fares: the same for all policies but what a policy decides. */
struct sim_gang {
    int64_t start_ns; /* -1: never placed */
    uint32_t used[PLAN_LEVELS_MAX + 1]; /* domains per level; at index nlevels: nodes */
    uint32_t least_now[PLAN_LEVELS_MAX + 1]; /* no placement on what was free used fewer (plan.h) */
    char *why; /* never placed: the policy's reason */
};

/* What no policy can beat: the gang alone on the cluster. */
struct sim_bound {
    bool fits;
    bool blocked; /* only were what runs in CLUSTER gone: no policy is asked, as it could wait for that */
    uint32_t least[PLAN_LEVELS_MAX + 1];
};

struct sim_result {
    struct sim_gang *gangs; /* as the trace's */
    size_t n;
    double fragmentation; /* mean over the starts after which anything was free; sim_cluster.c defines it */
    int64_t end_ns; /* the last gang's end; 0: none started */
};
void sim_result_release(struct sim_result *result);

struct simulation {
    const struct sim_cluster *cluster;
    const struct trace_file *trace;
    const struct config *config;
    struct core *core; /* for policy lockstep: used up by it */
    bool keep_nodes; /* what the baselines keep for the head: its nodes, else the whole cluster */
    struct sim_bound *bounds; /* of each gang; sim_bounds() */
    void (*progress)(void *context, const char *policy, size_t ended, size_t gangs); /* or NULL */
    void *context;
};

/* Fills simulation->bounds; caller frees. */
int sim_bounds(struct simulation *simulation, struct err *err);

/* Names of policies; NULL after the last. */
extern const char *const sim_policies[];

/* -EINVAL: unknown policy; -ENOMEM; -EIO: a policy broke a rule (err says which: a bug). */
int sim_run(const struct simulation *simulation, const char *policy, struct sim_result *ret,
            struct err *err);

/* ---- statistics --------------------------------------------------------------------------------- */

struct sim_level_stats {
    double ratio, ratio_now; /* mean over placed gangs of used / least on the emptied cluster, on what was free */
    double least, least_now; /* share of placed gangs that use no more than that */
};
struct sim_stats {
    size_t placed, never, passed_head; /* of those placed, how many waited for more than headOfLineAfter */
    double makespan_s; /* first submission to last end */
    double use; /* accelerator-seconds busy / there, over the makespan */
    double use_submitting; /* the same from the first to the last submission: without the tail */
    double wait_p50_s, wait_p99_s, wait_max_s, wait_mean_s; /* of those placed; nearest rank */
    double starvation; /* wait_max / headOfLineAfter */
    double fragmentation;
    struct sim_level_stats levels[PLAN_LEVELS_MAX + 1];
};
int sim_stats(const struct simulation *simulation, const struct sim_result *result,
              struct sim_stats *ret);
