/*
 * The whole objective at once: costs of disjoint domains add up, and adding keeps their order, so the best
 * way to put exactly p pods under a domain is a min-plus sum over its children (tree knapsack). Tables are
 * cut at the gang's size.
 *
 * A cost is one number: domains per level from the outside, nodes, squared pods per node, and where there are
 * bits for it what is left over in the innermost domains used; each in as many bits as it can need.
 */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

#define PINNED_NODE_STEPS 32
#define COST_BITS 63 /* UINT64_MAX is "impossible" */

struct fine_table {
    uint64_t *cost; /* of exactly p pods, p = 0 .. capacity */
    uint16_t *choices; /* [child][p]: pods that go into the child when children 0..child take p */
    uint32_t capacity; /* cut at the gang's size */
};

struct plan_fine {
    unsigned shift[PLAN_LEVELS_MAX + 1]; /* of each level's count; at nlevels: of nodes */
    unsigned squares_shift, left_bits;
    bool fits;
    struct fine_table *tables; /* by domain */
};

/* ---- numbers --------------------------------------------------------------------------------------------- */

/* Domains of the level that could be used at most; nodes at nlevels. */
static uint64_t most_domains(const struct plan_solver *solver, uint32_t level)
{
    const struct plan_index *index = solver->index;
    uint64_t there = index->domains[0].with_room;

    if (level < index->nlevels) {
        there = index->level_first[level + 2] - index->level_first[level + 1];
        for (uint32_t d = 1; d < index->level_first[level + 2]; d++)
            there += index->domains[d].loose ? index->domains[d].with_room : 0;
    }
    return there < solver->pods ? there : solver->pods;
}

static uint64_t most_squares(const struct plan_solver *solver)
{
    uint64_t on_node = solver->index->most < solver->pods ? solver->index->most : solver->pods, pinned = 0;

    for (uint32_t i = 0; i < solver->request->npins; i++)
        if (solver->pinned[solver->request->pins[i].node] > pinned)
            pinned = solver->pinned[solver->request->pins[i].node];
    return solver->pods * (on_node + 2 * pinned);
}

static void lay_out(struct plan_solver *solver, struct plan_fine *fine)
{
    uint32_t nlevels = solver->index->nlevels;
    unsigned at = 0;

    fine->left_bits = plan__bits_for(solver->index->domains[0].capacity);
    for (int with_left = 1; with_left >= 0; with_left--) {
        at = fine->left_bits = with_left ? fine->left_bits : 0;
        fine->squares_shift = at;
        at += plan__bits_for(most_squares(solver));
        for (uint32_t level = nlevels + 1; level-- > 0;) {
            fine->shift[level] = at;
            at += plan__bits_for(most_domains(solver, level));
        }
        if (at <= COST_BITS)
            break;
    }
    fine->fits = at <= COST_BITS;
}

static struct plan_fine *fine_of(struct plan_solver *solver)
{
    struct plan_fine *fine;

    if (solver->fine)
        return solver->fine;
    fine = plan__zalloc(solver->scratch, 1, sizeof(*fine));
    if (fine)
        fine->tables = plan__zalloc(solver->scratch, solver->index->ndomains, sizeof(*fine->tables));
    if (!fine || !fine->tables) {
        solver->out_of_memory = true;
        return NULL;
    }
    lay_out(solver, fine);
    solver->fine = fine;
    return fine;
}

struct plan_cost plan__fine_cost(const struct plan_solver *solver, uint64_t cost)
{
    const struct plan_fine *fine = solver->fine;
    uint32_t nlevels = solver->index->nlevels;
    struct plan_cost ret = {0};

    for (uint32_t level = 0; level <= nlevels; level++) {
        uint32_t count = (uint32_t)(cost >> fine->shift[level]);

        cost &= (UINT64_C(1) << fine->shift[level]) - 1;
        if (level < nlevels)
            ret.counts[level] = count;
        else
            ret.nodes = count;
    }
    ret.squares = cost >> fine->squares_shift;
    return ret;
}

/* ---- work --------------------------------------------------------------------------------------------------- */

static uint32_t cut(const struct plan_solver *solver, uint32_t domain)
{
    uint32_t capacity = solver->index->domains[domain].capacity;

    return capacity < solver->pods ? capacity : solver->pods;
}

static bool has_pins(const struct plan_solver *solver, uint32_t domain)
{
    return solver->has_pins && solver->has_pins[domain];
}

static uint64_t work_below(const struct plan_solver *solver, uint32_t domain)
{
    const struct plan_domain *here = &solver->index->domains[domain];
    uint64_t work = 0, reach = 0, mine = cut(solver, domain);

    if (here->nchildren == 0 && has_pins(solver, domain)) /* its nodes are sorted for each number of pods */
        return mine * here->nnodes * PINNED_NODE_STEPS;
    if (here->nchildren == 0)
        return mine * (solver->index->most < mine ? solver->index->most : mine);
    for (uint32_t c = 0; c < here->nchildren; c++) {
        uint64_t child = cut(solver, here->first_child + c);

        reach = reach + child < mine ? reach + child : mine;
        work += work_below(solver, here->first_child + c) + reach * child;
    }
    return work;
}

