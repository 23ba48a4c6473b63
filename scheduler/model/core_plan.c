/* Plans: which gang asks for one (core_room.c asks the planner), and how the answer becomes slots. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

#define UNSTEERED_MAX 6
#define EXCLUSION_NS (60 * NS_PER_S)
#define REJECTION_FIRST_NS (60 * NS_PER_S) /* a kubelet that refuses once mostly goes on refusing */
#define REJECTION_MAX_NS (960 * NS_PER_S)

/* ---- nodes that are left alone --------------------------------------------------------------- */

static void forget_exclusions(struct core *core, struct gang *gang)
{
    size_t kept = 0;

    for (size_t i = 0; i < gang->nexcluded; i++) {
        if (gang->excluded[i].until_ns > core->now_ns)
            gang->excluded[kept++] = gang->excluded[i];
        else
            node_unref(&core->cluster, gang->excluded[i].node);
    }
    gang->nexcluded = kept;
}

void core__exclude(struct core *core, struct gang *gang, struct node *node)
{
    struct excluded *grown;

    forget_exclusions(core, gang);
    if (gang->nexcluded == gang->excluded_size) {
        size_t size = gang->excluded_size ? gang->excluded_size * 2 : 4;

        grown = realloc(gang->excluded, size * sizeof(*grown));
        if (!grown)
            return;
        gang->excluded = grown;
        gang->excluded_size = size;
    }
    gang->excluded[gang->nexcluded++] =
        (struct excluded){node_ref(node), core->now_ns + EXCLUSION_NS};
}

/* Again within the time that it was left alone, or soon after: twice as long. */
void core__rejected(struct core *core, const char *name)
{
    struct node *node = cluster_node(&core->cluster, name);
    bool again;

    if (!node || MUTANT(REJECTION_FORGOTTEN))
        return;
    core->nodes_changed = true; /* whoever has a plan there looks at it */
    again = node->rejected_for_ns > 0 &&
            core->now_ns < node->rejected_until_ns + node->rejected_for_ns;
    if (again && node->rejected_until_ns > core->now_ns) { /* others, of the same moment or late */
        if (node->rejected_until_ns < core->now_ns + REJECTION_FIRST_NS)
            node->rejected_until_ns = core->now_ns + REJECTION_FIRST_NS;
        return;
    }
    cluster_log_node(&core->cluster, node);
    node->rejected_for_ns = !again ? REJECTION_FIRST_NS
                            : node->rejected_for_ns < REJECTION_MAX_NS ? 2 * node->rejected_for_ns
                                                                       : REJECTION_MAX_NS;
    node->rejected_until_ns = core->now_ns + node->rejected_for_ns;
    if (node->rejected_until_ns < core->rejection_ends_ns)
        core->rejection_ends_ns = node->rejected_until_ns;
}

/* Nodes that may be tried again are room that appeared. */
void core__end_rejections(struct core *core)
{
    if (core->rejection_ends_ns > core->now_ns)
        return;
    core->rejection_ends_ns = INT64_MAX;
    core->cluster.capacity_version++;
    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        int64_t until_ns = core->cluster.nodes[i]->rejected_until_ns;

        if (until_ns > 0 && until_ns <= core->now_ns)
            cluster_log_node(&core->cluster, core->cluster.nodes[i]);
        if (until_ns > core->now_ns && until_ns < core->rejection_ends_ns)
            core->rejection_ends_ns = until_ns;
    }
}

/* ---- the answer ------------------------------------------------------------------------------ */

const char *core_level_name(const struct core *core, int level)
{
    return (uint32_t)level < core->cluster.nlevels ? core->cluster.levels[level] : "node";
}

static void pod_size_text(const struct core *core, const struct gang *gang, char *ret, size_t size)
{
    ret[0] = '\0';
    for (size_t i = 0; i < core->config->naccelerators; i++) {
        int column = resource_column(&core->cluster.resources, core->config->accelerators[i]);

        if (column >= 0 && gang->requests.v[column] > 0) {
            snprintf(ret, size, " of %lld %s", (long long)gang->requests.v[column],
                     core->config->accelerators[i]);
            return;
        }
    }
}

