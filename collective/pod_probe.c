#include "collective/pod_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define JOIN "/lockstep.probe.v1.Probe/Join"
#define REPORT "/lockstep.probe.v1.Probe/Report"
#define BACKOFF_FIRST_NS UINT64_C(200000000)
#define BACKOFF_MAX_NS UINT64_C(3000000000)
#define REPORT_NS UINT64_C(5000000000)
#define EARLIER_NS UINT64_C(500000000) /* ranks give up before the coordinator does: they know more */

uint64_t pod__now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void pod__say(struct pod *pod, const char *format, ...)
{
    char line[sizeof(pod->told)];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (strcmp(line, pod->told) == 0)
        return;
    memcpy(pod->told, line, sizeof(line));
    fprintf(stderr, "lockstep-probe: %s\n", line);
}

uint64_t pod__bytes_max(const struct pod *pod)
{
    if (pod->options->bytes_max)
        return pod->options->bytes_max;
    return strcmp(pod->options->backend, "nccl") == 0 ? POD_NCCL_BYTES_MAX : POD_TCP_BYTES_MAX;
}

static void end(struct pod *pod, int outcome, const char *why)
{
    pod->over = true;
    pod->outcome = err_set(&pod->err, outcome, "%s", why);
}

/* ---- the stream ------------------------------------------------------------------------------------------ */

static void fill_join(struct pod *pod, struct probe_join *join)
{
    const struct pod_options *options = pod->options;
    bool has_addresses = pod->stage != POD_ASKING;

    snprintf(join->pod, sizeof(join->pod), "%s", options->pod);
    snprintf(join->pod_uid, sizeof(join->pod_uid), "%s", options->uid);
    snprintf(join->node, sizeof(join->node), "%s", options->node);
    join->first_rank = -1;
    join->devices = options->devices;
    join->process = pod->process;
    join->attempt = ++pod->attempt;
    join->start_id = pod->start_id;
    join->round = pod->round;
    snprintf(join->version, sizeof(join->version), "%.63s", pod->info.version);
    snprintf(join->device, sizeof(join->device), "%.63s", pod->info.device);
    join->opening = !has_addresses; /* asks which ranks it has, and is not counted yet */
    snprintf(join->backend, sizeof(join->backend), "%s", options->backend);
    for (unsigned i = 0; has_addresses && i < options->devices; i++) {
        join->addresses[i].len = (uint16_t)pod->own[i].len;
        memcpy(join->addresses[i].bytes, pod->own[i].bytes, pod->own[i].len);
    }
}

