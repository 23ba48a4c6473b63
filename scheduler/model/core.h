/*
 * core.h - the one state of the scheduler and the only thing that decides.
 *
 *   core_step(core, event, now, actions)   one event changes the state
 *   core_settle(core, now, actions)        plans what can be planned; call it once per batch of events
 *   core_deadline(core)                    when EV_TICK is due at the latest
 *
 * One thread steps and settles. Queries take a const core and change nothing; other threads may call
 * them while they hold the daemon's read lock against the stepping thread. `now` is nanoseconds of
 * a clock that never goes back (CLOCK_BOOTTIME in the daemon, any number in tests and the CLI).
 *
 * Life of a gang, its states and who leaves which state how: gang.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scheduler/model/event.h"
#include "scheduler/plan/plan.h"
#include "topology/bandwidth.h"

struct config; /* config.h; must outlive the core */
struct core;
struct gang;

struct core *core_new(const struct config *config); /* NULL: no memory */
void core_free(struct core *core);

/* Wall-clock seconds at now_ns = 0, for the times in GangPlacement; 0 until it is set. */
void core_set_epoch(struct core *core, int64_t epoch_s);

/*
 * The epoch for a wall clock that reads wall_ns at now_ns. Rounded up: the time of a state must not read
 * earlier than that of a pod which was created before, as taking over compares the two.
 */
static inline int64_t core_epoch_s(int64_t wall_ns, int64_t now_ns)
{
    return (wall_ns - now_ns + 999999999) / 1000000000;
}

/*
 * With a Lease in the configuration the core acts only in terms of its own (lease.h): host is what
 * kube-scheduler's identity begins with. A term begins with ACT_RELIST, so that nothing is decided on
 * what was read before it; outside of a term everything is known and nothing is done.
 */
void core_set_host(struct core *core, const char *host);
bool core_active(const struct core *core);
/* Until when writes may begin (see lease.h): INT64_MAX without a Lease, 0 outside of a term. */
int64_t core_write_until(const struct core *core);
uint64_t core_term(const struct core *core); /* the one that runs, or the last; 0 without a Lease */

/*
 * A former process of this host may have written until now. What of it still arrives is stored for gangs
 * (their plan), but bindings of ordinary pods are not: while such pods are unbound, no room is given
 * away before those writes are over (LEASE_WRITE_NS). Not called: there was none.
 */
void core_set_predecessor(struct core *core, int64_t now_ns);

/* Takes over the object inside the event. Never fails: what it cannot use it counts and shows. */
void core_step(struct core *core, struct event *event, int64_t now_ns, struct actions *ret_actions);
void core_settle(struct core *core, int64_t now_ns, struct actions *ret_actions);
int64_t core_deadline(const struct core *core); /* INT64_MAX: nothing is due */

/* ---- what the verbs ask ------------------------------------------------------------------- */

enum answer_kind {
    ANSWER_PLANNED, /* a gang member: exactly this node */
    ANSWER_WAIT, /* refused for now; reason is a constant text */
    ANSWER_ORDINARY, /* not ours to place: ask core_node_fits for each node */
    ANSWER_UNKNOWN /* the pod was not seen yet: answer with an error, kube-scheduler retries */
};
struct answer {
    enum answer_kind kind;
    const char *node; /* ANSWER_PLANNED; valid while the read lock is held */
    const char *reason; /* ANSWER_WAIT: static text */
};
void core_answer(const struct core *core, const char *pod_uid, struct answer *ret_answer);

/*
 * Are the pod's gang mates on their way to nodes of their own, so that kube-scheduler had better wait with
 * its next pod? On large clusters a nomination saves a scan of all nodes. 0: no; else a number
 * that grows while more of them come and are steered.
 */
uint64_t core_steering(const struct core *core, const char *pod_uid);

/* Does the ordinary pod fit on the node beside what is held for gangs? Unknown names: true. */
bool core_node_fits(const struct core *core, const char *pod_uid, const char *node, size_t len);

/*
 * Is the pod known to be in no gang? Only then may kube-scheduler preempt for it, or evict it for others.
 * A pod that was not seen yet may be in one: kube-scheduler's own watch can be ahead of ours.
 */
bool core_is_ordinary(const struct core *core, const char *pod_uid);

/* ---- what people ask ---------------------------------------------------------------------- */

struct resources;
/* How many accelerators these amounts are, of all configured resources together. */
uint32_t core_accelerators(const struct core *core, const struct resources *amounts);
/* Is it known which ones of the node's are whose? */
struct node;
bool core_knows_gpus(const struct core *core, const struct node *node);