static void set_shortage(struct core *core, struct gang *gang, const struct plan_shortage *shortage,
                         const struct room_count *count)
{
    char size[96], kept[KEPT_TEXT], refused[96] = "";
    uint32_t misaligned = core__count_misaligned(core, gang);

    pod_size_text(core, gang, size, sizeof(size));
    core__kept_text(core, count, kept);
    if (misaligned > 0)
        snprintf(refused, sizeof(refused), "; on %u of those no NUMA node has enough for one, as kubelet wants",
                 misaligned);
    if (count->kept > 0 && count->matching == 0) {
        core__set_reason(core, gang, REASON_HEAD_OF_LINE, "%s", kept);
    } else if (gang->required_level >= 0 && shortage->fits_anywhere >= gang->min) {
        const char *level = core_level_name(core, gang->required_level);
        const char *best = (uint32_t)gang->required_level < core->cluster.nlevels
                               ? cluster_domain_name(&core->cluster, shortage->best_domain)
                               : "one node";

        core__set_reason(core, gang, REASON_NO_DOMAIN_FITS,
                         "no %s has room for all %u pods%s: the best (%s) fits %u; without "
                         "the required level %u fit%s%s",
                         level, gang->min, size, best, shortage->fits, shortage->fits_anywhere,
                         kept[0] ? "; " : "", kept);
    } else {
        core__set_reason(core, gang, REASON_INSUFFICIENT,
                         "%u of %u pods%s fit: %u of %u nodes have room, %u are full, %u do not "
                         "match%s%s%s",
                         shortage->fits_anywhere, gang->min, size, count->with_room, count->nodes,
                         count->matching - count->with_room,
                         count->nodes - count->matching - count->kept, refused, kept[0] ? "; " : "",
                         kept);
    }
    gang->reason.pods = gang->min;
    gang->reason.fit = MUTANT(WRONG_REASON) ? gang->min : shortage->fits;
    core__tried_in_vain(core, gang);
}

/* Members with an index get the slot of that rank; the others take free slots by name. */
static void seat_members(struct core *core, struct gang *gang)
{
    uint32_t next = 0;

    gang_sort_members(gang);
    for (size_t i = 0; i < gang->nmembers; i++) {
        int32_t index = gang->members[i]->object->index;

        if (gang->members[i]->slot < 0 && index >= 0 && (uint32_t)index < gang->nslots &&
            !gang->slots[index].pod)
            core__slot_take(core, gang, (uint32_t)index, gang->members[i]);
    }
    for (size_t i = 0; i < gang->nmembers; i++) {
        if (gang->members[i]->slot >= 0)
            continue;
        while (next < gang->nslots && gang->slots[next].pod)
            next++;
        if (next == gang->nslots)
            return;
        core__slot_take(core, gang, next, gang->members[i]);
    }
}

/*
 * Slots are made only for a gang of which nothing is bound, so each takes a hold. Fewer than members: the
 * others get their places one by one when there is room for them.
 */
static int take_plan(struct core *core, struct gang *gang, const struct plan *plan)
{
    char *key = strdup(gang->members[0]->object->shape.key);
    uint32_t gpus[MACHINE_GPUS_MAX];

    if (!key || gang_make_slots(gang, plan->pods) < 0) {
        free(key);
        return -ENOMEM;
    }
    free(gang->shape_key);
    gang->shape_key = key;
    for (uint32_t i = 0; i < plan->nshares; i++) {
        const struct plan_share *share = &plan->shares[i];
        struct node *node = core->cluster.nodes[share->node];

        core__choose_gpus(core, node, &gang->requests, share->count, gpus);
        for (uint32_t k = 0; k < share->count; k++) {
            struct slot *slot = &gang->slots[share->first_rank + k];

            slot_set_node(&core->cluster, slot, node);
            slot->gpus = k < MACHINE_GPUS_MAX ? gpus[k] : 0;
            slot_hold(&core->cluster, slot, &gang->requests);
        }
    }
    memcpy(gang->use, plan->use, sizeof(gang->use));
    gang->nlevels = core->cluster.nlevels;
    gang->preferred_met = plan->preferred_met;
    return 0;
}

static void start_planned(struct core *core, struct gang *gang)
{
    const struct config *config = core->config;

    core->plans++;
    core->replans += gang->generation > 0;
    gang->generation++;
    gang->early = gang->nmembers < gang->nslots;
    gang->persisted = gang->adopted = gang->drifted = false;
    gang->plan_version++;
    gang->deadline_ns = core->now_ns + (gang->early ? config->early_plan_deadline_ns
                                                    : config->hold_deadline_ns);
    if (MUTANT(NO_DEADLINE))
        gang->deadline_ns = INT64_MAX;
    gang->planned_ns = core->now_ns;
    gang->line = (struct line){0};
    gang->before_head = core->head && core__compare_turn(&gang, &core->head) <= 0;
    gang->unsteered = 0;
    seat_members(core, gang);
    core__set_reason(core, gang, REASON_NONE, "%s", "");
    core__set_state(core, gang, GANG_PLANNED);
    for (uint32_t i = 0; i < gang->nslots; i++)
        core__nominate(core, gang, i);
    core__touch(core, gang);
}

