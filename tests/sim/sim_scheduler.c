/* kube-scheduler as far as it matters here: a queue that sleeps, filters, assumed pods, votes. */
#include <stdio.h>
#include <string.h>

#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

#define VOTE_TIMEOUT_NS (60 * SIM_SECOND)

/* What kube-scheduler believes: bound pods and, with votes, those it has assumed. */
int sim_node_use(const struct sim *sim, int node, bool with_votes)
{
    int used = 0;

    for (int i = 0; i < sim->npods; i++) {
        const struct sim_pod *pod = &sim->pods[i];

        if (!pod->used || pod->phase == POD_SUCCEEDED || pod->phase == POD_FAILED)
            continue;
        if (pod->node == node)
            used += pod->gpus;
        else if (with_votes && pod->node < 0 && pod->voting && pod->voted_node == node)
            used += pod->gpus;
    }
    return used;
}

static bool feasible(const struct sim *sim, const struct sim_pod *pod, int node)
{
    if (sim->lazy) /* one large gang on an empty cluster: nobody competes */
        return true;
    return sim->nodes[node].present && !sim->nodes[node].tainted &&
           sim_node_use(sim, node, true) + pod->gpus <= SIM_GPUS;
}

static void send_vote(struct sim *sim, struct sim_pod *pod, int replica, int node,
                      enum sim_fault fault)
{
    struct event event = {.kind = EV_VOTE, .ticket = ++sim->next_ticket};

    pod->voting = true;
    pod->voted_node = node;
    pod->ticket = event.ticket;
    pod->vote_until_ns = sim->now_ns + VOTE_TIMEOUT_NS;
    snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
    snprintf(event.name, sizeof(event.name), "n%d", node);
    sim_deliver(sim, replica, event, fault);
}

/* No node: the pod sleeps until something wakes it, and its nomination is taken back. */
static void fail_attempt(struct sim *sim, struct sim_pod *pod, int replica, enum event_kind observed)
{
    struct event event = {.kind = observed};

    pod->asleep = true;
    if (pod->nominated >= 0) {
        pod->nominated = -1;
        sim_changed(sim, &pod->seen);
    }
    if (observed == EV_TICK)
        return;
    snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
    sim_deliver(sim, replica, event, FAULT_NONE);
}

static int first_feasible(const struct sim *sim, const struct core *core, const struct sim_pod *pod)
{
    for (int node = 0; node < sim->nnodes; node++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "n%d", node);

        if (feasible(sim, pod, node) && core_node_fits(core, pod->uid, name, (size_t)len))
            return node;
    }
    return -1;
}

static bool any_feasible(const struct sim *sim, const struct sim_pod *pod)
{
    for (int node = 0; node < sim->nnodes; node++)
        if (feasible(sim, pod, node))
            return true;
    return false;
}

/* I8: the same question, the same answer. */
static struct answer ask(struct sim *sim, const struct core *core, const struct sim_pod *pod)
{
    struct answer first, second;

    core_answer(core, pod->uid, &first);
    core_answer(core, pod->uid, &second);
    if (first.kind != second.kind || first.node != second.node)
        sim_fail(sim, "I8: two answers for %s: %d and %d", pod->name, (int)first.kind,
                 (int)second.kind);
    return first;
}

static void attempt(struct sim *sim, struct sim_pod *pod, int replica)
{
    const struct core *core = sim->replicas[replica].core;
    struct answer answer;
    int node;

    if (!any_feasible(sim, pod)) { /* in-tree: the extender is not asked */
        fail_attempt(sim, pod, replica, EV_TICK);
        return;
    }
    answer = ask(sim, core, pod);
    if (answer.kind == ANSWER_UNKNOWN)
        return;
    if (answer.kind == ANSWER_WAIT) {
        fail_attempt(sim, pod, replica, EV_REFUSED);
        return;
    }
    if (answer.kind == ANSWER_ORDINARY)
        node = first_feasible(sim, core, pod);
    else if (sscanf(answer.node, "n%d", &node) != 1)
        sim_fail(sim, "planned on '%s'", answer.node);
    if (node < 0 || !feasible(sim, pod, node))
        fail_attempt(sim, pod, replica, answer.kind == ANSWER_PLANNED ? EV_MISSED : EV_TICK);
    else
        send_vote(sim, pod, replica, node, FAULT_NONE);
}

static int leading_scheduler(const struct sim *sim)
{
    int holder = sim->lease.holder;

    if (holder < 0 || !sim_runs(sim, holder) || sim->replicas[holder].scheduler_down ||
        sim->lease.identity != sim->identity_of[holder])
        return -1;
    return holder;
}

void sim_attempt(struct sim *sim)
{
    unsigned from = sim_random(sim, (unsigned)sim->npods);
    int replica = leading_scheduler(sim);

    for (int i = 0; i < sim->npods && replica >= 0; i++) {
        struct sim_pod *pod = &sim->pods[((int)from + i) % sim->npods];

        if (!pod->used || pod->foreign || pod->node >= 0 || pod->phase != POD_PENDING)
            continue;
        if (pod->voting) {
            if (!sim->calm && !sim->lazy && sim_random(sim, 40) == 0) { /* a second call for it */
                send_vote(sim, pod, replica, pod->voted_node, FAULT_REPEATED);
                return;
            }
            continue;
        }
        if (pod->asleep && sim_random(sim, 20)) /* now and then some event wakes everybody */
            continue;
        pod->asleep = false;
        attempt(sim, pod, replica);
        return;
    }
}

void sim_expire_votes(struct sim *sim)
{
    for (int i = 0; i < sim->npods; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (pod->used && pod->voting && pod->vote_until_ns < sim->now_ns)
            pod->voting = false; /* the client gave up; nobody tells us */
    }
}

void sim_forget_scheduler(struct sim *sim)
{
    for (int i = 0; i < sim->npods; i++)
        sim->pods[i].voting = sim->pods[i].asleep = false;
}
