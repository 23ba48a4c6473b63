/*
 * What would have to be otherwise so that a waiting gang fits: each answer was planned before it is given.
 *
 * The cluster is asked as it is now, for this gang alone: what gangs before it in the line would take is not
 * reckoned with, what is kept for the head of the line is. Pods are taken out of the nodes' counts and stand
 * there again before anybody else looks.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_leave.h"

struct question {
    struct core *core;
    struct gang *gang;
    struct why *why;
};

const char *why_change_name(enum why_change change)
{
    static const char *const names[WHY_CHANGES] = {"head", "level", "preferred", "pods", "leave",
                                                  "empty"};

    return change < WHY_CHANGES ? names[change] : "";
}

void why_release(struct why *why)
{
    for (size_t i = 0; i < why->nleavers; i++) {
        free(why->leavers[i].name);
        free(why->leavers[i].uid);
    }
    free(why->leavers);
    *why = (struct why){0};
}

/*
 * 0: it would be planned so; -ENOSPC: it could not; others: nobody knows, as enough was planned for this question,
 * or unlike pods have more combinations than are tried. Those are asked for all together.
 */
static int ask(struct question *question, uint32_t pods, int required_level,
               struct plan_shortage *ret_shortage)
{
    struct core *core = question->core;
    struct gang *gang = question->gang;
    struct plan_request request = core__request(gang, pods);

    if (question->why->plans == WHY_PLANS_MAX)
        return -EBUSY;
    question->why->plans++;
    if (core__is_mixed(gang))
        return core__parts_fit(core, gang, required_level);
    request.min_pods = 0; /* so many, and not some of them */
    request.required_level = required_level;
    return core__fit(core, gang, gang->members[0], &request, ret_shortage);
}

static bool fits(struct question *question, uint32_t pods, int required_level)
{
    struct plan_shortage unused;

    return ask(question, pods, required_level, &unused) == 0;
}

static struct counterfactual *add(struct question *question, enum why_change change)
{
    struct counterfactual *item = &question->why->items[question->why->n++];

    *item = (struct counterfactual){.change = change, .fits = true, .level = -1};
    return item;
}

/* ---- what the gang itself could ask otherwise -------------------------------------------------------- */

static void ask_levels(struct question *question)
{
    const struct gang *gang = question->gang;
    struct counterfactual *item;
    int level = gang->required_level - 1;

    if (gang->required_level < 0)
        return;
    while (level >= 0 && !fits(question, core__needed(gang), level))
        level--;
    if (level >= 0) {
        item = add(question, WHY_LEVEL);
        item->level = level;
        snprintf(item->text, sizeof(item->text), "fits with required=%s instead of required=%s",
                 core_level_name(question->core, level),
                 core_level_name(question->core, gang->required_level));
    }
    if (!fits(question, core__needed(gang), -1))
        return;
    item = add(question, WHY_PREFERRED);
    item->level = gang->required_level;
    snprintf(item->text, sizeof(item->text), "fits with preferred=%s instead of required=%s",
             core_level_name(question->core, item->level),
             core_level_name(question->core, item->level));
}

