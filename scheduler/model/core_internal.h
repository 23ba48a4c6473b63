/* core_internal.h - what the core's files share; nobody else includes it. */
#pragma once

#include <jansson.h>

#include "base/hashmap.h"
#include "scheduler/model/cluster.h"
#include "scheduler/model/config.h"
#include "scheduler/model/core.h"
#include "scheduler/model/gang.h"
#include "scheduler/model/lease.h"
#include "scheduler/plan/plan_speed.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

#define TELL_AFTER_NS NS_PER_S /* a reason that stands this long is told, with what would let the gang fit */
#define STEER_NODES 1500 /* from so many nodes on members are nominated before they are looked at */

/*
 * The simulator's build of the core breaks one rule at a time, to see that the breach is noticed
 * (tests/sim/mutants.h). In the product MUTANT() is false and nothing of it remains.
 */
#ifdef LOCKSTEP_MUTANTS
#include "tests/sim/mutants.h"
#define MUTANT(name) (sim_mutant == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

struct gang_list {
    struct gang **items;
    size_t n, size;
};

struct core {
    const struct config *config;
    struct cluster cluster;
    struct hashmap gangs; /* key -> struct gang */
    struct hashmap records; /* "ns/name" of a GangPlacement -> struct gang */
    struct hashmap orphans; /* the same -> deletion of a GangPlacement (core_orphans.c) */
    struct hashmap former_writes; /* the same -> ticket of a write that its gang did not live to see end */
    struct hashmap jobs, groups, namespaces, placements; /* objects by "ns/name" (groups: kind too) */
    struct gang_list all, dirty, ready;
    struct gang_list batch; /* the dirty ones that are being settled */
    struct gang_list unsaved; /* touched since their GangPlacement was last compared */
    struct pod **held; /* ordinary pods with a binding under way */
    size_t nheld, held_size;
    uint32_t accelerators; /* columns of the configured ones, as bits */
    struct plan_scratch *scratch;
    struct plan_race *race;
    struct room *room; /* core_room.c's own */
    struct parts_room *parts; /* core_parts.c's own; NULL: not needed yet */
    char host[NAME_TEXT]; /* whom kube-scheduler's Lease names when it is ours */
    bool follows_lease;
    struct lease_view lease;
    uint64_t term; /* counts our terms; 0 without a Lease */
    bool term_ended; /* by the clock, while the Lease still names us: a late renewal begins anew */
    bool active; /* of this term: caches taken over, plans are made, writes go out */
    bool finishing; /* gangs that were Binding are finished before anything is planned */
    int64_t sent_until_ns; /* bindings that this core does not know of were sent until then, 0: none */
    int64_t doubt_until_ns; /* they may arrive until then: no room is given away, 0: no doubt */
    struct gang *head; /* what frees up on reserved nodes is this gang's, NULL: nobody's */
    bool head_keeps_all; /* ... and all nodes that it could use are reserved, not those of its plan alone */
    int64_t head_since_ns;
    bool head_preempts; /* ... because we evicted others for it */
    int64_t head_until_ns; /* of a preemption: then the reservation ends */
    bool listed; /* all caches were read once, in whatever term: what comes now is news */
    bool synced, levels_stale, nodes_changed, ready_changed;
    int64_t rejection_ends_ns; /* when the first node may be tried again */
    bool crowded; /* somebody took room that was held: the holders look at their places */
    uint64_t planned_version; /* cluster.capacity_version when all ready gangs were last tried */
    uint64_t next_ticket;
    int64_t why_due_ns; /* core__ask_why() plans not before: on large clusters that takes a while */
    int64_t now_ns, epoch_s, next_wake_ns;
    struct actions *out; /* of the step or settle under way */
    uint64_t plans, replans, binds, steps;
    uint64_t machines_refused; /* of a kind more than are kept */
};

/* ---- actions (core_actions.c) --------------------------------------------------------------- */
struct action *core__act(struct core *core, enum action_kind kind); /* NULL: no memory */
void core__reply(struct core *core, uint64_t ticket, const char *text); /* ticket 0: nobody waits */
void core__act_on_pod(struct action *action, const struct obj_pod *pod, const char *node);

