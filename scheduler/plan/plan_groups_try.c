/*
 * Subgroups of unlike pods: placed one after another, each in the domains of its home level in the order in
 * which they promise most, its parts one by one by the planner of equal pods beside what is there already. Where
 * the rest then finds no place the next domain is tried. In each domain that might take the whole gang, from the
 * innermost level outwards, until one does. Few pods on few nodes are put in all ways that there are.
 */
#include <errno.h>
#include <string.h>

#include "scheduler/plan/plan_groups_internal.h"

#define FEW_PODS 14
#define FEW_NODES 10
#define FEW_STEPS UINT64_C(400000)

#define CHOICES 64 /* places of one subgroup that are tried beside those of the others before */

/* Where one subgroup can go: the most promising first; those before `at` are tried. */
struct choices {
    uint64_t keys[CHOICES];
    uint32_t n, at;
};

struct placing {
    struct groups *groups;
    const struct plan_index *tree;
    struct place top; /* the whole gang stays in it */
    int64_t *left; /* [node][resource] */
    struct plan_groups_share *shares;
    uint32_t nshares;
    uint32_t *on_domain; /* by key: pods in it */
    uint8_t *spread_in; /* by key: a subgroup is there that is spread over its level */
    uint8_t *closed; /* by key: tried for one like it that comes before, and so for this one */
    struct choices *choices; /* by group, in their order */
    struct plan_node *nodes; /* of a place */
    struct plan_pin *pins;
    uint64_t *sorted;
    uint32_t tries, tries_max;
    uint64_t steps, steps_max; /* of all ways */
    bool stopped; /* not all was tried */
};

static bool may_go_on(struct placing *placing)
{
    placing->stopped |= placing->tries >= placing->tries_max ||
                        placing->groups->work > PLAN_PARTS_WORK ||
                        placing->groups->out_of_memory;
    return !placing->stopped;
}

/* ---- putting and taking back ----------------------------------------------------------------------------------- */

static uint32_t room(const struct placing *placing, uint32_t node, uint32_t part)
{
    const struct plan_parts_request *cluster = placing->groups->cluster;

    if (!(cluster->eligible[node] >> part & 1))
        return 0;
    return parts__fits(cluster, placing->left + (size_t)node * cluster->nresources, part);
}

static void change(struct placing *placing, const struct plan_groups_share *share, bool put)
{
    const struct plan_parts_request *cluster = placing->groups->cluster;
    const struct plan_groups_item *item = &placing->groups->request->items[share->item];
    int64_t *left = placing->left + (size_t)share->node * cluster->nresources;
    uint32_t domain = placing->tree->leaf[share->node];

    for (uint32_t r = 0; r < cluster->nresources; r++)
        left[r] -= (put ? 1 : -1) * (int64_t)share->count * cluster->parts[item->part].requests[r];
    for (;; domain = placing->tree->domains[domain].parent) {
        if (put)
            placing->on_domain[domain] += share->count;
        else
            placing->on_domain[domain] -= share->count;
        if (domain == 0)
            return;
    }
}

static void put(struct placing *placing, uint32_t node, uint32_t item, uint32_t count)
{
    struct plan_groups_share *share = &placing->shares[placing->nshares++];

    *share = (struct plan_groups_share){node, item, count};
    change(placing, share, true);
}

static void take_back(struct placing *placing, uint32_t nshares)
{
    while (placing->nshares > nshares)
        change(placing, &placing->shares[--placing->nshares], false);
}

/* ---- one subgroup in one place ----------------------------------------------------------------------------------- */

