/* Placements of unlike pods on one set of nodes: part after part, and a leader wherever it can be. */
#include <errno.h>
#include <string.h>

#include "scheduler/plan/plan_parts_internal.h"

#define ALL_ORDERS_MAX 4 /* so many parts are tried in every order */

uint32_t parts__fits(const struct plan_parts_request *request, const int64_t *left, uint32_t part)
{
    const int64_t *wants = request->parts[part].requests;
    int64_t most = PLAN_NODE_PODS_MAX;

    for (uint32_t r = 0; r < request->nresources; r++)
        if (wants[r] > 0 && left[r] / wants[r] < most)
            most = left[r] < 0 ? 0 : left[r] / wants[r];
    return (uint32_t)most;
}

uint32_t parts__room_for(const struct trial *trial, uint32_t i, uint32_t part)
{
    const struct plan_parts_request *request = trial->request;

    if (!(request->eligible[trial->subset[i]] >> part & 1))
        return 0;
    return parts__fits(request, trial->left + (size_t)i * request->nresources, part);
}

static void put(struct trial *trial, uint32_t i, uint32_t part, uint32_t count)
{
    const struct plan_parts_request *request = trial->request;
    int64_t *left = trial->left + (size_t)i * request->nresources;

    trial->counts[(size_t)part * trial->n + i] += count;
    trial->pins[trial->npins++] = (struct plan_pin){i, count};
    for (uint32_t r = 0; r < request->nresources; r++)
        left[r] -= count * request->parts[part].requests[r];
}

/* Nothing has its place yet. */
void parts__begin(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;

    trial->npins = 0;
    trial->tries++;
    for (uint32_t i = 0; i < trial->n; i++)
        memcpy(trial->left + (size_t)i * request->nresources, free_of(request, trial->subset[i]),
               request->nresources * sizeof(int64_t));
    memset(trial->counts, 0, (size_t)request->nparts * trial->n * sizeof(*trial->counts));
}

/*
 * About what it takes to plan the part. Beside what has its place already every domain has a price of its own, and
 * the planner goes through all numbers of pods in each of them.
 */
static uint64_t work_of(const struct trial *trial, uint32_t part, uint64_t room)
{
    uint64_t pods = trial->request->parts[part].pods;

    return trial->n + (trial->npins > 0 ? pods * room * (trial->request->nlevels + 1) : pods);
}

/* false: the part does not fit beside the others. *ret_proven: nothing better beside them is possible. */
static bool place_part(struct trial *trial, uint32_t part, bool *ret_proven)
{
    struct plan_request request = {.nlevels = trial->request->nlevels, .nnodes = trial->n,
                                   .nodes = trial->nodes, .pods = trial->request->parts[part].pods,
                                   .required_level = -1, .preferred_level = -1,
                                   .pins = trial->pins, .npins = trial->npins};
    struct plan_shortage unused;
    uint64_t room = 0;
    struct plan plan;
    int r;

    for (uint32_t i = 0; i < trial->n; i++) {
        trial->nodes[i].capacity = parts__room_for(trial, i, part);
        room += trial->nodes[i].capacity;
    }
    trial->work += work_of(trial, part, room);
    r = plan_gang(&request, trial->scratch->plans, &plan, &unused);
    trial->out_of_memory |= r == -ENOMEM;
    if (r < 0)
        return false;
    *ret_proven &= plan.even;
    for (uint32_t i = 0; i < plan.nshares; i++)
        put(trial, plan.shares[i].node, part, plan.shares[i].count);
    return true;
}

/* ---- how good it is ------------------------------------------------------------------------------------------- */

static uint32_t pods_on(const struct trial *trial, uint32_t i)
{
    uint32_t sum = 0;

    for (uint32_t p = 0; p < trial->request->nparts; p++)
        sum += trial->counts[(size_t)p * trial->n + i];
    return sum;
}

static struct score score_of(struct trial *trial)
{
    struct score score = {0};

    trial->now++;
    for (uint32_t i = 0; i < trial->n; i++) {
        uint64_t pods = pods_on(trial, i);

        if (pods == 0)
            continue;
        score.nodes++;
        score.squares += pods * pods;
        for (uint32_t level = 0; level < trial->request->nlevels; level++) {
            uint32_t domain = trial->nodes[i].domain[level];

            score.domains[level] += domain == PLAN_UNKNOWN || trial->seen[domain] != trial->now;
            if (domain != PLAN_UNKNOWN)
                trial->seen[domain] = trial->now;
        }
    }
    return score;
}

bool parts__is_better(const struct score *a, const struct score *b)
{
    for (uint32_t level = 0; level < PLAN_LEVELS_MAX; level++)
        if (a->domains[level] != b->domains[level])
            return a->domains[level] < b->domains[level];
    return a->nodes != b->nodes ? a->nodes < b->nodes : a->squares < b->squares;
}

static void consider(struct trial *trial)
{
    uint32_t nnodes = trial->request->nnodes;
    struct score score = score_of(trial);

    if (trial->found && !parts__is_better(&score, &trial->least))
        return;
    trial->found = true;
    trial->least = score;
    memset(trial->best, 0, (size_t)trial->request->nparts * nnodes * sizeof(*trial->best));
    for (uint32_t p = 0; p < trial->request->nparts; p++)
        for (uint32_t i = 0; i < trial->n; i++)
            trial->best[(size_t)p * nnodes + trial->subset[i]] = trial->counts[(size_t)p * trial->n + i];
}

/* ---- one set of nodes -------------------------------------------------------------------------------------------- */

static bool may_try(const struct trial *trial)
{
    uint32_t most = trial->request->tries_max ? trial->request->tries_max : PLAN_TRIES;

    return trial->tries < most && trial->work < PLAN_PARTS_WORK && !trial->out_of_memory;
}

