/*
 * Which domains take the gang. As the outermost level counts first, the best domain is as deep in the tree
 * as one that has room for all: all its parents count one each. Of several such domains the best is taken;
 * what is best inside of them is told by the fewest domains per level (plan_count.c), and where nodes differ
 * in room by the whole objective (plan_fine.c), unless that would take longer than anybody wants to wait:
 * then the plan says what it has not proven.
 */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

/* ---- one node, one leaf ------------------------------------------------------------------------------------ */

/* Nodes without a label of the required level are in no domain of it. */
static bool is_allowed(const struct plan_solver *solver, const struct plan_domain *leaf)
{
    int required = solver->request->required_level;

    return !leaf->loose || required < 0 || (uint32_t)required == solver->index->nlevels ||
           (uint32_t)required + 1 < leaf->level;
}

/* The tightest node that takes all, in the fullest leaf that has such a one; false: there is none. */
static bool choose_node(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    uint32_t best = PLAN_UNKNOWN, tightest = PLAN_UNKNOWN;

    for (uint32_t d = 0; d < index->ndomains; d++) {
        const struct plan_domain *leaf = &index->domains[d];
        uint32_t c = solver->pods;

        if (leaf->nchildren > 0 || !is_allowed(solver, leaf))
            continue;
        while (c <= index->most && c <= tightest && plan__hist(index, d)[c] == 0)
            c++;
        if (c > index->most || c > tightest ||
            (c == tightest && leaf->capacity >= index->domains[best].capacity))
            continue;
        tightest = c;
        best = d;
    }
    if (best != PLAN_UNKNOWN)
        plan__take_leaf(solver, best, solver->pods);
    return best != PLAN_UNKNOWN;
}

static bool choose_leaf(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    struct plan_fill fill, least = {0};
    uint32_t best = PLAN_UNKNOWN;

    for (uint32_t d = index->level_first[index->nlevels]; d < index->ndomains; d++) {
        const struct plan_domain *leaf = &index->domains[d];

        if (leaf->loose || leaf->capacity < solver->pods)
            continue;
        fill = plan__fill(plan__hist(index, d), index->most, solver->pods);
        if (best != PLAN_UNKNOWN &&
            (fill.nodes != least.nodes       ? fill.nodes > least.nodes
             : fill.squares != least.squares ? fill.squares > least.squares
                                             : leaf->capacity >= index->domains[best].capacity))
            continue;
        best = d;
        least = fill;
    }
    if (best != PLAN_UNKNOWN)
        plan__take_leaf(solver, best, solver->pods);
    return best != PLAN_UNKNOWN;
}

/* ---- several leaves ------------------------------------------------------------------------------------------ */

struct candidate {
    uint32_t top;
    uint32_t proven; /* levels before this one are; nlevels + 1: nodes and evenness too */
    struct plan_cost cost;
    bool fine; /* by plan_fine.c; else by this set of leaves */
    struct plan_taken *taken;
    uint32_t ntaken;
};

struct race {
    struct plan_solver *solver;
    struct candidate best;
    bool found;
    struct plan_taken *spare; /* the solver goes on with this one when the best keeps its set */
    uint32_t proven; /* as the candidate's: against all of them */
    uint64_t work_left;
};

/* The first level at which they differ; nlevels: nodes; nlevels + 1: neither. */
static uint32_t differ_at(const struct plan_cost *a, const struct plan_cost *b, uint32_t nlevels)
{
    uint32_t level = 0;

    while (level < nlevels && a->counts[level] == b->counts[level])
        level++;
    return level == nlevels && a->nodes == b->nodes ? level + 1 : level;
}

static int compare(const struct plan_cost *a, const struct plan_cost *b, uint32_t nlevels)
{
    for (uint32_t level = 0; level < nlevels; level++)
        if (a->counts[level] != b->counts[level])
            return a->counts[level] < b->counts[level] ? -1 : 1;
    if (a->nodes != b->nodes)
        return a->nodes < b->nodes ? -1 : 1;
    return a->squares < b->squares ? -1 : a->squares > b->squares;
}

/* All nodes with room have the same: then the fewest nodes are taken evenly whichever they are. */
static bool is_uniform(const struct plan_index *index, uint32_t domain)
{
    const uint32_t *hist = plan__hist(index, domain);
    uint32_t kinds = 0;

    for (uint32_t c = 1; c <= index->most; c++)
        kinds += hist[c] > 0;
    return kinds == 1;
}