uint64_t plan__fine_work(struct plan_solver *solver, uint32_t top)
{
    struct plan_fine *fine = fine_of(solver);

    return fine && fine->fits ? work_below(solver, top) : UINT64_MAX;
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

/* Each node of a loose group is a domain on every level from there on. */
static uint64_t unit_of_node(const struct plan_solver *solver, const struct plan_domain *leaf)
{
    const struct plan_fine *fine = solver->fine;
    uint64_t unit = UINT64_C(1) << fine->shift[solver->index->nlevels];

    for (uint32_t level = leaf->level - 1; leaf->loose && level < solver->index->nlevels; level++)
        unit += UINT64_C(1) << fine->shift[level];
    return unit;
}

static uint64_t leaf_cost(struct plan_solver *solver, uint32_t leaf, uint32_t pods)
{
    const struct plan_fine *fine = solver->fine;
    const struct plan_domain *here = &solver->index->domains[leaf];
    struct plan_fill fill = has_pins(solver, leaf)
                                ? plan__fill_pinned(solver, leaf, pods, NULL)
                                : plan__fill(plan__hist(solver->index, leaf), solver->index->most, pods);
    uint64_t cost = fill.nodes * unit_of_node(solver, here) + (fill.squares << fine->squares_shift);

    return fine->left_bits && !here->loose ? cost + (here->capacity - pods) : cost;
}

static void build(struct plan_solver *solver, uint32_t domain);

/* Puts one more child into the sums; from high to low, so that the child is taken at most once. */
static void merge_child(struct plan_solver *solver, uint32_t domain, uint32_t c, uint32_t reach)
{
    const struct plan_domain *here = &solver->index->domains[domain];
    const struct plan_domain *child = &solver->index->domains[here->first_child + c];
    struct fine_table *table = &solver->fine->tables[domain];
    const struct fine_table *from = &solver->fine->tables[here->first_child + c];
    uint16_t *choice = table->choices + (size_t)c * (table->capacity + 1);
    bool free = child->loose || has_pins(solver, here->first_child + c);
    uint64_t unit = free ? 0 : UINT64_C(1) << solver->fine->shift[here->level];

    for (uint32_t p = reach; p > 0; p--) {
        uint32_t most = from->capacity < p ? from->capacity : p;
        uint64_t best = table->cost[p];

        for (uint32_t q = 1; q <= most; q++) {
            uint64_t sum = table->cost[p - q] + from->cost[q] + unit;

            if (table->cost[p - q] == UINT64_MAX || sum >= best)
                continue;
            best = sum;
            choice[p] = (uint16_t)q;
        }
        table->cost[p] = best;
    }
}

static void build_inner(struct plan_solver *solver, uint32_t domain, struct fine_table *table)
{
    const struct plan_domain *here = &solver->index->domains[domain];
    uint32_t reach = 0;

    table->choices = plan__zalloc(solver->scratch, (size_t)here->nchildren * (table->capacity + 1),
                                  sizeof(uint16_t));
    if (!table->choices) {
        solver->out_of_memory = true;
        return;
    }
    memset(table->cost + 1, 0xff, table->capacity * sizeof(*table->cost));
    for (uint32_t c = 0; c < here->nchildren; c++) {
        build(solver, here->first_child + c);
        if (solver->out_of_memory)
            return;
        reach += cut(solver, here->first_child + c);
        reach = reach < table->capacity ? reach : table->capacity;
        merge_child(solver, domain, c, reach);
    }
}

static void build(struct plan_solver *solver, uint32_t domain)
{
    struct fine_table *table = &solver->fine->tables[domain];

    if (table->cost)
        return;
    table->capacity = cut(solver, domain);
    table->cost = plan__zalloc(solver->scratch, (size_t)table->capacity + 1, sizeof(*table->cost));
    if (!table->cost)
        solver->out_of_memory = true;
    else if (solver->index->domains[domain].nchildren > 0)
        build_inner(solver, domain, table);
    else
        for (uint32_t p = 1; p <= table->capacity; p++)
            table->cost[p] = leaf_cost(solver, domain, p);
}

uint64_t plan__fine_solve(struct plan_solver *solver, uint32_t top)
{
    if (!fine_of(solver))
        return UINT64_MAX;
    build(solver, top);
    return solver->out_of_memory ? UINT64_MAX : solver->fine->tables[top].cost[solver->pods];
}

/* ---- the way back ------------------------------------------------------------------------------------------------ */

static void place(struct plan_solver *solver, uint32_t domain, uint32_t pods)
{
    const struct plan_domain *here = &solver->index->domains[domain];
    const struct fine_table *table = &solver->fine->tables[domain];
    uint32_t *into, left = pods;

    if (pods == 0)
        return;
    if (here->nchildren == 0) {
        plan__take_leaf(solver, domain, pods);
        return;
    }
    into = plan__alloc(solver->scratch, here->nchildren, sizeof(*into));
    if (!into) {
        solver->out_of_memory = true;
        return;
    }
    for (uint32_t c = here->nchildren; c-- > 0; left -= into[c])
        into[c] = table->choices[(size_t)c * (table->capacity + 1) + left];
    for (uint32_t c = 0; c < here->nchildren; c++)
        place(solver, here->first_child + c, into[c]);
}

void plan__fine_place(struct plan_solver *solver, uint32_t top)
{
    place(solver, top, solver->pods);
}
