/*
 * Subgroups of equal pods, exactly: the least cost of each state of each domain, from the nodes outwards.
 *
 * A state tells how many subgroups of each kind whose home is here or further inside are complete in the domain,
 * and how many pods are there for what is decided further outside (kinds with an outer home, pods outside of
 * subgroups). Costs of disjoint domains add up, and so do states: a domain's table is the min-plus sum of its
 * children's; then pods that are there become subgroups whose home the domain is, and states that break a spread
 * are dropped. As nothing but numbers matters among equal pods, whoever is complete can be given its pods
 * afterwards: innermost homes first, each from what its domain has left.
 */
#include <string.h>

#include "scheduler/plan/plan_groups_tables.h"

#define MIXES_MAX 65536 /* how many of each kind: so many combinations */
#define ENTRIES_MAX ((size_t)1 << 22) /* of all tables */
#define COST_BITS 63 /* UINT64_MAX is "impossible" */

static bool stopped(const struct tables *tables)
{
    return tables->too_much || tables->groups->out_of_memory;
}

static void spend(struct tables *tables, uint64_t steps)
{
    tables->work += steps;
    tables->too_much |= tables->work > groups__work_max(tables->groups);
}

static void *table_alloc(struct tables *tables, size_t n, size_t size)
{
    void *memory = NULL;

    tables->entries += n;
    tables->too_much |= tables->entries > ENTRIES_MAX;
    if (!tables->too_much) {
        memory = plan__alloc(tables->scratch, n, size);
        tables->groups->out_of_memory |= !memory;
    }
    return memory;
}

/* ---- states and costs ----------------------------------------------------------------------------------------- */

/* Can the part be taken away from the mix? */
static bool contains(const struct tables *tables, uint32_t mix, uint32_t part, uint32_t nkinds)
{
    for (uint32_t k = 0; k < nkinds; k++)
        if (tables__digit(tables, part, k) > tables__digit(tables, mix, k))
            return false;
    return true;
}

/* Two that are spread over the level do not share a domain of it. */
static bool keeps_spread(const struct tables *tables, uint32_t mix, uint32_t nkinds, int level)
{
    uint32_t sum = 0;

    for (uint32_t k = 0; k < nkinds; k++)
        if (level >= 0 && tables->groups->kinds[k].spread == level)
            sum += tables__digit(tables, mix, k);
    return sum <= 1;
}

/* false: costs do not fit into their number. */
static bool lay_out(struct tables *tables)
{
    const struct plan_index *index = tables->index;
    uint64_t pods = tables->groups->pods, most = index->most < pods ? index->most : pods;
    unsigned each = plan__bits_for(pods < index->nnodes ? pods : index->nnodes);
    unsigned least = plan__bits_for(pods * most) + each * (index->nlevels + 1);
    unsigned left = plan__bits_for(index->domains[0].capacity), at;

    tables->with_left = least + left <= COST_BITS;
    tables->squares_shift = at = tables->with_left ? left : 0;
    at += plan__bits_for(pods * most);
    for (uint32_t level = index->nlevels + 1; level-- > 0; at += each)
        tables->unit[level] = UINT64_C(1) << (at < COST_BITS ? at : COST_BITS);
    return at <= COST_BITS;
}

/* Kinds come with the innermost homes first: those that are complete at a depth are the first ones. */
static bool lay_out_states(struct tables *tables)
{
    const struct groups *groups = tables->groups;
    uint64_t mixes = 1;

    for (uint32_t k = 0; k < groups->nkinds; k++) {
        tables->stride[k] = (uint32_t)mixes;
        mixes *= groups->kinds[k].count + (uint64_t)1;
        if (mixes > MIXES_MAX)
            return false;
    }
    tables->stride[groups->nkinds] = (uint32_t)mixes;
    for (uint32_t depth = 0; depth <= tables->index->nlevels + 1; depth++) {
        tables->pods[depth] = groups->rest;
        for (uint32_t k = 0; k < groups->nkinds; k++) {
            if (groups->kinds[k].home + 1 >= (int)depth)
                tables->nkinds[depth]++;
            else
                tables->pods[depth] += groups->kinds[k].pods * groups->kinds[k].count;
        }
    }
    tables->digits = table_alloc(tables, mixes * (groups->nkinds + (size_t)1), sizeof(uint16_t));
    for (uint32_t mix = 0; !stopped(tables) && mix < mixes; mix++)
        for (uint32_t k = 0; k < groups->nkinds; k++)
            tables->digits[(size_t)mix * groups->nkinds + k] =
                (uint16_t)(mix / tables->stride[k] % (groups->kinds[k].count + 1));
    return !stopped(tables);
}

