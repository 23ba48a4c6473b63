#include "collective/local.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collective/child.h"
#include "collective/memory.h"

#define TIMEOUT_NS 60000000000u
#define SLOPE_NS 3000000000u /* for three sizes */
#define NS_PER_MS 1000000u
/* Ranks give up this much earlier: they know better who is missing. */
#define EARLIER_NS 300000000u
/*
 * After the first failure others are listened to: the end of a process explains the resets that its
 * peers tell.
 */
#define LISTEN_NS 200000000u

enum stage { STAGE_OPEN, STAGE_CONNECT, STAGE_RUN, STAGE_PAIRS, STAGE_CLOSE, STAGES };
static const char *const stage_names[STAGES] = {"starting", "connecting", "measuring",
                                                "measuring pairs", "closing"};

struct local {
    const struct local_options *options;
    struct measure_plan plan; /* its budget within the timeout */
    struct child *children[LOCAL_RANKS_MAX];
    enum stage stage[LOCAL_RANKS_MAX]; /* that the rank has to get done */
    enum stage now;
    struct backend_address addresses[LOCAL_RANKS_MAX];
    struct measure_pairs pairs[LOCAL_RANKS_MAX];
    uint64_t deadline_ns, until_ns;
    int failed; /* the most telling failure so far */
    bool told[LOCAL_RANKS_MAX]; /* the rank told its failure itself: its end adds nothing */
    struct local_result result;
    struct child_event event;
    struct err *err;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- failures ---------------------------------------------------------------------- */

/* The higher, the more it tells. */
static int weight(int error)
{
    switch (error) {
    case 0:
        return 0;
    case -ECONNRESET: /* by a peer that has failed itself */
    case -ECONNREFUSED:
    case -EPIPE:
        return 1;
    case -ETIMEDOUT:
        return 2;
    case -ECHILD:
        return 4;
    case -ENODEV:
    case -ENOMEM:
    case -EBUSY:
    case -EINVAL:
        return 5;
    default:
        return 3;
    }
}

static void fail(struct local *local, unsigned rank, int error, const char *text)
{
    if (local->failed == 0)
        local->until_ns =
            now_ns() + LISTEN_NS < local->until_ns ? now_ns() + LISTEN_NS : local->until_ns;
    if (weight(error) > weight(local->failed))
        local->failed = err_set(local->err, error, "rank %u: %s", rank, text);
}

static void time_is_up(struct local *local)
{
    char ranks[200] = "";
    unsigned late = 0;
    size_t len = 0;

    for (unsigned i = 0; i < local->options->ranks; i++)
        if (local->stage[i] == local->now) {
            late++;
            if (len < sizeof(ranks) - 8)
                len +=
                    (size_t)snprintf(ranks + len, sizeof(ranks) - len, "%s%u", len ? "," : "", i);
        }
    local->failed =
        err_set(local->err, -ETIMEDOUT, "%s took too long: %u of %u ranks did not answer (%s)",
                stage_names[local->now], late, local->options->ranks, ranks);
}

/* ---- stages ------------------------------------------------------------------------ */

static int make_pairs(struct local *local)
{
    unsigned ranks = local->options->ranks;
    uint64_t most = measure_plan_bytes_max(&local->options->plan);
    uint64_t bytes = local->options->pair_bytes;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < ranks; i++) {
        r = measure_pairs_all(i, ranks, &local->options->plan, &local->pairs[i]);
        if (bytes)
            local->pairs[i].bytes = op_round_bytes(bytes < most ? bytes : most, 1);
    }
    local->result.pair_gb_s = calloc(LOCAL_PAIRS_RANKS_MAX * LOCAL_PAIRS_RANKS_MAX, sizeof(double));
    return r == 0 && local->result.pair_gb_s ? 0 : err_set(local->err, -ENOMEM, "out of memory");
}

static int order(struct local *local, unsigned rank)
{
    const struct local_options *options = local->options;
    struct child *child = local->children[rank];
    uint64_t deadline_ns = local->deadline_ns - EARLIER_NS;
    struct backend_options open = {.rank = rank,
                                   .ranks = options->ranks,
                                   .device = (int)rank,
                                   .host = options->host ? options->host : "127.0.0.1",
                                   .streams = options->streams,
                                   .library = options->library,
                                   .bytes_max = measure_plan_bytes_max(&options->plan)};

    local->stage[rank] = local->now;
    switch (local->now) {
    case STAGE_OPEN:
        return child_open(child, options->backend, &open, local->err);
    case STAGE_CONNECT:
        return child_connect(child, local->addresses, options->ranks, deadline_ns, local->err);
    case STAGE_RUN:
        return child_run(child, &local->plan, deadline_ns, local->err);
    case STAGE_PAIRS:
        return child_pairs(child, &local->pairs[rank], deadline_ns, local->err);
    default:
        return child_close(child, local->err);
    }
}

