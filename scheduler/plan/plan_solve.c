/*
 * Objective, in order: fewest domains level by level from the outside, fewest nodes, most even over
 * them, least capacity left over in the innermost domains used, lowest node index.
 *
 * Method: costs of disjoint domains add up, and adding keeps their order, so the best way to put
 * exactly p pods under a domain is a min-plus sum over its children (tree knapsack). Tables are cut
 * at the gang's size. When one child can take all pods, only such children are looked at.
 */
#include "scheduler/plan/plan_internal.h"

static void build_table(struct plan_solver *solver, struct group *group);

static void leaf_table(struct plan_solver *solver, struct group *leaf)
{
    plan__leaf_prepare(solver, leaf);
    if (solver->out_of_memory)
        return;
    for (uint32_t p = 0; p <= leaf->capacity; p++)
        leaf->table[p] = plan__leaf_cost(solver, leaf, p);
}

/* Puts one more child into the sums; from high to low, so that the child is taken at most once. */
static void merge_child(struct plan_solver *solver, struct group *group, uint32_t index,
                        uint32_t reach)
{
    struct group *child = &group->children[index];
    uint16_t *choice = group->choices + (size_t)index * (group->capacity + 1);
    struct cost unit = {cost_unit(solver->request->nlevels, group->level), 0};

    for (uint32_t p = reach; p > 0; p--) {
        uint32_t most = child->capacity < p ? child->capacity : p;
        struct cost best = group->table[p];

        for (uint32_t q = 1; q <= most; q++) {
            struct cost sum;

            if (group->table[p - q].fine == UINT64_MAX)
                continue;
            sum = cost_sum(&group->table[p - q], &child->table[q]);
            sum = cost_sum(&sum, &unit);
            if (!cost_less(&sum, &best))
                continue;
            best = sum;
            choice[p] = (uint16_t)q;
        }
        group->table[p] = best;
    }
}

static void inner_table(struct plan_solver *solver, struct group *group)
{
    uint32_t reach = 0;

    group->choices = plan__alloc(solver->scratch,
                                 (size_t)group->nchildren * (group->capacity + 1),
                                 sizeof(uint16_t));
    if (!group->choices) {
        solver->out_of_memory = true;
        return;
    }
    for (uint32_t p = 1; p <= group->capacity; p++)
        group->table[p] = (struct cost){~(unsigned __int128)0, UINT64_MAX};
    for (uint32_t c = 0; c < group->nchildren && !solver->out_of_memory; c++) {
        build_table(solver, &group->children[c]);
        if (solver->out_of_memory)
            return;
        reach += group->children[c].capacity;
        if (reach > group->capacity)
            reach = group->capacity;
        merge_child(solver, group, c, reach);
    }
}

static void build_table(struct plan_solver *solver, struct group *group)
{
    if (group->table)
        return;
    group->table = plan__alloc(solver->scratch, group->capacity + 1, sizeof(struct cost));
    if (!group->table)
        solver->out_of_memory = true;
    else if (group->nchildren == 0)
        leaf_table(solver, group);
    else
        inner_table(solver, group);
}

struct cost plan__solve(struct plan_solver *solver, struct group *group, uint32_t pods)
{
    struct cost best = {~(unsigned __int128)0, UINT64_MAX};

    if (group->nchildren == 0) {
        plan__leaf_prepare(solver, group);
        return solver->out_of_memory ? best : plan__leaf_cost(solver, group, pods);
    }
    for (uint32_t c = 0; c < group->nchildren && !solver->out_of_memory; c++) {
        struct group *child = &group->children[c];
        struct cost cost;

        if (child->capacity < pods)
            continue;
        cost = plan__solve(solver, child, pods);
        if (!group->single || cost_less(&cost, &best)) {
            best = cost;
            group->single = child;
        }
    }
    if (group->single) {
        best.domains += cost_unit(solver->request->nlevels, group->level);
        return best;
    }
    build_table(solver, group);
    return solver->out_of_memory ? best : group->table[pods];
}

void plan__place(struct plan_solver *solver, struct group *group, uint32_t pods, uint32_t *counts)
{
    if (pods == 0)
        return;
    if (group->nchildren == 0) {
        plan__leaf_prepare(solver, group);
        plan__leaf_place(solver, group, pods, counts);
        return;
    }
    /* `single` answers for the whole gang only; a smaller part comes from the table. */
    if (group->single && pods == solver->request->pods) {
        plan__place(solver, group->single, pods, counts);
        return;
    }
    for (uint32_t c = group->nchildren; c-- > 0 && pods > 0;) {
        uint32_t q = group->choices[(size_t)c * (group->capacity + 1) + pods];

        plan__place(solver, &group->children[c], q, counts);
        pods -= q;
    }
}