/* ---- sums ------------------------------------------------------------------------------------------------------- */

/* What a child (or node) can add: states in rising order. */
struct entries {
    const uint32_t *state;
    const uint64_t *cost; /* of each */
    uint32_t n;
};

/* Sums under way: states of the children, as deep as those are. */
struct sums {
    uint64_t *cost;
    uint32_t n, top; /* none above is possible yet */
    uint32_t mixes, nkinds;
};

static void add_state(const struct tables *tables, struct sums *sums, const struct entries *entries,
                      uint32_t state, uint32_t *choice)
{
    uint32_t mix = state % sums->mixes;
    uint64_t best = sums->cost[state];

    for (uint32_t i = 0; i < entries->n && entries->state[i] <= state; i++) {
        uint32_t part = entries->state[i];
        uint64_t rest = sums->cost[state - part];

        if (rest == UINT64_MAX || rest + entries->cost[i] >= best ||
            (sums->mixes > 1 && (part / sums->mixes > state / sums->mixes ||
                                 !contains(tables, mix, part % sums->mixes, sums->nkinds))))
            continue;
        best = rest + entries->cost[i];
        choice[state] = part;
    }
    sums->cost[state] = best;
}

/* From high to low, so that the child is taken at most once. */
static void add_child(struct tables *tables, struct sums *sums, const struct entries *entries, uint32_t *choice)
{
    uint64_t top;

    memset(choice, 0, sums->n * sizeof(*choice));
    if (entries->n == 0)
        return;
    top = (uint64_t)sums->top + entries->state[entries->n - 1];
    sums->top = top < sums->n ? (uint32_t)top : sums->n - 1;
    spend(tables, (uint64_t)sums->top * entries->n);
    for (uint32_t state = sums->top; !tables->too_much && state > 0; state--)
        add_state(tables, sums, entries, state, choice);
}

static bool begin_sums(struct tables *tables, struct table *table, uint32_t depth, uint32_t capacity,
                       uint32_t nchildren, struct sums *ret)
{
    uint32_t pods = tables->pods[depth] < capacity ? tables->pods[depth] : capacity;

    *ret = (struct sums){.mixes = tables__mixes(tables, depth), .nkinds = tables->nkinds[depth]};
    if ((uint64_t)ret->mixes * (pods + 1) > ENTRIES_MAX) {
        tables->too_much = true;
        return false;
    }
    ret->n = table->width = ret->mixes * (pods + 1);
    ret->cost = table_alloc(tables, ret->n, sizeof(*ret->cost));
    table->choices = table_alloc(tables, (size_t)ret->n * nchildren + 1, sizeof(*table->choices));
    if (stopped(tables))
        return false;
    memset(ret->cost, 0xff, ret->n * sizeof(*ret->cost));
    ret->cost[0] = 0;
    return true;
}

/* ---- what becomes of the sums in their domain ------------------------------------------------------------------- */

static void offer(struct table *table, uint32_t state, uint64_t cost, uint32_t before)
{
    if (cost >= table->cost[state])
        return;
    table->cost[state] = cost;
    table->before[state] = before;
}

struct conversion {
    struct tables *tables;
    struct table *table;
    uint32_t mixes, limit; /* of the domain's own states */
    uint32_t from, before; /* pods and state before */
    uint64_t cost;
    uint32_t to; /* kinds below are decided here */
    int level; /* that the domain is of; -1: none */
};

