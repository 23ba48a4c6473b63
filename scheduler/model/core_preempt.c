/*
 * Preemption (off by default): a reservation as for the head of the line (core_order.c), made at once, and the
 * victims evicted: whole gangs of lower priority and ordinary pods, never part of a gang, only in namespaces
 * that allow it.
 *
 * Whom it takes does not depend on the order in which anything was read: all that may go are sorted,
 * the highest priority first, then the smallest, then by name, and spared in that order. At most
 * SPARE_PLANS plans decide who may stay wherever the gang goes; the last plan is then the gang's, and
 * beside it all stay that can. So whoever goes is on a node of that plan and in its way: evicted are
 * at most those whom one placement needs gone, in whatever time. Within SPARE_PLANS it is more: none of
 * the evicted could have stayed with any placement of the gang.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

#define PREEMPT_WAIT_NS (120 * NS_PER_S) /* how long the victims may take to go */
#define PREEMPT_AGAIN_NS (10 * NS_PER_S)
#define SPARE_PLANS 64 /* some 7 ms each on 5,000 nodes, under the lock that filter waits for */

struct victim {
    struct gang *gang; /* or */
    struct pod *pod; /* an ordinary one */
    int32_t priority;
    uint32_t pods;
    const char *name;
    bool spared;
};

struct victims {
    struct victim *items;
    size_t n, size;
    struct gang *preemptor;
    unsigned plans_left; /* for spare() */
};

/* What is on its way to a gang cannot be called back: such a gang is no victim now. */
static bool may_go(const struct gang *gang)
{
    return (gang->state == GANG_BOUND || gang->state == GANG_RUNNING || gang->state == GANG_BROKEN) &&
           !gang_is_open(gang);
}

static bool is_daemon(const struct obj_pod *pod)
{
    return strcmp(pod->owner.kind_name, "DaemonSet") == 0 || strcmp(pod->owner.kind_name, "Node") == 0;
}

static int add_victim(struct victims *victims, struct victim victim)
{
    if (victims->n == victims->size) {
        size_t size = victims->size ? victims->size * 2 : 256;
        struct victim *items = realloc(victims->items, size * sizeof(*items));

        if (!items)
            return -1;
        victims->items = items;
        victims->size = size;
    }
    victims->items[victims->n++] = victim;
    return 0;
}

/* Spared first: high priority, then small; what is left to evict is low and, if it may be, few. */
static int compare_victims(const void *a, const void *b)
{
    const struct victim *left = a, *right = b;

    if (left->priority != right->priority)
        return left->priority > right->priority ? -1 : 1;
    if (left->pods != right->pods)
        return left->pods < right->pods ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int find_victims(struct core *core, struct victims *victims)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;
    int r = 0;

    for (size_t i = 0; i < core->all.n && r == 0; i++) {
        struct gang *gang = core->all.items[i];

        if (may_go(gang) && gang->priority < victims->preemptor->priority &&
            core__may_evict(core, gang->ns))
            r = add_victim(victims, (struct victim){.gang = gang, .priority = gang->priority,
                                                    .pods = gang_bound(gang), .name = gang->key});
    }
    while (r == 0 && hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value)) {
        struct pod *pod = value;

        if (pod->node && !pod->gang && !pod->object->terminating && !is_daemon(pod->object) &&
            pod->object->priority < victims->preemptor->priority &&
            core__may_evict(core, pod->object->ns))
            r = add_victim(victims, (struct victim){.pod = pod, .priority = pod->object->priority,
                                                    .pods = 1, .name = pod->object->uid});
    }
    if (victims->n > 0)
        qsort(victims->items, victims->n, sizeof(*victims->items), compare_victims);
    return r;
}

static void free_pod(struct cluster *cluster, struct pod *pod, bool freed)
{
    if (!pod->node)
        return;
    if (freed) {
        resources_sub(&pod->node->used, &pod->requests);
        pod->node->gpus_used &= ~pod->gpus;
    } else {
        resources_add(&pod->node->used, &pod->requests);
        pod->node->gpus_used |= pod->gpus;
    }
    cluster_log_node(cluster, pod->node);
}

/* What-if: the victim's pods are out of the nodes' counts, or back in them. */
static void free_victim(struct cluster *cluster, struct victim *victim, bool freed)
{
    if (victim->pod)
        free_pod(cluster, victim->pod, freed);
    for (size_t i = 0; victim->gang && i < victim->gang->nmembers; i++)
        free_pod(cluster, victim->gang->members[i], freed);
}

static int plan_now(struct core *core, struct gang *gang, struct plan *ret_plan)
{
    struct plan_request request = core__request(gang, gang->size);
    struct plan_shortage shortage;
    struct room_count count;

    return core__plan(core, gang, gang->members[0], &request, ret_plan, &shortage, &count);
}

static bool fits_now(struct core *core, struct gang *gang)
{
    struct plan_request request = core__request(gang, gang->size);
    struct plan_shortage shortage;

    return core__fit(core, gang, gang->members[0], &request, &shortage) == 0;
}

/* Spares all of [from, to) if the gang fits without them going, else halves: v victims of n cost
 * some v log n plans, as long as there are any left. */
