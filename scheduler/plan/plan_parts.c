/* Gangs of unlike pods, by the planner of equal ones; plan_parts.h tells how. */
#include "scheduler/plan/plan_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_internal.h"

#define ALL_ORDERS_MAX 4 /* so many parts are tried in every order */

struct plan_parts_scratch {
    struct plan_scratch *plans; /* of one part after the other */
    struct plan_scratch *mine;
    struct plan_index *tree; /* of all nodes, for the domains and their order */
};

struct plan_parts_scratch *plan_parts_scratch_new(void)
{
    struct plan_parts_scratch *scratch = calloc(1, sizeof(*scratch));

    if (!scratch)
        return NULL;
    scratch->plans = plan_scratch_new();
    scratch->mine = plan_scratch_new();
    scratch->tree = plan_index_new();
    if (scratch->plans && scratch->mine && scratch->tree)
        return scratch;
    plan_parts_scratch_free(scratch);
    return NULL;
}

void plan_parts_scratch_free(struct plan_parts_scratch *scratch)
{
    if (!scratch)
        return;
    plan_scratch_free(scratch->plans);
    plan_scratch_free(scratch->mine);
    plan_index_free(scratch->tree);
    free(scratch);
}

/* ---- what is tried ------------------------------------------------------------------------------------------ */

struct score { /* smaller is better, in this order */
    uint32_t domains[PLAN_LEVELS_MAX], nodes;
    uint64_t squares;
};

struct trial {
    const struct plan_parts_request *request;
    struct plan_parts_scratch *scratch;
    uint32_t *subset, n; /* nodes that may be used, in name order */
    uint32_t *tried; /* of the subset: where a leader was tried */
    struct plan_node *nodes; /* of the subset */
    int64_t *left; /* [subset][resource] */
    uint32_t *counts; /* [part][subset]: the placement under way */
    struct plan_pin *pins;
    uint32_t npins;
    uint32_t *best; /* [part][node of the cluster] */
    uint64_t *keys; /* for sorting */
    uint32_t *seen; /* by domain: when it was last counted */
    uint32_t now;
    struct score least;
    bool found;
    bool complete; /* nothing is possible that was not tried */
    uint32_t tries;
    bool out_of_memory;
};

static const int64_t *free_of(const struct plan_parts_request *request, uint32_t node)
{
    return request->free + (size_t)node * request->nresources;
}

static uint32_t fits(const struct plan_parts_request *request, const int64_t *left, uint32_t part)
{
    const int64_t *wants = request->parts[part].requests;
    int64_t most = PLAN_NODE_PODS_MAX;

    for (uint32_t r = 0; r < request->nresources; r++)
        if (wants[r] > 0 && left[r] / wants[r] < most)
            most = left[r] < 0 ? 0 : left[r] / wants[r];
    return (uint32_t)most;
}