/* In every number of each kind whose home this is. */
static void convert(struct conversion *conversion, uint32_t kind, uint32_t mix, uint32_t pods)
{
    const struct kind *here = &conversion->tables->groups->kinds[kind];

    if (kind == conversion->to) {
        if (pods <= conversion->limit &&
            keeps_spread(conversion->tables, mix, conversion->to, conversion->level))
            offer(conversion->table, mix + pods * conversion->mixes, conversion->cost, conversion->before);
        return;
    }
    for (uint32_t n = 0; n <= here->count && n * here->pods <= pods; n++)
        convert(conversion, kind + 1, mix + n * conversion->tables->stride[kind], pods - n * here->pods);
}

/* The states as those further outside see them. Loose nodes are in no domain: nothing becomes complete there. */
static void finish_table(struct tables *tables, uint32_t domain, const struct sums *sums, uint64_t unit)
{
    const struct plan_domain *here = &tables->index->domains[domain];
    struct table *table = &tables->tables[domain];
    uint32_t depth = here->level, limit = tables->pods[depth] < here->capacity ? tables->pods[depth] : here->capacity;
    struct conversion conversion = {.tables = tables, .table = table, .mixes = tables__mixes(tables, depth),
                                    .limit = limit, .to = here->loose ? sums->nkinds : tables->nkinds[depth],
                                    .level = here->loose ? -1 : (int)depth - 1};

    if ((uint64_t)conversion.mixes * (limit + 1) > ENTRIES_MAX) {
        tables->too_much = true;
        return;
    }
    table->n = conversion.mixes * (limit + 1);
    table->cost = table_alloc(tables, table->n, sizeof(*table->cost));
    table->before = table_alloc(tables, table->n, sizeof(*table->before));
    table->possible = table_alloc(tables, table->n, sizeof(*table->possible));
    if (stopped(tables))
        return;
    memset(table->cost, 0xff, table->n * sizeof(*table->cost));
    spend(tables, sums->top);
    for (uint32_t state = 0; state <= sums->top; state++) {
        conversion.before = state;
        conversion.cost = sums->cost[state] + (state > 0 ? unit : 0);
        if (sums->cost[state] != UINT64_MAX)
            convert(&conversion, sums->nkinds, state % sums->mixes, state / sums->mixes);
    }
    for (uint32_t state = 1; state < table->n; state++)
        if (table->cost[state] != UINT64_MAX)
            table->possible[table->npossible++] = state;
}

/* ---- leaves ------------------------------------------------------------------------------------------------------- */

static uint64_t node_unit(const struct tables *tables, const struct plan_domain *leaf)
{
    uint64_t unit = tables->unit[tables->index->nlevels];

    for (uint32_t level = leaf->level - 1; leaf->loose && level < tables->index->nlevels; level++)
        unit += tables->unit[level];
    return unit;
}

/* No subgroup is complete on a node: numbers of pods are all, and the histogram tells the cost. */
static void sum_up_pods(struct tables *tables, uint32_t leaf, struct sums *sums)
{
    const struct plan_domain *here = &tables->index->domains[leaf];
    uint64_t unit = node_unit(tables, here);

    for (uint32_t pods = 1; pods < sums->n; pods++) {
        struct plan_fill fill = plan__fill(plan__hist(tables->index, leaf), tables->index->most, pods);

        sums->cost[pods] = fill.nodes * unit + (fill.squares << tables->squares_shift);
    }
    sums->top = sums->n - 1;
    spend(tables, (uint64_t)sums->n * tables->index->most);
}

static bool may_be_on(const struct tables *tables, uint32_t mix, const struct plan_domain *leaf)
{
    const struct groups *groups = tables->groups;
    uint32_t nlevels = tables->index->nlevels, nkinds = tables->nkinds[nlevels + 1];

    for (uint32_t k = 0; leaf->loose && k < nkinds; k++)
        if (tables__digit(tables, mix, k) > 0 && groups->kinds[k].label >= (int)leaf->level - 1)
            return false;
    return keeps_spread(tables, mix, nkinds, (int)nlevels);
}

