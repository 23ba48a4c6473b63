/*
 * coordinator.h - brings the processes that measure a gang together, starts them, and ends in one
 * verdict per gang.
 *
 *   coordinator_step(coordinator, event, now, actions)   one event changes the state
 *   coordinator_deadline(coordinator)                    when COORD_TICK is due at the latest
 *
 * A state machine without clock, socket, thread or random source, for many gangs at once. `now` is
 * nanoseconds of a clock that does not go back. Actions are carried out in their order, once; what
 * they point to is theirs.
 *
 * A gang's way
 *   Collecting  members join, each a stream; all are told who is missing, at most once a second
 * (one that asks which ranks it has, at once). All are there: Start Running     each member reports
 * once. All have: the verdict. One failed by itself or cannot be measured: the verdict at once. A
 * peer was lost, or a process came anew: all are told to join again, a few times -> Collecting Held
 * the verdict holds the gang (policy gate); streams stay until hold_ns is over Done        who
 * comes is told the verdict; forgotten after keep_ns
 *
 * Each gang has a deadline; past it the verdict is `infrastructure` and names who was missing or
 * silent.
 *
 * Who is who. The service says which pod speaks (event.pod_uid, from its token); what a message
 * says of itself has to agree with that and with what was expected. A round has an id that no other
 * has, also over restarts of the coordinator (`epoch`), so reports of former rounds, former
 * generations and replayed ones count for nothing.
 *
 * A restarted coordinator knows nothing but the gangs that it is told to expect. Clients join again
 * and say which round they are in, or send their report again. When all say the same, that round
 * goes on; when one has come fresh, the others begin anew. So nothing has to be stored but the
 * verdict: with coordinator_gang.decided it is told to who comes, and no second one is given.
 *
 * How the extender feeds it. It lives on the core's thread (or behind its lock).
 *
 *   ACT_PROBE of the core     COORD_EXPECT: ranks from the pods' accelerators, in rank order; the
 *                             deadline counted from when the gang was bound, so that a restart does
 *                             not begin it anew; `decided` from GangPlacement.status
 *   ACT_PROBE_END             COORD_GONE
 *   ACT_PROBE_POD             COORD_POD_STATE while a pod waits: "container data: ErrImagePull"
 *   Join, Report              threads of gRPC decode (probe_wire.h) and verify the token, then
 * queue COORD_JOIN, COORD_REPORT with a number for the call a stream's end            COORD_LEFT
 *   coordinator_deadline()    COORD_TICK
 *
 *   COORD_SEND                encode the order for that pod, send, finish the stream if it is the
 * last COORD_REPLY, COORD_REFUSE finish the call COORD_VERDICT             EV_PROBED; stored in
 * GangPlacement.status.probe, all that is persisted COORD_HOLD_ENDED          a gate ran out: for
 * the gang's state
 *
 * By hand, `lockstep probe --hosts` makes COORD_EXPECT from its list: a host's name is its pod and
 * its node (probe_hosts.h). Ctrl-C is a COORD_STOP.
 *
 * What clients do. Join with `opening`, to be told at once which ranks they have of how many; open
 * those, join again with their addresses; or join with the round that they follow: while it runs the
 * answer is a Waiting for nobody, so that they know that they are heard. After a lost
 * stream with backoff, and send a report that they have again. Orders on a stream that they left do
 * not count. Abort with `again`: end the ranks, open them anew (new addresses), join fresh; a
 * report of an own error is sent until it is answered all the same. Refused as UNKNOWN or
 * SUPERSEDED: try again; who was known before and is UNKNOWN for a minute gives up. Whatever
 * happens, an own deadline ends the process, and it ends well.
 *
 * Cost: an event costs O(1) (a map and a heap), but for what starts, ends or restarts a gang, or
 * tells its streams who is missing: O(its ranks). No tick looks at a gang of which nothing is due.
 * Memory is some 600 bytes a member and its addresses until the start. Without memory events are
 * passed over; the deadline ends the gang.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/probe_wire.h"
#include "collective/verdict.h"

struct coordinator;

struct coordinator_limits {
    uint32_t epoch; /* another one for each start of the program: random, or the time in seconds */
    uint32_t gangs_max;  /* 0: 4096 */
    uint32_t ranks_max;  /* of all gangs together; 0: 200,000 */
    uint32_t rounds_max; /* of a gang; 0: 4 */
    int64_t keep_ns;     /* how long a verdict is told to who comes late; 0: 10 min */
};
struct coordinator *coordinator_new(const struct coordinator_limits *limits); /* NULL: no memory */
void coordinator_free(struct coordinator *coordinator);

/* ---- events ---------------------------------------------------------------------------------- */

struct coordinator_pod {
    const char *pod, *uid, *node;
    uint32_t first_rank, devices;
};

/* A gang that is to be measured, and whose. A pod that is called as its node is a host, and is called so in texts. */
struct coordinator_gang {
    struct probe_gang_id id;
    const struct coordinator_pod *pods; /* in order of ranks, which are 0 to n - 1 */
    size_t npods;
    bool gate;              /* the policy: a bad verdict holds it; else it is only told */
    const char *backend;    /* that all must have; NULL, "": the one that they have in common */
    struct probe_plan plan; /* expected_gb_s too */
    int64_t deadline_ns;    /* of the verdict, on the clock of `now` */
    int64_t run_ns; /* of a round, from its Start; 0: 45 s and 50 ms a rank (probes: 30 + 0.05 n, 5,
                       10) */
    int64_t hold_ns; /* how long a gate holds; 0: 10 min */
    /* The verdict was given before and stored: it is told, and for `hold_left_ns` it holds. */
    bool decided;
    enum verdict verdict;
    double measured_gb_s;
    const char *message;
    int64_t hold_left_ns;
};

