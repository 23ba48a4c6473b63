/* Gangs with subgroups: what is asked made plain, the way chosen, the answer put into rank order. */
#include "scheduler/plan/plan_groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_groups_internal.h"

struct plan_groups_scratch *plan_groups_scratch_new(void)
{
    struct plan_groups_scratch *scratch = calloc(1, sizeof(*scratch));

    if (!scratch)
        return NULL;
    scratch->parts = plan_parts_scratch_new();
    scratch->plans = plan_scratch_new();
    scratch->mine = plan_scratch_new();
    scratch->rooms = plan_index_new();
    if (scratch->parts && scratch->plans && scratch->mine && scratch->rooms)
        return scratch;
    plan_groups_scratch_free(scratch);
    return NULL;
}

void plan_groups_scratch_free(struct plan_groups_scratch *scratch)
{
    if (!scratch)
        return;
    plan_parts_scratch_free(scratch->parts);
    plan_scratch_free(scratch->plans);
    plan_scratch_free(scratch->mine);
    plan_index_free(scratch->rooms);
    free(scratch);
}

/* ---- places ------------------------------------------------------------------------------------------------- */

struct place groups__place(const struct plan_index *tree, uint32_t key)
{
    if (key < tree->ndomains)
        return (struct place){key, tree->domains[key].first_node, tree->domains[key].nnodes};
    return (struct place){key, key - tree->ndomains, 1};
}

void groups__keys(const struct plan_index *tree, uint32_t level, uint32_t *ret_from, uint32_t *ret_to)
{
    bool nodes = level == tree->nlevels;

    *ret_from = nodes ? tree->ndomains : tree->level_first[level + 1];
    *ret_to = nodes ? tree->ndomains + tree->nnodes : tree->level_first[level + 2];
}

bool groups__is_domain(const struct plan_index *tree, uint32_t key)
{
    return key >= tree->ndomains || !tree->domains[key].loose;
}

uint32_t groups__above(const struct plan_index *tree, uint32_t key, uint32_t level)
{
    uint32_t domain = key;

    if (level == tree->nlevels)
        return key;
    if (key >= tree->ndomains)
        domain = tree->leaf[tree->order[key - tree->ndomains]];
    while (tree->domains[domain].level > level + 1)
        domain = tree->domains[domain].parent;
    return tree->domains[domain].level == level + 1 && !tree->domains[domain].loose ? domain : UINT32_MAX;
}

/* ---- the question made plain -------------------------------------------------------------------------------- */

static bool is_valid(const struct plan_groups_request *request)
{
    const struct plan_parts_request *cluster = &request->cluster;
    int nlevels = (int)cluster->nlevels;
    uint64_t pods = 0;

    if (request->ngroups > PLAN_GROUPS_MAX || request->nitems == 0 || cluster->nnodes == 0 ||
        cluster->nlevels > PLAN_LEVELS_MAX || cluster->nnodes > PLAN_NODES_MAX || cluster->nparts == 0 ||
        cluster->nparts > PLAN_PARTS_MAX || cluster->required_level > nlevels ||
        cluster->preferred_level > nlevels)
        return false;
    for (uint32_t g = 0; g < request->ngroups; g++) {
        const struct plan_group *group = &request->groups[g];

        if (group->required_level > nlevels || group->spread_level > nlevels ||
            (group->required_level < 0 && group->spread_level < 0) ||
            (group->required_level >= 0 && group->required_level < group->spread_level))
            return false;
    }
    for (uint32_t i = 0; i < request->nitems; i++) {
        const struct plan_groups_item *item = &request->items[i];

        if (item->pods == 0 || item->pods > PLAN_PODS_MAX || item->part >= cluster->nparts ||
            (item->group != PLAN_GROUP_NONE && item->group >= request->ngroups))
            return false;
        pods += item->pods;
    }
    return pods <= PLAN_PODS_MAX;
}

/* Items by group, in their order; those of none at the end. false: a subgroup has none. */
static bool list_items(struct groups *groups)
{
    const struct plan_groups_request *request = groups->request;
    uint32_t n = request->ngroups;

    for (uint32_t i = 0; i < request->nitems; i++)
        groups->first_item[(request->items[i].group < n ? request->items[i].group : n) + 1]++;
    for (uint32_t g = 0; g < n; g++)
        if (groups->first_item[g + 1] == 0)
            return false;
    for (uint32_t g = 0; g <= n; g++)
        groups->first_item[g + 1] += groups->first_item[g];
    for (uint32_t i = request->nitems; i-- > 0;) {
        uint32_t g = request->items[i].group < n ? request->items[i].group : n;

        groups->items[groups->first_item[g + 1] - ++groups->seen[g]] = i;
    }
    memset(groups->seen, 0, ((size_t)n + 1) * sizeof(*groups->seen));
    for (uint32_t i = 0; i < request->nitems; i++) {
        groups->pods += request->items[i].pods;
        groups->rest += request->items[i].group == PLAN_GROUP_NONE ? request->items[i].pods : 0;
    }
    return true;
}

