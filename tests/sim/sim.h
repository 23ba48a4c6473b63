/*
 * sim.h - the production core in a simulated cluster under seeded faults.
 *
 * Two replicas, each a kube-scheduler and an extender (the real core), follow one Lease. The API server
 * loses answers, applies writes late, refuses and throttles; watches are late, repeat themselves and
 * skip what was in between; processes crash between any two actions, stop and go on; kubelets reject;
 * other people bind pods. After each step the core's own invariants (core_check) and those that only
 * the API server can see (sim_check.c) are checked.
 *
 * Each step's randomness comes from (seed, step) alone, so a failing run can be shortened by leaving
 * steps out (sim_shrink.c) and is replayed by the command that the failure prints.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "scheduler/model/config.h"
#include "scheduler/model/core.h"
#include "tests/sim/mutants.h"
#include "tests/sim/sim_table.h"

#define REPLICAS 2
#define SIM_GPUS 8
#define SIM_JOBS 16
#define SIM_MOVES 15
#define SIM_SIZE_MAX 8 /* pods of one gang */
#define SIM_SECOND INT64_C(1000000000)
#define LEASE_NS (30 * SIM_SECOND)
#define WRITE_NS (8 * SIM_SECOND) /* the API server drops a write that is older */
#define EPOCH_S INT64_C(1800000000) /* wall clock at simulated time 0 */

/* Which replica's watch still has to bring the object's last change (or its end). */
struct sim_seen {
    bool late[REPLICAS], gone[REPLICAS];
    int64_t changed_ns;
};

enum sim_workload { SIM_BARE, SIM_JOB, SIM_GROUP };
struct sim_job { /* what makes pods: a Job, a PodGroup, or just a label */
    bool used;
    bool orphaned; /* its object was deleted and its pods were left alone */
    struct sim_seen seen; /* of the Job or PodGroup object */
    enum sim_workload kind;
    char name[16], uid[24];
    const char *ns;
    int size, gpus, priority;
    bool required; /* in one block */
    bool mixed; /* somebody else has bound one of its pods */
    int rejected_node; /* of a pod of this job, -1: none */
    int64_t rejected_ns[REPLICAS]; /* when that replica's leader learned of it, 0: not */
};

struct sim_pod { /* as the API server has it */
    bool used;
    struct sim_seen seen;
    char name[24], uid[24];
    int job; /* -1: none */
    int index, gpus, priority;
    int size; /* of its gang, as its annotation says */
    bool foreign; /* of another scheduler */
    int node, nominated; /* -1: none */
    int phase; /* enum pod_phase */
    bool admitted, rejected, by_us;
    int64_t created_ns, seen_ns[REPLICAS]; /* when its binding was seen */
    bool told_rejected[REPLICAS]; /* it has read that the kubelet refused it */
    /* the leading kube-scheduler's side */
    bool asleep, voting;
    int voted_node;
    uint64_t ticket;
    int64_t vote_until_ns;
};

struct sim_node {
    bool present, tainted;
    struct sim_seen seen;
    int64_t rejects_until_ns; /* its kubelet takes nothing */
};

struct sim_write {
    bool used, decided; /* decided: the server has acted, the answer is on its way */
    bool before_decided; /* ... what was asked of a GangPlacement is older than what it has */
    enum sim_fault fault;
    int replica;
    uint64_t process; /* which life of the replica's extender sent it */
    int64_t sent_ns;
    struct event outcome; /* what it is about */
    char name[32], uid[24], node[16];
    char *body;
};

struct sim_record { /* a GangPlacement */
    bool used;
    struct sim_seen seen;
    char ns[8], name[16];
    uint64_t uid, version;
    int64_t made_ns;
    char *body;
    bool stale; /* what it says was sent by a process that had ended, and its successor had begun */
    uint64_t acknowledged_by; /* the process whose write of `body` was acknowledged, 0: none */
};

struct sim_replica { /* one pod: kube-scheduler and extender */
    struct core *core; /* NULL: the extender is down */
    bool paused; /* both are stopped */
    bool scheduler_down;
    uint64_t process; /* counts lives */
    uint64_t relist_term; /* a list is to be read, then EV_SYNCED; 0: none */
    bool lease_late, was_active;
    bool members_changed; /* since it settled */
    int64_t up_at_ns; /* when the extender is started again */
};

struct sim_lease {
    int holder; /* replica, -1: none yet */
    int identity; /* grows when a kube-scheduler is started anew */
    int64_t acquired_ns, renewed_ns;
    int transitions;
};