/* All are through with a stage: the next for all. */
static int begin_stage(struct local *local, enum stage stage)
{
    int r = 0;

    local->now = stage;
    if (stage == STAGE_PAIRS)
        r = make_pairs(local);
    if (local->options->progress)
        local->options->progress(local->options->context, stage_names[stage], 0, 0);
    for (unsigned i = 0; r == 0 && i < local->options->ranks; i++) {
        r = order(local, i);
        if (r == -EPIPE) /* its end is told by itself */
            r = 0;
    }
    return r;
}

static void take_times(struct local *local, unsigned rank)
{
    const struct measure_pairs *pairs = &local->pairs[rank];
    unsigned ranks = local->options->ranks;

    for (unsigned i = 0; i < local->event.n_seconds && i < pairs->n_rounds; i++) {
        uint32_t peer = pairs->peers[i];
        double rate, *cell, *mirror;

        if (peer == MEASURE_NO_PEER || !(local->event.seconds[i] > 0))
            continue;
        rate = (double)pairs->bytes / local->event.seconds[i] * 1e-9;
        cell = &local->result.pair_gb_s[rank * ranks + peer];
        mirror = &local->result.pair_gb_s[peer * ranks + rank];
        if (*cell == 0 || rate < *cell) /* the slower of what both saw */
            *cell = *mirror = rate;
    }
}

static void take_result(struct local *local, unsigned rank)
{
    local->result.own_seconds[rank] = local->event.result.own_seconds_median;
    local->result.own_wrong[rank] = local->event.result.own_wrong;
    if (rank == 0)
        local->result.measured = local->event.result;
}

static void take_event(struct local *local, unsigned rank)
{
    static const enum stage ends[CHILD_EVENT_KINDS] = {[CHILD_OPENED] = STAGE_OPEN,
                                                       [CHILD_CONNECTED] = STAGE_CONNECT,
                                                       [CHILD_RESULT] = STAGE_RUN,
                                                       [CHILD_PAIRS] = STAGE_PAIRS,
                                                       [CHILD_ENDED] = STAGE_CLOSE};
    const struct child_event *event = &local->event;

    if (event->kind == CHILD_PROGRESS) {
        if (rank == 0 && local->options->progress)
            local->options->progress(local->options->context, stage_names[local->now], event->bytes,
                                     event->iterations);
        return;
    }
    if (event->kind == CHILD_FAILED || event->error) {
        if (event->kind == CHILD_ENDED && local->told[rank])
            return;
        local->told[rank] = true;
        fail(local, rank, event->error, event->text);
        return;
    }
    if (local->stage[rank] != ends[event->kind] || local->now != ends[event->kind]) {
        fail(local, rank, -EPROTO, "its process answered what it was not asked");
        return;
    }
    if (event->kind == CHILD_OPENED) {
        local->addresses[rank] = event->address;
        if (rank == 0)
            local->result.info = event->info;
    } else if (event->kind == CHILD_RESULT) {
        take_result(local, rank);
    } else if (event->kind == CHILD_PAIRS) {
        take_times(local, rank);
    }
    local->stage[rank]++;
}

/* ---- the loop ---------------------------------------------------------------------- */

static void wait_for_events(struct local *local)
{
    struct pollfd fds[LOCAL_RANKS_MAX * CHILD_POLLFDS];
    uint64_t until = local->until_ns, now = now_ns();

    for (unsigned i = 0; i < local->options->ranks; i++) {
        uint64_t wake = child_wake_ns(local->children[i]);

        child_pollfds(local->children[i], fds + (size_t)i * CHILD_POLLFDS);
        until = wake < until ? wake : until;
    }
    if (until > now)
        (void)poll(fds, (nfds_t)local->options->ranks * CHILD_POLLFDS,
                   (int)((until - now) / NS_PER_MS + 1));
}

