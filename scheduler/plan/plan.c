/* The planner's front: checks, the required level, the answer in rank order, its certificate. */
#include "scheduler/plan/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_internal.h"

void plan_release(struct plan *plan)
{
    free(plan->shares);
    *plan = (struct plan){0};
}

/* ---- the required level ------------------------------------------------------------------------ */

struct candidate {
    struct group *group; /* the best domain that takes all pods */
    struct cost cost;
    struct group *fullest; /* the domain with most room, when none does */
    uint64_t room;
};

static uint64_t room_of(const struct plan_request *request, const struct group *group)
{
    uint64_t room = 0;

    for (uint32_t i = 0; i < group->nnodes; i++)
        room += request->nodes[group->nodes[i]].capacity;
    return room;
}

static void look_at(struct plan_solver *solver, struct group *group, uint32_t level,
                    struct candidate *best)
{
    if (group->loose)
        return; /* without a label nobody knows which domain it is */
    if (group->level < level) {
        for (uint32_t c = 0; c < group->nchildren; c++)
            look_at(solver, &group->children[c], level, best);
        return;
    }
    if (group->capacity >= solver->request->pods) {
        struct cost cost = plan__solve(solver, group, solver->request->pods);

        if (!best->group || cost_less(&cost, &best->cost)) {
            best->group = group;
            best->cost = cost;
        }
    } else if (!best->fullest || room_of(solver->request, group) > best->room) {
        best->fullest = group;
        best->room = room_of(solver->request, group);
    }
}

/* Required on one node: the tightest that takes all. */
static int place_on_one_node(const struct plan_request *request, uint32_t *counts,
                             uint32_t *ret_most)
{
    uint32_t best = PLAN_UNKNOWN;

    *ret_most = 0;
    for (uint32_t i = 0; i < request->nnodes; i++) {
        const struct plan_node *node = &request->nodes[i];

        if (node->capacity > *ret_most)
            *ret_most = node->capacity;
        if (node->capacity >= request->pods &&
            (best == PLAN_UNKNOWN || node->capacity < request->nodes[best].capacity ||
             (node->capacity == request->nodes[best].capacity &&
              node->free_units < request->nodes[best].free_units)))
            best = i;
    }
    if (best == PLAN_UNKNOWN)
        return -ENOSPC;
    counts[best] = request->pods;
    return 0;
}

static int place(struct plan_solver *solver, struct group *root, uint32_t *counts,
                 struct plan_shortage *shortage)
{
    const struct plan_request *request = solver->request;
    struct candidate best = {0};
    uint32_t level = request->required_level < 0 ? 0 : (uint32_t)request->required_level + 1;
    uint64_t anywhere = room_of(request, root);

