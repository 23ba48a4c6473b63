/*
 * coordinator_internal.h - what coordinator*.c share; nobody else includes it.
 *
 *   coordinator.c          the events, gangs by name, pods by UID, streams by number
 *   coordinator_gang.c     making, comparing and forgetting gangs; when something is due (a heap)
 *   coordinator_join.c     Collecting: joins, streams, Waiting, Start; rounds begun anew or taken
 * over coordinator_report.c   Running: reports coordinator_end.c      verdicts, holds, deadlines
 *   coordinator_text.c     who is missing, in words
 *   coordinator_actions.c  what comes out
 *   coordinator_check.c    what always holds
 */
#pragma once

#include "base/hashmap.h"
#include "collective/coordinator.h"

#define NS_PER_S INT64_C(1000000000)
#define GRACE_NS                                                                                   \
    (5 * NS_PER_S) /* from the end of a round for its ranks to its end here: reports travel */
#define WAITING_NS NS_PER_S /* between two Waiting to a stream, at least */
#define WAITING_STREAMS 500 /* ... and for so many streams: at most that many a second */

/*
 * The simulator's build breaks one rule at a time, to see that the breach is noticed
 * (tests/probe_sim/mutants.h). In the product MUTANT() is false and nothing of it remains.
 */
#ifdef LOCKSTEP_MUTANTS
#include "tests/probe_sim/mutants.h"
#define MUTANT(name) (probe_sim_mutant == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

struct member { /* a pod */
    struct cgang *gang;
    char *uid, *pod, *node; /* one allocation, at uid */
    char *why;              /* it is not there yet, as somebody told; NULL */
    uint32_t first_rank, devices;
    uint64_t stream;           /* 0: none */
    uint64_t process, attempt; /* of the last join that was taken */
    char *backend, *version;   /* interned; NULL: it never joined */
    uint8_t *addresses;        /* of a fresh member: length (2 bytes) and bytes of each device */
    uint32_t address_bytes;    /* without the lengths */
    /*
     * present: Collecting, it is here, fresh (claim 0, with a stream) or in the round `claim` of a
     * coordinator before this one; Running, all are. reported: on the round that runs or is
     * claimed.
     */
    bool present, reported;
    bool opening;               /* it was told which its ranks are, and opens them */
    enum probe_outcome outcome; /* as reported */
    uint64_t claim;
};

enum phase { PHASE_COLLECTING, PHASE_RUNNING, PHASE_HELD, PHASE_DONE };

struct cgang {
    struct coordinator *coordinator;
    struct probe_gang_id id;
    struct member *members; /* in order of ranks */
    uint32_t nmembers, ranks;
    bool gate;
    char backend[PROBE_WORD_MAX + 1];
    struct probe_plan plan;
    int64_t deadline_ns, run_ns, hold_ns;
    enum phase phase;
    uint32_t npresent, nclaims, nreported, nstreams, joined_ranks, reported_ranks;
    uint64_t start_id; /* of the round that runs; Collecting: of the last one, which is over */
    uint32_t round;
    uint64_t claimed; /* Collecting, with claims: the one that they all have */
    uint32_t claimed_round;
    int64_t round_until_ns; /* Running: who has not reported by then is silent */
    int64_t until_ns;       /* Held: of the hold; Done: when it is forgotten */
    bool untold;            /* something changed since the last Waiting */
    int64_t told_ns;        /* when that was */
    int64_t due_ns;         /* as the heap has it */
    size_t heap_at;
    uint32_t timeouts, wrongs;        /* reports of this round that say so */
    struct coordinator_result result; /* grows as reports come; final when Held or Done */
    uint64_t wrong;                   /* words, of the report that has most */
    int32_t wrong_rank;               /* of the first report that says so, -1: none does */
    uint32_t rows_of; /* first rank of the member whose rows they are; UINT32_MAX: none yet */
};

