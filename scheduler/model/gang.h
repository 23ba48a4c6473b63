/*
 * gang.h - one gang: who belongs to it, what it asks for, where its slots are, which state it is in.
 *
 *   state     what holds            leaves by                                          owner of the exit
 *   Forming   nothing               enough members (or an early plan) -> Planned;
 *                                   bound by somebody else -> Bound                    core_settle
 *   Waiting   nothing, one reason   room appears and the plan succeeds -> Planned      core_settle
 *   Planned   a hold per slot       all slots voted -> Binding; deadline, node gone or
 *                                   full, refused in-tree or by kubelet -> Forming     settle_planned
 *   Binding   holds until bound     all slots bound -> Bound; a place lost -> another one,
 *                                   before anything is bound -> Forming; deadline: 0 bound -> Forming, some bound ->
 *                                   Replacing where evicting is allowed, else Broken   settle_binding
 *   Replacing nothing               members evicted -> Forming; deadline -> Broken     settle_replacing
 *   Bound     nothing (pods do);    (shown as Probing, Validated, Degraded while and after it is measured)
 *             a probe               min members run -> Running, members gone -> Broken,
 *                                   preempted -> Replacing                             settle_bound
 *   Running   nothing               members gone -> Broken, all succeeded -> Done,
 *                                   preempted -> Replacing                             settle_bound
 *   Broken    nothing, one reason   refilled -> Bound or Running, preempted ->
 *                                   Replacing                                          settle_bound
 *   Done      nothing               a member more -> Bound or Broken                   settle_bound
 *
 * In each state the last member's leaving ends the gang, and the end of the term takes it back to
 * Forming, from where it is taken over anew (core_adopt.c).
 *
 * A slot is a rank: it has a node from the plan, and a pod once a member took it. Slots of Bound,
 * Running and Broken gangs are refilled one by one when members are recreated; such a hold has a
 * deadline of its own (slot.deadline_ns).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/model/cluster.h"
#include "topology/bandwidth.h"

enum gang_state {
    GANG_FORMING,
    GANG_WAITING,
    GANG_PLANNED,
    GANG_BINDING,
    GANG_BOUND,
    GANG_RUNNING,
    GANG_BROKEN,
    GANG_DONE,
    GANG_REPLACING,
    GANG_STATES
};
const char *gang_state_name(enum gang_state state);

enum gang_kind { GANG_LABEL, GANG_JOB, GANG_GROUP_NATIVE, GANG_GROUP_SIGS };
const char *gang_kind_name(enum gang_kind kind); /* as in GangPlacement.spec.gang.kind */

enum slot_state {
    SLOT_EMPTY, /* no pod yet (or any more) */
    SLOT_TAKEN, /* a pod is steered to the node and has not voted */
    SLOT_VOTED, /* its bind call is here, held */
    SLOT_POSTED, /* the binding is being written */
    SLOT_RETRY, /* the write failed or is unsure: again at retry_ns */
    SLOT_BOUND, /* the API server said 201, or the pod was read with our node */
    SLOT_DONE, /* its pod succeeded */
    SLOT_STATES
};

struct slot {
    struct pod *pod;
    struct node *node; /* a reference; NULL: not planned */
    enum slot_state state;
    bool held; /* `hold` is counted in node->held */
    struct resources hold;
    uint32_t gpus; /* the set on that node that is planned; held with the rest. 0: not known */
    char *subgroup; /* shared: of whom the place is or was; NULL: of none, or not known after a start */
    bool unsure; /* a binding's answer was lost: it may have been applied */
    bool needs_vote; /* seated after the gang's vote: bound only when it has voted itself */
    bool nominated; /* the wake-and-steer write for this pod was sent for this plan */
    bool steering; /* and its answer is awaited */
    bool unsteered; /* kube-scheduler was at it first: no write for it, unless it is refused */
    uint8_t cleared; /* how often kube-scheduler undid our nomination: it failed there in-tree */
    uint8_t tries; /* failed binding writes in a row */
    uint64_t ticket; /* the held bind call, 0: none */
    uint64_t write; /* the write in flight, 0: none */
    int64_t deadline_ns; /* of a refill's hold; unused while the whole gang is planned */
    int64_t retry_ns;
    int64_t ask_ns; /* while unsure: when that binding is over for the API server too */
};

enum reason_code {
    REASON_NONE,
    REASON_MEMBERS_MISSING,
    REASON_SIZE_UNKNOWN,
    REASON_GROUP_MISSING,
    REASON_INSUFFICIENT,
    REASON_NO_DOMAIN_FITS,
    REASON_HEAD_OF_LINE, /* all that it could use is kept for a gang that waits for longer */
    REASON_UNKNOWN_LEVEL,
    REASON_UNSUPPORTED,
    REASON_VOTES_MISSING,
    REASON_BIND_FAILED,
    REASON_PARTLY_BOUND,
    REASON_BELOW_MIN,
    REASON_EVICTION_BLOCKED,
    REASON_PREEMPTED,
    REASON_PREEMPTING,
    REASON_GAVE_UP,
    REASON_CODES
};
const char *reason_code_name(enum reason_code code); /* "" for REASON_NONE */

