/*
 * One place of a gang with subgroups: a member that was created anew, or that a restart found without one. Where its
 * subgroup's other members are tells the domain that it must stay in; where other subgroups are, the domains
 * that it must not enter.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

struct bounds {
    int home, spread; /* levels; -1: none */
    const struct node *anchor; /* of a member of the subgroup; NULL: none has a place */
    bool unknown; /* a level that the cluster does not have */
};

static bool has_place(const struct slot *slot)
{
    return slot->pod && slot->node && slot->state != SLOT_EMPTY && slot->state != SLOT_DONE;
}

/* First where others have bound one: it cannot move. */
static const struct node *anchor_of(const struct gang *gang, const struct pod *pod)
{
    const struct node *found = NULL;

    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];

        if (!has_place(slot) || slot->pod == pod ||
            strcmp(core__subgroup_of(slot->pod), pod->object->wish.subgroup) != 0)
            continue;
        if (slot->state == SLOT_BOUND)
            return slot->node;
        found = found ? found : slot->node;
    }
    return found;
}

static struct bounds bounds_of(const struct core *core, const struct gang *gang, const struct pod *pod)
{
    const struct gang_wish *wish = &pod->object->wish;
    struct bounds bounds = {.home = -1, .spread = -1};
    struct reason unused;

    if (!core__subgroup_of(pod)[0] || MUTANT(SUBGROUP_IGNORED))
        return bounds;
    bounds.unknown = !core__read_level(core, "required", wish->within, &bounds.home, &unused) ||
                     !core__read_level(core, "spread", wish->spread, &bounds.spread, &unused);
    bounds.home = bounds.home < bounds.spread ? bounds.spread : bounds.home;
    bounds.anchor = anchor_of(gang, pod);
    return bounds;
}

/* A level may have two names. */
static bool spreads_over(const struct core *core, const struct gang_wish *wish, const struct gang_wish *like)
{
    struct reason unused;
    int level, other;

    if (strcmp(wish->spread, like->spread) == 0)
        return true;
    return core__read_level(core, "spread", wish->spread, &level, &unused) &&
           core__read_level(core, "spread", like->spread, &other, &unused) && level == other;
}

/* Another subgroup that is spread over the same level: where it is the pod must not be. */
static bool is_other(const struct core *core, const struct slot *slot, const struct pod *pod)
{
    return has_place(slot) && slot->pod != pod && core__subgroup_of(slot->pod)[0] &&
           spreads_over(core, &slot->pod->object->wish, &pod->object->wish) &&
           strcmp(slot->pod->object->wish.subgroup, pod->object->wish.subgroup) != 0;
}

static bool is_within(const struct core *core, const struct bounds *bounds, const struct node *node)
{
    if (bounds->home < 0)
        return !bounds->unknown;
    return !bounds->unknown && core__same_domain(core, node, bounds->anchor ? bounds->anchor : node, bounds->home) &&
           (bounds->spread < 0 || core__same_domain(core, node, node, bounds->spread));
}

bool core__keeps_subgroup(const struct core *core, const struct gang *gang, const struct pod *pod,
                          const struct node *node)
{
    struct bounds bounds = bounds_of(core, gang, pod);

    if (!is_within(core, &bounds, node))
        return false;
    for (uint32_t i = 0; bounds.spread >= 0 && i < gang->nslots; i++)
        if (is_other(core, &gang->slots[i], pod) && core__same_domain(core, node, gang->slots[i].node, bounds.spread))
            return false;
    return true;
}

/* ---- one more place --------------------------------------------------------------------------------------------- */

/* By node: closed to the pod by other subgroups. NULL: no memory. */
static bool *close_others(const struct core *core, const struct gang *gang, const struct pod *pod, int spread)
{
    bool *closed = calloc(core->cluster.nnodes + (size_t)1, sizeof(*closed));
    bool *domains = calloc(core->cluster.ndomains + (size_t)1, sizeof(*domains));
    bool by_node = spread >= (int)core->cluster.nlevels;

    for (uint32_t i = 0; closed && domains && spread >= 0 && i < gang->nslots; i++) {
        const struct node *node = gang->slots[i].node;

        if (!is_other(core, &gang->slots[i], pod))
            continue;
        if (by_node)
            closed[node->at] = true;
        else if (node->domain[spread] != PLAN_UNKNOWN)
            domains[node->domain[spread]] = true;
    }
    for (size_t i = 0; closed && domains && spread >= 0 && !by_node && i < core->cluster.nnodes; i++)
        if (core->cluster.nodes[i]->domain[spread] != PLAN_UNKNOWN)
            closed[i] = domains[core->cluster.nodes[i]->domain[spread]];
    if (!domains) {
        free(closed);
        closed = NULL;
    }
    free(domains);
    return closed;
}