/* ---- gangs and members (core_members.c) ------------------------------------------------------ */
int gang_list_add(struct gang_list *list, struct gang *gang);
void gang_list_remove(struct gang_list *list, const struct gang *gang);
void core__touch(struct core *core, struct gang *gang); /* settle looks at it */
void core__wake_at(struct core *core, struct gang *gang, int64_t when_ns);
/* Of a Job in a namespace that is not known yet: that may make it a gang, so it is no ordinary pod. */
bool core__is_undecided(const struct core *core, const struct pod *pod);
void core__assign(struct core *core, struct pod *pod); /* puts the pod into the gang it belongs to */
void core__leave(struct core *core, struct pod *pod); /* takes it out, whatever the gang's state */
void core__slot_take(struct core *core, struct gang *gang, uint32_t slot, struct pod *pod);
/* Of a new plan: the pod's place is there, with these accelerators, held and taken. */
void core__seat(struct core *core, struct gang *gang, uint32_t slot, struct pod *pod, struct node *node,
                uint32_t gpus);
void core__drop_gang(struct core *core, struct gang *gang);
void core__touch_job(struct core *core, const struct obj_job *job);
void core__touch_group(struct core *core, const struct obj_group *group);
void core__group_key(const struct obj_group *group, char *ret, size_t size);

/* ---- what a gang wants (core_wants.c) --------------------------------------------------------- */
/*
 * Fills min, size, levels, role, priority from members, Job and PodGroup; false: *ret_why says what is
 * not there. That is the gang's reason only before it has started: a Job may go before its pods.
 */
