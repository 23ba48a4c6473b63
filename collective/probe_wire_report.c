/* ReportRequest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "collective/probe_wire_internal.h"

static void check_rows(struct wire_check *check, const struct probe_report *report)
{
    for (unsigned i = 0; check->code == 0 && i < report->n_rows; i++) {
        const struct probe_row *row = &report->rows[i];

        snprintf(check->where, sizeof(check->where), "rows[%u].", i);
        wire_number(check, "bytes", row->bytes, 1, PROBE_BYTES_MAX);
        wire_real(check, "seconds", row->seconds, PROBE_SECONDS_MAX);
        wire_real(check, "algbw_gb_s", row->algbw_gb_s, PROBE_GB_S_MAX);
        wire_real(check, "busbw_gb_s", row->busbw_gb_s, PROBE_GB_S_MAX);
        wire_number(check, "wrong", row->wrong, 0, PROBE_BYTES_MAX);
        wire_number(check, "iterations", row->iterations, 0, 1000000);
    }
    check->where[0] = '\0';
}

/* Which round, and whose part of it. */
static void check_place(struct wire_check *check, const struct probe_report *report)
{
    uint32_t first = report->first_rank;
    bool early = report->start_id == 0;

    wire_number(check, "first_rank", first, 0, PROBE_RANKS_MAX - 1);
    wire_number(check, "devices", report->devices, 1, PROBE_DEVICES_MAX);
    wire_number(check, "process", report->process, 1, INT64_MAX);
    wire_number(check, "round", report->round, early ? 0 : 1, early ? 0 : PROBE_ROUND_MAX);
    wire_number(check, "outcome", (uint64_t)report->outcome, PROBE_OUTCOME_OK, PROBE_OUTCOMES - 1);
    if (early && report->outcome != PROBE_OUTCOME_SKIPPED && report->outcome != PROBE_OUTCOME_ERROR)
        wire_refuse(check, "outcome", "%d of no round, expected error or skipped",
                    (int)report->outcome);
    if (check->code == 0)
        wire_number(check, "rank", report->rank, first, first + report->devices - 1);
}

static int check_report(const struct probe_report *report, struct err *err)
{
    struct wire_check check = {.err = err};

    wire_gang(&check, &report->gang);
    wire_name(&check, "pod", report->pod);
    wire_uid(&check, "pod_uid", report->pod_uid);
    wire_name(&check, "node", report->node);
    check_place(&check, report);
    wire_text(&check, "text", report->text);
    wire_number(&check, "rows", report->n_rows, 0, PROBE_SIZES_MAX);
    check_rows(&check, report);
    wire_real(&check, "busbw_gb_s", report->busbw_gb_s, PROBE_GB_S_MAX);
    wire_real(&check, "latency_s", report->latency_s, PROBE_SECONDS_MAX);
    wire_number(&check, "bytes_moved", report->bytes_moved, 0, PROBE_BYTES_MAX);
    if (report->n_own_seconds != 0)
        wire_number(&check, "own_seconds", report->n_own_seconds, report->devices, report->devices);
    for (unsigned i = 0; check.code == 0 && i < report->n_own_seconds; i++)
        wire_real(&check, "own_seconds", report->own_seconds[i], PROBE_SECONDS_MAX);
    wire_real(&check, "open_s", report->open_s, PROBE_SECONDS_MAX);
    wire_real(&check, "connect_s", report->connect_s, PROBE_SECONDS_MAX);
    wire_real(&check, "run_s", report->run_s, PROBE_SECONDS_MAX);
    wire_word(&check, "backend", report->backend);
    wire_text(&check, "version", report->version);
    wire_text(&check, "device", report->device);
    wire_text(&check, "transport", report->transport);
    wire_number(&check, "pair_gb_s", report->n_pairs, 0, PROBE_PAIRS_MAX);
    if (check.code == 0 && report->n_pairs % report->devices != 0)
        wire_refuse(&check, "pair_gb_s", "%u of them, expected as many for each of %u devices",
                    report->n_pairs, report->devices);
    for (unsigned i = 0; check.code == 0 && i < report->n_pairs; i++)
        wire_real(&check, "pair_gb_s", (double)report->pair_gb_s[i], PROBE_GB_S_MAX);
    return check.code;
}

static void copy_texts(struct wire_check *check, const PbReport *from, struct probe_report *ret)
{
    wire_copy_gang(check, from->gang, &ret->gang);
    wire_copy(check, "pod", from->pod, ret->pod, sizeof(ret->pod));
    wire_copy(check, "pod_uid", from->pod_uid, ret->pod_uid, sizeof(ret->pod_uid));
    wire_copy(check, "node", from->node, ret->node, sizeof(ret->node));
    wire_copy(check, "text", from->text, ret->text, sizeof(ret->text));
    wire_copy(check, "backend", from->backend, ret->backend, sizeof(ret->backend));
    wire_copy(check, "version", from->version, ret->version, sizeof(ret->version));
    wire_copy(check, "device", from->device, ret->device, sizeof(ret->device));
    wire_copy(check, "transport", from->transport, ret->transport, sizeof(ret->transport));
}