/* No placement under the candidate is better than this, its numbers of domains given. */
static struct plan_cost floor_of(const struct race *race, const struct candidate *candidate)
{
    const struct plan_index *index = race->solver->index;
    struct plan_fill fill = plan__fill(plan__hist(index, candidate->top), index->most,
                                       race->solver->pods);
    struct plan_cost cost = candidate->cost;

    cost.nodes = fill.nodes;
    cost.squares = plan__even_squares(race->solver->pods, fill.nodes);
    return cost;
}

static void measure_fine(struct race *race, struct candidate *candidate)
{
    uint32_t outer = race->solver->index->domains[candidate->top].level;
    uint64_t cost = plan__fine_solve(race->solver, candidate->top);

    if (race->solver->out_of_memory)
        return;
    candidate->cost = plan__fine_cost(race->solver, cost);
    for (uint32_t level = 0; level < outer; level++)
        candidate->cost.counts[level] = 1;
    candidate->proven = race->solver->index->nlevels + 1;
    candidate->fine = true;
}

static void measure_set(struct race *race, struct candidate *candidate)
{
    const struct plan_index *index = race->solver->index;
    struct plan_fill fill = plan__fill_set(race->solver);
    struct plan_cost least;

    candidate->cost.nodes = fill.nodes;
    candidate->cost.squares = fill.squares;
    least = floor_of(race, candidate);
    if (candidate->proven == index->nlevels &&
        (is_uniform(index, candidate->top) || compare(&least, &candidate->cost, index->nlevels) == 0))
        candidate->proven++;
}

static void keep_set(struct race *race)
{
    struct plan_solver *solver = race->solver;
    struct plan_taken *set = solver->taken;

    race->best.taken = set;
    race->best.ntaken = solver->ntaken;
    solver->taken = race->spare;
    race->spare = set;
}

/* What one of two has not proven counts unless it is worse than the other where it has. */
static void enter(struct race *race, const struct candidate *candidate)
{
    uint32_t nlevels = race->solver->index->nlevels;
    uint32_t differ = race->found ? differ_at(&candidate->cost, &race->best.cost, nlevels) : 0;

    if (race->found && compare(&candidate->cost, &race->best.cost, nlevels) >= 0) {
        if (differ >= candidate->proven && candidate->proven < race->proven)
            race->proven = candidate->proven;
        return;
    }
    if (!race->found || differ < race->proven || candidate->proven < race->proven)
        race->proven = candidate->proven;
    race->best = *candidate;
    race->found = true;
    if (!candidate->fine)
        keep_set(race);
}

static void run(struct race *race, uint32_t top)
{
    struct plan_solver *solver = race->solver;
    struct candidate candidate = {.top = top};
    uint32_t nlevels = solver->index->nlevels;
    struct plan_cost least;
    uint64_t work;

    plan__fewest(solver, top, candidate.cost.counts, &candidate.proven);
    if (solver->out_of_memory)
        return;
    least = floor_of(race, &candidate);
    if (race->found && candidate.proven == nlevels && compare(&least, &race->best.cost, nlevels) >= 0)
        return;
    measure_set(race, &candidate);
    work = candidate.proven > nlevels ? 0 : plan__fine_work(solver, top);
    if (work > 0 && work < race->work_left) {
        race->work_left -= work;
        measure_fine(race, &candidate);
    }
    if (!solver->out_of_memory)
        enter(race, &candidate);
}

/* Nobody needs fewer children than the fewest of all candidates; the fullest of those first. */
static uint32_t line_up(struct plan_solver *solver, uint32_t level, uint64_t *keys, uint64_t *spare)
{
    const struct plan_index *index = solver->index;
    uint32_t n = 0, fewest = PLAN_UNKNOWN;

    for (uint32_t d = index->level_first[level]; d < index->level_first[level + 1]; d++) {
        uint32_t children;

        if (index->domains[d].loose || index->domains[d].capacity < solver->pods)
            continue;
        children = plan__fewest_children(solver, d);
        if (children < fewest)
            n = 0;
        if (children > fewest)
            continue;
        fewest = children;
        keys[n++] = (uint64_t)index->domains[d].capacity << 32 | d;
    }
    plan__sort(keys, spare, n);
    return n;
}

/* ---- fragments -------------------------------------------------------------------------------------------------- */

static bool is_taken(const struct plan_solver *solver, uint32_t leaf)
{
    for (uint32_t i = 0; i < solver->ntaken; i++)
        if (solver->taken[i].leaf == leaf)
            return true;
    return false;
}