/* How many levels of domains, and the node itself, they share. */
static uint32_t nearness(const struct core *core, const struct node *a, const struct node *b)
{
    uint32_t level = 0;

    while (b && level < core->cluster.nlevels && core__same_domain(core, a, b, (int)level))
        level++;
    return level + (a == b);
}

/* The nearest; of those the one with least room; of those the first. */
struct node *core__subgroup_node(struct core *core, struct gang *gang, const struct pod *pod,
                                 const struct node *near)
{
    struct bounds bounds = bounds_of(core, gang, pod);
    struct required_domain domain = core__required_domain(core, gang);
    bool *closed = close_others(core, gang, pod, bounds.spread);
    struct node *best = NULL;
    uint32_t best_near = 0, best_room = 0;

    if (bounds.anchor && (!near || !is_within(core, &bounds, near)))
        near = bounds.anchor;
    for (size_t i = 0; closed && i < core->cluster.nnodes; i++) {
        struct node *node = core->cluster.nodes[i];
        uint32_t is_near, room;

        if (closed[i] || !is_within(core, &bounds, node) ||
            !core__may_use(core, gang, node, &pod->object->shape) ||
            !core__keeps_required(core, gang, &domain, node))
            continue;
        room = core__node_room(core, node, &pod->requests);
        is_near = nearness(core, node, near);
        if (room == 0 || (best && (is_near < best_near || (is_near == best_near && room >= best_room))))
            continue;
        best = node;
        best_near = is_near;
        best_room = room;
    }
    free(closed);
    return best;
}

/* ---- after a restart ---------------------------------------------------------------------------------------------- */

static uint32_t without_place(const struct gang *gang, const struct pod *pod)
{
    uint32_t n = 0;

    for (size_t i = 0; i < gang->nmembers; i++)
        n += gang->members[i]->slot < 0 &&
             strcmp(core__subgroup_of(gang->members[i]), pod->object->wish.subgroup) == 0;
    return n;
}

/* Of subgroups that have a place already, then of those with most pods without one, then of none. */
static int compare_need(const void *a, const void *b)
{
    const struct pod *left = *(struct pod *const *)a, *right = *(struct pod *const *)b;
    const char *x = core__subgroup_of(left), *y = core__subgroup_of(right);

    if ((x[0] == '\0') != (y[0] == '\0'))
        return x[0] ? -1 : 1;
    if (left->seat_need != right->seat_need)
        return left->seat_need > right->seat_need ? -1 : 1;
    return strcmp(x, y) ? strcmp(x, y) : strcmp(left->object->name, right->object->name);
}

static bool has_seated(const struct gang *gang, const char *name)
{
    for (size_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i]->slot >= 0 && strcmp(core__subgroup_of(gang->members[i]), name) == 0)
            return true;
    return false;
}

void core__seat_first(struct gang *gang)
{
    struct hashmap needs = {0};

    if (!core__has_subgroups(gang))
        return;
    for (size_t i = 0; i < gang->nmembers; i++) {
        const char *name = core__subgroup_of(gang->members[i]);

        if (name[0] && !hashmap_get(&needs, name))
            hashmap_set(&needs, name, (void *)(uintptr_t)(has_seated(gang, name) ? UINT32_MAX
                                                                                 : without_place(gang, gang->members[i])));
    }
    for (size_t i = 0; i < gang->nmembers; i++)
        gang->members[i]->seat_need = (uint32_t)(uintptr_t)hashmap_get(&needs, core__subgroup_of(gang->members[i]));
    hashmap_release(&needs);
    qsort(gang->members, gang->nmembers, sizeof(struct pod *), compare_need);
}

static bool is_free(const struct slot *slot)
{
    return !slot->pod && slot->node && slot->state == SLOT_EMPTY;
}

/* Free places of the plan in the domain of the home level that the node is in. */
static uint32_t free_around(const struct core *core, const struct gang *gang, const struct node *node, int home)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < gang->nslots; i++)
        n += is_free(&gang->slots[i]) && core__same_domain(core, node, gang->slots[i].node, home);
    return n;
}

/*
 * What is stored says where the plan's pods are, not of which subgroup: the others of it tell, or else it goes
 * where just enough places are free together.
 */
uint32_t core__subgroup_slot(const struct core *core, const struct gang *gang, const struct pod *pod)
{
    struct bounds bounds = bounds_of(core, gang, pod);
    uint32_t need = bounds.anchor ? 0 : without_place(gang, pod), best = PLAN_UNKNOWN, least = UINT32_MAX;

    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct slot *slot = &gang->slots[i];
        uint32_t n;

        if (!is_free(slot) || !core__may_use(core, gang, slot->node, &pod->object->shape) ||
            core__node_room(core, slot->node, &pod->requests) == 0 ||
            !core__keeps_subgroup(core, gang, pod, slot->node))
            continue;
        n = need == 0 ? 0 : free_around(core, gang, slot->node, bounds.home);
        if (n < need || n >= least)
            continue;
        best = i;
        least = n;
    }
    return best;
}