#define REASON_TEXT 400
struct reason {
    enum reason_code code;
    char text[REASON_TEXT];
    uint32_t pods, fit; /* numbers of the text: pods asked for, pods that would fit */
};

struct excluded {
    struct node *node; /* a reference */
    int64_t until_ns;
};

/* What a plan is made for, as the last one in vain found it. */
struct tried_wish {
    uint32_t min, size;
    int required_level, preferred_level;
};

/* The gang as head of the line (core_order.c), though a preemption may come between. */
struct line {
    int64_t since_ns; /* 0: it is not */
    int64_t nearer_ns; /* when more of its pods fitted than ever before */
    uint32_t fit; /* how many those were */
    uint32_t changes; /* of membership, when the nodes that it could use were last looked for */
};

/* The last search for one more place that found none: what it looked for, and how the cluster was. */
struct no_place {
    char *shape_key; /* NULL: none was in vain */
    char *subgroup; /* shared; of the pod that looked */
    const struct node *anchor; /* compared, never followed */
    int required_level;
    int32_t priority;
    uint64_t version; /* cluster.capacity_version */
    int64_t until_ns; /* when an excluded node may be tried again */
};

#define GANG_WOULD_FIT 2 /* answers of core_why() that are told with a reason */

/* The GangPlacement of the gang as the API server has it, and what is still to be written. */
struct gang_record {
    char *name; /* of the object; the gang's name unless another kind has taken it */
    char *written; /* last status text that was acknowledged or read, NULL: none */
    char *version; /* the object's resourceVersion with it, NULL: not known */
    bool version_seen; /* the watch has shown that one: another one is somebody else's */
    bool exists, dirty;
    uint64_t write; /* ticket of the write in flight, 0: none */
    bool former; /* that write tells of what is no more: its end is awaited, or it might come after ours */
    char *writing; /* the status text of that write */
    uint32_t writing_version, written_version; /* gang.plan_version that they tell of */
    uint32_t failures;
    int64_t retry_ns;
    struct reason told; /* with the state below, what the last write said */
    enum gang_state told_state;
    int64_t told_ns;
};

/* What is measured of the gang where it is bound (core_probe.c). */
#define PROBE_TEXT 256
enum probe_phase { PROBE_NONE, PROBE_ASKED, PROBE_DONE };
struct gang_probe {
    enum probe_phase phase;
    int64_t generation; /* of the plan that is measured */
    uint64_t seats; /* a digest of whose pods those are */
    int64_t until_ns; /* the latest that an answer is waited for */
    int64_t running_ns; /* since when all pods run, 0: they do not */
    int64_t began_s, ended_s; /* wall clock */
    char verdict[32], message[PROBE_TEXT]; /* when done */
    char measured[32]; /* a quantity, bytes per second: "342G"; "": nothing was measured */
};

struct gang {
    char *key; /* kind:ns/name */
    char *ns, *name;
    enum gang_kind kind;

    /* Live (not terminating, not failed) pods of our schedulerName; the first by index and name comes
     * first and speaks for the gang, the others in any order. */
    struct pod **members;
    size_t nmembers, members_size;

    /* What it asks for, derived from members, Job and PodGroup by core__wants(). */
    uint32_t min; /* members that must start together; 0: unknown */
    uint32_t size; /* slots wanted: max(min, members seen) */
    struct resources requests; /* of one member, as the plan counted them */
    char *shape_key; /* of the members that the plan is for; "": of several shapes; NULL: no plan yet */
    int required_level, preferred_level; /* plan.h's indices, -1: none */
    char *role; /* "worker" unless said otherwise */
    int32_t priority;
    int64_t created_s;

