/* Gangs of unlike pods, by the planner of equal ones; plan_parts.h tells how. */
#include "scheduler/plan/plan_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_parts_internal.h"

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
        parts__try_subset(trial);
    }
    if (level == tree->nlevels)
        return;
    for (uint32_t d = tree->level_first[level + 1]; d < tree->level_first[level + 2]; d++) {
        if (tree->domains[d].loose || trial->out_of_memory)
            continue;
        take_domain(trial, &tree->domains[d]);
        parts__try_subset(trial);
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
    parts__try_subset(trial);
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

/* The part alone needs so many. */
static int bound_by_part(struct trial *trial, uint32_t part, struct plan_level_use *use)
{
    const struct plan_parts_request *request = trial->request;
    struct plan_request alone = {.nlevels = request->nlevels, .nnodes = request->nnodes,
                                 .nodes = trial->nodes, .pods = request->parts[part].pods,
                                 .required_level = -1, .preferred_level = -1};
    struct plan_shortage unused;
    struct plan plan;
    int r;

    parts__begin(trial);
    for (uint32_t i = 0; i < trial->n; i++)
        trial->nodes[i].capacity = parts__room_for(trial, i, part);
    r = plan_gang(&alone, trial->scratch->plans, &plan, &unused);
    for (uint32_t level = 0; r == 0 && level <= request->nlevels; level++)
        if (plan.use[level].lower_bound > use[level].lower_bound)
            use[level].lower_bound = plan.use[level].lower_bound;
    return r;
}

/* Each part alone, and each resource alone, needs so many. */
static int set_bounds(struct trial *trial, struct plan_level_use *use, uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    int64_t *sums = plan__alloc(trial->scratch->mine, (size_t)domains + request->nnodes, sizeof(*sums));
    int r = 0;

    if (!sums)
        return -ENOMEM;
    trial->n = request->nnodes;
    for (uint32_t i = 0; i < request->nnodes; i++) {
        trial->subset[i] = i;
        trial->nodes[i] = request->nodes[i];
    }
    for (uint32_t level = 0; level <= request->nlevels; level++)
        for (uint32_t resource = 0; resource < request->nresources; resource++) {
            uint32_t bound = bound_by(trial, level, resource, sums, domains);

            if (bound > use[level].lower_bound)
                use[level].lower_bound = bound;
        }
    for (uint32_t p = 0; r == 0 && p < request->nparts; p++)
        if (request->parts[p].pods > 0)
            r = bound_by_part(trial, p, use);
    return r;
}

static int certify(struct trial *trial, struct plan_parts *plan, uint32_t domains)
{
    const struct plan_parts_request *request = trial->request;
    int r = set_bounds(trial, plan->use, domains);

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

uint32_t parts__count_ids(const struct plan_parts_request *request)
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

int parts__bounds(const struct plan_parts_request *request, struct plan_parts_scratch *scratch,
                  struct plan_level_use *use)
{
    struct trial trial = {.request = request, .scratch = scratch};
    uint32_t domains = parts__count_ids(request);

    plan__scratch_reset(scratch->mine);
    return prepare(&trial, domains) ? set_bounds(&trial, use, domains) : -ENOMEM;
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
    domains = parts__count_ids(request);
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