void core__tell_limits(struct core *core, struct gang *gang)
{
    core__set_reason(core, gang, REASON_UNSUPPORTED,
                     "not supported: nothing is planned on a cluster of %zu nodes with %u levels and %u "
                     "domains; expected at most %d nodes, %d levels and %d domains",
                     core->cluster.nnodes, core->cluster.nlevels, core->cluster.ndomains, PLAN_NODES_MAX,
                     PLAN_LEVELS_MAX, PLAN_NODES_MAX * PLAN_LEVELS_MAX);
}

static bool try_plan(struct core *core, struct gang *gang)
{
    struct plan_shortage shortage = {0};
    struct plan plan = {0};
    struct plan_request request;
    struct room_count count;
    int r;

    forget_exclusions(core, gang);
    gang->requests = gang->members[0]->requests;
    if (core__is_mixed(gang)) {
        if (!(core__has_subgroups(gang) ? core__try_subgroups(core, gang) : core__try_parts(core, gang)))
            return false;
        start_planned(core, gang);
        return true;
    }
    request = core__request(gang, gang->size);
    r = core__plan(core, gang, gang->members[0], &request, &plan, &shortage, &count);
    if (r == 0)
        r = take_plan(core, gang, &plan);
    else if (r == -ENOSPC)
        set_shortage(core, gang, &shortage, &count);
    else if (r == -EINVAL)
        core__tell_limits(core, gang);
    if (r < 0)
        return false;
    start_planned(core, gang);
    return true;
}

/* ---- the queue -------------------------------------------------------------------------------- */

/* Its PodGroup, its Job or the levels say something else than when it was last tried. */
static bool wish_changed(const struct gang *gang)
{
    const struct tried_wish *tried = &gang->tried_wish;

    return gang->min != tried->min || gang->size != tried->size ||
           gang->required_level != tried->required_level ||
           gang->preferred_level != tried->preferred_level;
}

/* Members or wishes changed, or a backoff or an exclusion ran out: worth another try without new room. */
static bool wait_is_over(const struct core *core, const struct gang *gang)
{
    for (size_t i = 0; i < gang->nexcluded; i++)
        if (gang->excluded[i].until_ns <= core->now_ns)
            return true;
    if (gang->changes != gang->tried_changes || wish_changed(gang) ||
        (gang->preempt_owed && gang->preempt_after_ns <= core->now_ns))
        return true;
    return gang->not_before_ns > 0 && gang->not_before_ns <= core->now_ns;
}

/* Each look at the gang forgets when it was to be woken. */
static void wake_when_over(struct core *core, struct gang *gang)
{
    for (size_t i = 0; i < gang->nexcluded; i++)
        core__wake_at(core, gang, gang->excluded[i].until_ns);
    if (gang->not_before_ns > core->now_ns)
        core__wake_at(core, gang, gang->not_before_ns);
    if (gang->preempt_owed)
        core__wake_at(core, gang, gang->preempt_after_ns);
    core__wake_for_head(core, gang);
}

void core__queue(struct core *core, struct gang *gang)
{
    if (gang->ready) {
        wake_when_over(core, gang);
        if (wait_is_over(core, gang)) {
            if (gang->not_before_ns <= core->now_ns)
                gang->not_before_ns = 0;
            gang->tried_version = 0;
            core->ready_changed = true;
        }
        if (core__head_due_ns(core, gang) <= core->now_ns)
            core->ready_changed = true; /* no try, but what frees up may be kept for it now */
        return;
    }
    if (gang_list_add(&core->ready, gang) == 0) {
        gang->ready = true;
        gang->tried_version = 0;
        core->ready_changed = true;
    }
}

void core__unqueue(struct core *core, struct gang *gang)
{
    if (!gang->ready)
        return;
    gang->ready = false;
    gang_list_remove(&core->ready, gang);
}

/* Priority, then creation, then name. */
int core__compare_turn(const void *a, const void *b)
{
    const struct gang *left = *(struct gang *const *)a, *right = *(struct gang *const *)b;

    if (left->priority != right->priority)
        return left->priority > right->priority ? -1 : 1;
    if (left->created_s != right->created_s)
        return left->created_s < right->created_s ? -1 : 1;
    return strcmp(left->key, right->key);
}

