/* Seed -> a gang, faults, and the steps that they consist of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/probe_faults/probe_faults.h"

static const char *const names[FAULT_KINDS] = {
#define X(name, text) text,
    FAULTS(X)
#undef X
};

const char *fault_name(enum fault fault)
{
    return names[fault];
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint32_t plan_random(struct plan *plan, uint32_t below)
{
    uint64_t z = plan->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(((z ^ (z >> 31)) >> 32) % below);
}

static struct step *add(struct plan *plan, int64_t at_ns, enum step_kind kind, unsigned pod)
{
    struct step *step = &plan->steps[plan->n_steps++];

    if (plan->n_steps > STEPS_MAX)
        abort();
    *step = (struct step){.at_ns = at_ns, .kind = kind, .pod = pod, .fault = plan->drawing};
    step->device = plan_random(plan, plan->devices[pod]);
    return step;
}

static int64_t span(struct plan *plan, int64_t least_ms, int64_t most_ms)
{
    return (least_ms + plan_random(plan, (uint32_t)(most_ms - least_ms))) * MS * SLOWNESS;
}

/* Mostly while ranks come together or measure; else at any time. */
static int64_t moment(struct plan *plan)
{
    return plan_random(plan, 4) ? span(plan, 20, 1200) : span(plan, 20, 9000);
}

static struct step *start_of(struct plan *plan, unsigned pod)
{
    for (unsigned i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].kind == STEP_START && plan->steps[i].pod == pod)
            return &plan->steps[i];
    abort();
}

static void add_world(struct plan *plan, const char *key, unsigned rank, const char *more)
{
    size_t len = strlen(plan->world);

    snprintf(plan->world + len, sizeof(plan->world) - len, "%s %u %s\n", key, rank, more);
}

static void draw_gpu_fault(struct plan *plan, enum fault fault)
{
    char at[16];

    snprintf(at, sizeof(at), "%u", plan_random(plan, 20));
    switch (fault) {
    case FAULT_GPU_HANGS_IN_INIT:
        add_world(plan, "hang_init", plan->gpu_rank, "");
        break;
    case FAULT_GPU_HANGS_IN_ABORT:
        add_world(plan, "hang_abort", plan->gpu_rank, "");
        add_world(plan, "hang_op", plan->gpu_rank, at);
        break;
    case FAULT_GPU_HANGS_IN_OP:
        add_world(plan, "hang_op", plan->gpu_rank, at);
        break;
    case FAULT_GPU_FAILS:
        if (plan_random(plan, 2))
            add_world(plan, "fail_init", plan->gpu_rank, "");
        else
            add_world(plan, "fail_op", plan->gpu_rank, at);
        break;
    case FAULT_GPU_IS_WRONG:
        add_world(plan, "wrong", plan->gpu_rank, "");
        break;
    default:
        add_world(plan, "node_factor", plan->gpu_rank, "0.4");
        break;
    }
}

/* One step, or two with at most so much time between them. */
static const struct {
    enum step_kind first, second; /* STEP_NONE: there is none */
    int64_t gap_ms;
} patterns[FAULT_KINDS] = {
    [FAULT_PROBE_KILLED] = {STEP_KILL, STEP_NONE, 0},
    [FAULT_RANK_KILLED] = {STEP_KILL_RANK, STEP_NONE, 0},
    [FAULT_PROBE_REPLACED] = {STEP_KILL, STEP_START, 1000},
    [FAULT_SECOND_PROBE] = {STEP_START, STEP_NONE, 0},
    [FAULT_PROBE_STOPPED] = {STEP_STOP, STEP_NONE, 0},
    [FAULT_PROBE_PAUSED] = {STEP_STOP, STEP_GO_ON, 4000},
    [FAULT_RANK_STOPPED] = {STEP_STOP_RANK, STEP_NONE, 0},
    [FAULT_RANK_PAUSED] = {STEP_STOP_RANK, STEP_RANK_GOES_ON, 4000},
    [FAULT_COORDINATOR_RESTARTED] = {STEP_SERVICE_STOPS, STEP_SERVICE_STARTS, 1500},
    [FAULT_STREAM_CUT] = {STEP_CUT, STEP_NONE, 0},
    [FAULT_STREAM_FROZEN] = {STEP_FREEZE, STEP_NONE, 0},
    [FAULT_STREAM_DELAYED] = {STEP_FREEZE, STEP_THAW, 3000},
    [FAULT_DATA_CUT] = {STEP_CUT_DATA, STEP_NONE, 0},
    [FAULT_REPORT_REPEATED] = {STEP_REPORT, STEP_NONE, 0},
};