/* The place's nodes in name order, with room for the part, and what is on them. */
static void read_place(struct placing *placing, struct place place, uint32_t part, struct plan_request *request)
{
    const struct groups *groups = placing->groups;

    for (uint32_t i = 0; i < place.n; i++)
        placing->sorted[i] = placing->tree->order[place.first + i];
    plan__sort(placing->sorted, placing->sorted + place.n, place.n);
    for (uint32_t i = 0; i < place.n; i++) {
        uint32_t node = (uint32_t)placing->sorted[i];

        placing->nodes[i] = groups->cluster->nodes[node];
        placing->nodes[i].capacity = room(placing, node, part);
        groups->on_node[node] = i + 1;
    }
    for (uint32_t i = 0; i < placing->nshares; i++)
        if (groups->on_node[placing->shares[i].node])
            placing->pins[request->npins++] =
                (struct plan_pin){groups->on_node[placing->shares[i].node] - 1, placing->shares[i].count};
    for (uint32_t i = 0; i < place.n; i++)
        groups->on_node[placing->sorted[i]] = 0;
}

static bool place_item(struct placing *placing, uint32_t item, struct place place)
{
    struct groups *groups = placing->groups;
    const struct plan_groups_item *what = &groups->request->items[item];
    struct plan_request request = {.nlevels = groups->cluster->nlevels, .nnodes = place.n,
                                   .nodes = placing->nodes, .pods = what->pods, .required_level = -1,
                                   .preferred_level = -1, .pins = placing->pins, .work_max = PLAN_WORK / 10};
    struct plan_shortage unused;
    struct plan plan;
    uint64_t capacity = 0;
    int r;

    read_place(placing, place, what->part, &request);
    for (uint32_t i = 0; i < place.n; i++)
        capacity += placing->nodes[i].capacity;
    groups->work += place.n * (uint64_t)32 + placing->nshares +
                    (request.npins ? what->pods * capacity * (groups->cluster->nlevels + 1) : 0);
    if (capacity < what->pods)
        return false;
    r = plan_gang(&request, groups->scratch->plans, &plan, &unused);
    groups->out_of_memory |= r == -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < plan.nshares; i++)
        put(placing, (uint32_t)placing->sorted[plan.shares[i].node], item, plan.shares[i].count);
    return r == 0;
}

/* All items of a subgroup (ngroups: those of none), first to last or the other way round. */
static bool place_items(struct placing *placing, uint32_t g, struct place place, bool reverse)
{
    const struct groups *groups = placing->groups;
    uint32_t first = groups->first_item[g], n = groups->first_item[g + 1] - first, begin = placing->nshares;

    for (uint32_t k = 0; k < n; k++)
        if (!place_item(placing, groups->items[first + (reverse ? n - 1 - k : k)], place)) {
            take_back(placing, begin);
            return false;
        }
    return true;
}

/* ---- where it might go ---------------------------------------------------------------------------------------------- */

/* What of it is within the top. */
static struct place place_of(const struct placing *placing, uint32_t key)
{
    struct place place = groups__place(placing->tree, key), top = placing->top;

    return place.first <= top.first && place.first + place.n >= top.first + top.n ? top : place;
}

static bool may_be_in(const struct placing *placing, const struct kind *kind, uint32_t key)
{
    struct place place = place_of(placing, key);

    if (!groups__is_domain(placing->tree, key) || place.n == 0 || place.first < placing->top.first ||
        place.first + place.n > placing->top.first + placing->top.n)
        return false;
    if (kind->label >= 0 && kind->home == (int)placing->tree->nlevels &&
        placing->groups->cluster->nodes[placing->tree->order[place.first]].domain[kind->label] == PLAN_UNKNOWN)
        return false;
    return kind->spread < 0 || !placing->spread_in[groups__above(placing->tree, key, (uint32_t)kind->spread)];
}

/* Pods of the subgroup that its parts have room for alone; 0: not for each of them. */
static uint64_t room_in(const struct placing *placing, uint32_t g, struct place place)
{
    const struct groups *groups = placing->groups;
    uint64_t sum = 0;

    for (uint32_t k = groups->first_item[g]; k < groups->first_item[g + 1]; k++) {
        const struct plan_groups_item *item = &groups->request->items[groups->items[k]];
        uint64_t fits = 0;

        for (uint32_t i = 0; i < place.n; i++)
            fits += room(placing, placing->tree->order[place.first + i], item->part);
        if (fits < item->pods)
            return 0;
        sum += fits;
    }
    return sum;
}