/* The smallest sibling that nobody takes with room enough; the leaf itself if there is none smaller. */
static uint32_t tighter(const struct plan_solver *solver, uint32_t leaf, uint64_t spare)
{
    const struct plan_index *index = solver->index;
    const struct plan_domain *parent = &index->domains[index->domains[leaf].parent];
    uint32_t best = leaf;

    for (uint32_t c = 0; c < parent->nchildren; c++) {
        const struct plan_domain *other = &index->domains[parent->first_child + c];

        if (!other->loose && other->capacity < index->domains[best].capacity &&
            other->capacity + spare >= index->domains[leaf].capacity &&
            !is_taken(solver, parent->first_child + c))
            best = parent->first_child + c;
    }
    return best;
}

/* Smaller leaves that do as well leave the larger ones whole for others. */
static void tighten(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    uint64_t spare = 0;

    for (uint32_t i = 0; i < solver->ntaken; i++)
        if (solver->taken[i].nodes != PLAN_UNKNOWN)
            return; /* loose nodes are taken one by one already */
        else
            spare += index->domains[solver->taken[i].leaf].capacity;
    spare -= solver->pods;
    for (uint32_t i = solver->ntaken; spare > 0 && i-- > 0;) {
        uint32_t leaf = solver->taken[i].leaf, other = tighter(solver, leaf, spare);

        spare -= index->domains[leaf].capacity - index->domains[other].capacity;
        solver->taken[i].leaf = other;
    }
}

/* ---- the choice --------------------------------------------------------------------------------------------------- */

static void prove(const struct race *race)
{
    struct plan *plan = race->solver->plan;
    uint32_t nlevels = race->solver->index->nlevels;

    for (uint32_t level = 0; level <= nlevels; level++)
        plan->use[level].proven = level < race->proven;
    plan->even = race->proven > nlevels;
}

static void finish(struct race *race)
{
    struct plan_solver *solver = race->solver;

    prove(race);
    if (race->best.fine) {
        plan__fine_place(solver, race->best.top);
        return;
    }
    solver->taken = race->best.taken;
    solver->ntaken = race->best.ntaken;
    if (is_uniform(solver->index, race->best.top))
        tighten(solver);
    plan__take_set(solver);
}

static void choose_domains(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    struct race race = {.solver = solver, .work_left = plan__work_max(solver)};
    uint64_t *keys = plan__alloc(solver->scratch, (size_t)index->ndomains * 2, sizeof(*keys));
    uint32_t n = 0;

    race.spare = plan__alloc(solver->scratch, index->ndomains, sizeof(*race.spare));
    if (!keys || !race.spare) {
        solver->out_of_memory = true;
        return;
    }
    for (uint32_t level = index->nlevels; n == 0 && level-- > 0;)
        n = line_up(solver, level, keys, keys + index->ndomains);
    for (uint32_t i = 0; i < n && !solver->out_of_memory; i++)
        run(&race, (uint32_t)keys[i]);
    if (race.found && !solver->out_of_memory)
        finish(&race);
}

static void prove_all(struct plan *plan)
{
    for (uint32_t level = 0; level <= PLAN_LEVELS_MAX; level++)
        plan->use[level].proven = true;
    plan->even = true;
}

/* Too much to look at: as if nothing was there, so that nothing is proven. */
static void choose_despite_pins(struct plan_solver *solver, uint32_t top)
{
    struct plan_cost unused = {0};
    uint32_t proven;

    if (solver->index->domains[top].nchildren == 0) {
        plan__take_leaf(solver, top, solver->pods);
        return;
    }
    plan__fewest(solver, top, unused.counts, &proven);
    if (!solver->out_of_memory)
        plan__take_set(solver);
}

/* Beside pins every domain has its own price, so that all of them are looked at together. */
static void choose_beside_pins(struct plan_solver *solver, uint32_t top)
{
    if (plan__fine_work(solver, top) > 10 * plan__work_max(solver)) {
        choose_despite_pins(solver, top);
        return;
    }
    if (plan__fine_solve(solver, top) != UINT64_MAX)
        plan__fine_place(solver, top);
    prove_all(solver->plan);
}

void plan__choose(struct plan_solver *solver, uint32_t top)
{
    if (solver->pinned && solver->request->required_level == (int)solver->index->nlevels) {
        plan__share(solver, solver->request->pins[0].node, solver->pods);
        prove_all(solver->plan);
        return;
    }
    if (solver->pinned)
        choose_beside_pins(solver, top);
    else if (choose_node(solver) || choose_leaf(solver))
        prove_all(solver->plan);
    else if (!solver->out_of_memory)
        choose_domains(solver);
}
