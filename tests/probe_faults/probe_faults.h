/*
 * probe_faults.h - whole probes under random faults, on this machine: a real coordinator's service over TLS, a
 * lockstep-probe process for each pod, and a proxy between them that can be told to fail.
 *
 *   probe_faults_main.c     starts each run as a process of its own, several at a time, and adds up
 *   probe_faults_run.c      one run: what is drawn from its seed, the time it takes, the judgement
 *   probe_faults_draw.c     faults -> steps at times
 *   probe_faults_pods.c     the pods' processes and their ranks
 *   probe_faults_gang.c     the coordinator, what it says, and reports that nobody sent
 *   probe_faults_proxy.c    a connection that can be cut, or stand still
 *   probe_faults_left.c     what must not be left: processes, sockets, memory of fake GPUs
 *
 * Judged of each run: one verdict, within the gang's deadline; each process ends by itself, within its limit, and soon
 * after the verdict where it can hear of it; nothing is left; and where nothing or one thing was wrong, the verdict says
 * so. A run is one process, which adopts what its pods leave behind (a subreaper), in a network of its own where that is
 * allowed.
 *
 * A seed draws the same faults at the same times; what they meet is as the machine goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collective/coordinator.h"

#define PODS_MAX 6
#define DEVICES_MAX 2
#define PROCS_MAX 16
#define STEPS_MAX 48
#define FAULTS_MAX 3
#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)

/* Sanitizers make programs slow: every time is taken this often. */
#if defined(__SANITIZE_THREAD__)
#define SLOWNESS 3
#elif defined(__SANITIZE_ADDRESS__)
#define SLOWNESS 2
#else
#define SLOWNESS 1
#endif

#define DEADLINE_NS (9 * SECOND * SLOWNESS)                 /* of the verdict; more where it has to be right */
#define LIMIT_NS(plan) ((plan)->deadline_ns + 4 * SECOND)   /* --limit of a process */
#define SLACK_NS (SECOND * SLOWNESS)                        /* a loaded machine's, of the verdict */
#define END_SLACK_NS (2 * SECOND * SLOWNESS)                /* of a process's end: its ranks get 0.3 s */
#define SOON_NS (6 * SECOND * SLOWNESS)                     /* the longest backoff is 3 s */
#define HOLD_NS (SECOND * SLOWNESS)                         /* how long a gate holds */
#define STUCK_NS (4 * DEADLINE_NS + 30 * SECOND)            /* of a whole run */

/* What can happen, and what it is called; from GPU_HANGS_IN_INIT on only of fake GPUs. */
#define FAULTS(X)                                                                                  \
    X(NEVER_STARTED, "a rank that never comes")                                                    \
    X(STARTED_LATE, "a rank that comes late")                                                      \
    X(PROBE_KILLED, "a probe killed")                                                              \
    X(RANK_KILLED, "a rank killed")                                                                \
    X(PROBE_REPLACED, "a probe killed and started again")                                          \
    X(SECOND_PROBE, "a second probe of the same pod")                                              \
    X(PROBE_STOPPED, "a probe stopped for good")                                                   \
    X(PROBE_PAUSED, "a probe stopped for a while")                                                 \
    X(RANK_STOPPED, "a rank stopped for good")                                                     \
    X(RANK_PAUSED, "a rank stopped for a while")                                                   \
    X(COORDINATOR_RESTARTED, "the coordinator restarted")                                          \
    X(STREAM_CUT, "a connection to the coordinator cut")                                           \
    X(STREAM_FROZEN, "one that carries nothing any more")                                          \
    X(STREAM_DELAYED, "one that carries nothing for a while")                                      \
    X(DATA_CUT, "a rank's connections cut")                                                        \
    X(REPORT_REPEATED, "a report said again")                                                      \
    X(GPU_HANGS_IN_INIT, "fake NCCL hangs in init")                                                \
    X(GPU_HANGS_IN_OP, "fake NCCL hangs in an op")                                                 \
    X(GPU_HANGS_IN_ABORT, "... and in abort")                                                      \
    X(GPU_FAILS, "fake NCCL fails in init or in an op")                                            \
    X(GPU_IS_WRONG, "fake NCCL's sums are wrong")                                                  \
    X(GPU_IS_SLOW, "a fake GPU is slow")

enum fault {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_KINDS
};
const char *fault_name(enum fault fault);

enum step_kind {
    STEP_NONE,
    STEP_START, /* a process of the pod */
    STEP_KILL,
    STEP_KILL_RANK,
    STEP_STOP,
    STEP_GO_ON,
    STEP_STOP_RANK,
    STEP_RANK_GOES_ON,
    STEP_EXPECT, /* the coordinator hears of the gang */
    STEP_SERVICE_STOPS,
    STEP_SERVICE_STARTS,
    STEP_CUT,
    STEP_FREEZE,
    STEP_THAW,
    STEP_CUT_DATA,
    STEP_REPORT,
};