/*
 * How fast the gang is to be where its plan has it; LIMIT_UNKNOWN without a figure where a machine is not known.
 * merged: if the pods on each node were one, as NCCL takes each pod for a host of its own.
 */
struct bandwidth core_predict(const struct core *core, const struct gang *gang, bool merged);

struct core_counts {
    size_t nodes, pods, gangs, gangs_waiting, holds;
    size_t machines; /* nodes of which it is known what machine they are */
    size_t by_state[8 + 1]; /* enum gang_state */
    uint64_t plans, replans, binds, steps;
    uint64_t machines_refused; /* NodeTopologies for which there was no room: their nodes' machines are unknown */
};
void core_counts(const struct core *core, struct core_counts *ret_counts);

/* Finds a gang by namespace and name (of its GangPlacement); NULL: none. */
const struct gang *core_gang(const struct core *core, const char *ns, const char *name);

/* The gang of a pod; NULL: none, or the pod is unknown. */
const struct gang *core_gang_of(const struct core *core, const char *pod_uid);

/*
 * Why does a gang wait, and what would have to be otherwise for it to fit? Asked of the cluster as it is now,
 * for this gang alone. Each answer was planned with that one change made; "fits with N pods" also
 * that N + 1 do not. Of the pods and gangs that would have to leave none could stay; they are few, not
 * always the fewest. Pods of DaemonSets and of nodes themselves stay, on the "empty" cluster too.
 *
 * A gang of unlike pods is told only what is proven, of no number of its pods, and of leavers only as far
 * as the plans go.
 *
 * At most WHY_PLANS_MAX plans. It takes pods out of the counts and puts them back: on the stepping thread
 * only, or under the write lock.
 */
#define WHY_PLANS_MAX 48 /* most need 6: itself, emptied, two numbers of pods, a level, who leaves */
#define WHY_NAMED 3 /* leavers whose names a text gives */
#define WHY_TEXT 1200 /* three names of 63 + 253 bytes, and what goes with them */
enum why_change { /* in the order in which they are told */
    WHY_HEAD, /* all that it could use is kept for the head of the line: if that did not wait; then alone */
    WHY_LEVEL, /* required on `level`, which is outside of the one that it asks for */
    WHY_PREFERRED, /* `level` preferred instead of required */
    WHY_PODS, /* with `pods` pods */
    WHY_LEAVE, /* if `pods` pods left, `gangs` whole gangs with theirs among them: see leavers */
    WHY_EMPTY, /* on the empty cluster; told first where it would not even fit there */
    WHY_CHANGES
};
const char *why_change_name(enum why_change change); /* "level", "pods", ... */
struct counterfactual {
    enum why_change change;
    bool fits; /* false: not even so */
    uint32_t pods, gangs;
    int level; /* plan.h's index, -1: none */
    char text[WHY_TEXT]; /* "fits with 12 pods instead of 16" */
};
struct why_leaver {
    char *name; /* "namespace/name" */
    char *uid; /* of a pod that is in no gang, "": it is a gang */
    bool is_gang;
    uint32_t pods; /* that go with it */
};
struct why {
    struct counterfactual items[WHY_CHANGES];
    size_t n;
    struct why_leaver *leavers; /* of WHY_LEAVE, by name */
    size_t nleavers;
    unsigned plans; /* that were made for the answer */
};
/* None where the gang does not wait for room, or would fit by now. -ENOMEM. */
int core_why(struct core *core, const struct gang *gang, struct why *ret);
void why_release(struct why *why);

/*
 * For a gang that has places: per level, as in struct plan, the fewest domains that any placement could do
 * with now, were the gang to be placed anew. Like core_why() on the stepping thread. -ENOSPC: it would not
 * fit again (somebody has crowded it); -EINVAL: it has no places.
 */
int core_certify(struct core *core, const struct gang *gang,
                 struct plan_level_use ret_use[PLAN_LEVELS_MAX + 1]);

/* The gang's GangPlacement as it is stored; NULL: there is none yet. */
struct obj_placement;
const struct obj_placement *core_placement(const struct core *core, const struct gang *gang);

/* All gangs, in no order. */
const struct gang *core_gang_at(const struct core *core, size_t index); /* NULL: beyond the last */
/* Gangs that want a plan too and come before it in the line. */
size_t core_ahead(const struct core *core, const struct gang *gang);

/* A level as a gang names it: the label's key, or "node". */
const char *core_level_name(const struct core *core, int level);

struct cluster;
const struct cluster *core_cluster(const struct core *core);

/* Checks every invariant of architecture.md that the state alone can show; err says which broke. */
int core_check(const struct core *core, struct err *err);