/* Fewest domains that nobody is in yet, the outermost counting first; then the tightest, then the first. */
static uint64_t promise_of(const struct placing *placing, uint32_t key, uint64_t fits)
{
    uint32_t domain = key < placing->tree->ndomains
                          ? key : placing->tree->leaf[placing->tree->order[key - placing->tree->ndomains]];
    uint64_t fresh = 0;

    for (; domain != 0; domain = placing->tree->domains[domain].parent)
        fresh += placing->on_domain[domain] == 0;
    return fresh << 56 | (fits < 0xffffff ? fits : 0xffffff) << 32 | key;
}

/* Who is like one before it goes where that one was not tried: which of them is where does not matter. */
static void close_tried(struct placing *placing, uint32_t at, uint32_t kind, uint8_t closed)
{
    for (uint32_t before = placing->groups->kinds[kind].first; before < at; before++)
        for (uint32_t i = 0; i < placing->choices[before].at; i++)
            placing->closed[(uint32_t)placing->choices[before].keys[i]] = closed;
}

static void list_choices(struct placing *placing, uint32_t at, uint32_t kind)
{
    struct groups *groups = placing->groups;
    struct choices *choices = &placing->choices[at];
    uint32_t from, to, n = 0;

    groups__keys(placing->tree, (uint32_t)groups->kinds[kind].home, &from, &to);
    groups->work += (uint64_t)placing->top.n * 8 + to - from;
    close_tried(placing, at, kind, 1);
    for (uint32_t key = from; key < to; key++) {
        uint64_t fits;

        if (placing->closed[key] || !may_be_in(placing, &groups->kinds[kind], key))
            continue;
        fits = room_in(placing, groups->order[at], place_of(placing, key));
        if (fits > 0)
            placing->sorted[n++] = promise_of(placing, key, fits);
    }
    close_tried(placing, at, kind, 0);
    plan__sort(placing->sorted, placing->sorted + placing->tree->ndomains + placing->tree->nnodes, n);
    placing->stopped |= n > CHOICES;
    choices->n = n < CHOICES ? n : CHOICES;
    choices->at = 0;
    memcpy(choices->keys, placing->sorted, choices->n * sizeof(*choices->keys));
}

/* ---- one after another ------------------------------------------------------------------------------------------------ */

static uint32_t kind_at(const struct groups *groups, uint32_t at)
{
    uint32_t k = 0;

    while (at >= groups->kinds[k].first + groups->kinds[k].count)
        k++;
    return k;
}

static void place_rest(struct placing *placing)
{
    uint32_t begin = placing->nshares, none = placing->groups->request->ngroups;

    placing->tries++;
    for (unsigned reverse = 0; reverse < 2; reverse++) {
        if (!place_items(placing, none, placing->top, reverse))
            continue;
        groups__consider(placing->groups, placing->shares, placing->nshares);
        take_back(placing, begin);
    }
}

static void place_from(struct placing *placing, uint32_t at);

static void try_place(struct placing *placing, uint32_t at, uint32_t kind, uint32_t key)
{
    struct groups *groups = placing->groups;
    uint32_t g = groups->order[at], begin = placing->nshares;
    int spread = groups->kinds[kind].spread;
    uint8_t *mark = spread >= 0 ? &placing->spread_in[groups__above(placing->tree, key, (uint32_t)spread)] : NULL;
    bool several = groups->first_item[g + 1] - groups->first_item[g] > 1;

    if (mark)
        *mark = 1;
    for (unsigned reverse = 0; reverse < 1u + several && may_go_on(placing); reverse++) {
        if (!place_items(placing, g, place_of(placing, key), reverse)) {
            placing->tries++;
            continue;
        }
        place_from(placing, at + 1);
        take_back(placing, begin);
    }
    if (mark)
        *mark = 0;
}