static uint32_t room_for(const struct trial *trial, uint32_t i, uint32_t part)
{
    const struct plan_parts_request *request = trial->request;

    if (!(request->eligible[trial->subset[i]] >> part & 1))
        return 0;
    return fits(request, trial->left + (size_t)i * request->nresources, part);
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
static void begin(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;

    trial->npins = 0;
    trial->tries++;
    for (uint32_t i = 0; i < trial->n; i++)
        memcpy(trial->left + (size_t)i * request->nresources, free_of(request, trial->subset[i]),
               request->nresources * sizeof(int64_t));
    memset(trial->counts, 0, (size_t)request->nparts * trial->n * sizeof(*trial->counts));
}

/* false: the part does not fit beside the others. *ret_proven: nothing better beside them is possible. */
static bool place_part(struct trial *trial, uint32_t part, bool *ret_proven)
{
    struct plan_request request = {.nlevels = trial->request->nlevels, .nnodes = trial->n,
                                   .nodes = trial->nodes, .pods = trial->request->parts[part].pods,
                                   .required_level = -1, .preferred_level = -1,
                                   .pins = trial->pins, .npins = trial->npins};
    struct plan_shortage unused;
    struct plan plan;
    int r;

    for (uint32_t i = 0; i < trial->n; i++)
        trial->nodes[i].capacity = room_for(trial, i, part);
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

static bool is_better(const struct score *a, const struct score *b)
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

    if (trial->found && !is_better(&score, &trial->least))
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

    return trial->tries < most && !trial->out_of_memory;
}

static void try_order(struct trial *trial, const uint32_t *order)
{
    bool proven = true;

    begin(trial);
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
    if (room_for(trial, a, leader) == 0 || room_for(trial, a, workers) != room_for(trial, b, workers))
        return false;
    for (unsigned k = 0; k < 2; k++) {
        int64_t *left = trial->left + (size_t)nodes[k] * trial->request->nresources;

        for (uint32_t r = 0; r < trial->request->nresources; r++)
            left[r] -= wants[r];
        after[k] = room_for(trial, nodes[k], workers);
        for (uint32_t r = 0; r < trial->request->nresources; r++)
            left[r] += wants[r];
    }
    return after[0] == after[1];
}

/* A leader's place is its pin: beside it the planner of equal pods is exact. */
static void try_leader_at(struct trial *trial, uint32_t i, uint32_t leader)
{
    bool proven = true;

    begin(trial);
    put(trial, i, leader, 1);
    if (place_part(trial, 1 - leader, &proven))
        consider(trial);
    trial->complete &= proven;
}

static void try_leaders(struct trial *trial, uint32_t leader)
{
    uint32_t ntried = 0;

    for (uint32_t i = 0; i < trial->n; i++) {
        bool tried = false;

        begin(trial);
        trial->tries--; /* only to see the nodes as they are */
        if (room_for(trial, i, leader) == 0)
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
    }
}

/* Is there enough of each resource, and room for each part alone? */
static bool is_enough(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;

    begin(trial);
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
            room += room_for(trial, i, p);
        if (room < request->parts[p].pods)
            return false;
    }
    return true;
}

static void try_subset(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;
    uint32_t order[PLAN_PARTS_MAX];

    for (uint32_t i = 0; i < trial->n; i++)
        trial->nodes[i] = request->nodes[trial->subset[i]];
    if (trial->n == 0 || !is_enough(trial))
        return;
    for (uint32_t p = 0; p < request->nparts; p++)
        order[p] = p;
    try_orders(trial, order, 0);
    for (uint32_t p = 0; p < request->nparts; p++)
        order[p] = request->nparts - 1 - p;
    if (request->nparts > ALL_ORDERS_MAX)
        try_orders(trial, order, 0);
    if (request->nparts == 2 && (request->parts[0].pods == 1 || request->parts[1].pods == 1))
        try_leaders(trial, request->parts[0].pods == 1 ? 0 : 1);
    else if (request->nparts > 1)
        trial->complete = false;
}

/* ---- from the innermost domains outwards --------------------------------------------------------------------------- */

/* Its nodes in name order, as the planner wants them. */
static void take_domain(struct trial *trial, const struct plan_domain *domain)
{
    const struct plan_index *tree = trial->scratch->tree;

    for (uint32_t i = 0; i < domain->nnodes; i++)
        trial->keys[i] = tree->order[domain->first_node + i];
    plan__sort(trial->keys, trial->keys + domain->nnodes, domain->nnodes);
    for (uint32_t i = 0; i < domain->nnodes; i++)
        trial->subset[i] = (uint32_t)trial->keys[i];
    trial->n = domain->nnodes;
}

static bool is_in_required(const struct trial *trial, uint32_t node)
{
    int required = trial->request->required_level;

    return required < 0 || required == (int)trial->request->nlevels ||
           trial->request->nodes[node].domain[required] != PLAN_UNKNOWN;
}

/* In each domain of the level by itself; at nlevels: on each node. */
static void try_level(struct trial *trial, uint32_t level)
{
    const struct plan_index *tree = trial->scratch->tree;

    for (uint32_t i = 0; level == tree->nlevels && i < tree->nnodes && !trial->out_of_memory; i++) {
        if (!is_in_required(trial, i))
            continue;
        trial->subset[0] = i;
        trial->n = 1;
        try_subset(trial);
    }
    if (level == tree->nlevels)
        return;
    for (uint32_t d = tree->level_first[level + 1]; d < tree->level_first[level + 2]; d++) {
        if (tree->domains[d].loose || trial->out_of_memory)
            continue;
        take_domain(trial, &tree->domains[d]);
        try_subset(trial);
    }
}