enum coordinator_event_kind {
    COORD_TICK,
    COORD_EXPECT, /* gang: new, or instead of what was expected by that name; the same again changes
                     nothing */
    COORD_GONE,   /* id: it is not to be measured any more; generation 0: whatever it is */
    COORD_STOP,   /* id, why: it ends undecided, as `infrastructure`; its members are told so */
    COORD_JOIN,   /* stream, pod_uid, join */
    COORD_LEFT,   /* stream: it was closed */
    COORD_REPORT, /* stream (the call), pod_uid, report */
    COORD_POD_STATE, /* pod_uid, text: why it is not there yet, "": not known */
};

struct coordinator_event {
    enum coordinator_event_kind kind;
    uint64_t stream;     /* of a call, never 0, never used again */
    const char *pod_uid; /* whose token came with it */
    const char *why;
    union {
        const struct coordinator_gang *gang;
        const struct probe_gang_id *id;
        const struct probe_join *join;
        const struct probe_report *report;
        const char *text;
    };
};

/* ---- actions --------------------------------------------------------------------------------- */

enum coordinator_refusal {
    REFUSED_UNKNOWN,    /* nobody expects that pod, or that generation yet: try again */
    REFUSED_SUPERSEDED, /* a later join of that pod is being served: try again */
    REFUSED_STALE,      /* of a former round, plan or gang */
    REFUSED_IDENTITY,   /* the token is another pod's */
    REFUSED_MISMATCH,   /* says other things of itself than are known */
    REFUSALS
};
const char *
coordinator_refusal_name(enum coordinator_refusal refusal);       /* "unknown", ...: of a metric */
bool coordinator_refusal_again(enum coordinator_refusal refusal); /* is it worth another try? */

enum coordinator_action_kind {
    COORD_SEND,       /* order to stream; `last`: and finish it */
    COORD_REPLY,      /* to the report `stream`: counted */
    COORD_REFUSE,     /* the join or report `stream`: refusal, text */
    COORD_VERDICT,    /* result: once per gang that was expected */
    COORD_HOLD_ENDED, /* of result's gang: its gate ran out */
};

/* An order is made once and sent to many; any thread may drop its reference. */
struct coordinator_order {
    atomic_uint refs;
    struct probe_order order;
};

struct coordinator_result {
    struct probe_gang_id gang;
    enum verdict verdict;
    bool hold;
    double measured_gb_s, expected_gb_s; /* 0: none, not known */
    char message[VERDICT_TEXT];
    int32_t rank; /* of whom the message tells that it failed by itself; -1: of nobody */
    char pod[PROBE_NAME_MAX + 1], node[PROBE_NAME_MAX + 1]; /* of that rank; "" */
    uint32_t ranks, round;                                  /* rounds that were begun */
    int64_t expected_ns, joined_ns, started_ns,
        ended_ns;         /* joined: all were there; 0: not so far */
    uint64_t bytes_moved; /* all ranks together, in the last round */
    char backend[PROBE_WORD_MAX + 1], version[PROBE_INFO_MAX + 1], device[PROBE_INFO_MAX + 1];
    char transport[PROBE_WORD_MAX + 1];
    double latency_s;
    bool slopes_agree; /* of the rows; true when there are none */
    struct probe_row rows[PROBE_SIZES_MAX];
    unsigned n_rows;
    /*
     * [ranks * ranks], each way, the slower of what both ends saw; 0: not measured. NULL unless the
     * plan asks for pairs. It goes with the action.
     */
    float *pair_gb_s;
    char pairs_why[VERDICT_TEXT]; /* of the first who said so: why it has no pairs; "": all have */
};

struct coordinator_action {
    enum coordinator_action_kind kind;
    uint64_t stream;
    union {
        struct {
            struct coordinator_order *order;
            uint32_t first_rank, devices; /* of the pod, for probe_order_encode() */
            bool last;
        } send;
        bool counted;
        struct {
            enum coordinator_refusal refusal;
            char text[ERR_TEXT_MAX / 2];
        } refuse;
        struct coordinator_result *result;
    };
};

struct coordinator_actions {
    struct coordinator_action *items;
    size_t n, size;
};
void coordinator_actions_clear(struct coordinator_actions *actions); /* keeps the array */
void coordinator_actions_release(struct coordinator_actions *actions);

/* ---------------------------------------------------------------------------------------------- */

/*
 * Appends to `actions`. 0, or for COORD_EXPECT: -EINVAL, what it says cannot be; -EEXIST, a pod is
 * in another gang that is being measured; -ENOSPC, too many; -ENOMEM. Then nothing is expected by
 * that name.
 */
int coordinator_step(struct coordinator *coordinator, const struct coordinator_event *event,
                     int64_t now_ns, struct coordinator_actions *actions, struct err *err);
int64_t coordinator_deadline(const struct coordinator *coordinator); /* INT64_MAX: nothing is due */

struct coordinator_counts {
    uint32_t gangs, ranks, members, streams; /* now; gangs that are Done among them */
    uint64_t joins, reports, starts, restarts, adopted, replaced, waitings;
    uint64_t refused[REFUSALS], verdicts[VERDICTS];
    uint64_t left_out; /* for want of memory */
};
void coordinator_counts(const struct coordinator *coordinator, struct coordinator_counts *ret);

/* How it stands, for people: "Running, round 2: 14 of 16 ranks have reported". false: not expected.
 */
bool coordinator_tell(const struct coordinator *coordinator, const char *ns, const char *name,
                      char *ret, size_t size);

/* Checks all that the state alone can show (tests call it after each step); err says what is wrong.
 */
int coordinator_check(const struct coordinator *coordinator, struct err *err);