static void place_from(struct placing *placing, uint32_t at)
{
    struct groups *groups = placing->groups;
    struct choices *choices = &placing->choices[at];
    uint32_t kind;

    if (at == groups->request->ngroups) {
        place_rest(placing);
        return;
    }
    kind = kind_at(groups, at);
    list_choices(placing, at, kind);
    placing->tries += choices->n == 0;
    for (; choices->at < choices->n && may_go_on(placing); choices->at++)
        try_place(placing, at, kind, (uint32_t)choices->keys[choices->at]);
    choices->at = 0;
}

/* ---- all ways ----------------------------------------------------------------------------------------------------- */

/* The k-th item of the subgroup (groups->order[at]; or of none) on the place's nodes from `node` on. */
struct way {
    uint32_t at, k, node, left, key;
    struct place place;
};

static void all_ways_from(struct placing *placing, uint32_t at, uint32_t least_key);

static void all_ways_of_items(struct placing *placing, struct way way)
{
    const struct groups *groups = placing->groups;
    uint32_t n = groups->request->ngroups, g = way.at < n ? groups->order[way.at] : n;
    uint32_t first = groups->first_item[g], begin = placing->nshares, node, fits;

    if (++placing->steps > placing->steps_max)
        return;
    if (way.left == 0 && first + way.k == groups->first_item[g + 1]) {
        if (way.at == n)
            groups__consider(placing->groups, placing->shares, placing->nshares);
        else
            all_ways_from(placing, way.at + 1, way.key);
        return;
    }
    if (way.left == 0) {
        way.left = groups->request->items[groups->items[first + way.k++]].pods;
        way.node = 0;
    }
    if (way.node == way.place.n)
        return;
    node = placing->tree->order[way.place.first + way.node++];
    fits = room(placing, node, groups->request->items[groups->items[first + way.k - 1]].part);
    fits = fits < way.left ? fits : way.left;
    for (uint32_t count = 0; count <= fits; count++, way.left--) {
        if (count > 0)
            put(placing, node, groups->items[first + way.k - 1], count);
        all_ways_of_items(placing, way);
        take_back(placing, begin);
    }
}

/* Of two that are alike the second is not before the first. */
static void all_ways_from(struct placing *placing, uint32_t at, uint32_t least_key)
{
    const struct groups *groups = placing->groups;
    uint32_t from, to, kind;

    if (at == groups->request->ngroups) {
        all_ways_of_items(placing, (struct way){.at = at, .place = placing->top});
        return;
    }
    kind = kind_at(groups, at);
    groups__keys(placing->tree, (uint32_t)groups->kinds[kind].home, &from, &to);
    from = at > groups->kinds[kind].first ? least_key : from;
    for (uint32_t key = from; key < to && placing->steps <= placing->steps_max; key++) {
        int spread = groups->kinds[kind].spread;
        uint8_t *mark;

        if (!may_be_in(placing, &groups->kinds[kind], key))
            continue;
        mark = spread >= 0 ? &placing->spread_in[groups__above(placing->tree, key, (uint32_t)spread)] : NULL;
        if (mark)
            *mark = 1;
        all_ways_of_items(placing, (struct way){.at = at, .key = key, .place = place_of(placing, key)});
        if (mark)
            *mark = 0;
    }
}

/* ---- where the whole gang may be -------------------------------------------------------------------------------------- */

/* Is there enough of each resource? Most places can be passed over for that. */
static bool is_enough(const struct placing *placing, struct place top)
{
    const struct plan_parts_request *cluster = placing->groups->cluster;

    for (uint32_t r = 0; r < cluster->nresources; r++) {
        int64_t need = 0;

        for (uint32_t p = 0; p < cluster->nparts; p++)
            need += cluster->parts[p].pods * cluster->parts[p].requests[r];
        for (uint32_t i = 0; i < top.n && need > 0; i++) {
            int64_t there = free_of(cluster, placing->tree->order[top.first + i])[r];

            need -= there > 0 ? there : 0;
        }
        if (need > 0)
            return false;
    }
    return true;
}