/* What a node of this room can have, in rising order of states. */
static struct entries node_entries(struct tables *tables, const struct plan_domain *leaf, uint32_t capacity,
                                   uint32_t *states, uint64_t *costs)
{
    uint32_t depth = tables->index->nlevels + 1, mixes = tables__mixes(tables, depth), n = 0;
    uint64_t unit = node_unit(tables, leaf);

    for (uint32_t free = 0; free <= capacity && free <= tables->pods[depth]; free++)
        for (uint32_t mix = 0; mix < mixes; mix++) {
            uint64_t pods = free + tables__pods(tables, mix, tables->nkinds[depth]);

            if (pods == 0 || pods > capacity || !may_be_on(tables, mix, leaf))
                continue;
            states[n] = mix + free * mixes;
            costs[n++] = unit + (pods * pods << tables->squares_shift);
        }
    spend(tables, (uint64_t)mixes * (capacity + 1));
    return (struct entries){states, costs, n};
}

static void sum_up_nodes(struct tables *tables, uint32_t leaf, struct sums *sums)
{
    const struct plan_domain *here = &tables->index->domains[leaf];
    struct table *table = &tables->tables[leaf];
    size_t most = (size_t)sums->mixes * (tables->index->most + 1);
    uint32_t *states = table_alloc(tables, most, sizeof(*states));
    uint64_t *costs = table_alloc(tables, most, sizeof(*costs));

    for (uint32_t i = 0; !stopped(tables) && i < here->nnodes; i++) {
        uint32_t capacity = tables->index->capacity[tables->index->order[here->first_node + i]];
        struct entries entries = node_entries(tables, here, capacity, states, costs);

        add_child(tables, sums, &entries, table->choices + (size_t)i * sums->n);
    }
}

/* Domains that have least room left over, of those that are as good. */
static void add_left(const struct tables *tables, const struct plan_domain *leaf, struct sums *sums)
{
    for (uint32_t state = 1; tables->with_left && !leaf->loose && state <= sums->top; state++)
        if (sums->cost[state] != UINT64_MAX)
            sums->cost[state] +=
                leaf->capacity - state / sums->mixes - tables__pods(tables, state % sums->mixes, sums->nkinds);
}

static void build(struct tables *tables, uint32_t domain);

static void build_children(struct tables *tables, uint32_t domain, struct sums *sums)
{
    const struct plan_domain *here = &tables->index->domains[domain];

    for (uint32_t c = 0; c < here->nchildren && !stopped(tables); c++) {
        const struct table *child = &tables->tables[here->first_child + c];
        struct entries entries;
        uint64_t *costs;

        build(tables, here->first_child + c);
        costs = table_alloc(tables, (size_t)child->npossible + 1, sizeof(*costs));
        if (stopped(tables))
            return;
        for (uint32_t i = 0; i < child->npossible; i++)
            costs[i] = child->cost[child->possible[i]];
        entries = (struct entries){child->possible, costs, child->npossible};
        add_child(tables, sums, &entries, tables->tables[domain].choices + (size_t)c * sums->n);
    }
}

static void build(struct tables *tables, uint32_t domain)
{
    const struct plan_domain *here = &tables->index->domains[domain];
    bool leaf = here->nchildren == 0;
    uint32_t nodes = tables->index->nlevels + 1, depth = leaf ? nodes : here->level + 1;
    bool by_node = leaf && tables->nkinds[nodes] > 0;
    struct sums sums;

    if (!begin_sums(tables, &tables->tables[domain], depth, here->capacity,
                    by_node ? here->nnodes : here->nchildren, &sums))
        return;
    if (by_node)
        sum_up_nodes(tables, domain, &sums);
    else if (leaf)
        sum_up_pods(tables, domain, &sums);
    else
        build_children(tables, domain, &sums);
    if (stopped(tables))
        return;
    if (leaf)
        add_left(tables, here, &sums);
    finish_table(tables, domain, &sums, here->level > 0 && !here->loose ? tables->unit[here->level - 1] : 0);
}

/* ---- all ---------------------------------------------------------------------------------------------------------------- */

