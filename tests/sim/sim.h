/*
 * sim.h - the production core in a simulated cluster: an API server that loses answers, a watch that
 * is late, a kube-scheduler that sleeps, time that jumps, and a core that is killed and started anew.
 *
 * Everything random comes from one seed. After each step the core's invariants and the API server's
 * own are checked; a failure prints seed and step, and `sim --seed N --runs 1` replays it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/model/config.h"
#include "scheduler/model/core.h"

#define SIM_NODES 10
#define SIM_GPUS 8
#define SIM_PODS 256
#define SIM_WRITES 1024

struct sim_pod { /* as the API server has it */
    bool used, unseen, gone_unseen; /* a change that the core's watch has not brought yet */
    char name[32], uid[32], gang[16];
    int size, gpus, node, nominated; /* node -1: not bound */
    int phase; /* enum pod_phase */
    bool refused_condition;
    /* kube-scheduler's side */
    bool asleep, voting;
    int voted_node;
    uint64_t ticket;
    int64_t vote_until_ns;
};

struct sim_write {
    bool used;
    struct event outcome; /* what it is about */
    char node[16];
    char *body;
};

struct sim_record { /* a GangPlacement */
    bool used;
    char name[16];
    char *body;
};

struct sim {
    uint64_t seed, random;
    uint64_t step;
    struct config config;
    struct core *core;
    struct actions actions;
    int64_t now_ns;
    uint64_t next_id, next_ticket;
    struct sim_pod pods[SIM_PODS];
    bool tainted[SIM_NODES], present[SIM_NODES], node_unseen[SIM_NODES];
    struct sim_write writes[SIM_WRITES];
    struct sim_record records[64];
    bool trace; /* print every event and action */
    bool calm; /* no faults, nothing new: does it come to rest? */
    uint64_t bound, restarts, lost; /* what happened, for the coverage line */
};

void sim_fail(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
unsigned sim_random(struct sim *sim, unsigned below);

/* sim_api.c: objects, writes, the watch */
void sim_deliver(struct sim *sim, struct event event); /* one event into the core, then all checks */
void sim_deliver_some(struct sim *sim); /* one late watch event */
void sim_deliver_all(struct sim *sim);
void sim_take_actions(struct sim *sim);
void sim_finish_write(struct sim *sim);
void sim_start_core(struct sim *sim);
int sim_node_use(const struct sim *sim, int node, bool with_votes);
struct sim_pod *sim_new_pod(struct sim *sim, const char *gang, int size, int gpus);
void sim_delete_pod(struct sim *sim, struct sim_pod *pod);
void sim_check(struct sim *sim);

/* sim_scheduler.c: one attempt of kube-scheduler, kubelets */
void sim_attempt(struct sim *sim);
void sim_kubelet(struct sim *sim);
void sim_expire_votes(struct sim *sim);