struct sim {
    uint64_t seed, random, step, next_id, next_ticket;
    struct config config;
    struct actions actions;
    int64_t now_ns;
    int nnodes, npods;
    struct sim_node *nodes;
    struct sim_pod *pods;
    struct sim_job jobs[SIM_JOBS];
    struct sim_record records[SIM_JOBS * 4];
    struct sim_write *writes;
    unsigned nwrites;
    struct sim_replica replicas[REPLICAS];
    struct sim_lease lease;
    int identity_of[REPLICAS]; /* of the kube-scheduler that runs there now */
    int crash_after; /* actions of the next batch that are still carried out, -1: no crash */
    bool lazy; /* large gangs: checks are made now and then only */
    bool calm; /* no faults, nothing new: does it come to rest? */
    bool trace;
    unsigned weight[SIM_MOVES], weights; /* how often this life makes which move */
    const uint8_t *skip; /* steps left out (sim_shrink.c), NULL: none */
    uint64_t bound, restarts, lost, failovers, evicted, preempted, rejected; /* what happened */
    jmp_buf failed; /* sim_fail() ends the run here */
    char why[400];
};

void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
unsigned sim_random(struct sim *sim, unsigned below);

/* sim.c: 0, or the run failed and sim->why says how */
struct sim_options {
    uint64_t seed, steps;
    int gang; /* size of one large gang instead of random life, 0: random life */
    int often; /* the move that this life makes more often than others, -1: as the seed has it */
    bool restless; /* ends without the calm in which all must come to rest */
    bool trace;
    const uint8_t *skip;
};
int sim_move(const char *name); /* -1: there is none of that name */
const char *sim_move_name(int move);
int sim_run(struct sim *sim, const struct sim_options *options);

/* sim_objects.c: objects as values for the core */
int sim_block(const struct sim *sim, int node); /* -1: unknown */
int sim_subgroup(const struct sim *sim, const struct sim_pod *pod); /* 0: none */
bool sim_is_spread(const struct sim_job *job); /* its subgroups share no block; else each stays in one */
struct obj_node *sim_node_object(const struct sim *sim, int node);
bool sim_has_machines(const struct sim *sim); /* in two lives of five the nodes tell what machines they are */
struct obj_machine *sim_machine_object(const struct sim *sim, int node);
struct obj_pod *sim_pod_object(const struct sim *sim, const struct sim_pod *pod);
struct obj_job *sim_job_object(const struct sim *sim, const struct sim_job *job);
struct obj_group *sim_group_object(const struct sim *sim, const struct sim_job *job);
struct obj_lease *sim_lease_object(const struct sim *sim);
struct obj_namespace *sim_namespace_object(const struct sim *sim, const char *name);

/* sim_watch.c: what the replicas are told, and their starts and ends */
void sim_deliver(struct sim *sim, int replica, struct event event, enum sim_fault fault);
void sim_deliver_some(struct sim *sim, int replica); /* one late watch event, or one again */
void sim_deliver_all(struct sim *sim, int replica);
void sim_deliver_of(struct sim *sim, int replica, int job);
void sim_changed(struct sim *sim, struct sim_seen *seen);
void sim_gone(struct sim *sim, struct sim_seen *seen);
void sim_start_extender(struct sim *sim, int replica);
void sim_end_extender(struct sim *sim, int replica);
bool sim_runs(const struct sim *sim, int replica); /* the extender is up and not stopped */
void sim_lease_tick(struct sim *sim); /* renewals and elections up to now */

/* sim_api.c: objects and writes */
struct sim_pod *sim_new_pod(struct sim *sim, int job, int index);
bool sim_has_leader(const struct sim_job *job);
struct sim_pod *sim_ordinary_pod(struct sim *sim, int gpus, bool foreign);
void sim_delete_pod(struct sim *sim, struct sim_pod *pod);
void sim_take_actions(struct sim *sim, int replica);
void sim_finish_write(struct sim *sim);
void sim_expire_writes(struct sim *sim);
void sim_list_records(struct sim *sim, int replica);
struct sim_record *sim_record_of(struct sim *sim, const char *ns, const char *name);
struct sim_record *sim_gang_record(struct sim *sim, const struct sim_job *job);

/* sim_cluster.c: kubelets, controllers and people */
void sim_kubelet(struct sim *sim);
void sim_controllers(struct sim *sim);
void sim_new_job(struct sim *sim);
void sim_delete_job(struct sim *sim, int job);
void sim_grow(struct sim *sim, int job);
void sim_orphan(struct sim *sim, int job);
void sim_delete_something(struct sim *sim);
void sim_change_node(struct sim *sim);
void sim_foreign_bind(struct sim *sim);
void sim_bad_kubelet(struct sim *sim);

void sim_stray(struct sim *sim); /* sim_stray.c */

/* sim_scheduler.c: one attempt of kube-scheduler */
int sim_node_use(const struct sim *sim, int node, bool with_votes);
void sim_attempt(struct sim *sim);
void sim_expire_votes(struct sim *sim);
void sim_forget_scheduler(struct sim *sim); /* a new one begins: nothing assumed, nothing asleep */

/* sim_check.c */
void sim_check(struct sim *sim, int replica);
void sim_check_writer(struct sim *sim, const struct sim_write *write);
void sim_check_bind(struct sim *sim, const struct sim_write *write, const struct sim_pod *pod);
void sim_check_active(struct sim *sim, int replica);

/* sim_shrink.c: prints the shortest run that fails in the same way */
void sim_shrink(struct sim *sim, const struct sim_options *options);
