/*
 * The head of the line: for whom room is kept when not all fit.
 *
 * Smaller gangs pass one that does not fit (backfill). After headOfLineAfter the first in order becomes the
 * head: it is planned on the cluster as if nothing ran there, and what frees up on the nodes of that plan
 * goes to nobody behind it. The others still pass it on all other nodes, and it may wait for the last of its
 * own for long: when it has been the head for another headOfLineAfter, or has waited for WAITED_LONG of them
 * (others were head before it), it keeps every node that it could use, so that it starts where room comes
 * first. Not stopped are those before it in order, who goes to nodes that it could not use, and what a gang
 * that has started lacks: one that cannot go on does not end, and would keep its room from the head.
 *
 * One head at a time. A gang that would not fit on the empty cluster never is one, so that nothing is kept
 * for what cannot be. Nor is the cluster kept for ever for one that waits for what never ends: when it has
 * come no nearer for PATIENCE times headOfLineAfter, the nodes of its plan are what is kept, until more of its
 * pods fit than ever.
 */
#include <stdio.h>

#include "scheduler/model/core_internal.h"

/*
 * In headOfLineAfter. On the simulated traces of the README the longest wait is 10 to 40 % longer without
 * WAITED_LONG, as each head in turn begins by letting others pass; with less of it the mean comes near that
 * of stopping all others at once, and the longest wait is hardly shorter (4: 3 % on the first). It was chosen on
 * these three traces; of three others (seeds 4 to 6) two have a shorter longest wait than best-fit, one a longer.
 */
#define WAITED_LONG 5
#define PATIENCE 6

/* ---- what is kept ------------------------------------------------------------------------------- */

void core__unreserve(struct core *core)
{
    if (!core->head)
        return;
    for (size_t i = 0; i < core->cluster.nnodes; i++)
        core->cluster.nodes[i]->reserved_for = NULL;
    core->head = NULL;
    core->head_preempts = core->head_keeps_all = false;
    core->cluster.capacity_version++; /* for the others it has grown */
}

static void keep_node(struct core *core, struct node *node, bool beside)
{
    node->reserved_for = core->head;
    node->reserved_ns = core->now_ns;
    node->reserved_beside = beside;
}

void core__reserve(struct core *core, struct gang *gang, const struct plan *plan)
{
    core__unreserve(core);
    core->head = gang;
    core->head_since_ns = core->now_ns;
    core->head_until_ns = INT64_MAX;
    for (uint32_t i = 0; i < plan->nshares; i++)
        keep_node(core, core->cluster.nodes[plan->shares[i].node], false);
}

/* Beside the nodes of its plan: all that it could use, and none that it no longer could. */
static void keep_beside(struct core *core, bool all)
{
    bool changed = all != core->head_keeps_all;

    for (size_t i = 0; i < core->cluster.nnodes; i++) {
        struct node *node = core->cluster.nodes[i];
        bool usable = all && core__could_use(core, core->head, node);

        if (!node->reserved_for && usable) {
            keep_node(core, node, true);
            changed = true;
        } else if (node->reserved_for && node->reserved_beside && !usable) {
            node->reserved_for = NULL;
            changed = true;
        }
    }
    core->head_keeps_all = all;
    core->cluster.capacity_version += changed; /* tried again: there is more, or the reason is another */
}

void core__kept_text(const struct core *core, const struct room_count *count, char ret[KEPT_TEXT])
{
    const struct gang *head = core->head;
    char since[TIME_TEXT];

    ret[0] = '\0';
    if (count->kept == 0)
        return;
    core__time_text(since, core->epoch_s + (head->line.since_ns ? head->line.since_ns
                                                                 : core->head_since_ns) / NS_PER_S);
    snprintf(ret, KEPT_TEXT, "%s%u matching nodes are kept for gang %.63s/%.100s, %s since %s",
             count->matching == 0 ? "all " : "", count->kept, head->ns, head->name,
             core->head_preempts ? "for which others are evicted" : "head of the line", since);
}

/* ---- who is the head ------------------------------------------------------------------------------ */

/* The plan of the gang, were the cluster emptied of all that runs: 0, or there is none. */
static int plan_emptied(struct core *core, struct gang *gang, struct plan *ret_plan)
{
    struct plan_request request = core__request(gang, gang->size);

    return core__plan_emptied(core, gang, &request, ret_plan);
}

