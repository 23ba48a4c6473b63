/*
 * event.h - everything that happens to the core, and everything the core wants done.
 *
 * Events go in by core_step(); objects inside an event are taken over by the core. Actions come out
 * in order; the I/O layer carries each one out once and answers with EV_WRITE_DONE where the action
 * names a ticket. Text in actions is copied, so an action outlives the state it came from;
 * actions_release() frees all. The core knows no clock, socket, thread or random source.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/model/objects.h"

#define NAME_TEXT 256 /* a name of up to 253 bytes, or a UID */

enum event_kind {
    EV_TICK, /* time passed: deadlines are looked at */
    EV_NODE, EV_NODE_GONE,
    EV_MACHINE, EV_MACHINE_GONE, /* a NodeTopology: what machine the node of that name is */
    EV_POD, EV_POD_GONE,
    EV_JOB, EV_JOB_GONE,
    EV_GROUP, EV_GROUP_GONE,
    EV_NAMESPACE, EV_NAMESPACE_GONE,
    EV_PLACEMENT, EV_PLACEMENT_GONE,
    EV_LEASE, EV_LEASE_GONE, /* of the kube-scheduler that we go with */
    EV_SYNCED, /* every cache was read in the term `ticket`: planning may begin */
    EV_REFUSED, /* observed: filter refused this pod, so it needs a wake-up later */
    EV_MISSED, /* observed: the planned node was not among the offered ones */
    EV_VOTE, /* a bind call: pod `uid` may go to `node`; answered by ACT_REPLY with `ticket` */
    EV_PROBED, /* gang of GangPlacement ns_name/name, plan `ticket`, was measured: uid: verdict, text, busbw */
    EV_WRITE_DONE, /* outcome of the action with `ticket` */
    EVENT_KINDS
};
const char *event_kind_name(enum event_kind kind); /* "pod", "vote", ... */

/* How a write ended (scheduler/kube/kube_write.h classifies the API server's answers). */
enum write_result {
    WRITE_OK,
    WRITE_CONFLICT, /* 409 */
    WRITE_GONE, /* 404 */
    WRITE_FORBIDDEN, /* 401, 403 */
    WRITE_INVALID, /* 400, 422 */
    WRITE_BUSY, /* 429 */
    WRITE_SERVER, /* 5xx */
    WRITE_UNKNOWN, /* time-out or broken connection: it may have been applied */
    WRITE_RESULTS
};
const char *write_result_name(enum write_result result);

enum action_kind {
    ACT_REPLY, /* answer the held bind call `ticket`: text "" = bound, else the refusal */
    ACT_BIND, /* post the binding of pod uid to node with annotations; EV_WRITE_DONE */
    ACT_NOMINATE, /* pods/status: nominatedNodeName = node; EV_WRITE_DONE */
    ACT_PLACEMENT, /* write GangPlacement ns/name: body is the whole object; EV_WRITE_DONE */
    ACT_POD_EVENT, /* Kubernetes Event on pod uid: reason, text */
    ACT_PLACEMENT_DELETE, /* of GangPlacement ns/name, whose gang is gone: body; EV_WRITE_DONE */
    ACT_EVICT, /* pods/eviction of pod uid; EV_WRITE_DONE */
    ACT_READ_POD, /* which node has pod uid? EV_WRITE_DONE, its text: the node, "" = none */
    ACT_PROBE, /* measure the gang of GangPlacement ns/name, plan `ticket`: body says whom; EV_PROBED */
    ACT_PROBE_END, /* no more */
    ACT_PROBE_POD, /* pod uid of such a gang waits at `text` ("": no more, or not known), for those who wait for it */
    ACT_RELIST, /* read every cache anew, then EV_SYNCED with `ticket` (the term) */
    ACTION_KINDS
};
const char *action_kind_name(enum action_kind kind); /* "bind", "nominate", ... */

struct event {
    enum event_kind kind;
    union {
        struct obj_node *node;
        struct obj_machine *machine;
        struct obj_pod *pod;
        struct obj_job *job;
        struct obj_group *group;
        struct obj_namespace *ns;
        struct obj_placement *placement;
        struct obj_lease *lease;
    } object; /* taken over */
    enum group_kind group_kind; /* EV_GROUP, EV_GROUP_GONE */
    char ns_name[NAME_TEXT]; /* *_GONE of namespaced objects */
    char name[NAME_TEXT]; /* *_GONE: the object's name; EV_VOTE, EV_MISSED: the node */
    char uid[NAME_TEXT]; /* of the pod, or of the gone object */
    uint64_t ticket; /* EV_VOTE: the held call; EV_WRITE_DONE: the action's; EV_SYNCED: the term */
    int64_t busbw; /* EV_PROBED: bytes per second, 0: nothing was measured */
    int64_t wall_ns; /* EV_LEASE: since 1970, when it was seen */
    enum action_kind action; /* EV_WRITE_DONE: which kind of action ended */
    enum write_result result; /* EV_WRITE_DONE */
    char text[NAME_TEXT]; /* EV_WRITE_DONE: the API server's message, may be cut; of a GangPlacement that
                           * was written, its resourceVersion; EV_PROBED: for people */
};

bool event_has_object(enum event_kind kind); /* EV_NODE, EV_POD, ..., EV_LEASE */
void event_release(struct event *event); /* frees the object of an event that the core did not get */

struct action {
    enum action_kind kind;
    uint64_t ticket;
    uint64_t term; /* in which it is wanted: it must not leave in a later one (core_term()) */
    char ns[64], name[NAME_TEXT], uid[64], node[NAME_TEXT];
    char reason[64];
    bool fresh; /* ACT_PLACEMENT: the object does not exist yet */
    bool warning; /* ACT_POD_EVENT: type Warning instead of Normal */
    char *text; /* reply, event note; NULL: "" */
    char *body; /* JSON object. ACT_PROBE: policy, deadline, pods; ACT_PLACEMENT: the object, _DELETE: preconditions, ACT_BIND: annotations */
};

struct actions {
    struct action *items;
    size_t n, size;
};
void actions_clear(struct actions *actions); /* forgets the items, keeps the array */
void actions_release(struct actions *actions);
