/* One run: the steps of its seed as their time comes, until all is over; then the judgement. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/fake_world.h"
#include "tests/probe_faults/probe_faults.h"

#define LOOK_NS (3 * MS)

struct run {
    struct plan plan;
    struct places places;
    struct pods pods;
    struct gang *gang;
    struct proxy *proxy;
    struct gang_told told;
    int64_t began_ns, deadline_ns;
    int64_t up_ns; /* when the coordinator was last started */
    int64_t thawed_ns[PODS_MAX];
    bool up, expected;
    struct outcome *outcome;
};

int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* The first failure is what is told. */
void outcome_fail(struct outcome *outcome, const char *format, ...)
{
    va_list args;

    if (outcome->failed)
        return;
    outcome->failed = true;
    va_start(args, format);
    vsnprintf(outcome->why, sizeof(outcome->why), format, args);
    va_end(args);
}

/* ---- steps ------------------------------------------------------------------------------ */

static void start_service(struct run *run)
{
    if (run->up)
        return;
    gang_service_start(run->gang);
    run->up = true;
    run->up_ns = now_ns();
    if (run->expected)
        gang_expect(run->gang, run->deadline_ns);
}

static bool stop_service(struct run *run)
{
    if (!run->up)
        return false;
    gang_service_stop(run->gang);
    run->up = false;
    return true;
}

static bool stop_probe(struct proc *proc)
{
    if (proc)
        proc->stopped = kill(proc->pid, SIGSTOP) == 0;
    return proc != NULL;
}

static void go_on(struct run *run, unsigned pod)
{
    for (unsigned i = 0; i < run->pods.n_procs; i++) {
        struct proc *proc = &run->pods.procs[i];

        if (proc->pod != pod || !proc->stopped || proc->ended_ns)
            continue;
        proc->stopped = false;
        proc->resumed_ns = now_ns();
        kill(proc->pid, SIGCONT);
    }
}

static bool kill_probe(struct proc *proc)
{
    if (!proc)
        return false;
    proc->killed = kill(proc->pid, SIGKILL) == 0;
    proc->stopped = false;
    return true;
}

/* Did it come while there was somebody to suffer it? */
static bool take_step(struct run *run, const struct step *step)
{
    struct proc *proc = pods_last(&run->pods, step->pod);

    switch (step->kind) {
    case STEP_NONE:
        return false;
    case STEP_START:
        pods_start(&run->pods, step->pod, now_ns());
        return run->told.verdicts == 0;
    case STEP_KILL:
        return kill_probe(proc);
    case STEP_KILL_RANK:
        return proc && pods_signal_rank(proc, step->device, SIGKILL);
    case STEP_STOP:
        return stop_probe(proc);
    case STEP_GO_ON:
        go_on(run, step->pod);
        return false;
    case STEP_STOP_RANK:
        return proc && pods_signal_rank(proc, step->device, SIGSTOP);
    case STEP_RANK_GOES_ON:
        (void)(proc && pods_signal_rank(proc, step->device, SIGCONT));
        return false;
    case STEP_EXPECT:
        run->expected = true;
        if (run->up)
            gang_expect(run->gang, run->deadline_ns);
        return false;
    case STEP_SERVICE_STOPS:
        return stop_service(run) && pods_alive(&run->pods, true) > 0;
    case STEP_SERVICE_STARTS:
        start_service(run);
        return false;
    case STEP_CUT:
        proxy_cut(run->proxy, step->pod);
        return proc != NULL;
    case STEP_FREEZE:
        proxy_freeze(run->proxy, step->pod, true);
        return proc != NULL;
    case STEP_THAW:
        proxy_freeze(run->proxy, step->pod, false);
        run->thawed_ns[step->pod] = now_ns();
        return false;
    case STEP_CUT_DATA:
        return proc && pods_cut_rank(proc, step->device) > 0;
    case STEP_REPORT:
        gang_report(run->gang, step->pod);
        return proc != NULL;
    }
    return false;
}