bool core__wants(const struct core *core, struct gang *gang, struct reason *ret_why);
/* Says why a gang cannot be planned; false. */
bool core__lacks(struct reason *ret_why, enum reason_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A level by the name that somebody gives it; "" gives -1. false: there is none of that name. */
bool core__read_level(const struct core *core, const char *what, const char *name, int *ret_level,
                      struct reason *ret_why);
const struct obj_group *core__group_of(const struct core *core, const struct gang *gang); /* or NULL */
const struct obj_job *core__job_of(const struct core *core, const struct obj_pod *pod); /* or NULL */

/* What must start together; of an elastic gang the others may come later. */
static inline uint32_t core__needed(const struct gang *gang)
{
    return gang->min > 0 && gang->min < gang->size ? gang->min : gang->size;
}

/* ... of those that it has places for: below that it cannot go on. */
static inline uint32_t core__least(const struct gang *gang)
{
    return gang->min && gang->min < gang->nslots ? gang->min : gang->nslots;
}

/* ---- levels (core_levels.c) --------------------------------------------------------------------- */
bool core__refresh_levels(struct core *core); /* true: they changed, and who waits is looked at again */

/* ---- room (core_room.c): the planner's question ------------------------------------------------- */
struct room_count {
    uint32_t nodes, matching, with_room;
    uint32_t kept; /* would match, and are kept for the head of the line */
};
struct room *core__room_new(void);
void core__room_free(struct room *room);
bool core__may_use(const struct core *core, const struct gang *gang, const struct node *node,
                   const struct pod_shape *shape); /* room apart */
/* Is what frees up there kept for the head of the line, and the gang not before it? */
bool core__is_kept(const struct core *core, const struct gang *gang, const struct node *node);
/* Could any of the gang's members run there if nothing else did? */
bool core__could_use(const struct core *core, const struct gang *gang, const struct node *node);
/* So many of its pods, or as many as there is room for, but no fewer than must start together. */
struct plan_request core__request(const struct gang *gang, uint32_t pods);
/* Pods like `like`, on the cluster as it is; as plan_gang(). The plan lives until the next one. */
int core__plan(struct core *core, const struct gang *gang, const struct pod *like,
               struct plan_request *request, struct plan *ret_plan,
               struct plan_shortage *ret_shortage, struct room_count *ret_count);
/* The same answer without the placement, for questions of what would be: how fast it is is not asked. */
int core__fit(struct core *core, const struct gang *gang, const struct pod *like,
              struct plan_request *request, struct plan_shortage *ret_shortage);
/* On the cluster as if nothing ran or was held there. */
int core__plan_emptied(struct core *core, const struct gang *gang, struct plan_request *request,
                       struct plan *ret_plan);
void core__tell_limits(struct core *core, struct gang *gang); /* the planner's -EINVAL is the gang's reason */
int core__check_room(const struct core *core, struct err *err); /* what is kept is what is (I12) */

/* ---- measuring what is bound (core_probe.c) ------------------------------------------------------------- */
enum probe_policy core__probe_policy(const struct core *core, const struct gang *gang);
void core__probe(struct core *core, struct gang *gang); /* of a gang that may be bound: asks, or gives up waiting */
void core__end_probe(struct core *core, struct gang *gang); /* what was measured, or is being, is of no more use */
/* What the pod waits at has changed; was_stuck: before. */
void core__probe_waits(struct core *core, const struct pod *pod, bool was_stuck);
void core__on_probed(struct core *core, const struct event *event);
json_t *core__probe_json(const struct gang *gang); /* status.probe */
void core__adopt_probe(struct gang *gang, const struct obj_placement *placement);

/* ---- accelerators by number (core_devices.c) -------------------------------------------------------- */
int64_t core__accelerators(const struct core *core, const struct resources *amounts);
/* false: which ones are free is not known. */
bool core__free_gpus(const struct core *core, const struct node *node, uint32_t *ret_free);
/* node_room(), with what each pod gets of one NUMA node where kubelet insists on that. */
uint32_t core__node_room(const struct core *core, const struct node *node,
                         const struct resources *requests);
/* Nodes with room by count where kubelet would refuse a pod of the gang for want of room on one NUMA node. */
uint32_t core__count_misaligned(const struct core *core, const struct gang *gang);
/* The same as if nothing ran or was held there. */
uint32_t core__emptied_room(const struct core *core, const struct node *node,
                            const struct resources *requests);
/* Which ones `pods` pods that are to go there get, before anything is held for them; 0: not known. */
void core__choose_gpus(const struct core *core, const struct node *node,
                       const struct resources *requests, uint32_t pods,
                       uint32_t ret_sets[MACHINE_GPUS_MAX]);
/* Does the pod get them for certain, as there are no others? Else kubelet chooses, and this is what is best. */
bool core__has_all(const struct slot *slot);
/* The slot's own, where they are free and as many as the pod asks for, else others. Before it holds them. */
void core__keep_or_choose_gpus(const struct core *core, struct slot *slot, const struct pod *pod);

/* How fast the gang is to be where it is planned: once for each plan_version, or when machines changed. */
void core__predict(const struct core *core, struct gang *gang);
int core__check_gpus(const struct core *core, struct err *err);

/* Classes of nodes for plan_speed.h, of pods with so many accelerators. */
#define GANG_SIZES 3 /* a gang of one pod, of two, of more: bandwidth.h knows no other difference */
struct gpu_classes;
struct gpu_classes *core__classes_new(void);
void core__classes_free(struct gpu_classes *classes);
bool core__classes_begin(const struct core *core, struct gpu_classes *classes,
                         const struct resources *requests, size_t nnodes);
bool core__classes_full(const struct gpu_classes *classes); /* most of them may be of what is no more */
void core__classes_set(const struct core *core, struct gpu_classes *classes, const struct node *node);
/* false: nothing is known of any node. */
bool core__classes_ask(const struct gpu_classes *classes, uint32_t pods, struct plan_speed *ret);

/* ---- members that are not alike (core_parts.c), or in subgroups (core_subgroups.c) ---------------- */
bool core__is_mixed(const struct gang *gang); /* they ask for different things, or are in subgroups */
bool core__try_parts(struct core *core, struct gang *gang); /* true: its slots are made and its members seated */
int core__parts_emptied(struct core *core, const struct gang *gang, struct plan *ret_plan);
/* All of them, on that level: 0; -ENOSPC: proven not to; -EAGAIN: no place was found, and one may be there. */
int core__parts_fit(struct core *core, const struct gang *gang, int required_level);
void core__parts_free(struct parts_room *room);

/* ---- subgroups of a gang (core_subgroups.c, core_subgroup_places.c) -------------------------------- */
/* "": of none that says where it is to be. */
static inline const char *core__subgroup_of(const struct pod *pod)
{
    const struct gang_wish *wish = &pod->object->wish;

    return wish->within[0] || wish->spread[0] ? wish->subgroup : "";
}
bool core__has_subgroups(const struct gang *gang);
/* If it says something else about its subgroup than before, its gang is worth another try. NULL: a new pod. */
void core__note_regrouped(const struct pod *pod, const struct obj_pod *now);
bool core__try_subgroups(struct core *core, struct gang *gang); /* as core__try_parts() */
int core__subgroups_fit(struct core *core, const struct gang *gang, int required_level, bool emptied,
                        struct plan *ret_plan); /* as core__parts_fit(); the plan's shares: who is where */
/* Beside where the others of its gang are, may the pod be on the node? */
bool core__keeps_subgroup(const struct core *core, const struct gang *gang, const struct pod *pod,
                          const struct node *node);
/* A node for one pod of a subgroup, as near to `near` (or NULL) as may be; NULL: none. */
struct node *core__subgroup_node(struct core *core, struct gang *gang, const struct pod *pod,
                                 const struct node *near);
/* Where a pod that has no place yet of a plan that is finished belongs; PLAN_UNKNOWN: to none of what is free. */
void core__seat_first(struct gang *gang); /* puts its members into the order in which they look for that */
uint32_t core__subgroup_slot(const struct core *core, const struct gang *gang, const struct pod *pod);

/* ---- plans (core_plan.c) ---------------------------------------------------------------------- */
/* The domain that a gang is required to stay in: that of its members. */
struct required_domain {
    const struct node *anchor; /* NULL: nobody has a place, or nothing is required */
    bool split; /* others have bound members in several */
};
struct required_domain core__required_domain(const struct core *core, const struct gang *gang);
bool core__keeps_required(const struct core *core, const struct gang *gang,
                          const struct required_domain *domain, const struct node *node);
int core__compare_turn(const void *a, const void *b); /* of two struct gang *: who is first */
void core__queue(struct core *core, struct gang *gang); /* it wants a plan */
void core__unqueue(struct core *core, struct gang *gang); /* not any more */
void core__plan_ready(struct core *core); /* tries all that want one, in order */
void core__release_plan(struct core *core, struct gang *gang, const char *why);
void core__rejected(struct core *core, const char *node); /* a pod, by its kubelet */
void core__end_rejections(struct core *core);
void core__exclude(struct core *core, struct gang *gang, struct node *node);
bool core__same_domain(const struct core *core, const struct node *a, const struct node *b, uint32_t level);
bool core__refill(struct core *core, struct gang *gang, struct pod *pod); /* one slot for a late member */
void core__plan_changed(struct gang *gang); /* it is written again before it is acted on */
void core__nominate(struct core *core, struct gang *gang, uint32_t slot);

/* ---- states (core_states.c), votes and bindings (core_bind.c) ---------------------------------- */
bool core__all_voted(const struct gang *gang); /* or are bound: a Planned gang may bind */
void core__settle_gang(struct core *core, struct gang *gang);
void core__set_state(struct core *core, struct gang *gang, enum gang_state state);
void core__set_reason(struct core *core, struct gang *gang, enum reason_code code,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
void core__vote(struct core *core, const struct event *event);
/* An answer was lost and the place is lost too: was the pod bound? */
void core__ask(struct core *core, struct slot *slot);
/* Answers the slot's bind call: that it is bound, else why not. */
void core__slot_reply(struct core *core, struct slot *slot, const char *why);
/*
 * kube-scheduler writes an Event for each answer, and the API server has to take it: answers of a gang wait
 * until none of its bindings is under way and the watch has shown them, as kubelets see them then too.
 */
void core__answer_bound(struct core *core, struct gang *gang);
void core__bind_done(struct core *core, const struct event *event);
void core__post_bindings(struct core *core, struct gang *gang);
void core__saw_bound(struct core *core, struct pod *pod);
void core__release_hold(struct core *core, struct pod *pod, const char *why); /* ordinary pods */
void core__expire_holds(struct core *core);

void core__settle_planned(struct core *core, struct gang *gang); /* core_planned.c */
int64_t core__backoff_ns(uint32_t failures); /* how long to wait after so many in a row */
#define CLEARED_LIMIT 2 /* undone nominations before a node counts as refusing in-tree */
/* A member was bound by others outside of the domain that the plan is in: the rest cannot go there. */
bool core__is_cut_off(const struct core *core, const struct gang *gang,
                      const struct required_domain *domain, const struct slot *slot);

/* The slot gives up pod, node and hold. */
void core__vacate(struct core *core, struct gang *gang, struct slot *slot, const char *why);
bool core__place_lost(const struct core *core, const struct slot *slot); /* its node is gone, refuses or is too full */

/* ---- order (core_order.c): the head of the line ---------------------------------------------------- */
void core__check_head(struct core *core); /* what is kept for it: all, its plan's nodes, or nothing any more */
/* Waits for nothing but room. */
bool core__lacks_room(const struct gang *gang);
/* From when on the gang, as it waits, may become the head; INT64_MAX: it may not, or there is one. */
int64_t core__head_due_ns(const struct core *core, const struct gang *gang);
void core__wake_for_head(struct core *core, struct gang *gang); /* when it may, or as the head keeps more or less */
bool core__keeps_all(const struct core *core); /* the head, by now; there is one */
/* "N matching nodes are kept for gang ns/name, head of the line since ..."; none are: "". */
#define KEPT_TEXT 288
void core__kept_text(const struct core *core, const struct room_count *count, char ret[KEPT_TEXT]);
void core__choose_head(struct core *core);
void core__reserve(struct core *core, struct gang *gang, const struct plan *plan); /* its nodes, for the gang */
void core__unreserve(struct core *core);

/* ---- preemption (core_preempt.c) ------------------------------------------------------------------- */
bool core__preempt(struct core *core, struct gang *gang); /* true: others are being evicted for it */

/* ---- what would fit (core_why.c) ----------------------------------------------------------------- */
bool core__waits_for_room(const struct gang *gang);
/* When the reason has stood for a while: asks what would let the gang fit, to be told with it. */
void core__ask_why(struct core *core, struct gang *gang);
void core__tried_in_vain(struct core *core, struct gang *gang); /* again: what was told may be old */
void core__forget_would_fit(struct gang *gang); /* the reason is another one now */

/* ---- exits (core_exits.c): evicting, giving up ---------------------------------------------------- */
bool core__may_evict(const struct core *core, const char *ns);
void core__evict(struct core *core, struct pod *pod);
void core__evict_done(struct core *core, const struct event *event);
void core__replace(struct core *core, struct gang *gang); /* all members are evicted, then Forming */
void core__settle_replacing(struct core *core, struct gang *gang);
void core__tear(struct core *core, struct gang *gang); /* bound in part, and it stays so for now */
bool core__gave_up(struct core *core, struct gang *gang);

/* ---- terms (core_lead.c) ----------------------------------------------------------------------- */
void core__on_lease(struct core *core, const struct obj_lease *lease, int64_t wall_ns);
void core__on_lease_gone(struct core *core);
void core__check_term(struct core *core); /* begins and ends what the clock begins and ends */
int64_t core__term_deadline(const struct core *core);
bool core__in_doubt(struct core *core); /* may bindings that nobody knows of still arrive? */

/* ---- names of GangPlacements (core_names.c) ------------------------------------------------------ */
char *core__record_name(const struct core *core, const struct gang *gang); /* caller frees; NULL */
void core__name_records(struct core *core); /* all anew, when the caches are complete */

/* ---- GangPlacements that are nobody's (core_orphans.c) -------------------------------------------- */
void core__delete_orphans(struct core *core);
void core__delete_orphan(struct core *core, const struct obj_placement *placement); /* if it is one */
void core__retry_orphans(struct core *core);
bool core__orphan_done(struct core *core, const struct event *event); /* false: it was not ours */
void core__orphan_gone(struct core *core, const char *key);
uint64_t core__take_orphan(struct core *core, const char *key); /* a gang's now; deletion under way, or 0 */
void core__forget_orphans(struct core *core);

/* ---- GangPlacement and Events (core_record.c), taking over (core_adopt.c) ---------------------- */
void core__write_record(struct core *core, struct gang *gang);
void core__keep_former_write(struct core *core, const struct gang *gang, const char *key);
void core__take_former_write(struct core *core, struct gang *gang, const char *key);
void core__record_done(struct core *core, const struct event *event);
void core__record_seen(struct core *core, struct gang *gang, const struct obj_placement *placement);
void core__forget_written(struct gang *gang); /* what is stored is not known any more */
#define TIME_TEXT 32
void core__time_text(char ret[TIME_TEXT], int64_t wall_s); /* as the API server writes it */
void core__tell_reason(struct core *core, struct gang *gang);
void core__adopt(struct core *core);

/* Prints "ns/name" into a caller's buffer; names are at most 253 bytes. */
#define KEY_TEXT 640
void core__key(char ret[KEY_TEXT], const char *prefix, const char *ns, const char *name);