static void try_all(struct trial *trial)
{
    const struct plan_parts_request *request = trial->request;
    int least = request->required_level < 0 ? 0 : request->required_level;

    for (int level = (int)request->nlevels; level >= least && !trial->found; level--)
        try_level(trial, (uint32_t)level);
    if (trial->found || request->required_level >= 0)
        return;
    take_domain(trial, &trial->scratch->tree->domains[0]);
    try_subset(trial);
}

/* ---- the certificate --------------------------------------------------------------------------------------------------- */

static int compare_down(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left > right ? -1 : left < right;
}

/* The domains with most of the resource first: so many must be used at least. `sums` has room for all. */
static uint32_t bound_by(const struct trial *trial, uint32_t level, uint32_t resource, int64_t *sums,
                         uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    uint32_t n = domains, used = 0;
    int64_t need = 0;

    memset(sums, 0, ((size_t)domains + request->nnodes) * sizeof(*sums));
    for (uint32_t p = 0; p < request->nparts; p++)
        need += request->parts[p].pods * request->parts[p].requests[resource];
    for (uint32_t i = 0; i < request->nnodes; i++) {
        uint32_t domain = level < request->nlevels ? request->nodes[i].domain[level] : PLAN_UNKNOWN;
        int64_t there = free_of(request, i)[resource];

        sums[domain == PLAN_UNKNOWN ? n++ : domain] += there > 0 && request->eligible[i] ? there : 0;
    }
    qsort(sums, n, sizeof(*sums), compare_down);
    while (used < n && need > 0)
        need -= sums[used++];
    return used;
}

/* Each part alone, and each resource alone, needs so many. */
static int set_bounds(struct trial *trial, struct plan_parts *plan, uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    int64_t *sums = plan__alloc(trial->scratch->mine, (size_t)domains + request->nnodes, sizeof(*sums));

    if (!sums)
        return -ENOMEM;
    trial->n = request->nnodes;
    for (uint32_t i = 0; i < request->nnodes; i++) {
        trial->subset[i] = i;
        trial->nodes[i] = request->nodes[i];
    }
    for (uint32_t level = 0; level <= request->nlevels; level++)
        for (uint32_t r = 0; r < request->nresources; r++) {
            uint32_t bound = bound_by(trial, level, r, sums, domains);

            if (bound > plan->use[level].lower_bound)
                plan->use[level].lower_bound = bound;
        }
    for (uint32_t p = 0; p < request->nparts; p++) {
        struct plan_request alone = {.nlevels = request->nlevels, .nnodes = request->nnodes,
                                     .nodes = trial->nodes, .pods = request->parts[p].pods,
                                     .required_level = -1, .preferred_level = -1};
        struct plan_shortage unused;
        struct plan part;
        int r;

        begin(trial);
        for (uint32_t i = 0; i < trial->n; i++)
            trial->nodes[i].capacity = room_for(trial, i, p);
        r = plan_gang(&alone, trial->scratch->plans, &part, &unused);
        if (r < 0)
            return r;
        for (uint32_t level = 0; level <= request->nlevels; level++)
            if (part.use[level].lower_bound > plan->use[level].lower_bound)
                plan->use[level].lower_bound = part.use[level].lower_bound;
    }
    return 0;
}

static int certify(struct trial *trial, struct plan_parts *plan, uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    int r = set_bounds(trial, plan, domains);

    for (uint32_t level = 0; r == 0 && level <= request->nlevels; level++) {
        struct plan_level_use *use = &plan->use[level];

        use->used = level < request->nlevels ? trial->least.domains[level] : trial->least.nodes;
        use->proven = trial->complete || use->used == use->lower_bound;
    }
    plan->even = trial->complete;
    plan->preferred_met = request->preferred_level < 0 || plan->use[request->preferred_level].used == 1;
    return r;
}

/* ---- the door -------------------------------------------------------------------------------------------------------------- */