/* Ranks do not live for long: what is for one of them waits until it lives, for a while more. */
static bool is_early(const struct run *run, const struct step *step)
{
    bool of_rank =
        step->kind == STEP_KILL_RANK || step->kind == STEP_STOP_RANK || step->kind == STEP_CUT_DATA;

    return of_rank && run->told.verdicts == 0;
}

static void take_and_tell_step(struct run *run, struct step *step)
{
    double at_s = (double)(now_ns() - run->began_ns) / 1e9;
    bool met = take_step(run, step);

    if (!met && is_early(run, step)) {
        step->done = false;
        step->at_ns += plan_random(&run->plan, 300) * MS;
        return;
    }
    fprintf(stderr, "%.3f s: step %d of pod %u%s%s\n", at_s, (int)step->kind, step->pod,
            step->fault < FAULT_KINDS ? ": " : "",
            step->fault < FAULT_KINDS ? fault_name(step->fault) : "");
    if (step->fault < FAULT_KINDS)
        run->outcome->met[step->fault] += met;
}

/* false: no process will be started any more. */
static bool take_due_steps(struct run *run)
{
    bool starts = false;

    for (unsigned i = 0; i < run->plan.n_steps; i++) {
        struct step *step = &run->plan.steps[i];

        if (step->done || step->at_ns == INT64_MAX)
            continue;
        if (now_ns() - run->began_ns >= step->at_ns) {
            step->done = true;
            take_and_tell_step(run, step);
        } else {
            starts |= step->kind == STEP_START;
        }
    }
    return starts;
}

/* ---- its time --------------------------------------------------------------------------- */

/* Who was stopped for good goes on once all others are done: what it finds then ends it. */
static void resume_all(struct run *run)
{
    for (unsigned i = 0; i < run->plan.pods; i++)
        go_on(run, i);
}

