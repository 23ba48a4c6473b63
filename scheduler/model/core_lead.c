/* Terms: when we may act, what a term begins with, and what is forgotten when it ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

void core_set_host(struct core *core, const char *host)
{
    snprintf(core->host, sizeof(core->host), "%s", host);
}

bool core_active(const struct core *core)
{
    return core->active;
}

static bool may_act(const struct core *core)
{
    if (MUTANT(LEASE_IGNORED) && core->active)
        return true;
    return !core->follows_lease || lease_may_write(&core->lease, core->now_ns);
}

uint64_t core_term(const struct core *core)
{
    return core->term;
}

int64_t core_write_until(const struct core *core)
{
    if (!core->active)
        return 0;
    return core->follows_lease ? core->lease.until_ns : INT64_MAX;
}

/* What was read before the term may be older than the last write of the former leader. */
static void begin_term(struct core *core)
{
    struct action *action;

    core->term++;
    core->term_ended = false;
    core->synced = MUTANT(NO_RELIST);
    action = core__act(core, ACT_RELIST);
    if (action)
        action->ticket = core->term;
}

/* Another leader may have changed everything: only what the API server has counts from here. */
static void forget_gang(struct core *core, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        core__vacate(core, gang, &gang->slots[i], "this lockstep does not lead any more");
    gang_drop_slots(gang);
    core__end_probe(core, gang);
    gang->state = GANG_FORMING;
    gang->deadline_ns = INT64_MAX;
    gang->wake_ns = INT64_MAX;
    gang->not_before_ns = 0;
    gang->failures = 0;
    gang->persisted = gang->adopted = gang->torn = gang->early = gang->ready = false;
    gang->reason = (struct reason){0};
    gang->line = (struct line){0};
    core__forget_written(gang);
    gang->record.former = gang->record.write != 0;
    gang->record.dirty = true;
}

void core_set_predecessor(struct core *core, int64_t now_ns)
{
    core->sent_until_ns = now_ns;
}

static bool waits_for_binding(const struct core *core, const struct pod *pod)
{
    /* Of a gang that is bound already, the place of a late member may have changed since it was stored. */
    bool planned = pod->gang && (pod->gang->state == GANG_BINDING || gang_bound(pod->gang) == 0);

    return !planned && !pod->object->node[0] && pod->object->phase == POD_PENDING &&
           strcmp(pod->object->scheduler, core->config->scheduler_name) == 0;
}

/* A plan that is being bound, and a place of it is taken: one of two stored plans had been given up already. */
static bool plans_collide(const struct core *core)
{
    for (size_t i = 0; i < core->all.n; i++) {
        const struct gang *gang = core->all.items[i];

        for (size_t k = 0; k < gang->nmembers && gang->state == GANG_BINDING; k++)
            if (gang->members[k]->slot < 0)
                return true;
    }
    return false;
}

/*
 * Only a pod that is unbound and in no stored plan can have a binding on its way that nobody knows; but where
 * plans collide, it is not known which of them that binding was for.
 */
static bool may_doubt(const struct core *core)
{
    struct hashmap_iter iter = {0};
    const char *key;
    void *value;

    while (hashmap_next(&core->cluster.pods_by_uid, &iter, &key, &value))
        if (waits_for_binding(core, value))
            return true;
    return plans_collide(core);
}

static void begin_doubt(struct core *core)
{
    core->doubt_until_ns = core->sent_until_ns > 0 && may_doubt(core) ? core->sent_until_ns + LEASE_WRITE_NS
                                                                      : 0;
}

bool core__in_doubt(struct core *core)
{
    if (core->doubt_until_ns == 0)
        return false;
    if (core->now_ns >= core->doubt_until_ns) {
        core->doubt_until_ns = 0;
        core->ready_changed = true;
        return false;
    }
    if (core->doubt_until_ns < core->next_wake_ns)
        core->next_wake_ns = core->doubt_until_ns;
    return true;
}

static void stand_down(struct core *core)
{
    if (core->nheld > 0)
        core->sent_until_ns = core->now_ns;
    core->active = core->synced = false;
    core__unreserve(core);
    core__forget_orphans(core);
    for (size_t i = 0; i < core->all.n; i++)
        forget_gang(core, core->all.items[i]);
    core->ready.n = 0;
    while (core->nheld > 0)
        core__release_hold(core, core->held[core->nheld - 1],
                           "this lockstep does not lead any more");
}

void core__on_lease(struct core *core, const struct obj_lease *lease, int64_t wall_ns)
{
    bool was_ours = core->lease.ours;
    int64_t acquired = core->lease.acquired_ns;

    lease_see(&core->lease, core->host, lease, wall_ns, core->now_ns);
    if (core->active && !may_act(core)) {
        stand_down(core);
        core->term_ended = core->lease.ours; /* seen too late: the next renewal begins anew */
    }
    if (core->lease.ours && !core->active && (!was_ours || core->lease.acquired_ns != acquired))
        begin_term(core);
}

void core__on_lease_gone(struct core *core)
{
    lease_gone(&core->lease);
    if (core->active)
        stand_down(core);
}

/* The renewal that was late: the same holder goes on, so the same term does, from the caches up. */
static void begin_again(struct core *core)
{
    if (core->lease.ours && core->lease.until_ns > core->now_ns && !core->synced &&
        core->term_ended) {
        core->term_ended = false;
        begin_term(core);
    }
}

void core__check_term(struct core *core)
{
    bool may = may_act(core);

    if (core->active && !may) {
        stand_down(core);
        core->term_ended = true;
    }
    begin_again(core);
    if (!may || !core->synced || core->active)
        return;
    core->active = core->finishing = true;
    core->term_ended = false;
    core__refresh_levels(core);
    core__adopt(core);
    begin_doubt(core);
}

int64_t core__term_deadline(const struct core *core)
{
    if (!core->follows_lease || !core->lease.ours)
        return INT64_MAX;
    if (core->active)
        return core->lease.until_ns;
    return core->synced && core->lease.from_ns > core->now_ns ? core->lease.from_ns : INT64_MAX;
}
