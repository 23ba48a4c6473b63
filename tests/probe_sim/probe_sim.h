/*
 * probe_sim.h - the production coordinator with model clients, in virtual time, under seeded
 * faults.
 *
 * Three gangs of up to five pods are planned, planned anew with some pods in the place of others,
 * and deleted. Each pod has a process that behaves as coordinator.h says of clients. Streams break,
 * with one side learning of it before the other; messages are late; processes are killed in each
 * phase, hang, or never come; the coordinator ends between any two of its actions and comes back
 * knowing nothing; old joins and reports come again; pods speak for others. Then all is calm, and
 * everything has to end. One seed is one life: the same each time.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "collective/coordinator.h"
#include "tests/probe_sim/mutants.h"

#define GANGS 3
#define PODS 5 /* of one gang */
#define CLIENTS (GANGS * PODS)
#define STREAMS 4096 /* in one life */
#define ROUNDS 512
#define MESSAGES 512
#define OLD_REPORTS 16
#define SECOND INT64_C(1000000000)
#define NEVER INT64_MAX
#define HOLD_NS (40 * SECOND)
#define RUN_NS (20 * SECOND)

enum client_state {
    CLIENT_DOWN,    /* not started yet, or ended by a fault: starts at wake_ns */
    CLIENT_BACKOFF, /* joins at wake_ns */
    CLIENT_JOINED,  /* fresh, waits for orders */
    CLIENT_RUNNING,
    CLIENT_REPORTED, /* has its report, waits for the verdict */
    CLIENT_HELD,
    CLIENT_EXITED
};

struct sim_report {
    int pod;
    uint64_t pod_instance, start_id, generation, process;
    uint32_t round;
    enum probe_outcome outcome;
    double busbw_gb_s;
};

struct sim_client {    /* a pod, and the process in it */
    uint64_t instance; /* makes its UID; another pod of the same rank has another one */
    int gang, index, devices;
    enum client_state state;
    int64_t wake_ns;                        /* of the next thing that it does by itself */
    int64_t until_ns;                       /* its own deadline */
    uint64_t process, attempt, incarnation; /* incarnation: of its ranks; in its addresses */
    uint64_t stream;                        /* 0: none */
    uint64_t start_id, generation;
    uint32_t round;
    int64_t run_until_ns, hold_until_ns;
    bool hangs;               /* when its round breaks it does not notice */
    bool fails, skips, wrong; /* the machine is so */
    bool has_report, acked;
    struct sim_report report;
    uint64_t call;             /* of the report that is under way, 0: none */
    int64_t call_ns;           /* when it is given up */
    uint64_t reported_in_life; /* start_id on which this life of the coordinator has its report */
    bool heard;                /* a verdict */
    bool knows;                /* which its ranks are, and has opened them */
    bool never;                /* it does not come */
};

struct sim_gang {
    bool planned; /* somebody wants it measured */
    bool told;    /* to this life of the coordinator */
    int64_t tell_ns;
    uint64_t generation;
    int npods;
    bool gate;
    double expected_gb_s, speed; /* of its network, to what is expected */
    int64_t deadline_ns, planned_ns;
    /* what is stored, of this generation */
    bool stored, hold, hold_ended;
    enum verdict verdict;
    double measured_gb_s;
    int64_t ended_ns;
    bool true_error, true_skip, true_wrong; /* a rank has really said so */
    unsigned rounds;                        /* begun by this life of the coordinator */
    bool must_measure;                      /* nothing can go wrong any more */
    bool must_blame;                        /* ... but for a rank that fails */
};

struct sim_round { /* of one collective */
    uint64_t start_id;
    int gang;
    uint64_t generation;
    uint64_t began[PODS]; /* incarnations; 0: not yet */
    bool sent_ok[PODS];
    int64_t complete_ns; /* NEVER: not all began */
    int64_t broken_ns;   /* NEVER: not */
    double busbw_gb_s;
};

struct sim_stream {
    int pod;
    uint64_t instance, process, attempt, incarnation, start_id; /* as its join says */
    bool opening;
    bool client_open, server_open; /* server: its join has come and was taken */
    uint64_t started;              /* the Start that was sent on it */
    int64_t waiting_ns, to_server_ns,
        to_client_ns; /* when the last one was sent; messages keep their order */
    unsigned life;    /* of the coordinator */
};

enum message_kind {
    MESSAGE_JOIN,
    MESSAGE_LEFT,
    MESSAGE_REPORT,
    MESSAGE_ORDER,
    MESSAGE_CLOSED,
    MESSAGE_REPLY
};

struct sim_message {
    enum message_kind kind;
    int64_t at_ns;
    uint64_t sequence; /* breaks ties */
    uint64_t stream;   /* or the call */
    uint32_t round;
    uint64_t generation;
    struct sim_report report;
    int speaker; /* whose token goes with a report */
    /* orders, as a client reads them */
    enum probe_order_kind order;
    uint64_t start_id;
    uint32_t deadline_ms, hold_ms;
    bool again, hold;
    /* CLOSED after a refusal, REPLY */
    bool refused, counted;
    enum coordinator_refusal refusal;
};

struct sim {
    uint64_t seed, random, next_id;
    int64_t now_ns;
    bool calm, trace;
    int64_t calm_ns;
    struct coordinator *coordinator;
    struct coordinator_actions actions;
    unsigned life;
    struct sim_gang gangs[GANGS];
    struct sim_client clients[CLIENTS];
    struct sim_stream streams[STREAMS]; /* by number */
    struct sim_round rounds[ROUNDS];
    unsigned nrounds;
    struct sim_message messages[MESSAGES];
    unsigned nmessages;
    struct sim_report old[OLD_REPORTS];
    unsigned nold;
    int crash_after; /* actions; -1: no crash */
    uint64_t hash;   /* of all that came out */
    uint64_t verdicts[VERDICTS], crashes, kills, restarts, adopted, steps, sure; /* what happened */
    jmp_buf failed;
    char why[400];
};

void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
unsigned sim_random(struct sim *sim, unsigned below);
int64_t sim_some_time(struct sim *sim, int64_t most_ns); /* 1 to most */
struct sim_message *sim_message(struct sim *sim, enum message_kind kind, int64_t delay_ns);
int64_t sim_delay(struct sim *sim); /* of a message */
struct sim_gang *sim_gang_of(struct sim *sim, const struct sim_client *client);

/* probe_sim.c */
int sim_run(struct sim *sim, uint64_t seed, bool trace); /* -1: it failed, see why */

/* probe_sim_server.c */
void server_start(struct sim *sim);
void server_end(struct sim *sim);
void server_take(struct sim *sim, const struct sim_message *message);
void server_tick(struct sim *sim);
void server_expect(struct sim *sim, int gang);
void server_gone(struct sim *sim, int gang);
void server_stop(struct sim *sim, int gang); /* by hand */
void server_pod_state(struct sim *sim, const struct sim_client *client, const char *text);
void server_check(struct sim *sim);

/* probe_sim_client.c */
void client_start(struct sim *sim, struct sim_client *client);
void client_kill(struct sim *sim, struct sim_client *client);
void client_wake(struct sim *sim, struct sim_client *client);
void client_take(struct sim *sim, const struct sim_message *message);
int64_t client_due(const struct sim *sim, const struct sim_client *client);
void stream_break(struct sim *sim, uint64_t stream);
struct sim_round *round_of(struct sim *sim, uint64_t start_id);