struct coordinator {
    struct coordinator_limits limits;
    struct hashmap gangs;   /* "namespace/name" -> struct cgang */
    struct hashmap pods;    /* UID -> struct member */
    struct hashmap streams; /* number in hex -> struct member */
    struct cgang **heap;    /* the earliest due_ns first */
    size_t heap_size;
    uint32_t starts; /* the lower half of start_id */
    int64_t now_ns;  /* of the step */
    struct coordinator_actions *out;
    struct coordinator_counts counts;
};

/* coordinator_actions.c. Orders: the caller drops its reference; NULL passes for one that could not
 * be made. */
struct coordinator_order *coord__order(const struct cgang *gang, enum probe_order_kind kind);
struct coordinator_order *coord__abort_order(const struct cgang *gang, bool again,
                                             const char *reason);
void coord__order_unref(struct coordinator_order *order);
void coord__send(struct coordinator *coordinator, const struct member *member, uint64_t stream,
                 struct coordinator_order *order, bool last);
void coord__reply(struct coordinator *coordinator, uint64_t call, bool counted);
void coord__refuse(struct coordinator *coordinator, uint64_t call, enum coordinator_refusal refusal,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
void coord__result(struct coordinator *coordinator, enum coordinator_action_kind kind,
                   const struct cgang *gang);

/* coordinator.c */
struct cgang *coord__find(const struct coordinator *coordinator, const struct probe_gang_id *id);
/* The speaker, or NULL and the call was refused. */
struct member *coord__speaker(struct coordinator *coordinator,
                              const struct coordinator_event *event,
                              const struct probe_gang_id *gang, const char *pod_uid);
int coord__attach(struct member *member, uint64_t stream); /* -ENOMEM */
void coord__detach(struct member *member);

/* coordinator_gang.c */
int coord__expect(struct coordinator *coordinator, const struct coordinator_gang *gang,
                  struct err *err);
void coord__forget(struct cgang *gang, const char *reason); /* its streams are told to join again */
void coord__due(struct cgang *gang);                        /* when is it now? After each change */

/* coordinator_join.c */
void coord__join(struct coordinator *coordinator, const struct coordinator_event *event);
void coord__left(struct coordinator *coordinator, uint64_t stream);
void coord__complete(struct cgang *gang); /* Collecting: all are here -> Running */
void coord__restart(struct cgang *gang, const char *reason);
void coord__tell_waiting(struct cgang *gang);
int64_t coord__waiting_due(const struct cgang *gang);
void coord__set_present(struct member *member, bool present, uint64_t claim);
bool coord__claim(struct member *member, uint64_t claim,
                  uint32_t round); /* false: others are fresh, or elsewhere */
void coord__claims_end(struct cgang *gang,
                       const char *reason); /* all that claim a round begin anew */

/* coordinator_report.c */
void coord__report(struct coordinator *coordinator, const struct coordinator_event *event);
void coord__forget_report(struct member *member);

/* coordinator_end.c */
void coord__end(struct cgang *gang, enum verdict verdict, const char *message);
void coord__end_blamed(struct cgang *gang, enum verdict verdict, const struct member *member,
                       uint32_t rank, const char *text);
void coord__end_measured(struct cgang *gang); /* all have reported, or as many as will */
void coord__on_due(struct cgang *gang);
struct coordinator_order *coord__verdict_order(const struct cgang *gang);

/* coordinator_text.c */
/* "pod train-2 on node-7"; of a pod that is called as its node: "host node-7". */
#define COORD_WHO_MAX (2 * PROBE_NAME_MAX + 16)
void coord__who(const struct member *member, char ret[COORD_WHO_MAX]);
typedef bool coord__chosen_fn(const struct member *member);
/* "rank 3 (pod-a on node-1: pulling image), ranks 4-7 (...), and 12 more"; returns how many ranks.
 */
uint32_t coord__list(const struct cgang *gang, coord__chosen_fn *chosen, char *ret, size_t size);
bool coord__is_absent(const struct member *member);
bool coord__is_silent(const struct member *member);
bool coord__is_late(const struct member *member); /* reported that its time ran out */