static void live(struct run *run)
{
    bool starts = true;

    while (starts || run->told.verdicts == 0 || pods_alive(&run->pods, true) > 0) {
        starts = take_due_steps(run);
        run->outcome->orphans += pods_reap(&run->pods, now_ns());
        gang_told(run->gang, &run->told);
        if (!starts && run->told.verdicts > 0 && pods_alive(&run->pods, false) == 0) {
            start_service(run);
            resume_all(run);
        }
        if (now_ns() - run->began_ns > STUCK_NS) {
            run->outcome->stuck = true;
            outcome_fail(run->outcome, "stuck: %u verdicts, %u processes of %u live",
                         run->told.verdicts, pods_alive(&run->pods, true), run->pods.n_procs);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

/* ---- judgement -------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void judge_verdict(struct run *run)
{
    int64_t due_ns = later(run->deadline_ns, run->up_ns);

    gang_told(run->gang, &run->told);
    run->outcome->verdict = run->told.result.verdict;
    if (run->told.verdicts != 1)
        outcome_fail(run->outcome, "%u verdicts, expected 1", run->told.verdicts);
    if (run->told.verdicts == 0)
        return;
    /* Started again after its verdict, the coordinator had nothing to be late with. */
    run->outcome->beyond_ns = run->told.told_ns > due_ns ? run->told.told_ns - due_ns : 0;
    if (run->outcome->beyond_ns > SLACK_NS)
        outcome_fail(run->outcome, "the verdict came %.3f s behind the deadline",
                     (double)run->outcome->beyond_ns / 1e9);
}

/* When it could know how all this ended. */
static int64_t could_hear_ns(const struct run *run, const struct proc *proc)
{
    int64_t heard_ns =
        later(later(run->told.told_ns + (run->told.result.hold ? HOLD_NS : 0), run->up_ns),
              later(proc->started_ns, proc->resumed_ns));

    return later(heard_ns, run->thawed_ns[proc->pod]);
}

static void judge_process(struct run *run, const struct proc *proc)
{
    int64_t limit_ns =
        later(proc->started_ns + LIMIT_NS(&run->plan), proc->resumed_ns) + END_SLACK_NS;
    int64_t after_ns = proc->ended_ns - could_hear_ns(run, proc);
    double lived_s = (double)(proc->ended_ns - proc->started_ns) / 1e9;

    if (!proc->ended_ns || proc->killed)
        return; /* the former is told as stuck */
    if (!WIFEXITED(proc->status) || WEXITSTATUS(proc->status) != 0)
        outcome_fail(run->outcome, "pod %u's probe ended with status 0x%x, expected exit 0",
                     proc->pod, (unsigned)proc->status);
    if (proc->ended_ns > limit_ns)
        outcome_fail(run->outcome, "pod %u's probe ended after %.3f s, its limit is %.0f s",
                     proc->pod, lived_s, (double)LIMIT_NS(&run->plan) / 1e9);
    if (run->plan.frozen[proc->pod])
        return;
    run->outcome->ended_ns = later(run->outcome->ended_ns, after_ns);
    if (after_ns > SOON_NS)
        outcome_fail(run->outcome, "pod %u's probe ended %.3f s after it could know the verdict",
                     proc->pod, (double)after_ns / 1e9);
}

static bool was_started(const struct run *run, unsigned pod)
{
    for (unsigned i = 0; i < run->pods.n_procs; i++)
        if (run->pods.procs[i].pod == pod)
            return true;
    return false;
}

/* What a verdict has to be where one thing at most was wrong; others only have to be told. */
static bool is_right(const struct run *run)
{
    const struct plan *plan = &run->plan;
    enum verdict verdict = run->told.result.verdict;

    for (unsigned i = 0; i < plan->pods; i++)
        if (verdict <= VERDICT_WRONG_DATA && !was_started(run, i))
            return false;
    if (plan->n_faults == 0)
        return plan->gpus                 ? verdict == VERDICT_OK
               : plan->expected_gb_s == 0 ? verdict == VERDICT_UNKNOWN
               : plan->expected_gb_s < 1  ? verdict == VERDICT_OK
                                          : verdict == VERDICT_SLOW || verdict == VERDICT_UNKNOWN;
    if (plan->n_faults > 1)
        return true;
    switch (plan->faults[0]) {
    case FAULT_GPU_IS_WRONG:
        return verdict == VERDICT_WRONG_DATA && run->told.result.rank == (int32_t)plan->gpu_rank;
    case FAULT_GPU_IS_SLOW:
        return verdict == VERDICT_SLOW;
    case FAULT_GPU_FAILS:
        return verdict == VERDICT_ERROR || verdict == VERDICT_INFRASTRUCTURE;
    case FAULT_GPU_HANGS_IN_INIT:
    case FAULT_GPU_HANGS_IN_OP:
    case FAULT_GPU_HANGS_IN_ABORT:
    case FAULT_NEVER_STARTED:
        return verdict == VERDICT_INFRASTRUCTURE;
    default:
        return true;
    }
}

static void judge_result(struct run *run)
{
    const struct coordinator_result *result = &run->told.result;
    uint32_t ranks = 0;

    for (unsigned i = 0; i < run->plan.pods; i++)
        ranks += run->plan.devices[i];
    if (run->told.verdicts == 0)
        return;
    if (result->ranks != ranks || strcmp(result->gang.name, "train") != 0 ||
        result->gang.generation != 1)
        outcome_fail(run->outcome,
                     "the verdict is of %u ranks of %s, generation %" PRIu64 ", expected %u",
                     result->ranks, result->gang.name, result->gang.generation, ranks);
    if (!is_right(run))
        outcome_fail(run->outcome, "the verdict is %s (%s), which is not right",
                     verdict_name(result->verdict), result->message);
    if (run->plan.n_faults == 0 && !(result->measured_gb_s > 0))
        outcome_fail(run->outcome, "nothing was measured: %s", result->message);
}

static void judge_what_is_left(struct run *run, unsigned descriptors, bool alone)
{
    int64_t end_ns = now_ns() + END_SLACK_NS;
    unsigned left;

    while (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        if (now_ns() > end_ns) {
            outcome_fail(run->outcome, "a process is left");
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    /* gRPC closes what is its own in its own time. */
    while ((left = left_descriptors()) != descriptors && now_ns() < end_ns)
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    if (left != descriptors)
        outcome_fail(run->outcome, "%u sockets are open, expected %u", left, descriptors);
    left = alone ? left_sockets() : 0;
    if (left > 0)
        outcome_fail(run->outcome, "%u sockets are left", left);
    for (unsigned i = 0; i < FAKE_DEVICES_MAX; i++)
        if (fake_memory_used(i) > 0)
            outcome_fail(run->outcome, "%llu MiB of fake GPU %u are taken",
                         fake_memory_used(i) / FAKE_MIB, i);
}

/* ---- a run ------------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    close(fd);
}

static void set_places(struct run *run, const char *folder, const char *certificates)
{
    struct places *places = &run->places;

    snprintf(places->folder, sizeof(places->folder), "%s", folder);
    snprintf(places->certificates, sizeof(places->certificates), "%s", certificates);
    snprintf(places->token, sizeof(places->token), "%s/token", folder);
    snprintf(places->world, sizeof(places->world), "%s/world", folder);
    write_file(places->token, SECRET);
    write_file(places->world, run->plan.world);
    setenv("LOCKSTEP_FAKE_GPU", places->world, 1);
}

static void tell_story(const struct plan *plan, struct outcome *outcome)
{
    size_t len =
        (size_t)snprintf(outcome->story, sizeof(outcome->story), "%u pods, %s%s:", plan->pods,
                         plan->gpus ? "fake GPUs" : "tcp", plan->gate ? ", gate" : "");

    for (unsigned i = 0; i < plan->n_faults && len < sizeof(outcome->story); i++)
        len += (size_t)snprintf(outcome->story + len, sizeof(outcome->story) - len, "%s %s",
                                i ? "," : "", fault_name(plan->faults[i]));
    if (plan->n_faults == 0)
        snprintf(outcome->story + len, sizeof(outcome->story) - len, " no fault");
    for (unsigned i = 0; i < plan->n_faults; i++)
        outcome->faults[plan->faults[i]]++;
    for (unsigned i = 0; i < FAULT_KINDS; i++) /* that are no step at a time */
        if (i >= FAULT_GPU_HANGS_IN_INIT || i <= FAULT_STARTED_LATE)
            outcome->met[i] = outcome->faults[i];
    outcome->faultless = plan->n_faults == 0;
}

void faults_run(uint64_t seed, const char *folder, const char *certificates, struct outcome *ret)
{
    static struct run run;
    bool alone = left_own_network();
    unsigned descriptors = left_descriptors();

    *ret = (struct outcome){0};
    run.outcome = ret;
    plan_draw(&run.plan, seed);
    tell_story(&run.plan, ret);
    set_places(&run, folder, certificates);
    run.gang = gang_new(&run.plan, &run.places);
    start_service(&run);
    run.proxy = proxy_start(run.plan.pods, gang_port(run.gang));
    run.pods = (struct pods){.plan = &run.plan, .places = &run.places};
    for (unsigned i = 0; i < run.plan.pods; i++)
        run.pods.ports[i] = proxy_port(run.proxy, i);
    run.began_ns = now_ns();
    run.deadline_ns = run.began_ns + run.plan.deadline_ns;
    live(&run);
    if (ret->stuck)
        return; /* whoever started this run ends what is left of it */
    proxy_stop(run.proxy);
    stop_service(&run);
    judge_verdict(&run);
    for (unsigned i = 0; i < run.pods.n_procs; i++)
        judge_process(&run, &run.pods.procs[i]);
    judge_result(&run);
    ret->procs = run.pods.n_procs;
    gang_free(run.gang);
    judge_what_is_left(&run, descriptors, alone);
}