static void draw_fault(struct plan *plan, enum fault fault)
{
    unsigned pod = plan_random(plan, plan->pods), device;
    int64_t at_ns = moment(plan);

    if (fault >= FAULT_GPU_HANGS_IN_INIT) {
        draw_gpu_fault(plan, fault);
    } else if (fault == FAULT_NEVER_STARTED) {
        start_of(plan, pod)->at_ns = INT64_MAX;
    } else if (fault == FAULT_STARTED_LATE) {
        if (start_of(plan, pod)->at_ns != INT64_MAX)
            start_of(plan, pod)->at_ns += at_ns;
    } else {
        device = add(plan, at_ns, patterns[fault].first, pod)->device;
        at_ns += span(plan, 1, patterns[fault].gap_ms + 2);
        if (patterns[fault].second != STEP_NONE)
            add(plan, at_ns, patterns[fault].second, pod)->device = device;
        plan->frozen[pod] |= fault == FAULT_STREAM_FROZEN;
    }
}

/* One of the GPUs' in most runs that have some: one is enough, as they stand in one file. */
static enum fault draw_kind(struct plan *plan)
{
    enum fault gpus = FAULT_GPU_HANGS_IN_INIT;

    if (plan->gpus && plan->n_faults == 0 && plan_random(plan, 3))
        return gpus + plan_random(plan, FAULT_KINDS - gpus);
    return plan_random(plan, gpus);
}

/* Healthy fake GPUs reach 100 GB/s; what sockets reach nobody knows. */
static double expectation(struct plan *plan)
{
    static const double by_sockets[] = {0, 1e-3, 100000};

    return plan->gpus ? 100 : by_sockets[plan_random(plan, 3)];
}

/* However much the machine has to do: is_right() knows what comes of it. */
static bool has_to_be_measured(const struct plan *plan)
{
    return plan->n_faults == 0 || (plan->n_faults == 1 && (plan->faults[0] == FAULT_GPU_IS_WRONG ||
                                                           plan->faults[0] == FAULT_GPU_IS_SLOW));
}

void plan_draw(struct plan *plan, uint64_t seed)
{
    unsigned ranks = 0;

    *plan = (struct plan){
        .seed = seed, .random = seed * UINT64_C(0xd1342543de82ef95), .drawing = FAULT_KINDS};
    plan->pods = 2 + plan_random(plan, PODS_MAX - 1);
    plan->gpus = plan_random(plan, 3) == 0;
    for (unsigned i = 0; i < plan->pods; i++)
        ranks += plan->devices[i] = 1 + plan_random(plan, DEVICES_MAX);
    plan->gate = plan_random(plan, 3) == 0;
    plan->expected_gb_s = expectation(plan);
    plan->bytes_max = (uint64_t)1 << (18 + plan_random(plan, plan->gpus ? 3 : 7));
    plan->run_ns = span(plan, 1500, 2500);
    plan->budget_ns = span(plan, 200, 1400) / SLOWNESS;
    plan->deadline_ns = DEADLINE_NS;
    plan->gpu_rank = plan_random(plan, ranks);
    snprintf(plan->world, sizeof(plan->world), "memory_mib 100000\n"); /* pods share its GPUs */
    add(plan, plan_random(plan, 4) ? 0 : span(plan, 1, 500), STEP_EXPECT, 0);
    for (unsigned i = 0; i < plan->pods; i++)
        add(plan, span(plan, 0, 200), STEP_START, i);
    for (unsigned n = plan_random(plan, FAULTS_MAX + 1); plan->n_faults < n;) {
        plan->drawing = draw_kind(plan);
        draw_fault(plan, plan->drawing);
        plan->faults[plan->n_faults++] = plan->drawing;
    }
    if (has_to_be_measured(plan)) {
        plan->deadline_ns *= 3;
        plan->run_ns *= 5;
    }
}
