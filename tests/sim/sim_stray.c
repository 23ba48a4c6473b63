/*
 * What nobody waits for any more, or never asked: answers of writes that are long given up, calls and
 * observations of a kube-scheduler that has moved on, objects told again, GangPlacements deleted by
 * hand. Whatever state a gang is in must bear all of them, so the gang is drawn by its state: rare
 * states are met as often as others.
 */
#include <stdio.h>

#include "scheduler/model/gang.h"
#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

struct stray {
    int replica, job;
    struct sim_pod *pod; /* a member of its gang */
    const struct gang *gang;
};

static struct sim_pod *member_of(struct sim *sim, int job)
{
    unsigned from = sim_random(sim, (unsigned)sim->npods);

    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (pod->used && pod->job == job)
            return pod;
    }
    return NULL;
}

static bool choose(struct sim *sim, struct stray *ret)
{
    struct stray found[SIM_JOBS];
    /* Those that pass quickly or come late are drawn three times as often. */
    unsigned wanted = sim_random(sim, 5) > 1 ? sim_random(sim, GANG_STATES)
                                         : GANG_DONE + sim_random(sim, GANG_STATES - GANG_DONE);
    unsigned n = 0;

    ret->replica = sim_random(sim, 8) && sim->lease.holder >= 0 ? sim->lease.holder
                                                                : (int)sim_random(sim, REPLICAS);
    if (!sim_runs(sim, ret->replica))
        return false;
    for (unsigned i = 0; i < GANG_STATES && n == 0; i++)
        for (int job = 0; job < SIM_JOBS; job++) {
            struct sim_pod *pod = sim->jobs[job].used ? member_of(sim, job) : NULL;
            const struct gang *gang =
                pod ? core_gang_of(sim->replicas[ret->replica].core, pod->uid) : NULL;

            if (gang && gang->state == (wanted + i) % GANG_STATES)
                found[n++] = (struct stray){ret->replica, job, pod, gang};
        }
    if (n == 0)
        return false;
    *ret = found[sim_random(sim, n)];
    return true;
}

static enum sim_fault fault_of(struct sim *sim, enum action_kind action, enum write_result result)
{
    if (result == WRITE_OK)
        return FAULT_NONE;
    if (result != WRITE_UNKNOWN)
        return FAULT_REFUSED;
    return action != ACT_READ_POD && sim_random(sim, 2) ? FAULT_LOST_APPLIED : FAULT_LOST_UNAPPLIED;
}

/* The answer of a write that was made long ago, perhaps in another state: its ticket is nobody's. */
static void old_answer(struct sim *sim, const struct stray *stray)
{
    static const enum action_kind actions[] = {ACT_BIND, ACT_NOMINATE, ACT_PLACEMENT, ACT_EVICT,
                                               ACT_READ_POD};
    static const enum write_result results[] = {WRITE_OK, WRITE_UNKNOWN, WRITE_CONFLICT,
                                                WRITE_FORBIDDEN};
    struct event event = {.kind = EV_WRITE_DONE, .ticket = UINT64_MAX};

    event.action = actions[sim_random(sim, 5)];
    event.result = results[sim_random(sim, 4)];
    snprintf(event.uid, sizeof(event.uid), "%s", stray->pod->uid);
    snprintf(event.ns_name, sizeof(event.ns_name), "%s", stray->gang->ns);
    snprintf(event.name, sizeof(event.name), "%s",
             event.action == ACT_PLACEMENT ? stray->gang->record.name : stray->pod->name);
    sim_deliver(sim, stray->replica, event, fault_of(sim, event.action, event.result));
}

/* A call that kube-scheduler has given up, or an observation that waited in our queue. */
static void old_call(struct sim *sim, const struct stray *stray)
{
    static const enum event_kind kinds[] = {EV_VOTE, EV_REFUSED, EV_MISSED};
    struct event event = {.kind = kinds[sim_random(sim, 3)], .ticket = ++sim->next_ticket};

    snprintf(event.uid, sizeof(event.uid), "%s", stray->pod->uid);
    snprintf(event.name, sizeof(event.name), "n%u", sim_random(sim, (unsigned)sim->nnodes));
    sim_deliver(sim, stray->replica, event, FAULT_NONE);
    if (event.kind != EV_VOTE || !sim_runs(sim, stray->replica))
        return;
    event.ticket = ++sim->next_ticket;
    sim_deliver(sim, stray->replica, event, FAULT_REPEATED);
}

/* Of this plan or a former one, whether it was asked for or not. */
static void probe_ends(struct sim *sim, const struct stray *stray)
{
    static const char *const verdicts[] = {"ok", "slow", "infrastructure", "skipped"};
    struct event event = {.kind = EV_PROBED,
                          .ticket = (uint64_t)stray->gang->generation - sim_random(sim, 4) / 3,
                          .busbw = (int64_t)sim_random(sim, 400) * 1000000000};

    snprintf(event.ns_name, sizeof(event.ns_name), "%s", stray->gang->ns);
    snprintf(event.name, sizeof(event.name), "%s", stray->gang->record.name);
    snprintf(event.uid, sizeof(event.uid), "%s", verdicts[sim_random(sim, 4)]);
    snprintf(event.text, sizeof(event.text), "it was measured");
    sim_deliver(sim, stray->replica, event, FAULT_NONE);
}

static void delete_record(struct sim *sim, const struct stray *stray)
{
    struct sim_record *record = sim_gang_record(sim, &sim->jobs[stray->job]);

    if (!record)
        return;
    record->used = false;
    sim_gone(sim, &record->seen);
}

void sim_stray(struct sim *sim)
{
    struct stray stray;

    if (!choose(sim, &stray))
        return;
    switch (sim_random(sim, sim->config.probe == PROBE_OFF ? 8 : 10)) {
    case 0:
        sim_deliver_of(sim, stray.replica, stray.job); /* what its watches have of it, or have again */
        break;
    case 1:
        delete_record(sim, &stray);
        break;
    case 2:
        sim_grow(sim, stray.job);
        if (sim_random(sim, 2))
            sim_deliver_of(sim, stray.replica, stray.job);
        break;
    case 3:
        if (sim_random(sim, 3) == 0)
            sim_delete_job(sim, stray.job);
        else if (sim_random(sim, 2))
            sim_orphan(sim, stray.job);
        if (sim_random(sim, 2)) /* before the gang is in another state */
            sim_deliver_of(sim, stray.replica, stray.job);
        break;
    case 4:
    case 5:
        old_call(sim, &stray);
        break;
    case 8:
    case 9:
        probe_ends(sim, &stray);
        break;
    default:
        old_answer(sim, &stray);
        break;
    }
}
