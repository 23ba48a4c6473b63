/* Running: what the ranks report. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collective/coordinator_internal.h"

void coord__forget_report(struct member *member)
{
    struct cgang *gang = member->gang;

    if (!member->reported)
        return;
    member->reported = false;
    gang->reported_ranks -= member->devices;
    if (--gang->nreported > 0)
        return;
    gang->timeouts = gang->wrongs = 0;
    gang->wrong = 0;
    gang->wrong_rank = -1;
    gang->rows_of = UINT32_MAX;
    gang->result.measured_gb_s = gang->result.latency_s = 0;
    gang->result.bytes_moved = 0;
    gang->result.n_rows = 0;
    gang->result.slopes_agree = true;
    gang->result.pairs_why[0] = '\0';
    if (gang->result.pair_gb_s)
        memset(gang->result.pair_gb_s, 0, (size_t)gang->ranks * gang->ranks * sizeof(float));
}

/* Rows are agreed on by all ranks: the lowest rank's are everybody's. */
static void keep_rows(struct cgang *gang, const struct member *member,
                      const struct probe_report *report)
{
    struct coordinator_result *result = &gang->result;

    if (report->n_rows == 0 || member->first_rank >= gang->rows_of)
        return;
    gang->rows_of = member->first_rank;
    memcpy(result->rows, report->rows, report->n_rows * sizeof(*report->rows));
    result->n_rows = report->n_rows;
    result->slopes_agree = report->slopes_agree;
    result->latency_s = report->latency_s;
    memcpy(result->backend, report->backend, sizeof(result->backend));
    memcpy(result->version, report->version, sizeof(result->version));
    memcpy(result->device, report->device, sizeof(result->device));
    memcpy(result->transport, report->transport, sizeof(result->transport));
}

static void keep_pair(struct cgang *gang, uint32_t rank, uint32_t peer, float gb_s)
{
    float *rates = gang->result.pair_gb_s, *cell = &rates[rank * gang->ranks + peer];

    if (rank != peer && gb_s > 0 && (*cell <= 0 || gb_s < *cell))
        *cell = rates[peer * gang->ranks + rank] = gb_s;
}

static void keep_why_no_pairs(struct cgang *gang, const struct member *member,
                              const struct probe_report *report)
{
    char text[COORD_WHO_MAX + PROBE_REASON_MAX + 4], who[COORD_WHO_MAX];

    if (gang->result.pairs_why[0])
        return;
    coord__who(member, who);
    snprintf(text, sizeof(text), "%s: %s", who, report->text[0] ? report->text : "it says none");
    probe_text_set(gang->result.pairs_why, sizeof(gang->result.pairs_why), text);
}

static void keep_pairs(struct cgang *gang, const struct member *member,
                       const struct probe_report *report)
{
    if (!gang->result.pair_gb_s)
        return;
    if (report->n_pairs != member->devices * gang->ranks) {
        keep_why_no_pairs(gang, member, report);
        return;
    }
    for (uint32_t i = 0; i < member->devices; i++)
        for (uint32_t k = 0; k < gang->ranks; k++)
            keep_pair(gang, member->first_rank + i, k, report->pair_gb_s[i * gang->ranks + k]);
}

static uint64_t wrong_words(const struct probe_report *report)
{
    uint64_t words = report->outcome == PROBE_OUTCOME_WRONG_DATA; /* at least */

    for (unsigned i = 0; i < report->n_rows; i++)
        if (report->rows[i].wrong > words)
            words = report->rows[i].wrong;
    return words;
}

static void count(struct cgang *gang, struct member *member, const struct probe_report *report)
{
    struct coordinator_result *result = &gang->result;
    uint64_t wrong = wrong_words(report);

    member->reported = true;
    member->outcome = report->outcome;
    gang->nreported++;
    gang->reported_ranks += member->devices;
    gang->timeouts += report->outcome == PROBE_OUTCOME_TIMEOUT;
    if (report->outcome == PROBE_OUTCOME_WRONG_DATA && gang->wrongs++ == 0)
        gang->wrong_rank = (int32_t)report->rank;
    if (wrong > gang->wrong)
        gang->wrong = wrong;
    result->bytes_moved += report->bytes_moved;
    /* All say the same; were one to say other than that, it cannot make its gang look faster. */
    if (report->busbw_gb_s > 0 &&
        (result->measured_gb_s <= 0 || report->busbw_gb_s < result->measured_gb_s))
        result->measured_gb_s = report->busbw_gb_s;
    keep_rows(gang, member, report);
    keep_pairs(gang, member, report);
}

