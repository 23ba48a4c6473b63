/* The planner's front: checks, room, the answer's certificate. The choice itself stands in plan_solve.c. */
#include "scheduler/plan/plan.h"

#include <errno.h>

#include "scheduler/plan/plan_internal.h"

/* ---- room ------------------------------------------------------------------------------------------------ */

static uint32_t most_on_a_node(const struct plan_index *index)
{
    const uint32_t *hist = plan__hist(index, 0);

    for (uint32_t c = index->most; c > 0; c--)
        if (hist[c] > 0)
            return c;
    return 0;
}

/* The domain of the required level that the pins are in; PLAN_UNKNOWN: none, or not one. */
static uint32_t pins_domain(const struct plan_solver *solver)
{
    const struct plan_request *request = solver->request;
    const struct plan_index *index = solver->index;
    uint32_t found = PLAN_UNKNOWN;

    for (uint32_t i = 0; i < request->npins; i++) {
        uint32_t domain = index->leaf[request->pins[i].node];

        while (index->domains[domain].level > (uint32_t)request->required_level + 1)
            domain = index->domains[domain].parent;
        if (index->domains[domain].level != (uint32_t)request->required_level + 1 ||
            index->domains[domain].loose || (found != PLAN_UNKNOWN && found != domain))
            return PLAN_UNKNOWN;
        found = domain;
    }
    return found;
}

static uint32_t fullest_domain(const struct plan_index *index, uint32_t level)
{
    uint32_t best = PLAN_UNKNOWN;

    for (uint32_t d = index->level_first[level + 1]; d < index->level_first[level + 2]; d++)
        if (!index->domains[d].loose && index->domains[d].with_room > 0 &&
            (best == PLAN_UNKNOWN || index->domains[d].capacity > index->domains[best].capacity))
            best = d;
    return best;
}

/* On the node that all pins are on; 0: there are several. */
static uint32_t room_at_pin(const struct plan_solver *solver)
{
    const struct plan_request *request = solver->request;

    for (uint32_t i = 1; i < request->npins; i++)
        if (request->pins[i].node != request->pins[0].node)
            return 0;
    return solver->index->capacity[request->pins[0].node];
}

/* How many pods the required level has room for, and where most of it is. */
static void measure(const struct plan_solver *solver, struct plan_shortage *ret)
{
    const struct plan_index *index = solver->index;
    const struct plan_request *request = solver->request;
    uint32_t domain;

    *ret = (struct plan_shortage){.fits = index->domains[0].capacity,
                                  .fits_anywhere = index->domains[0].capacity,
                                  .best_domain = PLAN_UNKNOWN,
                                  .nodes_with_room = index->domains[0].with_room};
    if (request->required_level < 0)
        return;
    if ((uint32_t)request->required_level == index->nlevels) {
        ret->fits = request->npins ? room_at_pin(solver) : most_on_a_node(index);
        return;
    }
    domain = request->npins ? pins_domain(solver)
                            : fullest_domain(index, (uint32_t)request->required_level);
    ret->fits = domain == PLAN_UNKNOWN ? 0 : index->domains[domain].capacity;
    ret->best_domain = domain == PLAN_UNKNOWN ? PLAN_UNKNOWN : index->domains[domain].id;
}

/* ---- pins -------------------------------------------------------------------------------------------------- */

static int set_pins(struct plan_solver *solver)
{
    const struct plan_index *index = solver->index;
    const struct plan_request *request = solver->request;

    if (request->npins == 0)
        return 0;
    solver->pinned = plan__zalloc(solver->scratch, index->nnodes, sizeof(*solver->pinned));
    solver->has_pins = plan__zalloc(solver->scratch, index->ndomains, sizeof(*solver->has_pins));
    if (!solver->pinned || !solver->has_pins)
        return -ENOMEM;
    for (uint32_t i = 0; i < request->npins; i++) {
        uint32_t node = request->pins[i].node;

        if (node >= index->nnodes || request->pins[i].count == 0 ||
            request->pins[i].count > PLAN_PODS_MAX)
            return -EINVAL;
        solver->pinned[node] += request->pins[i].count;
        for (uint32_t d = index->leaf[node]; !solver->has_pins[d]; d = index->domains[d].parent)
            solver->has_pins[d] = true;
    }
    return 0;
}

/* ---- the certificate ------------------------------------------------------------------------------------------ */

/* At levels from this one on the node has no domain but its own. */
static uint32_t own_from(const struct plan_index *index, uint32_t node)
{
    const struct plan_domain *leaf = &index->domains[index->leaf[node]];

    return leaf->loose ? leaf->level - 1 : index->nlevels;
}

static uint32_t domain_at(const struct plan_index *index, uint32_t node, uint32_t level)
{
    uint32_t domain = index->leaf[node];

    while (index->domains[domain].level > level + 1)
        domain = index->domains[domain].parent;
    return domain;
}

/* Shares come depth-first, so those of one domain stand together. */
static uint32_t used_by_shares(const struct plan_solver *solver, uint32_t level)
{
    const struct plan_index *index = solver->index;
    const struct plan *plan = solver->plan;
    uint32_t used = 0, last = PLAN_UNKNOWN;

    for (uint32_t i = 0; i < plan->nshares; i++) {
        uint32_t node = plan->shares[i].node, domain;

        if (level >= own_from(index, node)) {
            used += !(solver->pinned && solver->pinned[node]);
            last = PLAN_UNKNOWN;
            continue;
        }
        domain = domain_at(index, node, level);
        used += domain != last && !(solver->has_pins && solver->has_pins[domain]);
        last = domain;
    }
    return used;
}

