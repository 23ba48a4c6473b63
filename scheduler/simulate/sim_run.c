/* The run: virtual time goes from one submission, end or deadline to the next. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/simulate/sim_internal.h"

#define STANDSTILL_MAX 1000 /* looks at one and the same moment */
#define LAST_WAIT_NS (600 * NS_PER_S) /* after headOfLineAfter: then who still waits waits for ever */
#define WHY_MAX 512

static const struct sim_policy *const policies[] = {&sim__lockstep, &sim__best_fit, &sim__first_fit};
const char *const sim_policies[] = {"lockstep", "best-fit", "first-fit", NULL};

/* ---- ends, the earliest first --------------------------------------------------------------------- */

static bool ends_before(const struct sim_end *a, const struct sim_end *b)
{
    return a->ns != b->ns ? a->ns < b->ns : a->gang < b->gang;
}

static void swap_ends(struct sim_end *a, struct sim_end *b)
{
    struct sim_end kept = *a;

    *a = *b;
    *b = kept;
}

static void push_end(struct sim_run *run, struct sim_end end)
{
    size_t at = run->nends++;

    run->ends[at] = end;
    for (; at > 0 && ends_before(&run->ends[at], &run->ends[(at - 1) / 2]); at = (at - 1) / 2)
        swap_ends(&run->ends[at], &run->ends[(at - 1) / 2]);
}

static uint32_t pop_end(struct sim_run *run)
{
    uint32_t gang = run->ends[0].gang;
    size_t at = 0;

    run->ends[0] = run->ends[--run->nends];
    while (2 * at + 1 < run->nends) {
        size_t child = 2 * at + 1;

        if (child + 1 < run->nends && ends_before(&run->ends[child + 1], &run->ends[child]))
            child++;
        if (!ends_before(&run->ends[child], &run->ends[at]))
            break;
        swap_ends(&run->ends[child], &run->ends[at]);
        at = child;
    }
    return gang;
}

/* ---- what happens to a gang ------------------------------------------------------------------------ */

/* Priority, then submission, then name: as core__compare_turn(). The trace is sorted by the other two. */
static int submit(struct sim_run *run, uint32_t gang)
{
    size_t at = run->nwaiting;
    int64_t priority = sim__gang(run, gang)->priority;

    if (run->simulation->bounds[gang].blocked)
        return 0;
    while (at > 0 && sim__gang(run, run->waiting[at - 1])->priority < priority)
        at--;
    memmove(run->waiting + at + 1, run->waiting + at, (run->nwaiting - at) * sizeof(uint32_t));
    run->waiting[at] = gang;
    run->nwaiting++;
    return run->policy->submit(run, gang);
}

static int end(struct sim_run *run, uint32_t gang)
{
    const struct trace_gang *wish = sim__gang(run, gang);

    for (int64_t i = 0; i < wish->pods; i++) {
        struct sim_free *left = &run->left[run->places[gang][i]];

        left->gpus += (uint32_t)wish->gpus;
        left->pods++;
    }
    free(run->places[gang]);
    run->places[gang] = NULL;
    run->ended++;
    return run->policy->end(run, gang);
}

static int book(struct sim_run *run, const struct trace_gang *wish, const uint32_t *nodes)
{
    for (int64_t i = 0; i < wish->pods; i++) {
        struct sim_free *left = &run->left[nodes[i]];

        if (left->gpus < wish->gpus || left->pods == 0)
            return err_set(run->err, -EIO, "policy %s puts gang %s on node %s, which is full",
                           run->policy->name, wish->name, run->simulation->cluster->nodes[nodes[i]].name);
        left->gpus -= (uint32_t)wish->gpus;
        left->pods--;
    }
    return 0;
}