/* The others' time runs out as well, or they have something to say: soon. */
static void hurry(struct cgang *gang)
{
    int64_t soon = gang->coordinator->now_ns + GRACE_NS;

    if (gang->phase == PHASE_RUNNING && gang->round_until_ns > soon)
        gang->round_until_ns = soon;
}

static void lost(struct cgang *gang, const struct member *member, const struct probe_report *report)
{
    char reason[COORD_WHO_MAX + PROBE_REASON_MAX + 64], who[COORD_WHO_MAX];

    coord__who(member, who);
    snprintf(reason, sizeof(reason), "rank %u (%s): %s", report->rank, who, report->text);
    if (gang->phase == PHASE_RUNNING)
        coord__restart(gang, reason);
    else
        coord__claims_end(gang, reason);
}

static void take(struct cgang *gang, struct member *member, const struct probe_report *report)
{
    switch (report->outcome) {
    case PROBE_OUTCOME_SKIPPED:
        coord__end_blamed(gang, VERDICT_SKIPPED, member, report->rank, report->text);
        return;
    case PROBE_OUTCOME_ERROR:
        coord__end_blamed(gang, VERDICT_ERROR, member, report->rank, report->text);
        return;
    case PROBE_OUTCOME_LOST:
        lost(gang, member, report);
        return;
    case PROBE_OUTCOME_TIMEOUT:
        hurry(gang);
        break;
    case PROBE_OUTCOME_OK:
    case PROBE_OUTCOME_WRONG_DATA:
    case PROBE_OUTCOMES:
        break;
    }
    count(gang, member, report);
    if (gang->phase == PHASE_COLLECTING)
        coord__complete(gang);
    else if (gang->nreported == gang->nmembers)
        coord__end_measured(gang);
}

/* Does it tell of what goes on? Of a coordinator before this one, it is as if its rank had joined.
 */
static bool is_current(struct coordinator *coordinator, const struct coordinator_event *event,
                       struct member *member)
{
    const struct probe_report *report = event->report;
    struct cgang *gang = member->gang;
    bool former =
        report->start_id != gang->start_id && report->start_id >> 32 != coordinator->limits.epoch;

    if (report->start_id == 0 || MUTANT(OLD_ROUND_TAKEN))
        return true;
    /* Peers that lost a rank which failed by itself may have been heard first; it is still the one
     * that failed. */
    if (report->start_id == gang->start_id && report->outcome == PROBE_OUTCOME_ERROR &&
        !MUTANT(LATE_ERROR_LOST))
        return true;
    if (gang->phase == PHASE_RUNNING && report->start_id == gang->start_id)
        return true;
    if (gang->phase == PHASE_COLLECTING && former &&
        ((member->present && member->claim == report->start_id) ||
         (!member->present && coord__claim(member, report->start_id, report->round))))
        return true;
    coord__refuse(coordinator, event->stream, REFUSED_STALE, "round %u is over", report->round);
    return false;
}

static bool says_what_is_known(struct coordinator *coordinator, uint64_t call,
                               const struct member *member, const struct probe_report *report)
{
    if (strcmp(report->pod, member->pod) == 0 && strcmp(report->node, member->node) == 0 &&
        report->first_rank == member->first_rank && report->devices == member->devices)
        return true;
    coord__refuse(
        coordinator, call, REFUSED_MISMATCH,
        "pod %.80s on %.80s with ranks from %u on, %u of them, expected %.80s on %.80s, %u, %u",
        report->pod, report->node, report->first_rank, report->devices, member->pod, member->node,
        member->first_rank, member->devices);
    return false;
}

void coord__report(struct coordinator *coordinator, const struct coordinator_event *event)
{
    const struct probe_report *report = event->report;
    struct member *member = coord__speaker(coordinator, event, &report->gang, report->pod_uid);

    if (!member || !says_what_is_known(coordinator, event->stream, member, report))
        return;
    if (member->gang->phase >= PHASE_HELD) { /* it was heard, or came too late */
        coord__reply(coordinator, event->stream, false);
        return;
    }
    if (!is_current(coordinator, event, member))
        return;
    coordinator->counts.reports++;
    coord__reply(coordinator, event->stream, true);
    if (!member->reported)
        take(member->gang, member, report);
    coord__due(member->gang);
}