/* Where the whole gang stays in one domain, so does each subgroup; and no two can be spread over an outer level. */
static struct kind kind_of(const struct groups *groups, uint32_t g)
{
    const struct plan_group *group = &groups->request->groups[g];
    int all = groups->cluster->required_level;
    struct kind kind = {.home = group->required_level, .spread = group->spread_level,
                        .items = groups->first_item[g + 1] - groups->first_item[g]};

    kind.home = kind.home < kind.spread ? kind.spread : kind.home;
    kind.label = kind.home < (int)groups->cluster->nlevels ? kind.home : kind.spread;
    if (kind.label == (int)groups->cluster->nlevels)
        kind.label = -1;
    kind.home = kind.home < all ? all : kind.home;
    kind.spread = kind.spread <= all ? -1 : kind.spread;
    for (uint32_t k = groups->first_item[g]; k < groups->first_item[g + 1]; k++)
        kind.pods += groups->request->items[groups->items[k]].pods;
    return kind;
}

static int compare_items(const struct groups *groups, uint32_t a, uint32_t b)
{
    const struct plan_groups_item *items = groups->request->items;
    const uint32_t *left = groups->items + groups->first_item[a], *right = groups->items + groups->first_item[b];

    for (uint32_t k = 0; k < groups->first_item[a + 1] - groups->first_item[a]; k++) {
        const struct plan_groups_item *x = &items[left[k]], *y = &items[right[k]];

        if (x->part != y->part)
            return x->part < y->part ? -1 : 1;
        if (x->pods != y->pods)
            return x->pods > y->pods ? -1 : 1;
    }
    return 0;
}

static int compare_groups(const struct groups *groups, uint32_t a, uint32_t b)
{
    struct kind x = kind_of(groups, a), y = kind_of(groups, b);

    if (x.home != y.home)
        return x.home > y.home ? -1 : 1;
    if (x.pods != y.pods)
        return x.pods > y.pods ? -1 : 1;
    if (x.spread != y.spread)
        return x.spread > y.spread ? -1 : 1;
    if (x.label != y.label)
        return x.label > y.label ? -1 : 1;
    if (x.items != y.items)
        return x.items < y.items ? -1 : 1;
    return compare_items(groups, a, b);
}

/* A few kinds in any order, or in order already: by insertion from the end it is near to linear. */
static void find_kinds(struct groups *groups)
{
    uint32_t n = groups->request->ngroups;

    for (uint32_t g = 0; g < n; g++) {
        uint32_t at = g;

        for (; at > 0 && compare_groups(groups, groups->order[at - 1], g) > 0; at--)
            groups->order[at] = groups->order[at - 1];
        groups->order[at] = g;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && compare_groups(groups, groups->order[i - 1], groups->order[i]) == 0) {
            groups->kinds[groups->nkinds - 1].count++;
            continue;
        }
        groups->kinds[groups->nkinds] = kind_of(groups, groups->order[i]);
        groups->kinds[groups->nkinds].first = i;
        groups->kinds[groups->nkinds++].count = 1;
    }
}

/* In one domain of the gang's level no two subgroups that are spread over it, or further outside, find room. */
static bool contradicts(const struct groups *groups)
{
    uint32_t spread[PLAN_LEVELS_MAX + 1] = {0};

    for (uint32_t g = 0; g < groups->request->ngroups; g++) {
        int level = groups->request->groups[g].spread_level;

        if (level >= 0 && level <= groups->cluster->required_level && ++spread[level] > 1)
            return true;
    }
    return false;
}

uint32_t groups__room(const struct groups *groups, uint32_t node, uint32_t part)
{
    if (!(groups->cluster->eligible[node] >> part & 1))
        return 0;
    return parts__fits(groups->cluster, free_of(groups->cluster, node), part);
}