int sim__start(struct sim_run *run, uint32_t gang, const uint32_t *nodes)
{
    const struct trace_gang *wish = sim__gang(run, gang);
    struct sim_gang *fate = &run->gangs[gang];
    struct plan_shortage shortage;
    double fragmentation;
    int r = sim__least(run->planner, run->left, wish, fate->least_now, &shortage);

    if (r < 0)
        return err_set(run->err, -EIO, "policy %s starts gang %s where the planner finds no room",
                       run->policy->name, wish->name);
    sim__count_used(run->planner, nodes, (uint32_t)wish->pods, fate->used);
    if (wish->required_level >= 0 && fate->used[wish->required_level] != 1)
        return err_set(run->err, -EIO, "policy %s splits gang %s over its required level",
                       run->policy->name, wish->name);
    r = book(run, wish, nodes);
    if (r < 0)
        return r;
    run->places[gang] = malloc((size_t)wish->pods * sizeof(*nodes));
    if (!run->places[gang])
        return err_set(run->err, -ENOMEM, "out of memory");
    memcpy(run->places[gang], nodes, (size_t)wish->pods * sizeof(*nodes));
    fate->start_ns = run->now_ns;
    push_end(run, (struct sim_end){run->now_ns + wish->duration_s * NS_PER_S, gang});
    fragmentation = sim__fragmentation(run->simulation->cluster, run->left,
                                       sim__planner_domains(run->planner));
    run->fragmentation += fragmentation < 0 ? 0 : fragmentation;
    run->samples += fragmentation >= 0;
    return 0;
}

/* ---- time ------------------------------------------------------------------------------------------ */

static int64_t next_event_ns(const struct sim_run *run)
{
    const struct trace_file *trace = run->simulation->trace;
    int64_t next_ns = run->nends ? run->ends[0].ns : INT64_MAX;

    if (run->submitted < trace->n && trace->gangs[run->submitted].submit_s * NS_PER_S < next_ns)
        next_ns = trace->gangs[run->submitted].submit_s * NS_PER_S;
    return next_ns;
}

/* INT64_MAX: nothing will happen any more. */
static int64_t next_ns(const struct sim_run *run, int64_t last_event_ns)
{
    int64_t event_ns = next_event_ns(run), due_ns = run->policy->deadline_ns(run);

    if (event_ns == INT64_MAX &&
        (run->nwaiting == 0 ||
         due_ns > last_event_ns + run->simulation->config->head_of_line_ns + LAST_WAIT_NS))
        return INT64_MAX;
    return due_ns < event_ns ? due_ns : event_ns;
}

static void forget_started(struct sim_run *run)
{
    size_t kept = 0;

    for (size_t i = 0; i < run->nwaiting; i++)
        if (run->gangs[run->waiting[i]].start_ns < 0)
            run->waiting[kept++] = run->waiting[i];
    run->nwaiting = kept;
}

static int pass_moment(struct sim_run *run)
{
    const struct trace_file *trace = run->simulation->trace;
    int r = 0;

    while (r == 0 && run->nends > 0 && run->ends[0].ns <= run->now_ns)
        r = end(run, pop_end(run));
    while (r == 0 && run->submitted < trace->n &&
           trace->gangs[run->submitted].submit_s * NS_PER_S <= run->now_ns)
        r = submit(run, (uint32_t)run->submitted++);
    if (r == 0)
        r = run->policy->settle(run);
    forget_started(run);
    return r;
}

static int pass_time(struct sim_run *run)
{
    const struct simulation *simulation = run->simulation;
    int64_t last_event_ns = 0;
    unsigned still = 0;
    int r = 0;

    while (r == 0) {
        int64_t event_ns = next_event_ns(run), to_ns = next_ns(run, last_event_ns);

        if (to_ns == INT64_MAX)
            return 0;
        still = to_ns > run->now_ns ? 0 : still + 1;
        if (still > STANDSTILL_MAX)
            return err_set(run->err, -EIO, "policy %s wants to be woken without end at %lld s",
                           run->policy->name, (long long)(run->now_ns / NS_PER_S));
        if (to_ns > run->now_ns)
            run->now_ns = to_ns;
        if (event_ns <= run->now_ns)
            last_event_ns = run->now_ns;
        r = pass_moment(run);
        if (simulation->progress)
            simulation->progress(simulation->context, run->policy->name, run->ended,
                                 simulation->trace->n);
    }
    return r;
}