/* true: that was all there is. */
static bool try_top(struct placing *placing, struct place top)
{
    struct groups *groups = placing->groups;
    uint32_t few = groups->request->few_pods ? groups->request->few_pods : FEW_PODS;

    groups->work += top.n;
    if (top.n == 0 || !is_enough(placing, top))
        return true;
    placing->top = top;
    if (groups->pods <= few && few > 1 && groups->cluster->nnodes <= FEW_NODES) {
        placing->steps = 0;
        all_ways_from(placing, 0, 0);
        take_back(placing, 0);
        if (placing->steps <= placing->steps_max)
            return true;
    }
    if (may_go_on(placing))
        place_from(placing, 0);
    return false;
}

/* A node that lacks the label of the level that the gang must not leave is in no domain of it. */
static bool may_hold_all(const struct placing *placing, uint32_t key)
{
    int required = placing->groups->cluster->required_level;

    return groups__is_domain(placing->tree, key) &&
           (required < 0 || groups__above(placing->tree, key, (uint32_t)required) != UINT32_MAX);
}

static void try_tops(struct placing *placing)
{
    struct groups *groups = placing->groups;
    int least = groups->cluster->required_level < 0 ? 0 : groups->cluster->required_level;
    bool all = true;

    for (int level = (int)groups->cluster->nlevels; level >= least && !groups->found; level--) {
        uint32_t from, to;

        groups__keys(placing->tree, (uint32_t)level, &from, &to);
        for (uint32_t key = from; key < to && !groups->out_of_memory; key++)
            if (may_hold_all(placing, key))
                all &= try_top(placing, groups__place(placing->tree, key));
    }
    if (!groups->found && groups->cluster->required_level < 0)
        all &= try_top(placing, groups__place(placing->tree, 0));
    groups->complete = all;
}

/* The whole cluster's room, nobody in it. */
static bool prepare(struct placing *placing)
{
    const struct groups *groups = placing->groups;
    const struct plan_parts_request *cluster = groups->cluster;
    struct plan_scratch *mine = groups->scratch->mine;
    size_t keys = (size_t)placing->tree->ndomains + placing->tree->nnodes, n = cluster->nnodes;

    placing->left = plan__alloc(mine, n * cluster->nresources + 1, sizeof(int64_t));
    placing->shares = plan__alloc(mine, (size_t)groups->pods + 1, sizeof(*placing->shares));
    placing->on_domain = plan__zalloc(mine, placing->tree->ndomains, sizeof(uint32_t));
    placing->spread_in = plan__zalloc(mine, keys, 1);
    placing->closed = plan__zalloc(mine, keys, 1);
    placing->choices = plan__zalloc(mine, (size_t)groups->request->ngroups + 1, sizeof(*placing->choices));
    placing->nodes = plan__alloc(mine, n, sizeof(*placing->nodes));
    placing->pins = plan__alloc(mine, (size_t)groups->pods + 1, sizeof(*placing->pins));
    placing->sorted = plan__alloc(mine, 2 * keys, sizeof(uint64_t));
    if (!placing->left || !placing->shares || !placing->on_domain || !placing->spread_in || !placing->closed ||
        !placing->choices || !placing->nodes || !placing->pins || !placing->sorted)
        return false;
    memcpy(placing->left, cluster->free, n * cluster->nresources * sizeof(int64_t));
    return true;
}

void groups__by_trying(struct groups *groups)
{
    struct placing placing = {.groups = groups, .tree = groups->tree, .steps_max = FEW_STEPS,
                              .tries_max = groups->cluster->tries_max ? groups->cluster->tries_max : PLAN_TRIES};

    groups->work = 0;
    if (!prepare(&placing)) {
        groups->out_of_memory = true;
        return;
    }
    try_tops(&placing);
}