    enum gang_state state;
    int64_t generation; /* of the plan; grows with each new plan */
    struct slot *slots;
    uint32_t nslots;
    uint32_t in_state[SLOT_STATES]; /* how many of the slots: kept by slot_set_state() */
    struct plan_level_use use[PLAN_LEVELS_MAX + 1]; /* certificate of the plan */
    uint32_t nlevels; /* levels the certificate speaks of */
    struct bandwidth predicted; /* of the plan, as it was and as machines were then; core__predict() */
    uint64_t predicted_of; /* which that was; 0: not asked yet */
    struct gang_probe probe;
    bool preferred_met, early; /* early: planned before all members exist */
    bool no_early; /* an early plan ran out: wait for all members */
    bool adopted; /* state was taken over from objects, not planned here */
    uint32_t plan_version; /* grows when a place of the plan changes */
    bool persisted; /* state and plan are in the API server: bindings (evictions) may be posted */
    bool torn; /* bound in part, and never whole */
    bool drifted; /* a member was bound by somebody else, elsewhere than planned */
    uint32_t unsteered; /* members of this plan that come without a nomination, see core__nominate() */
    bool gave_up; /* waited for giveUpAfter: not tried until its members change */
    uint32_t gave_up_changes;
    int64_t newest_s; /* wall clock: when its youngest member was created */
    int64_t planned_ns; /* when the plan was made */
    bool before_head; /* it came before the head of the line then: what is kept for that one was free to it */
    int64_t preempt_after_ns; /* not again before */
    bool preempt_owed; /* it wanted to before that: it tries again then */
    int64_t deadline_ns; /* of the state */
    int64_t wake_ns; /* when to look again at the latest, INT64_MAX: only when something happens */
    int64_t state_since_s; /* wall clock, for the conditions */
    int64_t not_before_ns; /* backoff after a failed attempt */
    int64_t answer_by_ns; /* bind calls of bound members are answered then at the latest */
    uint32_t failures;
    uint32_t changes, tried_changes; /* of membership; at the last failed plan */
    struct tried_wish tried_wish; /* at the last failed plan */
    uint64_t tried_version; /* cluster.capacity_version at the last failed plan */
    struct line line;
    bool too_large; /* as it was tried last: for the emptied cluster too, so it heads no line */
    struct excluded *excluded;
    size_t nexcluded, excluded_size;
    struct no_place no_place;

    struct reason reason;
    int64_t reason_since_ns;
    int64_t reason_text_ns; /* since when it says exactly this */
    bool reason_told; /* Events were posted for this reason */
    char *would_fit[GANG_WOULD_FIT]; /* what would let it fit, as it was then; NULL: not asked or nothing */
    bool would_fit_stale; /* it was tried again since */
    int64_t would_fit_ns; /* when that was last asked, 0: never */
    struct gang_record record;
    bool dirty; /* on the core's list of gangs to look at */
    bool unsaved; /* on the core's list of gangs whose GangPlacement may have to be written */
    bool ready; /* on the core's list of gangs that want a plan */
};

struct gang *gang_new(const char *key, enum gang_kind kind, const char *ns, const char *name);
/* As in GangPlacement.status.state: a gang that is Bound is Probing, Validated or Degraded, too. */
const char *gang_state_text(const struct gang *gang);
void gang_free(struct cluster *cluster, struct gang *gang); /* releases slots and references */

int gang_add_member(struct gang *gang, struct pod *pod);
void gang_remove_member(struct gang *gang, struct pod *pod);
void gang_sort_members(struct gang *gang); /* by index, then name */

/* Gives the gang n empty slots (old ones must have been released). */
int gang_make_slots(struct gang *gang, uint32_t n);
int gang_more_slots(struct gang *gang, uint32_t n); /* appends empty slots up to n */
void gang_drop_slots(struct gang *gang); /* none are left; they must have been released */
void slot_set_subgroup(struct slot *slot, const char *name); /* "": none */
void slot_set_state(struct gang *gang, struct slot *slot, enum slot_state state);
void slot_set_node(struct cluster *cluster, struct slot *slot, struct node *node);
/* A slot remembers what it holds, as a replacement may ask for something else. */
void slot_hold(struct cluster *cluster, struct slot *slot, const struct resources *requests);
void slot_unhold(struct cluster *cluster, struct slot *slot);

/* May a binding of this slot (of any slot) have been applied, or is one under way? */
bool slot_is_open(const struct slot *slot);
bool slot_is_bound(const struct slot *slot); /* or was, and its pod has done its work */
bool gang_is_open(const struct gang *gang);

uint32_t gang_count(const struct gang *gang, enum slot_state state); /* of its slots: no walk */
uint32_t gang_bound(const struct gang *gang); /* slots bound or done */

/* Counts the domains that the slots are in, per level; a plan's lower bounds stay. */
void gang_count_use(const struct cluster *cluster, struct gang *gang);

/* What the pod of the slot says it is, or else the gang's pods are. */
const char *gang_role(const struct gang *gang, uint32_t rank);

/* SHA-256 over the lines "role rank node" in order of role and rank, as hex. */
#define GANG_HASH_TEXT 65
void gang_hash(const struct gang *gang, char ret_hex[GANG_HASH_TEXT]);

/* The nodes in rank order as a compressed host list ("node-[001-004,007]"), for the pods' stamp. */
char *gang_host_list(const struct gang *gang); /* caller frees; NULL: no memory or over 64 KiB */