static void copy_lists(struct wire_check *check, const PbReport *from, struct probe_report *ret)
{
    wire_number(check, "rows", from->n_rows, 0, PROBE_SIZES_MAX);
    wire_number(check, "own_seconds", from->n_own_seconds, 0, PROBE_DEVICES_MAX);
    wire_number(check, "pair_gb_s", from->n_pair_gb_s, 0, PROBE_PAIRS_MAX);
    if (check->code < 0)
        return;
    for (size_t i = 0; i < from->n_rows; i++) {
        const PbRow *row = from->rows[i];

        ret->rows[i] = (struct probe_row){row->bytes,      row->seconds, row->algbw_gb_s,
                                          row->busbw_gb_s, row->wrong,   row->iterations};
    }
    for (size_t i = 0; i < from->n_own_seconds; i++)
        ret->own_seconds[i] = from->own_seconds[i];
    for (size_t i = 0; i < from->n_pair_gb_s; i++)
        ret->pair_gb_s[i] = from->pair_gb_s[i];
    ret->n_rows = (unsigned)from->n_rows;
    ret->n_own_seconds = (unsigned)from->n_own_seconds;
    ret->n_pairs = (unsigned)from->n_pair_gb_s;
}

int probe_report_decode(const uint8_t *bytes, size_t len, struct probe_report *ret, struct err *err)
{
    CLEANUP(wire_free) ProtobufCMessage *message = NULL;
    struct wire_check check = {.err = err};
    const PbReport *from;
    int r = wire_unpack(&lockstep__probe__v1__report_request__descriptor, bytes, len,
                        PROBE_REQUEST_MAX, &message, err);

    if (r < 0)
        return r;
    from = (const PbReport *)message;
    memset(ret, 0, sizeof(*ret));
    copy_texts(&check, from, ret);
    copy_lists(&check, from, ret);
    ret->first_rank = from->first_rank;
    ret->devices = from->devices;
    ret->process = from->process;
    ret->start_id = from->start_id;
    ret->round = from->round;
    wire_number(&check, "outcome", (uint64_t)from->outcome, PROBE_OUTCOME_OK, PROBE_OUTCOMES - 1);
    if (check.code < 0)
        return check.code; /* before it becomes a value of our enumeration */
    ret->outcome = (enum probe_outcome)from->outcome;
    ret->rank = from->rank;
    ret->busbw_gb_s = from->busbw_gb_s;
    ret->latency_s = from->latency_s;
    ret->slopes_agree = from->slopes_agree;
    ret->bytes_moved = from->bytes_moved;
    ret->open_s = from->open_s;
    ret->connect_s = from->connect_s;
    ret->run_s = from->run_s;
    return check_report(ret, err);
}

static void point_texts(const struct probe_report *report, PbReport *ret)
{
    ret->pod = (char *)(uintptr_t)report->pod;
    ret->pod_uid = (char *)(uintptr_t)report->pod_uid;
    ret->node = (char *)(uintptr_t)report->node;
    ret->text = (char *)(uintptr_t)report->text;
    ret->backend = (char *)(uintptr_t)report->backend;
    ret->version = (char *)(uintptr_t)report->version;
    ret->device = (char *)(uintptr_t)report->device;
    ret->transport = (char *)(uintptr_t)report->transport;
}

static void point_numbers(const struct probe_report *report, PbReport *ret)
{
    ret->first_rank = report->first_rank;
    ret->devices = report->devices;
    ret->process = report->process;
    ret->start_id = report->start_id;
    ret->round = report->round;
    ret->outcome = (Lockstep__Probe__V1__Outcome)report->outcome;
    ret->rank = report->rank;
    ret->busbw_gb_s = report->busbw_gb_s;
    ret->latency_s = report->latency_s;
    ret->slopes_agree = report->slopes_agree;
    ret->bytes_moved = report->bytes_moved;
    ret->n_own_seconds = report->n_own_seconds;
    ret->own_seconds = (double *)(uintptr_t)report->own_seconds;
    ret->open_s = report->open_s;
    ret->connect_s = report->connect_s;
    ret->run_s = report->run_s;
    ret->n_pair_gb_s = report->n_pairs;
    ret->pair_gb_s = (float *)(uintptr_t)report->pair_gb_s;
}

int probe_report_encode(const struct probe_report *report, struct strbuf *out, struct err *err)
{
    PbReport message = LOCKSTEP__PROBE__V1__REPORT_REQUEST__INIT;
    PbRow rows[PROBE_SIZES_MAX], *pointers[PROBE_SIZES_MAX];
    PbGang gang;
    int r = check_report(report, err);

    if (r < 0)
        return r;
    wire_point_gang(&report->gang, &gang);
    message.gang = &gang;
    point_texts(report, &message);
    point_numbers(report, &message);
    for (unsigned i = 0; i < report->n_rows; i++) {
        const struct probe_row *row = &report->rows[i];

        lockstep__probe__v1__row__init(&rows[i]);
        rows[i].bytes = row->bytes;
        rows[i].seconds = row->seconds;
        rows[i].algbw_gb_s = row->algbw_gb_s;
        rows[i].busbw_gb_s = row->busbw_gb_s;
        rows[i].wrong = row->wrong;
        rows[i].iterations = row->iterations;
        pointers[i] = &rows[i];
    }
    message.n_rows = report->n_rows;
    message.rows = pointers;
    r = wire_pack(&message.base, out);
    return r < 0 ? err_set(err, r, "a report does not fit: %s", strerror(-r)) : 0;
}