static void try_turn(struct core *core, struct gang *gang)
{
    if (gang->tried_version == core->cluster.capacity_version ||
        (MUTANT(ROOM_UNNOTICED) && gang->tried_version))
        return;
    if (gang->not_before_ns > core->now_ns) {
        core__wake_at(core, gang, gang->not_before_ns);
        return;
    }
    gang->tried_version = core->cluster.capacity_version;
    gang->tried_changes = gang->changes;
    gang->tried_wish = (struct tried_wish){gang->min, gang->size, gang->required_level,
                                           gang->preferred_level};
    gang->too_large = false;
    if (try_plan(core, gang)) {
        gang->ready = false;
        return;
    }
    core__set_state(core, gang, GANG_WAITING);
    if (gang->nexcluded > 0)
        core__wake_at(core, gang, core->now_ns + EXCLUSION_NS);
    core__preempt(core, gang);
}

/* A new leader completes what was Binding before it plans anything of its own. */
static bool still_finishing(struct core *core)
{
    if (!core->finishing)
        return false;
    for (size_t i = 0; i < core->all.n; i++)
        if (core->all.items[i]->state == GANG_BINDING)
            return true;
    core->finishing = false;
    core->ready_changed = true;
    return false;
}

void core__plan_ready(struct core *core)
{
    size_t kept = 0;

    core__check_head(core);
    if (still_finishing(core) || core__in_doubt(core) ||
        (!core->ready_changed && core->planned_version == core->cluster.capacity_version))
        return;
    if (core__refresh_levels(core))
        return; /* the next round plans, when all wishes are read by the new levels */
    if (core->ready.n > 1)
        qsort(core->ready.items, core->ready.n, sizeof(struct gang *), core__compare_turn);
    core__choose_head(core); /* where the last one has left: those behind the next do not pass it now */
    for (size_t i = 0; i < core->ready.n; i++)
        try_turn(core, core->ready.items[i]);
    for (size_t i = 0; i < core->ready.n; i++)
        if (core->ready.items[i]->ready)
            core->ready.items[kept++] = core->ready.items[i];
    core->ready.n = kept;
    core->ready_changed = false;
    core->planned_version = core->cluster.capacity_version;
    core__check_head(core);
    core__choose_head(core);
}

void core__plan_changed(struct gang *gang)
{
    gang->plan_version++;
    gang->persisted = false;
    gang->record.dirty = true;
}

/* ---- giving up a plan -------------------------------------------------------------------------- */

/* What the mutant does that waits and holds. */
static void keep_first_slot(struct gang *gang)
{
    enum slot_state state = gang->slots[0].state;

    gang_drop_slots(gang);
    gang->nslots = gang->in_state[state] = 1;
}

void core__release_plan(struct core *core, struct gang *gang, const char *why)
{
    for (uint32_t i = MUTANT(WAITS_HOLDING); i < gang->nslots; i++)
        core__vacate(core, gang, &gang->slots[i], why);
    if (MUTANT(WAITS_HOLDING) && gang->nslots > 0)
        keep_first_slot(gang);
    else
        gang_drop_slots(gang);
    core__end_probe(core, gang);
    gang->persisted = gang->early = false;
    gang->deadline_ns = INT64_MAX;
    core__set_state(core, gang, GANG_FORMING);
    core__touch(core, gang);
}

/* ---- wake and steer ----------------------------------------------------------------------------- */

/*
 * On large clusters a nomination before kube-scheduler's first look pays: it goes straight to that node, where
 * a scan of 5,000 nodes takes it 20 to 30 ms a pod (of 500: 3 ms, as much as the write costs the API server).
 * The first few are mostly scanned before the write could arrive; filter keeps the first until the others have theirs.
 */
static bool steer(const struct core *core, struct gang *gang, struct slot *slot)
{
    if (core->cluster.nnodes < STEER_NODES || slot->unsteered)
        return false;
    if (gang->unsteered == UNSTEERED_MAX)
        return true;
    gang->unsteered++;
    slot->unsteered = true;
    return false;
}

/* A pod that was refused sleeps in kube-scheduler's queue: the write wakes it. Others come by themselves. */
void core__nominate(struct core *core, struct gang *gang, uint32_t index)
{
    struct slot *slot = &gang->slots[index];
    struct action *action;

    if (slot->state != SLOT_TAKEN || !slot->pod || slot->nominated)
        return;
    if (!slot->pod->refused && !steer(core, gang, slot))
        return;
    action = core__act(core, ACT_NOMINATE);
    if (!action)
        return;
    core__act_on_pod(action, slot->pod->object, slot->node->name);
    action->ticket = ++core->next_ticket;
    slot->nominated = slot->steering = true;
    slot->pod->refused = false;
}
