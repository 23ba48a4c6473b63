/* Leading ranks through their stages: all begin one together, as those do that are left. */
#include "tests/gpu/lead.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LATE_NS (3 * LEAD_S) /* past its deadline a rank is given up */
#define OPEN_NS (60 * LEAD_S)
#define ABORT_NS (3 * LEAD_S) /* for those that failed, to end by themselves */
#define PAIR_BYTES 65536

struct leading {
    const struct lead_options *options;
    struct lead_result *result;
    struct child *children[LEAD_RANKS_MAX];
    bool busy[LEAD_RANKS_MAX]; /* has yet to answer */
    struct backend_address addresses[LEAD_RANKS_MAX];
    uint64_t start_ns, begun_ns, deadline_ns;
    enum lead_stage stage;
    bool done_away; /* with the one that is to be killed */
    struct child_event event;
    struct err *err;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LEAD_S + (uint64_t)now.tv_nsec;
}

const char *lead_program(void)
{
    static char path[512];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash;

    path[len > 0 ? len : 0] = '\0';
    slash = strrchr(path, '/');
    if (slash)
        snprintf(slash, sizeof(path) - (size_t)(slash - path), "/lockstep-probe-nccl");
    return path;
}

static int start_all(struct leading *leading)
{
    const struct lead_options *options = leading->options;
    const char *argv[] = {options->program ? options->program : lead_program(), "--child", NULL};
    struct child_options start = {.argv = argv, .grace_ns = options->grace_ns};

    for (unsigned i = 0; i < options->ranks; i++) {
        int r;

        if (options->variable && options->values[i])
            (void)setenv(options->variable, options->values[i], 1);
        else if (options->variable)
            (void)unsetenv(options->variable);
        r = child_start(&start, &leading->children[i], leading->err);
        if (r < 0)
            return r;
        leading->result->ranks[i].reached = LEAD_STAGES;
    }
    if (options->variable)
        (void)unsetenv(options->variable);
    return 0;
}

/* ---- orders --------------------------------------------------------------------------------------------- */

static int open_rank(struct leading *leading, unsigned rank)
{
    const struct lead_options *options = leading->options;
    struct backend_options open = {.rank = rank, .ranks = options->ranks, .library = options->library,
                                   .device = options->one_gpu ? 0 : (int)rank, .host = "127.0.0.1",
                                   .bytes_max = measure_plan_bytes_max(&options->plan)};

    return child_open(leading->children[rank], "nccl", &open, NULL);
}

static int pair_rank(struct leading *leading, unsigned rank)
{
    uint32_t peer = leading->options->ranks < 2 || rank > 1 ? MEASURE_NO_PEER : 1 - rank;
    struct measure_pairs pairs = {.peers = &peer, .n_rounds = 1, .bytes = PAIR_BYTES, .iterations = 5};

    return child_pairs(leading->children[rank], &pairs, leading->deadline_ns, NULL);
}

static int order(struct leading *leading, unsigned rank)
{
    struct child *child = leading->children[rank];

    switch (leading->stage) {
    case LEAD_OPEN:
        return open_rank(leading, rank);
    case LEAD_CONNECT:
        return child_connect(child, leading->addresses, leading->options->ranks, leading->deadline_ns, NULL);
    case LEAD_RUN:
        return child_run(child, &leading->options->plan, leading->deadline_ns, NULL);
    case LEAD_PAIRS:
        return pair_rank(leading, rank);
    default:
        return child_close(child, NULL);
    }
}

static uint64_t time_for(const struct lead_options *options, enum lead_stage stage)
{
    if (stage == LEAD_CONNECT)
        return options->connect_ns ? options->connect_ns : 20 * LEAD_S;
    if (stage == LEAD_RUN || stage == LEAD_PAIRS)
        return options->run_ns ? options->run_ns : 60 * LEAD_S;
    return stage == LEAD_OPEN ? OPEN_NS : 10 * LEAD_S;
}

/* Those that failed before sit it out. */
static void begin(struct leading *leading, enum lead_stage stage)
{
    leading->stage = stage;
    leading->begun_ns = now_ns();
    leading->deadline_ns = leading->begun_ns + time_for(leading->options, stage);
    for (unsigned i = 0; i < leading->options->ranks; i++) {
        const struct lead_rank *rank = &leading->result->ranks[i];

        leading->busy[i] = !child_ended(leading->children[i]) && !rank->error;
        if (stage == LEAD_CONNECT && i == leading->options->absent)
            leading->busy[i] = false;
        if (stage > LEAD_CONNECT && rank->reached != (stage == LEAD_CLOSE && !leading->options->pairs
                                                           ? LEAD_RUN : stage - 1))
            leading->busy[i] = false;
        if (leading->busy[i])
            (void)order(leading, i); /* one that is gone says so by itself */
    }
}

/* ---- events --------------------------------------------------------------------------------------------- */