/* Of the domains that the gang may stay in, the one with the least cost; UINT32_MAX: it fits in none. */
static uint32_t choose_top(struct tables *tables)
{
    const struct plan_index *index = tables->index;
    int required = tables->groups->cluster->required_level;
    uint32_t best = UINT32_MAX, depth = (uint32_t)(required + 1);
    uint64_t least = UINT64_MAX;

    for (uint32_t d = index->level_first[depth]; d < index->level_first[depth + 1] && !stopped(tables); d++) {
        const struct table *table = &tables->tables[d];
        uint32_t full = tables->stride[tables->groups->nkinds] * (tables->groups->rest + 1) - 1;

        if (index->domains[d].loose || index->domains[d].capacity < tables->groups->pods)
            continue;
        build(tables, d);
        if (stopped(tables) || full >= table->n || table->cost[full] >= least)
            continue;
        least = table->cost[full];
        best = d;
    }
    return best;
}

/* All on one node: the tightest. */
static void choose_node(struct groups *groups)
{
    const struct plan_index *index = groups->scratch->rooms;
    uint32_t best = UINT32_MAX;
    int label = -1;

    for (uint32_t k = 0; k < groups->nkinds; k++)
        label = groups->kinds[k].label > label ? groups->kinds[k].label : label;
    for (uint32_t i = 0; i < index->nnodes; i++)
        if (index->capacity[i] >= groups->pods &&
            (label < 0 || groups->cluster->nodes[i].domain[label] != PLAN_UNKNOWN) &&
            (best == UINT32_MAX || index->capacity[i] < index->capacity[best]))
            best = i;
    groups->complete = true;
    if (best == UINT32_MAX)
        return;
    for (uint32_t i = 0; i < groups->request->nitems; i++)
        groups->best[i] = (struct plan_groups_share){best, i, groups->request->items[i].pods};
    groups__consider(groups, groups->best, groups->request->nitems);
}

static bool prepare(struct tables *tables)
{
    struct groups *groups = tables->groups;

    if (groups->nkinds > KINDS_MAX || !lay_out(tables) || !lay_out_states(tables))
        return false;
    tables->tables = plan__zalloc(tables->scratch, tables->index->ndomains, sizeof(struct table));
    tables->placed = plan__zalloc(tables->scratch, tables->index->nnodes, sizeof(uint32_t));
    tables->made = plan__alloc(tables->scratch, groups->request->ngroups + (size_t)1, sizeof(struct made));
    tables->plan.shares = plan__alloc(tables->scratch, tables->index->nnodes, sizeof(struct plan_share));
    tables->solver = (struct plan_solver){.index = tables->index, .scratch = tables->scratch, .plan = &tables->plan};
    groups->out_of_memory |= !tables->tables || !tables->placed || !tables->made || !tables->plan.shares;
    return !groups->out_of_memory;
}

bool groups__by_tables(struct groups *groups)
{
    struct tables tables = {.groups = groups, .index = groups->scratch->rooms, .scratch = groups->scratch->plans};
    struct plan_groups_share *shares;
    uint32_t top, nshares = 0;

    plan__scratch_reset(tables.scratch);
    if (groups__read_rooms(groups) < 0) {
        groups->out_of_memory = true;
        return false;
    }
    if (groups->cluster->required_level == (int)groups->cluster->nlevels) {
        choose_node(groups);
        return true;
    }
    if (!prepare(&tables))
        return false;
    top = choose_top(&tables);
    if (stopped(&tables))
        return false;
    groups->complete = true;
    if (top == UINT32_MAX)
        return true;
    shares = plan__alloc(tables.scratch, groups->pods, sizeof(*shares));
    if (!shares) {
        groups->out_of_memory = true;
        return false;
    }
    tables__walk_back(&tables, top, tables.stride[groups->nkinds] * (groups->rest + 1) - 1);
    tables__give(&tables, shares, &nshares);
    groups__consider(groups, shares, nshares);
    groups->out_of_memory |= tables.solver.out_of_memory;
    return !groups->out_of_memory;
}