    shortage->nodes_with_room = root->nnodes;
    shortage->best_domain = PLAN_UNKNOWN;
    shortage->fits_anywhere = anywhere > UINT32_MAX ? UINT32_MAX : (uint32_t)anywhere;
    shortage->fits = shortage->fits_anywhere;
    if (level == request->nlevels + 1)
        return place_on_one_node(request, counts, &shortage->fits);
    look_at(solver, root, level, &best);
    if (solver->out_of_memory)
        return -ENOMEM;
    if (best.group) {
        plan__place(solver, best.group, request->pods, counts);
        return solver->out_of_memory ? -ENOMEM : 0;
    }
    if (level > 0) {
        shortage->fits = best.fullest ? (uint32_t)best.room : 0;
        shortage->best_domain = best.fullest ? best.fullest->domain : PLAN_UNKNOWN;
    }
    return -ENOSPC;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

/* Depth-first over the tree: children come in the order of their lowest node. */
static void emit(const struct group *group, const uint32_t *counts, struct plan *plan,
                 uint32_t *rank)
{
    for (uint32_t c = 0; c < group->nchildren; c++)
        emit(&group->children[c], counts, plan, rank);
    for (uint32_t i = 0; group->nchildren == 0 && i < group->nnodes; i++) {
        uint32_t node = group->nodes[i];

        if (!counts[node])
            continue;
        plan->shares[plan->nshares++] = (struct plan_share){node, counts[node], *rank};
        *rank += counts[node];
    }
}

static int compare_down(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left > right ? -1 : left < right;
}

/* Largest domains first: nobody needs fewer of them. Unknown ones count one per node. */
static uint32_t lower_bound(struct plan_solver *solver, uint32_t level)
{
    const struct plan_request *request = solver->request;
    size_t slots = (level < request->nlevels ? solver->domains : 0) + (size_t)request->nnodes;
    uint64_t *room = plan__alloc(solver->scratch, slots + 1, sizeof(*room)), sum = 0;
    size_t used = 0, next = level < request->nlevels ? solver->domains : 0;

    if (!room) {
        solver->out_of_memory = true;
        return 0;
    }
    for (uint32_t i = 0; i < request->nnodes; i++) {
        uint32_t domain = level < request->nlevels ? request->nodes[i].domain[level] : PLAN_UNKNOWN;

        room[domain == PLAN_UNKNOWN ? next++ : domain] += request->nodes[i].capacity;
    }
    qsort(room, slots, sizeof(*room), compare_down);
    while (used < slots && sum < request->pods)
        sum += room[used++];
    return (uint32_t)used;
}

static uint32_t count_used(struct plan_solver *solver, const struct plan *plan, uint32_t level)
{
    const struct plan_request *request = solver->request;
    uint32_t used = 0;

    for (uint32_t i = 0; i < plan->nshares; i++) {
        uint32_t domain = level < request->nlevels
                              ? request->nodes[plan->shares[i].node].domain[level]
                              : PLAN_UNKNOWN;

        if (domain == PLAN_UNKNOWN)
            used++;
        else if (solver->seen[domain] != level) {
            solver->seen[domain] = level;
            used++;
        }
    }
    return used;
}

static void certify(struct plan_solver *solver, struct plan *plan)
{
    const struct plan_request *request = solver->request;
    int preferred = request->preferred_level;

    for (uint32_t level = 0; level <= request->nlevels; level++) {
        plan->use[level].used = count_used(solver, plan, level);
        plan->use[level].lower_bound = lower_bound(solver, level);
    }
    plan->preferred_met = preferred < 0 || plan->use[preferred].used == 1;
}

static int answer(struct plan_solver *solver, const struct group *root, const uint32_t *counts,
                  struct plan *ret_plan)
{
    struct plan plan = {0};
    uint32_t used = 0, rank = 0;

    for (uint32_t i = 0; i < solver->request->nnodes; i++)
        used += counts[i] > 0;
    plan.shares = calloc(used ? used : 1, sizeof(*plan.shares));
    if (!plan.shares)
        return -ENOMEM;
    emit(root, counts, &plan, &rank);
    certify(solver, &plan);
    if (solver->out_of_memory) {
        plan_release(&plan);
        return -ENOMEM;
    }
    *ret_plan = plan;
    return 0;
}

int plan_gang(const struct plan_request *request, struct plan_scratch *scratch,
              struct plan *ret_plan, struct plan_shortage *ret_shortage)
{
    struct plan_solver solver = {.request = request, .scratch = scratch};
    struct group *root;
    uint32_t *counts;
    int r;

    if (request->pods == 0 || request->pods > PLAN_PODS_MAX || request->nnodes > PLAN_NODES_MAX ||
        request->nlevels > PLAN_LEVELS_MAX || request->required_level > (int)request->nlevels ||
        request->preferred_level > (int)request->nlevels)
        return -EINVAL;
    plan__scratch_reset(scratch);
    root = plan__tree(&solver);
    counts = plan__alloc(scratch, request->nnodes + 1, sizeof(*counts));
    if (!root || !counts)
        return -ENOMEM;
    *ret_shortage = (struct plan_shortage){0};
    r = place(&solver, root, counts, ret_shortage);
    return r < 0 ? r : answer(&solver, root, counts, ret_plan);
}
