/*
 * plan_groups.h - where the pods of a gang go of which some belong to subgroups. Pure, as plan.h, whose objective
 * this is for the gang as a whole.
 *
 * A subgroup stays in one domain of its home level. Subgroups that say spread at a level do not share a domain
 * of that level with one another, and each lies in one domain of it; so the home level is the inner one of what
 * is required and of what is spread over. Pods outside of all subgroups go wherever the gang may. A node without
 * the label of a level is in no domain of it: no subgroup that names the level goes there.
 *
 * Of equal pods, whatever the sizes of their subgroups, the answer is exact: a dynamic programme over
 * domains, whose states are how many subgroups of each kind are complete and how many pods are left for what
 * is decided further outside. Where that would take too long, subgroups of one kind alone are counted in domains of
 * their home level, which is exact up to that level. Otherwise (unlike pods) subgroups are placed one after
 * another, going back where they do not fit, in bounded work; few pods on few nodes in all ways that there
 * are. What is proven says so per level, and the lower bounds hold in any case.
 *
 * Memory: the scratch (one thread at a time); an answer's shares live until its next plan.
 */
#pragma once

#include "scheduler/plan/plan_parts.h"

#define PLAN_GROUPS_MAX 1000
#define PLAN_GROUP_NONE UINT32_MAX /* of pods outside of all subgroups */
#define PLAN_GROUPS_WORK UINT64_C(60000000) /* steps of about a ns, of the dynamic programme */

struct plan_group {
    int required_level, spread_level; /* nlevels: a node; -1: none. Not required outside of what is spread over */
};

/* So many pods of one part: of a subgroup, or of none. Each subgroup has one item at least, and one per part. */
struct plan_groups_item {
    uint32_t group, part, pods;
};

struct plan_groups_request {
    struct plan_parts_request cluster; /* nodes, room, parts (their `pods` are not looked at), the gang's levels */
    const struct plan_group *groups;
    const struct plan_groups_item *items;
    uint32_t ngroups, nitems;
    uint64_t work_max; /* 0: PLAN_GROUPS_WORK; of placing one after another: PLAN_PARTS_WORK, and cluster.tries_max */
    uint32_t few_pods; /* up to so many pods all ways are tried; 0: the default; 1: never */
};

struct plan_groups_share {
    uint32_t node, item, count;
};

struct plan_groups {
    /*
     * In rank order: first the pods outside of subgroups, then subgroup by subgroup as they come depth-first;
     * within either depth-first over the nodes.
     */
    struct plan_groups_share *shares;
    uint32_t nshares;
    struct plan_level_use use[PLAN_LEVELS_MAX + 1];
    bool even, preferred_met; /* as in plan.h */
};

struct plan_groups_shortage {
    bool certain; /* there is no place; else none was found */
    uint32_t group; /* one of the subgroups that are hardest to place ... */
    uint32_t fit, of; /* ... so many of those like it find a place, if no other pod is there */
    uint32_t best; /* pods of it that fit in the domain of its home level that has most room for them */
};

struct plan_groups_scratch;
struct plan_groups_scratch *plan_groups_scratch_new(void);
void plan_groups_scratch_free(struct plan_groups_scratch *scratch);

/* 0; -ENOSPC: no place was found (ret_shortage is filled); -EINVAL: beyond the limits; -ENOMEM. */
int plan_groups(const struct plan_groups_request *request, struct plan_groups_scratch *scratch,
                struct plan_groups *ret_plan, struct plan_groups_shortage *ret_shortage);