int groups__read_rooms(struct groups *groups)
{
    const struct plan_parts_request *cluster = groups->cluster;
    struct plan_node *nodes = plan__alloc(groups->scratch->mine, cluster->nnodes, sizeof(*nodes));

    if (!nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < cluster->nnodes; i++) {
        nodes[i] = cluster->nodes[i];
        nodes[i].capacity = groups__room(groups, i, 0);
    }
    return plan_index_build(groups->scratch->rooms, cluster->nlevels, nodes, cluster->nnodes);
}

static int prepare(struct groups *groups, struct plan_part *parts)
{
    const struct plan_groups_request *request = groups->request;
    struct plan_scratch *mine = groups->scratch->mine;
    size_t n = request->ngroups + (size_t)2, ids = (size_t)parts__count_ids(groups->cluster) + 1;

    groups->order = plan__zalloc(mine, n, sizeof(uint32_t));
    groups->kinds = plan__zalloc(mine, n, sizeof(struct kind));
    groups->first_item = plan__zalloc(mine, n, sizeof(uint32_t));
    groups->items = plan__zalloc(mine, request->nitems, sizeof(uint32_t));
    groups->seen = plan__zalloc(mine, ids > n ? ids : n, sizeof(uint32_t));
    groups->on_node = plan__zalloc(mine, groups->cluster->nnodes, sizeof(uint32_t));
    if (!groups->order || !groups->kinds || !groups->first_item || !groups->items || !groups->seen ||
        !groups->on_node)
        return -ENOMEM;
    if (!list_items(groups))
        return -EINVAL;
    groups->best = plan__alloc(mine, groups->pods, sizeof(*groups->best));
    if (!groups->best)
        return -ENOMEM;
    memcpy(parts, groups->cluster->parts, groups->cluster->nparts * sizeof(*parts));
    for (uint32_t p = 0; p < groups->cluster->nparts; p++)
        parts[p].pods = 0;
    for (uint32_t i = 0; i < request->nitems; i++)
        parts[request->items[i].part].pods += request->items[i].pods;
    find_kinds(groups);
    groups->contradicts = contradicts(groups);
    return plan_index_build(groups->scratch->parts->tree, groups->cluster->nlevels, groups->cluster->nodes,
                            groups->cluster->nnodes);
}

/* ---- the best so far ----------------------------------------------------------------------------------------- */

static struct score score_of(struct groups *groups, const struct plan_groups_share *shares, uint32_t nshares)
{
    const struct plan_parts_request *cluster = groups->cluster;
    struct score score = {0};

    groups->now++;
    for (uint32_t i = 0; i < nshares; i++)
        groups->on_node[shares[i].node] += shares[i].count;
    for (uint32_t i = 0; i < nshares; i++) {
        uint32_t node = shares[i].node;
        uint64_t pods = groups->on_node[node];

        groups->on_node[node] = 0;
        score.nodes += pods > 0;
        score.squares += pods * pods;
        for (uint32_t level = 0; pods > 0 && level < cluster->nlevels; level++) {
            uint32_t domain = cluster->nodes[node].domain[level];

            score.domains[level] += domain == PLAN_UNKNOWN || groups->seen[domain] != groups->now;
            if (domain != PLAN_UNKNOWN)
                groups->seen[domain] = groups->now;
        }
    }
    return score;
}

void groups__consider(struct groups *groups, const struct plan_groups_share *shares, uint32_t nshares)
{
    struct score score = score_of(groups, shares, nshares);

    if (groups->found && !parts__is_better(&score, &groups->least))
        return;
    groups->found = true;
    groups->least = score;
    groups->nbest = nshares;
    memmove(groups->best, shares, nshares * sizeof(*shares));
}

/* ---- the certificate ------------------------------------------------------------------------------------------- */

/* Subgroups that are spread over a level need as many domains there, and at each level inside of it. */
static void bound_by_spread(const struct groups *groups, struct plan_level_use *use)
{
    uint32_t spread[PLAN_LEVELS_MAX + 1] = {0}, most = 0;

    for (uint32_t g = 0; g < groups->request->ngroups; g++)
        if (groups->request->groups[g].spread_level >= 0)
            spread[groups->request->groups[g].spread_level]++;
    for (uint32_t level = 0; level <= groups->cluster->nlevels; level++) {
        most = spread[level] > most ? spread[level] : most;
        if (use[level].lower_bound < most)
            use[level].lower_bound = most;
    }
}