/* Domains of the level (nodes at nlevels) where pins are, and how much room those have. */
static uint32_t used_by_pins(const struct plan_solver *solver, uint32_t level, uint64_t *ret_room)
{
    const struct plan_index *index = solver->index;
    uint32_t used = 0;

    *ret_room = 0;
    for (uint32_t node = 0; solver->pinned && node < index->nnodes; node++)
        if (solver->pinned[node] && level >= own_from(index, node)) {
            used++;
            *ret_room += index->capacity[node];
        }
    for (uint32_t d = 0; solver->pinned && level < index->nlevels && d < index->ndomains; d++)
        if (solver->has_pins[d] && index->domains[d].level == level + 1 && !index->domains[d].loose) {
            used++;
            *ret_room += index->domains[d].capacity;
        }
    return used;
}

static bool item_has_pins(const struct plan_solver *solver, uint32_t what)
{
    return what < solver->index->ndomains ? solver->has_pins[what]
                                          : solver->pinned[what - solver->index->ndomains] > 0;
}

/* The largest domains first: nobody needs fewer of them beside those that pins are in. */
static uint32_t lower_bound(struct plan_solver *solver, uint32_t level)
{
    uint64_t room;
    uint32_t by_pins = used_by_pins(solver, level, &room), kept = 0;
    struct plan_items items;

    if (room >= solver->pods)
        return by_pins;
    if (level == solver->index->nlevels && !solver->pinned)
        return plan__fill(plan__hist(solver->index, 0), solver->index->most, solver->pods).nodes;
    items = plan__items(solver, 0, level + 1);
    for (uint32_t i = 0; i < items.n && solver->pinned; i++)
        if (!item_has_pins(solver, (uint32_t)items.keys[i]))
            items.keys[kept++] = items.keys[i];
    if (solver->pinned)
        items.n = kept;
    return by_pins + plan__fewest_items(&items, solver->pods - room);
}

static void certify(struct plan_solver *solver)
{
    const struct plan_request *request = solver->request;
    struct plan *plan = solver->plan;
    uint64_t unused;

    for (uint32_t level = 0; level <= solver->index->nlevels; level++) {
        struct plan_level_use *use = &plan->use[level];

        use->used = used_by_shares(solver, level) + used_by_pins(solver, level, &unused);
        use->lower_bound = use->used == 1 ? 1 : lower_bound(solver, level);
        use->proven |= use->used == use->lower_bound;
    }
    plan->preferred_met = request->preferred_level < 0 || plan->use[request->preferred_level].used == 1;
}

/* ---- doors ------------------------------------------------------------------------------------------------------ */

static bool is_valid(const struct plan_index *index, const struct plan_request *request)
{
    return request->pods > 0 && request->pods <= PLAN_PODS_MAX && request->min_pods <= request->pods &&
           index->ndomains > 0 && request->required_level <= (int)index->nlevels &&
           request->preferred_level <= (int)index->nlevels;
}

int plan_on_index(const struct plan_index *index, const struct plan_request *request,
                  struct plan_scratch *scratch, struct plan *ret_plan,
                  struct plan_shortage *ret_shortage)
{
    struct plan plan = {0};
    struct plan_solver solver = {.index = index, .request = request, .scratch = scratch, .plan = &plan};
    uint32_t least = request->min_pods ? request->min_pods : request->pods;
    int r;

    if (!is_valid(index, request))
        return -EINVAL;
    plan__scratch_reset(scratch);
    r = set_pins(&solver);
    if (r < 0)
        return r;
    measure(&solver, ret_shortage);
    if (ret_shortage->fits < least)
        return -ENOSPC;
    if (__builtin_mul_overflow(plan__work_max(&solver), PLAN_STEPS_AT_ONCE, &solver.steps_left))
        solver.steps_left = UINT64_MAX;
    solver.pods = ret_shortage->fits < request->pods ? ret_shortage->fits : request->pods;
    plan.shares = plan__alloc(scratch, solver.pods < index->nnodes ? solver.pods : index->nnodes,
                              sizeof(*plan.shares));
    solver.taken = plan__alloc(scratch, index->ndomains, sizeof(*solver.taken));
    if (!plan.shares || !solver.taken)
        return -ENOMEM;
    plan__choose(&solver, (uint32_t)request->required_level == index->nlevels && request->npins
                              ? index->leaf[request->pins[0].node]
                          : request->required_level >= 0 && request->npins ? pins_domain(&solver)
                                                                           : 0);
    if (!solver.out_of_memory)
        certify(&solver);
    if (solver.out_of_memory)
        return -ENOMEM;
    *ret_plan = plan;
    return 0;
}

int plan_gang(const struct plan_request *request, struct plan_scratch *scratch,
              struct plan *ret_plan, struct plan_shortage *ret_shortage)
{
    struct plan_index *index = plan__own_index(scratch);
    int r = plan_index_build(index, request->nlevels, request->nodes, request->nnodes);

    return r < 0 ? r : plan_on_index(index, request, scratch, ret_plan, ret_shortage);
}