static void spare(struct core *core, struct victims *victims, size_t from, size_t to)
{
    size_t middle = from + (to - from) / 2;

    if (from == to || victims->plans_left == 0)
        return;
    victims->plans_left--;
    for (size_t i = from; i < to; i++)
        free_victim(&core->cluster, &victims->items[i], false);
    if (fits_now(core, victims->preemptor)) {
        for (size_t i = from; i < to; i++)
            victims->items[i].spared = true;
        return;
    }
    for (size_t i = from; i < to; i++)
        free_victim(&core->cluster, &victims->items[i], true);
    if (to - from == 1)
        return;
    spare(core, victims, from, middle);
    spare(core, victims, middle, to);
}

static bool is_in_the_way(const struct pod *pod, const struct gang *of)
{
    return pod->node && pod->node->reserved_for == of && node_overheld(pod->node);
}

/* Is the victim, counted again, too much beside the plan that is held on the reserved nodes? */
static bool victim_is_in_the_way(const struct victim *victim, const struct gang *of)
{
    if (victim->pod)
        return is_in_the_way(victim->pod, of);
    for (size_t i = 0; i < victim->gang->nmembers; i++)
        if (is_in_the_way(victim->gang->members[i], of))
            return true;
    return false;
}

/* All stay that can beside this one plan, for which its nodes are reserved: no further plan is needed. */
static void spare_beside(struct core *core, struct victims *victims, const struct plan *plan)
{
    const struct resources *requests = &victims->preemptor->requests;

    for (uint32_t i = 0; i < plan->nshares; i++)
        for (uint32_t k = 0; k < plan->shares[i].count; k++)
            node_hold(&core->cluster, core->cluster.nodes[plan->shares[i].node], requests);
    for (size_t i = 0; i < victims->n; i++) {
        struct victim *victim = &victims->items[i];

        if (victim->spared)
            continue;
        free_victim(&core->cluster, victim, false);
        victim->spared = !victim_is_in_the_way(victim, victims->preemptor);
        if (!victim->spared)
            free_victim(&core->cluster, victim, true);
    }
    for (uint32_t i = 0; i < plan->nshares; i++)
        for (uint32_t k = 0; k < plan->shares[i].count; k++)
            resources_sub(&core->cluster.nodes[plan->shares[i].node]->held, requests);
    for (uint32_t i = 0; i < plan->nshares; i++)
        cluster_log_node(&core->cluster, core->cluster.nodes[plan->shares[i].node]);
}

static void evict_victims(struct core *core, struct victims *victims)
{
    struct gang *by = victims->preemptor;
    uint32_t gangs = 0, pods = 0;
    char first[200] = "";

    for (size_t i = 0; i < victims->n; i++) {
        struct victim *victim = &victims->items[i];

        if (victim->spared)
            continue;
        if (!first[0])
            snprintf(first, sizeof(first), "%.90s/%.90s",
                     victim->gang ? victim->gang->ns : victim->pod->object->ns,
                     victim->gang ? victim->gang->name : victim->pod->object->name);
        if (!victim->gang) {
            pods++;
            core__evict(core, victim->pod);
            continue;
        }
        gangs++;
        core__replace(core, victim->gang);
        core__set_reason(core, victim->gang, REASON_PREEMPTED,
                         "gang %.90s/%.90s of priority %d takes its place (own priority: %d)", by->ns,
                         by->name, by->priority, victim->gang->priority);
    }
    core__set_reason(core, by, REASON_PREEMPTING,
                     "evicting %u gangs and %u other pods of lower priority to make room, first %s",
                     gangs, pods, first);
}

static bool preempt_for(struct core *core, struct victims *victims)
{
    struct plan plan = {0};
    bool found;

    for (size_t i = 0; i < victims->n; i++)
        free_victim(&core->cluster, &victims->items[i], true);
    found = fits_now(core, victims->preemptor);
    if (found) {
        spare(core, victims, 0, victims->n);
        found = plan_now(core, victims->preemptor, &plan) == 0;
    }
    if (found) {
        core__reserve(core, victims->preemptor, &plan);
        spare_beside(core, victims, &plan);
    }
    for (size_t i = 0; i < victims->n; i++)
        if (!victims->items[i].spared)
            free_victim(&core->cluster, &victims->items[i], false);
    if (found) {
        core->head_preempts = true;
        core->head_until_ns = core->now_ns + PREEMPT_WAIT_NS;
        evict_victims(core, victims);
    }
    return found;
}

bool core__preempt(struct core *core, struct gang *gang)
{
    struct victims victims = {.preemptor = gang, .plans_left = SPARE_PLANS};
    bool found = false;

    if (!core->config->preemption || core__is_mixed(gang)) /* whom those would need gone is not told */
        return false;
    gang->preempt_owed = core__lacks_room(gang) && core->now_ns < gang->preempt_after_ns;
    if (!core__lacks_room(gang))
        return false; /* whoever went for it would go in vain: it could not start, or not yet */
    if (gang->preempt_owed) {
        core__wake_at(core, gang, gang->preempt_after_ns);
        return false;
    }
    if (core->head == gang && core->head_preempts)
        return true; /* its victims are on their way */
    if (core->head && core__compare_turn(&core->head, &gang) < 0)
        return false; /* somebody before it is being served */
    gang->preempt_after_ns = core->now_ns + PREEMPT_AGAIN_NS;
    if (find_victims(core, &victims) == 0 && victims.n > 0)
        found = preempt_for(core, &victims);
    free(victims.items);
    core__wake_at(core, gang, found ? core->head_until_ns : gang->preempt_after_ns);
    return found;
}