static void make_head(struct core *core, struct gang *gang)
{
    struct plan plan = {0};

    gang->too_large = plan_emptied(core, gang, &plan) < 0;
    if (gang->too_large)
        return;
    core__reserve(core, gang, &plan);
    if (gang->line.since_ns == 0)
        gang->line = (struct line){.since_ns = core->now_ns, .nearer_ns = core->now_ns};
}

static bool nodes_left(const struct core *core, const struct gang *head)
{
    const struct pod_shape *shape = &head->members[0]->object->shape;

    for (size_t i = 0; i < core->cluster.nnodes; i++)
        if (core->cluster.nodes[i]->reserved_for == head && !core->cluster.nodes[i]->reserved_beside &&
            !node_admits(core->cluster.nodes[i], shape))
            return false;
    return true;
}

static int64_t line_since_ns(const struct core *core, const struct gang *gang)
{
    return (gang->newest_s - core->epoch_s) * NS_PER_S;
}

/* From when on the head keeps all that it could use; INT64_MAX: there is none. */
static int64_t keeps_from_ns(const struct core *core)
{
    const struct gang *head = core->head;
    int64_t headed_ns, waited_ns;

    if (!head)
        return INT64_MAX;
    headed_ns = head->line.since_ns + core->config->head_of_line_ns;
    waited_ns = line_since_ns(core, head) + WAITED_LONG * core->config->head_of_line_ns;
    return headed_ns < waited_ns ? headed_ns : waited_ns;
}

/* Until when, if it comes no nearer. */
static int64_t keeps_until_ns(const struct core *core)
{
    return core->head->line.nearer_ns + PATIENCE * core->config->head_of_line_ns;
}

bool core__keeps_all(const struct core *core)
{
    return !core->head_preempts && core->head->line.since_ns && core->now_ns >= keeps_from_ns(core) &&
           core->now_ns < keeps_until_ns(core);
}

static void keep_in_step(struct core *core)
{
    struct gang *head = core->head;
    bool all;

    if (head->line.since_ns && head->reason.fit > head->line.fit) {
        head->line.fit = head->reason.fit;
        head->line.nearer_ns = core->now_ns;
    }
    all = core__keeps_all(core) && !MUTANT(LINE_PASSED);
    if (all != core->head_keeps_all ||
        (all && (core->nodes_changed || head->changes != head->line.changes)))
        keep_beside(core, all);
    head->line.changes = head->changes;
    core__wake_for_head(core, head);
}

void core__wake_for_head(struct core *core, struct gang *gang)
{
    int64_t due_ns = core->head != gang                      ? core__head_due_ns(core, gang)
                     : core->now_ns < keeps_from_ns(core) ? keeps_from_ns(core)
                                                             : keeps_until_ns(core);

    if (due_ns > core->now_ns && due_ns < INT64_MAX)
        core__wake_at(core, gang, due_ns);
}

void core__check_head(struct core *core)
{
    struct gang *head = core->head;

    if (!head)
        return;
    if (!head->ready || head->nmembers < head->min) {
        head->line = (struct line){0};
        core__unreserve(core);
    } else if (core->now_ns >= core->head_until_ns) {
        core__unreserve(core);
    } else if (core->nodes_changed && !nodes_left(core, head)) {
        bool preempts = core->head_preempts;

        core__unreserve(core);
        if (!preempts) /* before anybody behind it is planned */
            make_head(core, head);
    }
    if (core->head)
        keep_in_step(core);
}

bool core__lacks_room(const struct gang *gang)
{
    return core__waits_for_room(gang) && gang->nmembers >= gang->min;
}

int64_t core__head_due_ns(const struct core *core, const struct gang *gang)
{
    if (core->head || core->epoch_s == 0 || gang->too_large || !core__lacks_room(gang))
        return INT64_MAX;
    return line_since_ns(core, gang) + core->config->head_of_line_ns;
}

void core__choose_head(struct core *core)
{
    for (size_t i = 0; i < core->ready.n && !core->head; i++) {
        struct gang *gang = core->ready.items[i];
        int64_t due_ns = core__head_due_ns(core, gang);

        if (due_ns <= core->now_ns)
            make_head(core, gang);
        else
            core__wake_for_head(core, gang);
    }
    if (core->head)
        keep_in_step(core);
}