static int certify(struct groups *groups, struct plan_groups *plan)
{
    const struct plan_parts_request *cluster = groups->cluster;
    int r = parts__bounds(cluster, groups->scratch->parts, plan->use);

    if (r < 0)
        return r;
    bound_by_spread(groups, plan->use);
    for (uint32_t level = 0; level <= cluster->nlevels; level++) {
        struct plan_level_use *use = &plan->use[level];

        use->used = level < cluster->nlevels ? groups->least.domains[level] : groups->least.nodes;
        use->proven = groups->complete || level < groups->proven || use->used == use->lower_bound;
    }
    plan->even = groups->complete;
    plan->preferred_met = cluster->preferred_level < 0 || plan->use[cluster->preferred_level].used == 1;
    return 0;
}

/* ---- rank order --------------------------------------------------------------------------------------------------- */

static uint32_t group_of(const struct groups *groups, const struct plan_groups_share *share)
{
    return groups->request->items[share->item].group;
}

/* Which subgroup comes when: as they begin depth-first; ret_turns by subgroup, from 1 on. */
static void take_turns(const struct groups *groups, const uint32_t *at, uint64_t *keys, uint32_t *ret_turns)
{
    uint32_t n = groups->request->ngroups;

    for (uint32_t g = 0; g < n; g++)
        keys[g] = UINT64_MAX;
    for (uint32_t i = 0; i < groups->nbest; i++) {
        uint32_t g = group_of(groups, &groups->best[i]);
        uint64_t key = (uint64_t)at[groups->best[i].node] << 32 | g;

        if (g != PLAN_GROUP_NONE && key < keys[g])
            keys[g] = key;
    }
    plan__sort(keys, keys + n, n);
    for (uint32_t i = 0; i < n; i++)
        ret_turns[(uint32_t)keys[i]] = i + 1;
}

static int list_shares(struct groups *groups, struct plan_groups *plan)
{
    struct plan_scratch *mine = groups->scratch->mine;
    uint32_t n = groups->nbest, ngroups = groups->request->ngroups;
    uint32_t *at = plan__alloc(mine, groups->cluster->nnodes, sizeof(*at));
    uint32_t *turns = plan__alloc(mine, ngroups + (size_t)1, sizeof(*turns));
    uint64_t *keys = plan__alloc(mine, 2 * ((size_t)n + ngroups), sizeof(*keys));

    plan->shares = plan__alloc(mine, n, sizeof(*plan->shares));
    if (!at || !turns || !keys || !plan->shares)
        return -ENOMEM;
    for (uint32_t i = 0; i < groups->cluster->nnodes; i++)
        at[groups->tree->order[i]] = i;
    take_turns(groups, at, keys, turns);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t g = group_of(groups, &groups->best[i]);
        uint64_t turn = g == PLAN_GROUP_NONE ? 0 : turns[g]; /* 10 bits, then 18 of the place, then the share */

        keys[i] = turn << 50 | (uint64_t)at[groups->best[i].node] << 32 | i;
    }
    plan__sort(keys, keys + n, n);
    for (uint32_t i = 0; i < n; i++)
        plan->shares[plan->nshares++] = groups->best[(uint32_t)keys[i]];
    return 0;
}

/* ---- the door --------------------------------------------------------------------------------------------------------- */

static void choose_way(struct groups *groups)
{
    if (groups->contradicts) {
        groups->complete = true;
        return;
    }
    if (groups->cluster->nparts == 1 && (groups__by_tables(groups) || groups->out_of_memory))
        return;
    if (groups->cluster->nparts == 1 && (groups__by_count(groups) || groups->out_of_memory))
        return;
    groups__by_trying(groups);
}

int plan_groups(const struct plan_groups_request *request, struct plan_groups_scratch *scratch,
                struct plan_groups *ret_plan, struct plan_groups_shortage *ret_shortage)
{
    struct plan_groups_request own = *request;
    struct plan_part parts[PLAN_PARTS_MAX];
    struct groups groups = {.request = &own, .cluster = &own.cluster, .scratch = scratch,
                            .tree = scratch->parts->tree};
    struct plan_groups plan = {0};
    int r;

    if (!is_valid(request))
        return -EINVAL;
    plan__scratch_reset(scratch->mine);
    r = prepare(&groups, parts);
    if (r < 0)
        return r;
    own.cluster.parts = parts;
    choose_way(&groups);
    if (groups.out_of_memory)
        return -ENOMEM;
    if (!groups.found)
        return groups__shortage(&groups, ret_shortage) < 0 ? -ENOMEM : -ENOSPC;
    r = certify(&groups, &plan);
    if (r == 0)
        r = list_shares(&groups, &plan);
    if (r == 0)
        *ret_plan = plan;
    return r;
}