struct step {
    int64_t at_ns; /* since the run began */
    enum step_kind kind;
    unsigned pod, device;
    enum fault fault; /* whose step it is; FAULT_KINDS: of none */
    bool done;
};

/* What a seed draws. */
struct plan {
    uint64_t seed, random;
    unsigned pods, devices[PODS_MAX];
    bool gpus; /* fake ones; else by sockets */
    bool gate;
    double expected_gb_s;
    uint64_t bytes_max;
    int64_t deadline_ns, run_ns, budget_ns;
    enum fault faults[FAULTS_MAX], drawing;
    unsigned n_faults;
    struct step steps[STEPS_MAX];
    unsigned n_steps;
    bool frozen[PODS_MAX]; /* its connection, for good */
    unsigned gpu_rank;     /* of a GPU's fault */
    char world[256];       /* lines for the fake GPUs: tests/fake/fake_world.h */
};

void plan_draw(struct plan *plan, uint64_t seed);
uint32_t plan_random(struct plan *plan, uint32_t below);

/* ---- the pods' processes ---------------------------------------------------------------- */

struct proc {
    pid_t pid;
    unsigned pod;
    bool killed;  /* by the run */
    bool stopped; /* by SIGSTOP, and not continued so far */
    int64_t started_ns, resumed_ns, ended_ns;
    int status;
};

struct places { /* shared by all: where things are */
    char folder[128]; /* of this run's files */
    char certificates[128];
    char token[160], world[160];
};

struct pods {
    const struct plan *plan;
    const struct places *places;
    unsigned ports[PODS_MAX]; /* of the coordinator, as each pod is told */
    struct proc procs[PROCS_MAX];
    unsigned n_procs;
};

#define SECRET "one-out-of-a-test-that-is-as-long-as-a-token"

void pods_start(struct pods *pods, unsigned pod, int64_t now_ns);
struct proc *pods_last(struct pods *pods, unsigned pod); /* that has not ended; NULL */
/* The n-th rank of a process, or -1; a descriptor that stands for it (pidfd_open). */
int pods_rank(const struct proc *proc, unsigned n);
bool pods_signal_rank(const struct proc *proc, unsigned n, int signal);
unsigned pods_cut_rank(const struct proc *proc, unsigned n); /* how many connections */
/* Reaps; counts what is no pod's process: ranks that lost theirs. */
unsigned pods_reap(struct pods *pods, int64_t now_ns);
unsigned pods_alive(const struct pods *pods, bool stopped_too);

/* ---- the coordinator -------------------------------------------------------------------- */

struct gang;

struct gang_told {
    unsigned verdicts;
    int64_t told_ns;
    struct coordinator_result result; /* of the first */
};

struct gang *gang_new(const struct plan *plan, const struct places *places);
void gang_free(struct gang *gang);
void gang_service_start(struct gang *gang); /* any port, and that one again */
void gang_service_stop(struct gang *gang);
unsigned gang_port(const struct gang *gang);
/* deadline_ns: CLOCK_MONOTONIC. As the extender does it: what was told is told again. */
void gang_expect(struct gang *gang, int64_t deadline_ns);
void gang_told(struct gang *gang, struct gang_told *ret);
/* A report of the first round, as if the pod had said it, three times. */
void gang_report(struct gang *gang, unsigned pod);

/* ---- the proxy -------------------------------------------------------------------------- */

struct proxy;

struct proxy *proxy_start(unsigned pods, unsigned to_port);
void proxy_stop(struct proxy *proxy);
unsigned proxy_port(const struct proxy *proxy, unsigned pod);
void proxy_cut(struct proxy *proxy, unsigned pod);
void proxy_freeze(struct proxy *proxy, unsigned pod, bool frozen);

/* ---- one run ---------------------------------------------------------------------------- */

struct outcome { /* goes over a pipe */
    bool failed, stuck;
    char why[400];
    char story[400]; /* what was drawn */
    unsigned faults[FAULT_KINDS];
    unsigned met[FAULT_KINDS]; /* that came when there was somebody to suffer them */
    bool faultless;
    enum verdict verdict;
    int64_t beyond_ns; /* of the verdict, behind the deadline; 0: before it */
    int64_t ended_ns;  /* the last process, since the verdict, of those who could hear it */
    unsigned procs, orphans;
};

int64_t now_ns(void);
void outcome_fail(struct outcome *outcome, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The main of a run's process. */
void faults_run(uint64_t seed, const char *folder, const char *certificates, struct outcome *ret);

bool left_own_network(void); /* before threads; false: it is not allowed, and sockets of others are seen */
unsigned left_descriptors(void); /* sockets of this process */
unsigned left_sockets(void); /* of the network that are not closed; listening ones too */