/* ---- a run ------------------------------------------------------------------------------------------ */

static void run_release(struct sim_run *run)
{
    for (size_t i = 0; run->places && i < run->simulation->trace->n; i++)
        free(run->places[i]);
    free(run->places);
    free(run->left);
    free(run->waiting);
    free(run->ends);
    sim__planner_free(run->planner);
}

static int run_init(struct sim_run *run)
{
    const struct sim_cluster *cluster = run->simulation->cluster;
    size_t n = run->simulation->trace->n + 1;

    run->left = calloc(cluster->nnodes + 1, sizeof(*run->left));
    run->waiting = calloc(n, sizeof(*run->waiting));
    run->ends = calloc(n, sizeof(*run->ends));
    run->places = calloc(n, sizeof(*run->places));
    run->gangs = calloc(n, sizeof(*run->gangs));
    run->planner = sim__planner_new(cluster);
    if (!run->left || !run->waiting || !run->ends || !run->places || !run->gangs || !run->planner)
        return err_set(run->err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        run->gangs[i].start_ns = -1;
    for (uint32_t i = 0; i < cluster->nnodes; i++)
        run->left[i] = (struct sim_free){cluster->nodes[i].room, cluster->nodes[i].pods};
    return 0;
}

static int say_why(struct sim_run *run)
{
    for (uint32_t gang = 0; gang < run->simulation->trace->n; gang++) {
        char why[WHY_MAX] = "it would fit only were the pods gone that run in CLUSTER";

        if (run->gangs[gang].start_ns >= 0)
            continue;
        if (!run->simulation->bounds[gang].blocked)
            run->policy->why(run, gang, why, sizeof(why));
        run->gangs[gang].why = strdup(why);
        if (!run->gangs[gang].why)
            return err_set(run->err, -ENOMEM, "out of memory");
    }
    return 0;
}

static void take_result(struct sim_run *run, struct sim_result *ret)
{
    *ret = (struct sim_result){.gangs = run->gangs, .n = run->simulation->trace->n};
    ret->fragmentation = run->samples ? run->fragmentation / (double)run->samples : 0;
    for (size_t i = 0; i < ret->n; i++) {
        int64_t end_ns = run->gangs[i].start_ns + sim__gang(run, (uint32_t)i)->duration_s * NS_PER_S;

        if (run->gangs[i].start_ns >= 0 && end_ns > ret->end_ns)
            ret->end_ns = end_ns;
    }
}

int sim_run(const struct simulation *simulation, const char *policy, struct sim_result *ret,
            struct err *err)
{
    struct sim_run run = {.simulation = simulation, .err = err};
    struct sim_result result = {.n = simulation->trace->n};
    int r;

    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        if (strcmp(policies[i]->name, policy) == 0)
            run.policy = policies[i];
    if (!run.policy)
        return err_set(err, -EINVAL, "unknown policy '%.40s'", policy);
    r = run_init(&run);
    if (r == 0)
        r = run.policy->open(&run);
    if (r == 0)
        r = pass_time(&run);
    if (r == 0)
        r = say_why(&run);
    if (run.policy->close)
        run.policy->close(&run);
    result.gangs = run.gangs;
    if (r == 0)
        take_result(&run, ret);
    else
        sim_result_release(&result);
    run_release(&run);
    return r;
}

void sim_result_release(struct sim_result *result)
{
    for (size_t i = 0; result->gangs && i < result->n; i++)
        free(result->gangs[i].why);
    free(result->gangs);
    *result = (struct sim_result){0};
}