/* The largest that fits, between low (fits; 0: nobody knows) and high (does not). */
static uint32_t largest_between(struct question *question, uint32_t low, uint32_t high)
{
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (fits(question, middle, question->gang->required_level))
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The planner's own number is tried first: two plans mostly show that it is right. */
static void ask_pods(struct question *question, uint32_t guess)
{
    const struct gang *gang = question->gang;
    struct counterfactual *item;
    uint32_t most;

    if (guess >= core__needed(gang))
        guess = core__needed(gang) - 1;
    if (guess == 0)
        return;
    if (!fits(question, guess, gang->required_level))
        most = largest_between(question, 0, guess);
    else if (guess + 1 == core__needed(gang) || !fits(question, guess + 1, gang->required_level))
        most = guess;
    else
        most = largest_between(question, guess + 1, core__needed(gang));
    if (most == 0)
        return;
    item = add(question, WHY_PODS);
    item->pods = most;
    snprintf(item->text, sizeof(item->text), "fits with %u pod%s instead of %u", most,
             most == 1 ? "" : "s", core__needed(gang));
}

/* ---- who could leave --------------------------------------------------------------------------------- */

static int list_leavers(struct why *why, const struct leave *leave)
{
    why->leavers = calloc(leave->nbest, sizeof(*why->leavers));
    for (uint32_t i = 0; why->leavers && i < leave->nbest; i++) {
        const struct leaver *leaver = &leave->leavers[leave->best[i]];
        struct why_leaver *named = &why->leavers[why->nleavers++];

        *named = (struct why_leaver){.uid = strdup(leaver->uid), .is_gang = leaver->gang != NULL,
                                     .pods = leaver->pods};
        if (asprintf(&named->name, "%s/%s", leaver->ns, leaver->name) < 0)
            named->name = NULL;
        if (!named->uid || !named->name)
            return -ENOMEM;
    }
    return why->leavers ? 0 : -ENOMEM;
}

static void add_text(struct counterfactual *item, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add_text(struct counterfactual *item, const char *format, ...)
{
    size_t len = strlen(item->text);
    va_list args;

    va_start(args, format);
    vsnprintf(item->text + len, sizeof(item->text) - len, format, args);
    va_end(args);
}

static void tell_leavers(struct counterfactual *item, const struct why *why)
{
    uint32_t alone = 0;

    for (size_t i = 0; i < why->nleavers; i++) {
        item->pods += why->leavers[i].pods;
        item->gangs += why->leavers[i].is_gang;
        alone += !why->leavers[i].is_gang;
    }
    add_text(item, "fits if");
    if (alone > 0)
        add_text(item, " %u pod%s", alone, alone == 1 ? "" : "s");
    if (item->gangs > 0)
        add_text(item, "%s %u gang%s of %u pod%s", alone ? " and" : "", item->gangs,
                 item->gangs == 1 ? "" : "s", item->pods - alone,
                 item->pods - alone == 1 ? "" : "s");
    add_text(item, " left:");
    for (size_t i = 0; i < why->nleavers && i < WHY_NAMED; i++)
        add_text(item, "%s%s %s", i ? "," : "", why->leavers[i].is_gang ? " gang" : "",
                 why->leavers[i].name);
    if (why->nleavers > WHY_NAMED)
        add_text(item, " and %zu more", why->nleavers - WHY_NAMED);
}

/*
 * Of unlike pods only plans tell who is in the way. All are out; [from, to) stay if the gang fits beside them,
 * else halves of them: v leavers of n cost some v log n plans. False: those that are left did not suffice.
 */
static bool spare(struct question *question, struct leave *leave, uint32_t from, uint32_t to)
{
    uint32_t middle = from + (to - from) / 2;
    struct plan_shortage unused;
    int r;

    if (from == to)
        return true;
    for (uint32_t i = from; i < to; i++)
        leave_put(leave, leave->best[i], false);
    r = ask(question, core__needed(question->gang), question->gang->required_level, &unused);
    for (uint32_t i = from; i < to && r != 0; i++)
        leave_put(leave, leave->best[i], true);
    if (r == 0 || (r == -ENOSPC && to - from == 1))
        return true;
    return r == -ENOSPC && spare(question, leave, from, middle) &&
           spare(question, leave, middle, to);
}

/* Gangs are spared before pods. */
static bool search_by_plans(struct question *question, struct leave *leave)
{
    uint32_t n = 0;
    bool found;

    for (uint32_t i = 0; i < leave->nleavers; i++)
        if (leave->leavers[i].gang)
            leave->best[n++] = i;
    for (uint32_t i = 0; i < leave->nleavers; i++)
        if (!leave->leavers[i].gang)
            leave->best[n++] = i;
    leave_put_all(leave);
    found = spare(question, leave, 0, n);
    leave->nbest = 0;
    for (uint32_t i = 0; i < leave->nleavers; i++)
        if (leave->leavers[i].out)
            leave->best[leave->nbest++] = i;
    leave_put_back(leave);
    return found && leave->nbest > 0;
}

static void ask_leavers(struct question *question, struct leave *leave)
{
    struct gang *gang = question->gang;

    if (core__is_mixed(gang) ? !search_by_plans(question, leave) : !leave_search(leave))
        return;
    leave_put_best(leave);
    if (fits(question, core__needed(gang), gang->required_level) && list_leavers(question->why, leave) == 0)
        tell_leavers(add(question, WHY_LEAVE), question->why);
    leave_put_back(leave);
}

/* Nobody waits before it: what is kept for the head of the line counts as any other node. */
static int ask_without_head(struct question *question)
{
    struct gang *head = question->core->head;
    struct plan_shortage unused;
    int r;

    question->core->head = NULL;
    r = ask(question, core__needed(question->gang), question->gang->required_level, &unused);
    question->core->head = head;
    return r;
}

static int ask_head(struct question *question)
{
    const struct gang *head = question->core->head;
    int r = ask_without_head(question);
    struct counterfactual *item;

    if (r != 0 && r != -ENOSPC)
        return 0; /* nobody knows */
    item = add(question, WHY_HEAD);
    item->fits = r == 0;
    snprintf(item->text, sizeof(item->text), "%s if gang %s/%s did not wait before it",
             r == 0 ? "fits" : "would not fit now even", head->ns, head->name);
    return 0;
}

static int ask_emptied(struct question *question, struct leave *leave)
{
    int r;

    leave_put_all(leave);
    r = ask_without_head(question);
    leave_put_back(leave);
    return r;
}

static void tell_empty(struct question *question, bool would)
{
    struct counterfactual *item = add(question, WHY_EMPTY);

    item->fits = would;
    snprintf(item->text, sizeof(item->text), "%s",
             would ? "fits on the empty cluster" : "would not fit on the empty cluster either");
}

/* ---- all ---------------------------------------------------------------------------------------------- */

/*
 * That it never fits is told first: what others do is no help then. Of unlike pods no number tells which of
 * them would fit.
 */
static int ask_all(struct question *question, uint32_t fit)
{
    bool alike = !core__is_mixed(question->gang);
    struct leave leave;
    int emptied, r = leave_open(question->core, question->gang, &leave);

    if (r < 0)
        return r;
    emptied = ask_emptied(question, &leave);
    if (emptied == -ENOSPC)
        tell_empty(question, false);
    ask_levels(question);
    if (alike)
        ask_pods(question, fit);
    if (emptied == 0)
        ask_leavers(question, &leave);
    if (emptied == 0)
        tell_empty(question, true);
    leave_close(&leave);
    return 0;
}

bool core__waits_for_room(const struct gang *gang)
{
    return gang->state == GANG_WAITING && gang->nmembers > 0 &&
           (gang->reason.code == REASON_INSUFFICIENT || gang->reason.code == REASON_NO_DOMAIN_FITS ||
            gang->reason.code == REASON_HEAD_OF_LINE);
}

int core_why(struct core *core, const struct gang *of, struct why *ret)
{
    struct gang *gang = hashmap_get(&core->gangs, of->key);
    struct question question = {core, gang, ret};
    struct plan_shortage shortage = {0};
    struct resources requests;
    int r;

    *ret = (struct why){0};
    if (!gang || !core__waits_for_room(gang))
        return 0;
    requests = gang->requests;
    gang->requests = gang->members[0]->requests;
    r = ask(&question, core__needed(gang), gang->required_level, &shortage);
    if (r == -ENOSPC && core->head && gang->reason.code == REASON_HEAD_OF_LINE)
        r = ask_head(&question);
    else if (r == -ENOSPC || r == -EAGAIN) /* 0: room has come that it was not tried on yet */
        r = ask_all(&question, shortage.fits);
    gang->requests = requests;
    if (r < 0)
        why_release(ret);
    return r;
}

/* ---- told with the reason ---------------------------------------------------------------------------- */

#define AGAIN_NS (30 * NS_PER_S) /* of one gang, while its reason's numbers change */
/* Of all gangs: some 50 ms for 5,000 nodes and as many pods, and ten times as long for others who want the lock. */
#define NODE_NS (NS_PER_MS / 10)
#define POD_NS (NS_PER_MS / 50)

void core__forget_would_fit(struct gang *gang)
{
    for (size_t i = 0; i < GANG_WOULD_FIT; i++) {
        free(gang->would_fit[i]);
        gang->would_fit[i] = NULL;
    }
    gang->would_fit_stale = false;
}

static int64_t due_ns(const struct core *core, const struct gang *gang)
{
    int64_t due = gang->reason_text_ns + TELL_AFTER_NS;

    if (gang->would_fit_ns && gang->would_fit_ns + AGAIN_NS > due)
        due = gang->would_fit_ns + AGAIN_NS;
    return due > core->why_due_ns ? due : core->why_due_ns;
}

/* Its numbers may be the same, and yet other pods are in the way by now. */
void core__tried_in_vain(struct core *core, struct gang *gang)
{
    gang->would_fit_stale = gang->would_fit[0] != NULL;
    if (gang->would_fit_stale && due_ns(core, gang) <= core->now_ns)
        core__touch(core, gang);
    else if (gang->would_fit_stale)
        core__wake_at(core, gang, due_ns(core, gang));
}

/* True: it is another answer than the one that was told. */
static bool keep_answer(struct gang *gang, const struct why *why)
{
    bool changed = false;

    for (size_t i = 0; i < GANG_WOULD_FIT; i++) {
        const char *text = i < why->n ? why->items[i].text : NULL;

        if (!text && !gang->would_fit[i])
            continue;
        if (text && gang->would_fit[i] && strcmp(text, gang->would_fit[i]) == 0)
            continue;
        free(gang->would_fit[i]);
        gang->would_fit[i] = text ? strdup(text) : NULL;
        changed = true;
    }
    gang->would_fit_stale = false;
    return changed;
}

void core__ask_why(struct core *core, struct gang *gang)
{
    struct why why;

    if (!core__waits_for_room(gang) || (gang->would_fit[0] && !gang->would_fit_stale))
        return;
    if (due_ns(core, gang) > core->now_ns) {
        core__wake_at(core, gang, due_ns(core, gang));
        return;
    }
    gang->would_fit_ns = core->now_ns;
    core->why_due_ns = core->now_ns + (int64_t)core->cluster.nnodes * NODE_NS +
                       (int64_t)core->cluster.pods_by_uid.n * POD_NS;
    if (core_why(core, gang, &why) < 0)
        return;
    if (keep_answer(gang, &why)) {
        gang->record.dirty = true;
        core__touch(core, gang);
    }
    why_release(&why);
}

/* ---- of a gang that has places ----------------------------------------------------------------------- */

static void count_out(struct cluster *cluster, struct node *node, struct resources *sum,
                      const struct resources *amount, uint32_t *set, uint32_t gpus, bool out)
{
    if (out) {
        resources_sub(sum, amount);
        *set &= ~gpus;
    } else {
        resources_add(sum, amount);
        *set |= gpus;
    }
    cluster_log_node(cluster, node);
}

static void take_gang_out(struct cluster *cluster, struct gang *gang, bool out)
{
    for (size_t i = 0; i < gang->nmembers; i++) {
        struct pod *pod = gang->members[i];

        if (pod->node)
            count_out(cluster, pod->node, &pod->node->used, &pod->requests, &pod->node->gpus_used,
                      pod->gpus, out);
    }
    for (uint32_t i = 0; i < gang->nslots; i++) {
        struct slot *slot = &gang->slots[i];

        if (slot->held)
            count_out(cluster, slot->node, &slot->node->held, &slot->hold, &slot->node->gpus_held,
                      slot->gpus, out);
    }
}

static int plan_anew(struct core *core, struct gang *gang, struct plan *ret_plan)
{
    struct plan_request request = core__request(gang, gang->nslots);
    struct plan_shortage shortage;
    struct room_count count;

    request.min_pods = 0;
    return core__plan(core, gang, gang->members[0], &request, ret_plan, &shortage, &count);
}

int core_certify(struct core *core, const struct gang *of,
                 struct plan_level_use ret_use[PLAN_LEVELS_MAX + 1])
{
    struct gang *gang = hashmap_get(&core->gangs, of->key);
    struct resources requests;
    struct plan plan = {0};
    int r;

    if (!gang || gang->nslots == 0 || gang->nmembers == 0 || core__is_mixed(gang))
        return -EINVAL;
    requests = gang->requests;
    gang->requests = gang->members[0]->requests;
    take_gang_out(&core->cluster, gang, true);
    r = plan_anew(core, gang, &plan);
    take_gang_out(&core->cluster, gang, false);
    gang->requests = requests;
    if (r == 0)
        memcpy(ret_use, plan.use, sizeof(plan.use));
    return r;
}