static void try_order(struct trial *trial, const uint32_t *order)
{
    bool proven = true;

    parts__begin(trial);
    for (uint32_t k = 0; k < trial->request->nparts; k++)
        if (!place_part(trial, order[k], &proven))
            return;
    if (trial->request->nparts == 1)
        trial->complete &= proven;
    consider(trial);
}

/* Every order of the parts from the k-th on (few parts), else this one and its reverse. */
static void try_orders(struct trial *trial, uint32_t *order, uint32_t k)
{
    uint32_t n = trial->request->nparts;

    if (!may_try(trial))
        return;
    if (k + 1 >= n) {
        try_order(trial, order);
        return;
    }
    for (uint32_t i = k; i < n; i++) {
        uint32_t part = order[k];

        order[k] = order[i];
        order[i] = part;
        try_orders(trial, order, k + 1);
        order[i] = order[k];
        order[k] = part;
        if (n > ALL_ORDERS_MAX)
            return;
    }
}

/* Two nodes are the same place for a leader: in one innermost domain, with the same room before and after. */
static bool same_place(struct trial *trial, uint32_t a, uint32_t b, uint32_t leader, uint32_t workers)
{
    const int64_t *wants = trial->request->parts[leader].requests;
    uint32_t nlevels = trial->request->nlevels, after[2], nodes[2] = {a, b};

    if (nlevels > 0 && (trial->nodes[a].domain[nlevels - 1] != trial->nodes[b].domain[nlevels - 1] ||
                        trial->nodes[a].domain[nlevels - 1] == PLAN_UNKNOWN))
        return false;
    if (parts__room_for(trial, a, leader) == 0 || parts__room_for(trial, a, workers) != parts__room_for(trial, b, workers))
        return false;
    for (unsigned k = 0; k < 2; k++) {
        int64_t *left = trial->left + (size_t)nodes[k] * trial->request->nresources;

        for (uint32_t r = 0; r < trial->request->nresources; r++)
            left[r] -= wants[r];
        after[k] = parts__room_for(trial, nodes[k], workers);
        for (uint32_t r = 0; r < trial->request->nresources; r++)
            left[r] += wants[r];
    }
    return after[0] == after[1];
}

/* A leader's place is its pin: beside it the planner of equal pods is exact. */
static void try_leader_at(struct trial *trial, uint32_t i, uint32_t leader)
{
    bool proven = true;

    parts__begin(trial);
    put(trial, i, leader, 1);
    if (place_part(trial, 1 - leader, &proven))
        consider(trial);
    trial->complete &= proven;
}

static void try_leaders(struct trial *trial, uint32_t leader)
{
    uint32_t ntried = 0;

    parts__begin(trial);
    trial->tries--; /* only to see the nodes as they are: so they stand again after each try */
    for (uint32_t i = 0; i < trial->n; i++) {
        bool tried = false;

        if (parts__room_for(trial, i, leader) == 0)
            continue;
        for (uint32_t k = 0; k < ntried && !tried; k++)
            tried = same_place(trial, trial->tried[k], i, leader, 1 - leader);
        if (tried)
            continue;
        if (!may_try(trial)) {
            trial->complete = false;
            return;
        }
        trial->tried[ntried++] = i;
        try_leader_at(trial, i, leader);
        parts__begin(trial);
        trial->tries--;
    }
}

/* Is there enough of each resource, and room for each part alone? */
static bool is_enough(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;

    parts__begin(trial);
    trial->tries--; /* only to see the nodes as they are */
    for (uint32_t r = 0; r < request->nresources; r++) {
        int64_t need = 0, there = 0;

        for (uint32_t p = 0; p < request->nparts; p++)
            need += request->parts[p].pods * request->parts[p].requests[r];
        for (uint32_t i = 0; i < trial->n; i++)
            there += trial->left[(size_t)i * request->nresources + r] > 0
                         ? trial->left[(size_t)i * request->nresources + r]
                         : 0;
        if (there < need)
            return false;
    }
    for (uint32_t p = 0; p < request->nparts; p++) {
        uint64_t room = 0;

        for (uint32_t i = 0; i < trial->n; i++)
            room += parts__room_for(trial, i, p);
        if (room < request->parts[p].pods)
            return false;
    }
    return true;
}

/* The part of most pods first: it is planned beside nothing, which is quick. */
static void add_to_order(const struct plan_parts_request *request, uint32_t *order, uint32_t part)
{
    uint32_t at = part;

    for (; at > 0 && request->parts[order[at - 1]].pods < request->parts[part].pods; at--)
        order[at] = order[at - 1];
    order[at] = part;
}

void parts__try_subset(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;
    uint32_t order[PLAN_PARTS_MAX] = {0};

    for (uint32_t i = 0; i < trial->n; i++)
        trial->nodes[i] = request->nodes[trial->subset[i]];
    if (trial->n == 0 || !is_enough(trial))
        return;
    if (!may_try(trial)) {
        trial->complete = false;
        return;
    }
    for (uint32_t p = 0; p < request->nparts; p++)
        add_to_order(request, order, p);
    try_orders(trial, order, 0);
    for (uint32_t p = 0; p < request->nparts / 2; p++) {
        uint32_t part = order[p];

        order[p] = order[request->nparts - 1 - p];
        order[request->nparts - 1 - p] = part;
    }
    if (request->nparts > ALL_ORDERS_MAX)
        try_orders(trial, order, 0);
    if (request->nparts == 2 && (request->parts[0].pods == 1 || request->parts[1].pods == 1))
        try_leaders(trial, request->parts[0].pods == 1 ? 0 : 1);
    else if (request->nparts > 1)
        trial->complete = false;
}
