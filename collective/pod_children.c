/* The ranks of a pod: a child process for each device, and what is reported of them together. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "collective/pod_internal.h"

#define GRACE_NS UINT64_C(300000000)

_Static_assert(MEASURE_PAIRS_RANKS_MAX == PROBE_PAIRS_RANKS_MAX, "what can be measured can be reported");

void pod__end_children(struct pod *pod)
{
    for (unsigned i = 0; i < pod->n_children; i++)
        child_stop(pod->children[i]);
    for (unsigned i = 0; i < pod->n_children; i++)
        child_free(pod->children[i]);
    pod->n_children = pod->n_done = 0;
}

void pod__report(struct pod *pod, enum probe_outcome outcome, uint32_t rank, const char *text)
{
    struct probe_report *report = &pod->report;
    const struct pod_options *options = pod->options;

    report->first_rank = pod->first_rank;
    report->devices = options->devices;
    report->process = pod->process;
    report->start_id = pod->start_id;
    report->round = pod->round;
    report->outcome = outcome;
    report->rank = rank;
    snprintf(report->pod, sizeof(report->pod), "%s", options->pod);
    snprintf(report->pod_uid, sizeof(report->pod_uid), "%s", options->uid);
    snprintf(report->node, sizeof(report->node), "%s", options->node);
    snprintf(report->backend, sizeof(report->backend), "%s", options->backend);
    snprintf(report->version, sizeof(report->version), "%.63s", pod->info.version);
    snprintf(report->device, sizeof(report->device), "%.63s", pod->info.device);
    snprintf(report->transport, sizeof(report->transport), "%.31s", pod->info.transport);
    probe_text_set(report->text, sizeof(report->text), text);
    report->open_s = pod->opened_ns > pod->began_ns ? (double)(pod->opened_ns - pod->began_ns) / 1e9 : 0;
    report->connect_s = pod->connected_ns > pod->opened_ns ? (double)(pod->connected_ns - pod->opened_ns) / 1e9 : 0;
    pod->report_due = true;
    pod->stage = POD_REPORTED;
}

/* ---- orders to them -------------------------------------------------------------------------------------- */

static void give_up(struct pod *pod, enum probe_outcome outcome, unsigned child, const char *text)
{
    uint32_t rank = pod->first_rank + child;

    memset(&pod->report, 0, sizeof(pod->report));
    pod__say(pod, "rank %u: %s", rank, text);
    pod__report(pod, outcome, rank, text);
    pod__end_children(pod);
}

void pod__open_children(struct pod *pod)
{
    const struct pod_options *options = pod->options;
    const struct child_options how = {.argv = options->argv, .grace_ns = GRACE_NS};
    struct err err = ERR_INIT;

    pod->stage = POD_OPENING;
    pod->began_ns = pod__now_ns();
    pod->opened_ns = pod->connected_ns = 0;
    pod->n_done = 0;
    for (unsigned i = 0; i < options->devices; i++) {
        struct backend_options open = {.rank = pod->first_rank + i,
                                       .ranks = pod->ranks,
                                       .device = (int)i,
                                       .host = options->host,
                                       .streams = options->streams,
                                       .library = options->library,
                                       .bytes_max = pod__bytes_max(pod)};

        if (child_start(&how, &pod->children[i], &err) < 0) {
            give_up(pod, PROBE_OUTCOME_ERROR, i, err.text);
            return;
        }
        pod->n_children = i + 1;
        if (child_open(pod->children[i], options->backend, &open, &err) < 0) {
            give_up(pod, PROBE_OUTCOME_ERROR, i, err.text);
            return;
        }
    }
}

