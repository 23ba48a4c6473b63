/* kube-scheduler as far as it matters here: a queue that sleeps, filters, assumed pods, votes. */
#include <stdio.h>
#include <string.h>

#include "scheduler/model/objects.h"
#include "tests/sim/sim.h"

#define VOTE_TIMEOUT_NS INT64_C(60000000000)

/* What kube-scheduler believes: bound pods and, with votes, those it has assumed. */
int sim_node_use(const struct sim *sim, int node, bool with_votes)
{
    int used = 0;

    for (int i = 0; i < SIM_PODS; i++) {
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
    return sim->present[node] && !sim->tainted[node] &&
           sim_node_use(sim, node, true) + pod->gpus <= SIM_GPUS;
}

static void send_vote(struct sim *sim, struct sim_pod *pod, int node)
{
    struct event event = {.kind = EV_VOTE, .ticket = ++sim->next_ticket};

    pod->voting = true;
    pod->voted_node = node;
    pod->ticket = event.ticket;
    pod->vote_until_ns = sim->now_ns + VOTE_TIMEOUT_NS;
    snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
    snprintf(event.name, sizeof(event.name), "n%d", node);
    sim_deliver(sim, event);
}

/* No node: the pod sleeps until something wakes it, and its nomination is taken back. */
static void fail_attempt(struct sim *sim, struct sim_pod *pod, enum event_kind observed)
{
    struct event event = {.kind = observed};

    pod->asleep = true;
    if (pod->nominated >= 0) {
        pod->nominated = -1;
        pod->unseen = true;
    }
    if (observed == EV_TICK)
        return;
    snprintf(event.uid, sizeof(event.uid), "%s", pod->uid);
    sim_deliver(sim, event);
}

static int first_feasible(struct sim *sim, const struct sim_pod *pod)
{
    for (int node = 0; node < SIM_NODES; node++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "n%d", node);

        if (feasible(sim, pod, node) && core_node_fits(sim->core, pod->uid, name, (size_t)len))
            return node;
    }
    return -1;
}

static void attempt(struct sim *sim, struct sim_pod *pod)
{
    struct answer answer;
    int node, open = 0;

    for (node = 0; node < SIM_NODES; node++)
        open += feasible(sim, pod, node);
    if (open == 0) { /* in-tree: the extender is not asked */
        fail_attempt(sim, pod, EV_TICK);
        return;
    }
    core_answer(sim->core, pod->uid, &answer);
    if (answer.kind == ANSWER_UNKNOWN)
        return;
    if (answer.kind == ANSWER_WAIT) {
        fail_attempt(sim, pod, EV_REFUSED);
        return;
    }
    if (answer.kind == ANSWER_ORDINARY)
        node = first_feasible(sim, pod);
    else if (sscanf(answer.node, "n%d", &node) != 1)
        sim_fail(sim, "planned on '%s'", answer.node);
    if (node < 0 || !feasible(sim, pod, node))
        fail_attempt(sim, pod, answer.kind == ANSWER_PLANNED ? EV_MISSED : EV_TICK);
    else
        send_vote(sim, pod, node);
}

void sim_attempt(struct sim *sim)
{
    unsigned from = sim_random(sim, SIM_PODS);

    for (unsigned i = 0; i < SIM_PODS; i++) {
        struct sim_pod *pod = &sim->pods[(from + i) % SIM_PODS];

        if (!pod->used || pod->node >= 0 || pod->voting)
            continue;
        if (pod->asleep && sim_random(sim, 20)) /* now and then some event wakes everybody */
            continue;
        pod->asleep = false;
        attempt(sim, pod);
        return;
    }
}

void sim_expire_votes(struct sim *sim)
{
    for (int i = 0; i < SIM_PODS; i++) {
        struct sim_pod *pod = &sim->pods[i];

        if (pod->used && pod->voting && pod->vote_until_ns < sim->now_ns)
            pod->voting = false; /* the client gave up; nobody tells us */
    }
}

void sim_kubelet(struct sim *sim)
{
    struct sim_pod *pod = &sim->pods[sim_random(sim, SIM_PODS)];

    if (!pod->used || pod->node < 0 || pod->phase == POD_SUCCEEDED || pod->phase == POD_FAILED)
        return;
    if (pod->phase == POD_PENDING)
        pod->phase = POD_RUNNING;
    else if (sim_random(sim, 4) == 0)
        pod->phase = sim_random(sim, 8) ? POD_SUCCEEDED : POD_FAILED;
    pod->unseen = true;
}