#define EVENTS_AT_ONCE 64 /* of one rank: one that floods does not keep others from being heard */

/* True: all ranks have got the stage done. */
static bool hear_all(struct local *local)
{
    bool all = true;

    for (unsigned i = 0; i < local->options->ranks; i++) {
        for (unsigned k = 0; k < EVENTS_AT_ONCE && child_next(local->children[i], &local->event);
             k++)
            take_event(local, i);
        all = all && local->stage[i] > local->now;
    }
    return all;
}

static enum stage after(const struct local *local)
{
    if (local->now == STAGE_RUN && !local->options->pairs)
        return STAGE_CLOSE;
    return local->now + 1;
}

static int go_through(struct local *local)
{
    int r = begin_stage(local, STAGE_OPEN);

    while (r == 0) {
        bool all = hear_all(local);

        if (all && local->failed == 0) {
            if (local->now == STAGE_CLOSE)
                return 0;
            r = begin_stage(local, after(local));
            continue;
        }
        if (now_ns() >= local->until_ns) {
            if (local->failed == 0)
                time_is_up(local);
            return local->failed;
        }
        wait_for_events(local);
    }
    return r;
}

static int check(const struct local_options *options, struct err *err)
{
    unsigned most = options->pairs ? LOCAL_PAIRS_RANKS_MAX : LOCAL_RANKS_MAX;

    if (options->ranks < 1 || options->ranks > most)
        return err_set(err, -EINVAL, "%u ranks: expected 1 to %u%s", options->ranks, most,
                       options->pairs ? " with pairs" : " on one machine");
    return measure_plan_check(&options->plan, options->ranks, err);
}

/* Of all ranks together: each by itself looks before the others have taken theirs. */
static int check_memory(const struct local_options *options, struct err *err)
{
    bool twice = options->pairs || options->plan.op == OP_ALL_TO_ALL || options->ranks == 1;
    uint64_t needed = measure_plan_bytes_max(&options->plan) * options->ranks * (twice ? 2 : 1);
    uint64_t available = memory_available_bytes();

    if (strcmp(options->backend, "tcp") != 0 || needed <= available)
        return 0;
    return err_set(err, -ENOMEM,
                   "memory is short: %" PRIu64 " MiB available, %" PRIu64 " MiB needed by %u ranks",
                   available >> 20, needed >> 20, options->ranks);
}

/*
 * What is to be measured ends by itself before the time is up: a budget for it where the plan has
 * none.
 */
static struct measure_plan plan_within(const struct local_options *options, uint64_t timeout_ns)
{
    struct measure_plan plan = options->plan;

    if (plan.budget_ns == 0)
        plan.budget_ns = plan.sweep                  ? timeout_ns / 2
                         : timeout_ns / 4 < SLOPE_NS ? timeout_ns / 4
                                                     : SLOPE_NS;
    return plan;
}

static int start_all(struct local *local)
{
    struct child_options options = {.argv = local->options->argv};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < local->options->ranks; i++)
        r = child_start(&options, &local->children[i], local->err);
    return r;
}

static void end_all(struct local *local, bool stop)
{
    for (unsigned i = 0; stop && i < local->options->ranks; i++)
        if (local->children[i])
            child_stop(local->children[i]);
    for (unsigned i = 0; i < local->options->ranks; i++) {
        child_free(local->children[i]);
        free(local->pairs[i].peers);
    }
}

int local_run(const struct local_options *options, struct local_result *ret, struct err *err)
{
    uint64_t timeout_ns = options->timeout_ns ? options->timeout_ns : TIMEOUT_NS;
    struct local *local;
    int r = check(options, err);

    if (r == 0)
        r = check_memory(options, err);
    if (r < 0)
        return r;
    local = calloc(1, sizeof(*local));
    if (!local)
        return err_set(err, -ENOMEM, "out of memory");
    local->options = options;
    local->err = err;
    local->plan = plan_within(options, timeout_ns);
    local->deadline_ns = now_ns() + timeout_ns;
    local->until_ns = local->deadline_ns;
    r = start_all(local);
    if (r == 0)
        r = go_through(local);
    end_all(local, r < 0);
    if (r == 0)
        *ret = local->result;
    else
        local_result_release(&local->result);
    free(local);
    return r;
}

void local_result_release(struct local_result *result)
{
    free(result->pair_gb_s);
    result->pair_gb_s = NULL;
}
