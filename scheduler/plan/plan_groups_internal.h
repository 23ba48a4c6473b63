/* plan_groups_internal.h - what the ways to place subgroups share. */
#pragma once

#include "scheduler/plan/plan_groups.h"
#include "scheduler/plan/plan_parts_internal.h"

struct plan_groups_scratch {
    struct plan_parts_scratch *parts; /* its tree is of all nodes; for the bounds */
    struct plan_scratch *plans; /* of what is planned inside */
    struct plan_scratch *mine;
    struct plan_index *rooms; /* the tree with room for equal pods */
};

/* Subgroups that can change places: of one home, one spread and the same items. */
struct kind {
    uint32_t first, count; /* in groups->order */
    uint32_t pods; /* of one of them */
    uint32_t items; /* of one of them */
    int home, spread; /* -1: no spread that matters */
    int label; /* innermost node label that it names; -1: none */
};

struct groups {
    const struct plan_groups_request *request;
    const struct plan_parts_request *cluster;
    struct plan_groups_scratch *scratch;
    const struct plan_index *tree;
    struct kind *kinds;
    uint32_t nkinds;
    uint32_t *order; /* groups by kind, innermost home first, then the larger ones */
    uint32_t *items, *first_item; /* items by group; ngroups: of none */
    uint32_t pods, rest; /* all; outside of subgroups */
    bool contradicts; /* two that are to be spread over a level that the gang must not leave */
    struct plan_groups_share *best; /* so far; at most one a pod */
    uint32_t nbest;
    struct score least;
    uint32_t *on_node; /* by node: pods of the placement that is looked at */
    bool found, complete, out_of_memory;
    uint32_t proven; /* levels before this one are, if not complete */
    uint64_t work;
    uint32_t *seen, now; /* by the caller's domain, when it was last counted */
};

static inline uint64_t groups__work_max(const struct groups *groups)
{
    return groups->request->work_max ? groups->request->work_max : PLAN_GROUPS_WORK;
}

/* A domain of the tree, or a node by itself: where its nodes stand in tree->order. */
struct place {
    uint32_t key; /* ndomains + position: a node */
    uint32_t first, n;
};
struct place groups__place(const struct plan_index *tree, uint32_t key);
/* The domains of a level (nodes at nlevels) as keys: [from, to); loose ones are among them. */
void groups__keys(const struct plan_index *tree, uint32_t level, uint32_t *ret_from, uint32_t *ret_to);
bool groups__is_domain(const struct plan_index *tree, uint32_t key);
/* The domain of a level that a place is in; UINT32_MAX: none. */
uint32_t groups__above(const struct plan_index *tree, uint32_t key, uint32_t level);

/* Is the placement better than what was found? Then it is kept. */
void groups__consider(struct groups *groups, const struct plan_groups_share *shares, uint32_t nshares);

/* plan_groups.c: tree with the room for equal pods. -ENOMEM. */
int groups__read_rooms(struct groups *groups);
uint32_t groups__room(const struct groups *groups, uint32_t node, uint32_t part); /* on the free node */

/* plan_groups_tables.c: of equal pods; false: it would take too long. Else found tells, and that is certain. */
bool groups__by_tables(struct groups *groups);
/* plan_groups_count.c: of equal pods in subgroups of one kind, and none outside; likewise, proven up to their home. */
bool groups__by_count(struct groups *groups);
/* plan_groups_try.c: one after another; complete tells whether that was all. */
void groups__by_trying(struct groups *groups);

/* plan_groups_why.c: what of those that are hardest to place fits. -ENOMEM. */
int groups__shortage(struct groups *groups, struct plan_groups_shortage *ret);