static uint32_t count_ids(const struct plan_parts_request *request)
{
    uint32_t ids = 0;

    for (uint32_t i = 0; i < request->nnodes; i++)
        for (uint32_t level = 0; level < request->nlevels; level++)
            if (request->nodes[i].domain[level] != PLAN_UNKNOWN && request->nodes[i].domain[level] >= ids)
                ids = request->nodes[i].domain[level] + 1;
    return ids;
}

static bool prepare(struct trial *trial, uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    struct plan_scratch *mine = trial->scratch->mine;
    size_t n = request->nnodes;

    trial->subset = plan__alloc(mine, n, sizeof(uint32_t));
    trial->tried = plan__alloc(mine, n, sizeof(uint32_t));
    trial->keys = plan__alloc(mine, 2 * n, sizeof(uint64_t));
    trial->nodes = plan__alloc(mine, n, sizeof(struct plan_node));
    trial->left = plan__alloc(mine, n * request->nresources, sizeof(int64_t));
    trial->counts = plan__alloc(mine, n * request->nparts, sizeof(uint32_t));
    trial->best = plan__alloc(mine, n * request->nparts, sizeof(uint32_t));
    trial->pins = plan__alloc(mine, n * request->nparts + 1, sizeof(struct plan_pin));
    trial->seen = plan__zalloc(mine, (size_t)domains + 1, sizeof(uint32_t));
    return trial->subset && trial->tried && trial->keys && trial->nodes && trial->left && trial->counts && trial->best && trial->pins &&
           trial->seen;
}

/* Depth-first, as an index of all nodes has them. */
static int list_shares(struct trial *trial, struct plan_parts *plan)
{
    const struct plan_parts_request *request = trial->request;
    uint32_t n = 0;

    for (size_t i = 0; i < (size_t)request->nparts * request->nnodes; i++)
        n += trial->best[i] > 0;
    plan->shares = plan__alloc(trial->scratch->mine, n + (size_t)1, sizeof(*plan->shares));
    if (!plan->shares)
        return -ENOMEM;
    for (uint32_t i = 0; i < request->nnodes; i++)
        for (uint32_t p = 0; p < request->nparts; p++) {
            uint32_t node = trial->scratch->tree->order[i], count = trial->best[(size_t)p * request->nnodes + node];

            if (count > 0)
                plan->shares[plan->nshares++] = (struct plan_parts_share){node, p, count};
        }
    return 0;
}

static bool is_valid(const struct plan_parts_request *request)
{
    uint64_t pods = 0;

    for (uint32_t p = 0; p < request->nparts && p < PLAN_PARTS_MAX; p++) {
        if (request->parts[p].pods == 0)
            return false;
        pods += request->parts[p].pods;
    }
    return request->nparts > 0 && request->nparts <= PLAN_PARTS_MAX && pods <= PLAN_PODS_MAX &&
           request->nnodes > 0 && request->nnodes <= PLAN_NODES_MAX && request->nlevels <= PLAN_LEVELS_MAX &&
           request->required_level <= (int)request->nlevels &&
           request->preferred_level <= (int)request->nlevels;
}

int plan_parts(const struct plan_parts_request *request, struct plan_parts_scratch *scratch,
               struct plan_parts *ret_plan, bool *ret_certain)
{
    struct trial trial = {.request = request, .scratch = scratch, .complete = true};
    struct plan_parts plan = {0};
    uint32_t domains;
    int r;

    if (!is_valid(request))
        return -EINVAL;
    domains = count_ids(request);
    plan__scratch_reset(scratch->mine);
    if (!prepare(&trial, domains))
        return -ENOMEM;
    r = plan_index_build(scratch->tree, request->nlevels, request->nodes, request->nnodes);
    if (r < 0)
        return r;
    try_all(&trial);
    *ret_certain = trial.complete;
    if (trial.out_of_memory)
        return -ENOMEM;
    if (!trial.found)
        return -ENOSPC;
    r = certify(&trial, &plan, domains);
    if (r == 0)
        r = list_shares(&trial, &plan);
    if (r == 0)
        *ret_plan = plan;
    return r;
}