void pod__connect_children(struct pod *pod, const struct probe_addresses *addresses)
{
    CLEANUP_FREE struct backend_address *all = cleanup_alloc(pod->ranks * sizeof(*all));
    struct err err = ERR_INIT;

    if (!all) {
        give_up(pod, PROBE_OUTCOME_ERROR, 0, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < pod->ranks; i++) {
        const uint8_t *bytes = probe_addresses_of(addresses, i, &all[i].len);

        if (all[i].len > 0)
            memcpy(all[i].bytes, bytes, all[i].len);
    }
    pod->stage = POD_CONNECTING;
    pod->n_done = 0;
    for (unsigned i = 0; i < pod->n_children && pod->stage == POD_CONNECTING; i++)
        if (child_connect(pod->children[i], all, pod->ranks, pod->until_ns, &err) < 0)
            give_up(pod, PROBE_OUTCOME_ERROR, i, err.text);
}

static void run_children(struct pod *pod)
{
    struct err err = ERR_INIT;

    pod->connected_ns = pod__now_ns();
    pod->stage = POD_RUNNING;
    pod->n_done = 0;
    memset(&pod->report, 0, sizeof(pod->report));
    for (unsigned i = 0; i < pod->n_children && pod->stage == POD_RUNNING; i++)
        if (child_run(pod->children[i], &pod->plan, pod->until_ns, &err) < 0)
            give_up(pod, PROBE_OUTCOME_ERROR, i, err.text);
}

/* ---- what they tell -------------------------------------------------------------------------------------- */

/* All ranks agree on rows and speed: the first one's are everybody's. Words that are wrong are each rank's own. */
static void take_result(struct pod *pod, unsigned child, const struct measure_result *result)
{
    struct probe_report *report = &pod->report;

    if (child == 0) {
        report->n_rows = result->n_rows < PROBE_SIZES_MAX ? result->n_rows : PROBE_SIZES_MAX;
        for (unsigned i = 0; i < report->n_rows; i++)
            report->rows[i] = (struct probe_row){result->rows[i].bytes,      result->rows[i].seconds,
                                                 result->rows[i].algbw_gb_s, result->rows[i].busbw_gb_s,
                                                 result->rows[i].wrong,      result->rows[i].iterations};
        report->busbw_gb_s = result->busbw_gb_s;
        report->latency_s = result->latency_s;
        report->slopes_agree = result->slopes_agree;
        report->run_s = result->total_s;
    }
    report->bytes_moved += result->bytes_moved;
    report->own_seconds[child] = result->own_seconds_median;
    report->n_own_seconds = pod->options->devices;
    if (result->own_wrong > 0 && report->outcome != PROBE_OUTCOME_WRONG_DATA) {
        report->outcome = PROBE_OUTCOME_WRONG_DATA;
        report->rank = pod->first_rank + child;
    }
}

static void report_results(struct pod *pod, const char *text)
{
    bool wrong = pod->report.outcome == PROBE_OUTCOME_WRONG_DATA;

    pod__report(pod, wrong ? PROBE_OUTCOME_WRONG_DATA : PROBE_OUTCOME_OK,
                wrong ? pod->report.rank : pod->first_rank, text);
    pod__end_children(pod);
}

/* What was measured before stays good; why there are no pairs goes with it. */
static void report_without_pairs(struct pod *pod, unsigned child, const char *why)
{
    char text[CHILD_TEXT_MAX + 20];

    snprintf(text, sizeof(text), "rank %u: %s", pod->first_rank + child, why);
    pod__say(pod, "not each two ranks are measured: %s", text);
    pod->report.n_pairs = 0;
    report_results(pod, text);
}

static void pair_children(struct pod *pod)
{
    struct err err = ERR_INIT;

    pod->stage = POD_PAIRING;
    pod->n_done = 0;
    pod->report.n_pairs = pod->n_children * pod->ranks;
    for (unsigned i = 0; i < pod->n_children && pod->stage == POD_PAIRING; i++) {
        struct measure_pairs pairs = {0};
        int r = measure_pairs_all(pod->first_rank + i, pod->ranks, &pod->plan, &pairs);

        if (r == 0)
            r = child_pairs(pod->children[i], &pairs, pod->until_ns, &err);
        else
            err_set(&err, r, "out of memory");
        free(pairs.peers);
        if (r < 0)
            give_up(pod, PROBE_OUTCOME_ERROR, i, err.text);
    }
}

static void all_have_results(struct pod *pod)
{
    pod->bytes_sent += pod->report.bytes_moved;
    pod->measuring_s += pod->report.run_s;
    pod__say(pod, "measured %.3g GB/s bus bandwidth in %.1f s", pod->report.busbw_gb_s, pod->report.run_s);
    if (pod->pairs && pod->n_children * pod->ranks <= PROBE_PAIRS_MAX)
        pair_children(pod);
    else
        report_results(pod, "");
}

/* With whom a round was stands in the same plan of pairs as it was ordered by. */
static void take_pairs(struct pod *pod, unsigned child, const struct child_event *event)
{
    float *rates = pod->report.pair_gb_s + (size_t)child * pod->ranks;
    struct measure_pairs pairs;

    if (measure_pairs_all(pod->first_rank + child, pod->ranks, &pod->plan, &pairs) < 0)
        return;
    for (unsigned i = 0; i < event->n_seconds && i < pairs.n_rounds; i++)
        if (pairs.peers[i] != MEASURE_NO_PEER && event->seconds[i] > 0)
            rates[pairs.peers[i]] = (float)((double)pairs.bytes / event->seconds[i] * 1e-9);
    free(pairs.peers);
}

static enum probe_outcome outcome_of(enum child_phase phase, int error)
{
    switch (error) {
    case -ENODEV:
    case -ENOMEM:
    case -EBUSY:
        return phase == CHILD_OPENING ? PROBE_OUTCOME_SKIPPED : PROBE_OUTCOME_ERROR;
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -EPIPE:
        return PROBE_OUTCOME_LOST;
    case -ETIMEDOUT:
        return PROBE_OUTCOME_TIMEOUT;
    default:
        return PROBE_OUTCOME_ERROR;
    }
}

static void on_failed(struct pod *pod, unsigned child, const struct child_event *event)
{
    enum probe_outcome outcome = outcome_of(event->phase, event->error);

    /* Time runs out a little earlier on one pod than on another, which then has lost a peer. */
    if (pod->stage == POD_PAIRING && (outcome == PROBE_OUTCOME_TIMEOUT || outcome == PROBE_OUTCOME_LOST))
        report_without_pairs(pod, child, event->text);
    else
        give_up(pod, outcome, child, event->text);
}

static void on_event(struct pod *pod, unsigned child, const struct child_event *event)
{
    switch (event->kind) {
    case CHILD_OPENED:
        pod->own[child] = event->address;
        if (child == 0)
            pod->info = event->info;
        if (++pod->n_done == pod->n_children && pod->stage == POD_OPENING) {
            pod->opened_ns = pod__now_ns();
            pod->stage = POD_JOINED;
            pod->retry_ns = 0; /* join at once */
        }
        break;
    case CHILD_CONNECTED:
        if (++pod->n_done == pod->n_children && pod->stage == POD_CONNECTING)
            run_children(pod);
        break;
    case CHILD_RESULT:
        take_result(pod, child, &event->result);
        if (++pod->n_done == pod->n_children && pod->stage == POD_RUNNING)
            all_have_results(pod);
        break;
    case CHILD_PAIRS:
        if (pod->stage != POD_PAIRING)
            break;
        take_pairs(pod, child, event);
        if (++pod->n_done == pod->n_children)
            report_results(pod, "");
        break;
    case CHILD_FAILED:
        on_failed(pod, child, event);
        break;
    case CHILD_ENDED:
        give_up(pod, PROBE_OUTCOME_ERROR, child, event->text);
        break;
    default:
        break;
    }
}

void pod__children_events(struct pod *pod)
{
    for (unsigned i = 0; i < pod->n_children; i++)
        while (i < pod->n_children && child_next(pod->children[i], &pod->event) > 0)
            on_event(pod, i, &pod->event);
}
