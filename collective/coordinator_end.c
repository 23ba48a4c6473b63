/* Verdicts, holds, and what happens when time is up. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/coordinator_internal.h"

struct coordinator_order *coord__verdict_order(const struct cgang *gang)
{
    struct coordinator_order *order = coord__order(gang, PROBE_VERDICT);
    struct probe_order *message = order ? &order->order : NULL;

    if (!message)
        return NULL;
    message->verdict.word = gang->result.verdict;
    message->verdict.measured_gb_s = gang->result.measured_gb_s;
    message->verdict.expected_gb_s = gang->result.expected_gb_s;
    memcpy(message->verdict.message, gang->result.message, sizeof(message->verdict.message));
    message->verdict.hold = gang->phase == PHASE_HELD;
    if (gang->phase == PHASE_HELD)
        message->verdict.hold_ms =
            (uint32_t)((gang->until_ns - gang->coordinator->now_ns) / 1000000);
    return order;
}

static void tell_verdict(struct cgang *gang)
{
    struct coordinator_order *order = gang->nstreams ? coord__verdict_order(gang) : NULL;

    for (uint32_t i = 0; i < gang->nmembers; i++) {
        struct member *member = &gang->members[i];

        if (member->stream)
            coord__send(gang->coordinator, member, member->stream, order,
                        gang->phase == PHASE_DONE);
        if (gang->phase == PHASE_DONE)
            coord__detach(member);
    }
    coord__order_unref(order);
}

static void let_go(struct cgang *gang)
{
    gang->phase = PHASE_DONE;
    gang->until_ns = gang->coordinator->now_ns + gang->coordinator->limits.keep_ns;
}

/* Nothing more is asked of its members than who they are. */
static void drop_what_is_over(struct cgang *gang)
{
    for (uint32_t i = 0; i < gang->nmembers; i++) {
        struct member *member = &gang->members[i];

        coord__set_present(member, false, 0);
        free(member->why);
        member->why = NULL;
        free(member->addresses);
        member->addresses = NULL;
        member->address_bytes = 0;
    }
}

void coord__end(struct cgang *gang, enum verdict verdict, const char *message)
{
    struct coordinator *coordinator = gang->coordinator;
    struct coordinator_result *result = &gang->result;

    result->verdict = verdict;
    result->ended_ns = coordinator->now_ns;
    result->hold = gang->gate && verdict_holds(verdict);
    probe_text_set(result->message, sizeof(result->message), message);
    drop_what_is_over(gang);
    if (result->hold) {
        gang->phase = PHASE_HELD;
        gang->until_ns = coordinator->now_ns + gang->hold_ns;
    } else {
        let_go(gang);
    }
    coordinator->counts.verdicts[verdict]++;
    coord__result(coordinator, COORD_VERDICT, gang);
    if (MUTANT(VERDICT_TWICE))
        coord__result(coordinator, COORD_VERDICT, gang);
    tell_verdict(gang);
    coord__due(gang);
}

void coord__end_blamed(struct cgang *gang, enum verdict verdict, const struct member *member,
                       uint32_t rank, const char *text)
{
    char message[COORD_WHO_MAX + PROBE_REASON_MAX + 64], who[COORD_WHO_MAX];

    gang->result.rank = (int32_t)rank;
    probe_text_set(gang->result.pod, sizeof(gang->result.pod), member->pod);
    probe_text_set(gang->result.node, sizeof(gang->result.node), member->node);
    coord__who(member, who);
    snprintf(message, sizeof(message), "rank %u (%s): %s", rank, who,
             text[0] ? text : "it does not say why");
    coord__end(gang, verdict, message);
}

static void end_late(struct cgang *gang, const char *format, coord__chosen_fn *chosen)
{
    char list[VERDICT_TEXT - 64], message[VERDICT_TEXT];
    uint32_t ranks = coord__list(gang, chosen, list, sizeof(list));

    snprintf(message, sizeof(message), "%u of %u ranks %s: %s", ranks, gang->ranks, format, list);
    coord__end(gang, VERDICT_INFRASTRUCTURE, message);
}

static const struct member *member_of(const struct cgang *gang, uint32_t rank)
{
    uint32_t low = 0, high = gang->nmembers - 1;

    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;

        if (gang->members[middle].first_rank <= rank)
            low = middle;
        else
            high = middle - 1;
    }
    return &gang->members[low];
}

/*
 * The slope of the pair below the one that was taken for the answer, where the two do not agree. Of
 * two sizes there is no other, so their only one is no bound; of one size, or a sweep, there is no
 * slope at all.
 */
static double other_slope(const struct cgang *gang)
{
    const struct coordinator_result *result = &gang->result;
    const struct probe_row *lower, *upper;

    if (result->slopes_agree || gang->plan.sweep || result->n_rows < 2)
        return 0;
    if (result->n_rows == 2)
        return INFINITY;
    lower = &result->rows[result->n_rows - 3];
    upper = &result->rows[result->n_rows - 2];
    if (upper->seconds <= lower->seconds || upper->bytes <= lower->bytes ||
        !(upper->algbw_gb_s > 0))
        return INFINITY;
    return (double)(upper->bytes - lower->bytes) / (upper->seconds - lower->seconds) * 1e-9 *
           (upper->busbw_gb_s / upper->algbw_gb_s);
}

void coord__end_measured(struct cgang *gang)
{
    struct verdict_facts facts = {.op = gang->plan.op,
                                  .ranks = gang->ranks,
                                  .measured_gb_s = gang->result.measured_gb_s,
                                  .expected_gb_s = gang->result.expected_gb_s,
                                  .other_gb_s = other_slope(gang),
                                  .wrong = gang->wrong,
                                  .wrong_rank = gang->wrong_rank};
    char message[VERDICT_TEXT];
    const struct member *member;

    if (gang->wrong == 0 && gang->nreported < gang->nmembers) {
        end_late(gang, "did not report in time", coord__is_silent);
        return;
    }
    if (gang->wrong == 0 && gang->timeouts > 0) {
        end_late(gang, "ran out of time", coord__is_late);
        return;
    }
    if (gang->wrong_rank >= 0) {
        member = member_of(gang, (uint32_t)gang->wrong_rank);
        gang->result.rank = gang->wrong_rank;
        probe_text_set(gang->result.pod, sizeof(gang->result.pod), member->pod);
        probe_text_set(gang->result.node, sizeof(gang->result.node), member->node);
    }
    verdict_text(&facts, message);
    coord__end(gang, verdict_of(&facts), message);
}

void coord__on_due(struct cgang *gang)
{
    struct coordinator *coordinator = gang->coordinator;

    switch (gang->phase) {
    case PHASE_COLLECTING:
        if (coordinator->now_ns < gang->deadline_ns || MUTANT(NO_DEADLINE))
            coord__tell_waiting(gang);
        else if (gang->npresent == gang->nmembers)
            coord__end(gang, VERDICT_INFRASTRUCTURE, "it could not be started for want of memory");
        else
            end_late(gang, "did not come in time", coord__is_absent);
        coord__due(gang);
        return;
    case PHASE_RUNNING:
        coord__end_measured(gang);
        return;
    case PHASE_HELD:
        let_go(gang);
        gang->result.hold = false;
        coord__result(coordinator, COORD_HOLD_ENDED, gang);
        tell_verdict(gang);
        coord__due(gang);
        return;
    case PHASE_DONE:
        coord__forget(gang, "");
        return;
    }
}