static void take_failure(struct leading *leading, unsigned i)
{
    struct lead_rank *rank = &leading->result->ranks[i];
    const struct child_event *event = &leading->event;

    leading->busy[i] = false;
    if (event->kind == CHILD_ENDED)
        rank->ended_itself = strstr(event->text, "signal") == NULL;
    if (rank->error)
        return; /* its end after that tells nothing new */
    rank->error = event->error;
    rank->phase = event->phase;
    memcpy(rank->text, event->text, sizeof(rank->text));
    rank->failed_ns = now_ns() - leading->start_ns;
}

static void take(struct leading *leading, unsigned i)
{
    struct lead_rank *rank = &leading->result->ranks[i];
    const struct child_event *event = &leading->event;

    switch (event->kind) {
    case CHILD_OPENED:
        leading->addresses[i] = event->address;
        rank->info = event->info;
        break;
    case CHILD_RESULT:
        rank->result = event->result;
        break;
    case CHILD_PAIRS:
        rank->pair_seconds = event->n_seconds ? event->seconds[0] : 0;
        break;
    case CHILD_PROGRESS:
        return;
    case CHILD_FAILED:
        take_failure(leading, i);
        return;
    case CHILD_ENDED:
        if (event->error) {
            take_failure(leading, i);
            return;
        }
        rank->ended_well = leading->stage == LEAD_CLOSE;
        break;
    default:
        break;
    }
    leading->busy[i] = false;
    rank->reached = leading->stage;
}

static void kill_in_time(struct leading *leading)
{
    const struct lead_options *options = leading->options;

    if (options->killed < options->ranks && leading->stage == options->killed_in &&
        now_ns() - leading->begun_ns >= options->killed_after_ns && !leading->done_away) {
        struct child *child = leading->children[options->killed];

        leading->done_away = true;
        if (options->frozen && !child_ended(child))
            (void)kill(child_pid(child), SIGSTOP);
        else
            child_kill(child);
    }
}

/* One look at all; false: none has anything left to say in this stage. */
static bool look(struct leading *leading)
{
    struct pollfd fds[LEAD_RANKS_MAX * CHILD_POLLFDS];
    unsigned ranks = leading->options->ranks;
    bool busy = false;

    kill_in_time(leading);
    for (unsigned i = 0; i < ranks; i++) {
        while (child_next(leading->children[i], &leading->event))
            take(leading, i);
        busy |= leading->busy[i];
        child_pollfds(leading->children[i], fds + i * CHILD_POLLFDS);
    }
    if (busy)
        (void)poll(fds, ranks * CHILD_POLLFDS, 10);
    return busy;
}

static void go_through(struct leading *leading, enum lead_stage stage)
{
    bool all = true;

    begin(leading, stage);
    while (look(leading))
        if (now_ns() > leading->deadline_ns + LATE_NS)
            break;
    for (unsigned i = 0; i < leading->options->ranks; i++) {
        struct lead_rank *rank = &leading->result->ranks[i];

        all &= rank->reached == stage;
        if (!leading->busy[i])
            continue;
        rank->stopped = true; /* hangs in spite of its deadline */
        rank->failed_ns = now_ns() - leading->start_ns;
        child_stop(leading->children[i]);
    }
    if (all)
        leading->result->stage_ns[stage] = now_ns() - leading->begun_ns;
}

/* Those that failed abort what they are in, and go. */
static void see_them_off(struct leading *leading)
{
    unsigned ranks = leading->options->ranks;
    bool waits = true;

    leading->deadline_ns = now_ns() + ABORT_NS;
    while (waits && now_ns() < leading->deadline_ns) {
        waits = false;
        (void)look(leading);
        for (unsigned i = 0; i < ranks; i++)
            waits |= leading->result->ranks[i].error && !child_ended(leading->children[i]);
        if (waits)
            (void)poll(NULL, 0, 5);
    }
    for (unsigned i = 0; i < ranks; i++)
        child_stop(leading->children[i]); /* all before each is waited for */
}

int lead(const struct lead_options *options, struct lead_result *ret, struct err *err)
{
    struct leading *leading = calloc(1, sizeof(*leading));
    int r;

    if (!leading)
        return -ENOMEM;
    memset(ret, 0, sizeof(*ret));
    leading->options = options;
    leading->result = ret;
    leading->err = err;
    leading->start_ns = now_ns();
    r = start_all(leading);
    for (enum lead_stage stage = LEAD_OPEN; r == 0 && stage < LEAD_STAGES; stage++)
        if (stage != LEAD_PAIRS || options->pairs)
            go_through(leading, stage);
    if (r == 0)
        see_them_off(leading);
    for (unsigned i = 0; i < options->ranks; i++)
        child_free(leading->children[i]);
    ret->total_ns = now_ns() - leading->start_ns;
    free(leading);
    return r;
}
