/*
 * Many equal subgroups of equal pods: a domain of their home level has room for a whole number of them, so that the
 * fewest domains down to that level are the fewest "nodes" of the tree that ends there. Inside of each
 * domain its pods are then planned by themselves.
 */
#include <errno.h>
#include <string.h>

#include "scheduler/plan/plan_groups_internal.h"

/* Where one subgroup at least has room, and how many have. */
struct homes {
    struct plan_node *nodes;
    uint32_t *keys, n; /* in the order of their lowest nodes */
    uint32_t *of_spread; /* by key: the place in `keys` of the one that stands for a domain of the spread's level */
};

static void add_home(struct groups *groups, const struct kind *kind, struct homes *homes, uint32_t key)
{
    const struct plan_index *index = groups->scratch->rooms;
    struct place place = groups__place(index, key);
    uint32_t lowest = index->order[place.first], times, above;
    uint32_t capacity = key < index->ndomains ? index->domains[key].capacity : index->capacity[lowest];

    times = capacity / kind->pods;
    if (times == 0 || !groups__is_domain(index, key) ||
        (kind->label >= 0 && groups->cluster->nodes[lowest].domain[kind->label] == PLAN_UNKNOWN))
        return;
    if (kind->spread >= 0) { /* one of them stands for all: which of them is as good as another up to the home level */
        above = groups__above(index, key, (uint32_t)kind->spread);
        if (homes->of_spread[above])
            return;
        homes->of_spread[above] = 1;
        times = 1;
    }
    homes->nodes[homes->n] = groups->cluster->nodes[lowest];
    homes->nodes[homes->n].capacity = times;
    homes->nodes[homes->n].free_units = capacity;
    homes->keys[homes->n++] = key;
}

/* So many pods of the place, planned as a gang of their own. */
static void fill_place(struct groups *groups, const struct kind *kind, uint32_t key, uint32_t first, uint32_t times)
{
    const struct plan_index *index = groups->scratch->rooms;
    struct place place = groups__place(index, key);
    struct plan_request request = {.nlevels = index->nlevels, .nnodes = place.n, .pods = kind->pods * times,
                                   .required_level = -1, .preferred_level = -1};
    struct plan_node *nodes = plan__alloc(groups->scratch->mine, place.n, sizeof(*nodes));
    struct plan_shortage unused;
    struct plan plan;
    uint32_t left = kind->pods, g = first;

    for (uint32_t i = 0; nodes && i < place.n; i++) {
        nodes[i] = groups->cluster->nodes[index->order[place.first + i]];
        nodes[i].capacity = index->capacity[index->order[place.first + i]];
    }
    request.nodes = nodes;
    groups->out_of_memory |= !nodes || plan_gang(&request, groups->scratch->plans, &plan, &unused) < 0;
    for (uint32_t i = 0; !groups->out_of_memory && i < plan.nshares; i++)
        for (uint32_t count = plan.shares[i].count, n; count > 0; count -= n, left -= n) {
            g += left == 0;
            left = left ? left : kind->pods;
            n = count < left ? count : left;
            groups->best[groups->nbest++] = (struct plan_groups_share){
                index->order[place.first + plan.shares[i].node], groups->items[groups->first_item[groups->order[g]]], n};
        }
}

/* At the levels up to the home: as plan.h says it of the tree that ends there. Beyond, nothing is. */
static uint32_t proven_to(const struct plan *plan, uint32_t home)
{
    uint32_t level = 0;

    while (level <= home && plan->use[level].proven)
        level++;
    return level;
}

static bool list_homes(struct groups *groups, const struct kind *kind, struct homes *ret)
{
    const struct plan_index *index = groups->scratch->rooms;
    struct plan_scratch *mine = groups->scratch->mine;
    uint32_t from, to;

    groups__keys(index, (uint32_t)kind->home, &from, &to);
    *ret = (struct homes){.nodes = plan__alloc(mine, to - from + (size_t)1, sizeof(*ret->nodes)),
                          .keys = plan__alloc(mine, to - from + (size_t)1, sizeof(uint32_t)),
                          .of_spread = plan__zalloc(mine, (size_t)index->ndomains + index->nnodes, sizeof(uint32_t))};
    groups->out_of_memory |= !ret->nodes || !ret->keys || !ret->of_spread;
    for (uint32_t key = from; !groups->out_of_memory && key < to; key++)
        add_home(groups, kind, ret, key);
    return !groups->out_of_memory;
}

/* How many subgroups each home takes: a plan of its own. */
static void fill_homes(struct groups *groups, const struct kind *kind, const struct homes *homes,
                       const struct plan *plan)
{
    struct plan_share *shares = plan__alloc(groups->scratch->mine, plan->nshares, sizeof(*shares));
    uint32_t n = plan->nshares, g = 0;

    if (!shares) {
        groups->out_of_memory = true;
        return;
    }
    memcpy(shares, plan->shares, n * sizeof(*shares));
    for (uint32_t i = 0; i < n && !groups->out_of_memory; g += shares[i++].count)
        fill_place(groups, kind, homes->keys[shares[i].node], g, shares[i].count);
    if (!groups->out_of_memory)
        groups__consider(groups, groups->best, groups->nbest);
}

bool groups__by_count(struct groups *groups)
{
    const struct kind *kind = &groups->kinds[0];
    int levels = (int)groups->cluster->nlevels, required = groups->cluster->required_level;
    struct plan_request request = {.pods = groups->request->ngroups, .preferred_level = -1};
    struct plan_shortage unused;
    struct homes homes;
    struct plan plan;
    int r;

    if (groups->nkinds != 1 || groups->rest > 0 || kind->items != 1 || !list_homes(groups, kind, &homes))
        return false;
    levels = kind->home < levels ? kind->home : levels;
    request.nlevels = (uint32_t)levels;
    request.nodes = homes.nodes;
    request.nnodes = homes.n;
    request.required_level = required < levels ? required : levels;
    r = homes.n == 0 ? -ENOSPC : plan_gang(&request, groups->scratch->plans, &plan, &unused);
    groups->out_of_memory |= r == -ENOMEM;
    if (r < 0) {
        groups->complete = r == -ENOSPC; /* a whole number fits into each home, and these do not suffice */
        return r == -ENOSPC;
    }
    groups->proven = proven_to(&plan, request.nlevels);
    fill_homes(groups, kind, &homes, &plan);
    return !groups->out_of_memory;
}
