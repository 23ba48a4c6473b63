/* The tree of domains that have room: built per request from the nodes' paths. */
#include <string.h>

#include "scheduler/plan/plan_internal.h"

static uint32_t capped_sum(const struct plan_request *request, const uint32_t *nodes, uint32_t n)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += request->nodes[nodes[i]].capacity;
    return sum > request->pods ? request->pods : (uint32_t)sum;
}

/* Children in the order of their lowest node, loose nodes as the last one. */
static uint32_t number_children(struct plan_solver *solver, const struct group *group,
                                uint32_t *child_of, uint32_t *ret_loose)
{
    const struct plan_node *nodes = solver->request->nodes;
    uint32_t n = 0;

    *ret_loose = 0;
    for (uint32_t i = 0; i < group->nnodes; i++) {
        uint32_t domain = nodes[group->nodes[i]].domain[group->level];

        if (domain == PLAN_UNKNOWN) {
            child_of[i] = PLAN_UNKNOWN;
            ++*ret_loose;
            continue;
        }
        if (solver->seen[domain] == PLAN_UNKNOWN)
            solver->seen[domain] = n++;
        child_of[i] = solver->seen[domain];
    }
    for (uint32_t i = 0; i < group->nnodes; i++) {
        uint32_t domain = nodes[group->nodes[i]].domain[group->level];

        if (domain != PLAN_UNKNOWN)
            solver->seen[domain] = PLAN_UNKNOWN;
    }
    return n;
}

static bool divide(struct plan_solver *solver, struct group *group)
{
    const struct plan_request *request = solver->request;
    uint32_t *child_of, loose, known;

    if (group->loose || group->level == request->nlevels || group->nnodes == 0)
        return true;
    child_of = plan__alloc(solver->scratch, group->nnodes, sizeof(*child_of));
    if (!child_of)
        return false;
    known = number_children(solver, group, child_of, &loose);
    group->nchildren = known + (loose > 0);
    group->children = plan__alloc(solver->scratch, group->nchildren, sizeof(struct group));
    if (!group->children)
        return false;
    for (uint32_t i = 0; i < group->nnodes; i++) {
        if (child_of[i] == PLAN_UNKNOWN)
            child_of[i] = known;
        group->children[child_of[i]].nnodes++;
    }
    for (uint32_t c = 0; c < group->nchildren; c++) {
        struct group *child = &group->children[c];

        child->nodes = plan__alloc(solver->scratch, child->nnodes, sizeof(uint32_t));
        if (!child->nodes)
            return false;
        child->nnodes = 0;
        child->loose = c == known;
        child->level = group->level + 1;
    }
    for (uint32_t i = 0; i < group->nnodes; i++) {
        struct group *child = &group->children[child_of[i]];

        child->domain = request->nodes[group->nodes[i]].domain[group->level];
        child->nodes[child->nnodes++] = group->nodes[i];
    }
    for (uint32_t c = 0; c < group->nchildren; c++) {
        struct group *child = &group->children[c];

        child->capacity = capped_sum(request, child->nodes, child->nnodes);
        if (!divide(solver, child))
            return false;
    }
    return true;
}

struct group *plan__tree(struct plan_solver *solver)
{
    const struct plan_request *request = solver->request;
    struct group *root = plan__alloc(solver->scratch, 1, sizeof(*root));

    if (!root)
        return NULL;
    root->nodes = plan__alloc(solver->scratch, request->nnodes + 1, sizeof(uint32_t));
    if (!root->nodes)
        return NULL;
    for (uint32_t i = 0; i < request->nnodes; i++) {
        if (request->nodes[i].capacity > 0)
            root->nodes[root->nnodes++] = i;
        for (uint32_t level = 0; level < request->nlevels; level++) {
            uint32_t domain = request->nodes[i].domain[level];

            if (domain != PLAN_UNKNOWN && domain >= solver->domains)
                solver->domains = domain + 1;
        }
    }
    solver->seen = plan__alloc(solver->scratch, solver->domains + 1, sizeof(uint32_t));
    if (!solver->seen)
        return NULL;
    memset(solver->seen, 0xff, ((size_t)solver->domains + 1) * sizeof(uint32_t));
    root->domain = PLAN_UNKNOWN;
    root->capacity = capped_sum(request, root->nodes, root->nnodes);
    return divide(solver, root) ? root : NULL;
}