static void try_again_later(struct pod *pod)
{
    rpc_stream_free(pod->stream);
    pod->stream = NULL;
    pod->retry_ns = pod__now_ns() + pod->backoff_ns;
    pod->backoff_ns = pod->backoff_ns * 2 < BACKOFF_MAX_NS ? pod->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static void join(struct pod *pod)
{
    struct strbuf bytes = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct probe_join *join = calloc(1, sizeof(*join));
    struct err err = ERR_INIT;
    int r = join ? 0 : -ENOMEM;

    rpc_stream_free(pod->stream);
    pod->stream = NULL;
    if (r == 0) {
        fill_join(pod, join);
        r = probe_join_encode(join, &bytes, &err);
    }
    if (r < 0)
        end(pod, r, err.text[0] ? err.text : "out of memory");
    else if (rpc_stream_open(pod->channel, JOIN, bytes.data, bytes.len, pod->end_ns, &pod->stream, &err) < 0)
        try_again_later(pod);
    free(join);
    strbuf_release(&bytes);
}

/* ---- orders ---------------------------------------------------------------------------------------------- */

static void start_over(struct pod *pod)
{
    pod__end_children(pod);
    pod->stage = POD_ASKING;
    pod->start_id = 0;
    pod->round = 0;
    pod->report_due = false;
    pod->process++; /* addresses of the children that were are of no use any more */
    rpc_stream_free(pod->stream);
    pod->stream = NULL;
    pod->retry_ns = 0;
}

static int take_plan(struct pod *pod, const struct probe_plan *from)
{
    struct measure_plan *plan = &pod->plan;

    *plan = (struct measure_plan){.bytes_min = from->bytes_min,
                                  .bytes_max = from->bytes_max,
                                  .n_sizes = from->n_sizes,
                                  .sweep = from->sweep,
                                  .expected_gb_s = from->expected_gb_s,
                                  .iterations_max = from->iterations_max,
                                  .budget_ns = from->budget_ns,
                                  .check = from->check};
    memcpy(plan->sizes, from->sizes, sizeof(plan->sizes));
    pod->pairs = from->pairs && pod->ranks <= MEASURE_PAIRS_RANKS_MAX;
    if (plan->bytes_max == 0 || plan->bytes_max > pod__bytes_max(pod)) /* all ranks have the same backend */
        plan->bytes_max = pod__bytes_max(pod);
    if (!op_from_name(from->op, &plan->op))
        return err_set(&pod->err, -EINVAL, "op '%s' is not known", from->op);
    return measure_plan_check(plan, pod->ranks, &pod->err);
}

static void on_start(struct pod *pod, const struct probe_order *order)
{
    if (pod->stage != POD_JOINED || order->start.ranks != pod->ranks) {
        start_over(pod); /* of ranks that are no more: come again */
        return;
    }
    pod->start_id = order->start.start_id;
    pod->round = order->start.round;
    pod->until_ns = pod__now_ns() + (uint64_t)order->start.deadline_ms * 1000000;
    pod->until_ns -= pod->until_ns > pod__now_ns() + 2 * EARLIER_NS ? EARLIER_NS : 0;
    if (take_plan(pod, &order->start.plan) < 0) {
        pod__report(pod, PROBE_OUTCOME_ERROR, pod->first_rank, pod->err.text);
        pod__end_children(pod);
        return;
    }
    pod__say(pod, "all %u ranks are there: measuring", pod->ranks);
    pod__connect_children(pod, order->start.addresses);
}

static void on_verdict(struct pod *pod, const struct probe_order *order)
{
    pod__end_children(pod);
    pod->verdict = order->verdict.word;
    pod->outcome = 0;
    pod__say(pod, "%s: %s%s", verdict_name(pod->verdict), order->verdict.message,
             order->verdict.hold ? "; the gang is held back" : "");
    pod->stage = POD_REPORTED;
    pod->report_due = false;
    if (order->verdict.hold && pod->hold_until_ns == 0)
        pod->hold_until_ns = pod__now_ns() + (uint64_t)order->verdict.hold_ms * 1000000;
    pod->over = !order->verdict.hold;
}

static void on_order(struct pod *pod, const struct probe_order *order, uint32_t first_rank)
{
    pod->backoff_ns = BACKOFF_FIRST_NS;
    pod->lost_ns = 0;
    switch (order->kind) {
    case PROBE_WAITING:
        if (pod->stage != POD_ASKING && order->waiting.joined == order->waiting.ranks) {
            pod__say(pod, "back in round %u", pod->round);
        } else if (pod->stage != POD_ASKING) {
            pod__say(pod, "waiting: %u of %u ranks are there; missing: %s", order->waiting.joined, order->waiting.ranks,
                     order->waiting.missing);
        } else if (order->waiting.ranks > 0) {
            pod->first_rank = first_rank;
            pod->ranks = order->waiting.ranks;
            pod__say(pod, "rank %u of %u, by %s", first_rank, pod->ranks, pod->options->backend);
            pod__open_children(pod);
        }
        break;
    case PROBE_START:
        on_start(pod, order);
        break;
    case PROBE_VERDICT:
        on_verdict(pod, order);
        break;
    case PROBE_ABORT:
        pod__say(pod, "stopped: %s", order->abort.reason);
        if (order->abort.again)
            start_over(pod);
        else if (!pod->over)
            end(pod, -ECANCELED, order->abort.reason);
        break;
    }
}

static void on_stream_end(struct pod *pod, enum rpc_status status, const struct err *why)
{
    switch (status) {
    case RPC_INVALID_ARGUMENT:
    case RPC_PERMISSION_DENIED:
    case RPC_UNAUTHENTICATED:
        if (pod->hold_until_ns == 0)
            end(pod, -EACCES, why->text);
        pod->over = true;
        return;
    default: /* the coordinator is not there, is another one, or does not know the gang yet */
        if (pod->lost_ns == 0)
            pod->lost_ns = pod__now_ns();
        if (pod->options->patience_ns && pod__now_ns() - pod->lost_ns >= pod->options->patience_ns) {
            end(pod, -ETIMEDOUT, status == RPC_OK ? "the coordinator is gone" : why->text);
            return;
        }
        if (status != RPC_OK)
            pod__say(pod, "%s: trying again", why->text);
        try_again_later(pod);
    }
}

static void read_stream(struct pod *pod)
{
    for (struct rpc_stream *stream = pod->stream; stream && pod->stream == stream && !pod->over;) {
        struct rpc_bytes message = {0};
        struct err err = ERR_INIT;
        enum rpc_status status;
        uint32_t first_rank;
        struct probe_order *order;
        enum rpc_next next = rpc_stream_next(stream, &message, &status, &err);

        if (next == RPC_NEXT_NOTHING)
            return;
        if (next == RPC_NEXT_ENDED) {
            on_stream_end(pod, status, &err);
            return;
        }
        order = calloc(1, sizeof(*order));
        if (order && probe_order_decode(message.data, message.len, order, &first_rank, &err) == 0)
            on_order(pod, order, first_rank);
        else
            pod__say(pod, "an order is not understood: %s", err.text);
        if (order)
            probe_order_release(order);
        free(order);
        rpc_bytes_release(&message);
    }
}

/* ---- the report ------------------------------------------------------------------------------------------ */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void send_report(struct pod *pod)
{
    struct strbuf bytes = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct rpc_bytes answer = {0};
    struct err err = ERR_INIT;
    enum rpc_status status;

    if (probe_report_encode(&pod->report, &bytes, &err) < 0) {
        end(pod, -EINVAL, err.text);
        strbuf_release(&bytes);
        return;
    }
    /* Nothing else is done meanwhile, and the limit is one for this, too. */
    status = rpc_unary(pod->channel, REPORT, bytes.data, bytes.len, earlier(pod__now_ns() + REPORT_NS, pod->end_ns),
                       &answer, &err);
    strbuf_release(&bytes);
    if (status == RPC_OK) {
        pod->report_due = false; /* whether it counted shows on the stream */
        rpc_bytes_release(&answer);
    } else if (status == RPC_ABORTED || status == RPC_FAILED_PRECONDITION) {
        pod->report_due = false; /* of a round that is over: the stream says what comes next */
    } else if (status == RPC_INVALID_ARGUMENT || status == RPC_PERMISSION_DENIED) {
        end(pod, -EACCES, err.text);
    } else {
        pod__say(pod, "cannot report: %s: trying again", err.text);
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

static uint64_t wake_ns(const struct pod *pod)
{
    uint64_t wake = pod->end_ns;

    if (pod->hold_until_ns)
        wake = earlier(wake, pod->hold_until_ns);
    if (!pod->stream && pod->stage != POD_OPENING)
        wake = earlier(wake, pod->retry_ns);
    if (pod->report_due)
        wake = earlier(wake, pod__now_ns() + BACKOFF_FIRST_NS);
    for (unsigned i = 0; i < pod->n_children; i++)
        wake = earlier(wake, child_wake_ns(pod->children[i]));
    return wake;
}

static void wait_for_something(struct pod *pod)
{
    struct pollfd fds[1 + CHILD_POLLFDS * PROBE_DEVICES_MAX];
    uint64_t now = pod__now_ns(), wake = wake_ns(pod);
    struct timespec timeout = {0};
    nfds_t n = 1;

    fds[0] = (struct pollfd){.fd = pod->stream ? rpc_stream_fd(pod->stream) : -1, .events = POLLIN};
    for (unsigned i = 0; i < pod->n_children; i++, n += CHILD_POLLFDS)
        child_pollfds(pod->children[i], &fds[n]);
    if (wake > now) {
        timeout.tv_sec = (time_t)((wake - now) / UINT64_C(1000000000));
        timeout.tv_nsec = (long)((wake - now) % UINT64_C(1000000000));
    }
    (void)ppoll(fds, n, &timeout, NULL);
}

static void step(struct pod *pod)
{
    uint64_t now = pod__now_ns();

    if (now >= pod->end_ns) {
        end(pod, -ETIMEDOUT, "there was no verdict in time");
        return;
    }
    if (pod->hold_until_ns && now >= pod->hold_until_ns) {
        pod__say(pod, "held back long enough: the gang starts all the same");
        pod->over = true;
        return;
    }
    if (pod->report_due)
        send_report(pod);
    if (!pod->over && !pod->stream && pod->stage != POD_OPENING && now >= pod->retry_ns)
        join(pod);
    if (!pod->over)
        wait_for_something(pod);
    read_stream(pod);
    if (!pod->over)
        pod__children_events(pod);
    if (pod->stage == POD_JOINED && pod->retry_ns == 0 && !pod->over) {
        pod->retry_ns = UINT64_MAX; /* with addresses now, in the place of the question */
        join(pod);
    }
}

static double cpu_s(int who)
{
    struct rusage usage = {0};

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* Of this process and its ranks, which have ended by now. */
static void say_cost(struct pod *pod, uint64_t began_ns)
{
    pod__say(pod, "took %.2f s, %.2f s of it measuring; sent %.3f GB; used %.2f s of CPU time",
             (double)(pod__now_ns() - began_ns) * 1e-9, pod->measuring_s, (double)pod->bytes_sent * 1e-9,
             cpu_s(RUSAGE_SELF) + cpu_s(RUSAGE_CHILDREN));
}

void pod_not_measured(const struct err *err)
{
    fprintf(stderr, "lockstep-probe: not measured: %s\n", err->text);
}

int pod_probe_run(const struct pod_options *options, enum verdict *ret_verdict, struct err *err)
{
    struct pod *pod = calloc(1, sizeof(*pod));
    int r = pod ? rpc_channel_new(&options->coordinator, &pod->channel, err) : -ENOMEM;
    uint64_t began_ns = pod__now_ns();
    struct timespec wall;

    if (r < 0) {
        free(pod);
        if (r == -ENOMEM)
            err_set(err, r, "out of memory");
        pod_not_measured(err);
        return r;
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    pod->options = options;
    pod->end_ns = began_ns + options->limit_ns;
    pod->process = (uint64_t)wall.tv_sec * UINT64_C(1000000000) + (uint64_t)wall.tv_nsec;
    pod->backoff_ns = BACKOFF_FIRST_NS;
    pod->verdict = VERDICT_UNKNOWN;
    while (!pod->over)
        step(pod);
    pod__end_children(pod);
    rpc_stream_free(pod->stream);
    rpc_channel_free(pod->channel);
    r = pod->outcome;
    if (r < 0) {
        err_set(err, r, "%s", pod->err.text);
        pod_not_measured(err);
    } else {
        *ret_verdict = pod->verdict;
    }
    say_cost(pod, began_ns);
    free(pod);
    return r;
}
