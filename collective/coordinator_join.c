/* Collecting: who comes, who is told to wait, when it starts, and rounds that begin anew or are
 * taken over. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "collective/coordinator_internal.h"

#define RUN_LEAST_NS NS_PER_S /* a round that has less time is not begun */

void coord__set_present(struct member *member, bool present, uint64_t claim)
{
    struct cgang *gang = member->gang;

    if (member->present) {
        gang->npresent--;
        gang->nclaims -= member->claim != 0;
        gang->joined_ranks -= member->devices;
    }
    member->present = present;
    member->claim = present ? claim : 0;
    if (present) {
        gang->npresent++;
        gang->nclaims += claim != 0;
        gang->joined_ranks += member->devices;
    }
}

static void send_abort(struct member *member, uint64_t stream, bool again, const char *reason)
{
    struct coordinator_order *order = coord__abort_order(member->gang, again, reason);

    coord__send(member->gang->coordinator, member, stream, order, true);
    coord__order_unref(order);
}

/* ---- waiting --------------------------------------------------------------------------------- */

int64_t coord__waiting_due(const struct cgang *gang)
{
    int64_t parts = (gang->nstreams + WAITING_STREAMS - 1) / WAITING_STREAMS;

    if (!gang->untold || gang->nstreams == 0)
        return INT64_MAX;
    return gang->told_ns + (MUTANT(WAITING_FLOOD) ? 0 : WAITING_NS * parts);
}

void coord__tell_waiting(struct cgang *gang)
{
    struct coordinator_order *order = coord__order(gang, PROBE_WAITING);

    gang->untold = false;
    gang->told_ns = gang->coordinator->now_ns;
    if (!order)
        return;
    order->order.waiting.joined = gang->joined_ranks;
    order->order.waiting.ranks = gang->ranks;
    coord__list(gang, coord__is_absent, order->order.waiting.missing,
                sizeof(order->order.waiting.missing));
    for (uint32_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i].stream)
            coord__send(gang->coordinator, &gang->members[i], gang->members[i].stream, order,
                        false);
    coord__order_unref(order);
    gang->coordinator->counts.waitings++;
}

/* ---- start ----------------------------------------------------------------------------------- */

static struct probe_addresses *gather(const struct cgang *gang)
{
    struct probe_addresses *addresses;
    size_t bytes = 0;

    for (uint32_t i = 0; i < gang->nmembers; i++)
        bytes += gang->members[i].address_bytes;
    addresses = probe_addresses_new(gang->ranks, bytes);
    if (!addresses)
        return NULL;
    addresses->streams = gang->nmembers;
    addresses->all = gang->plan.pairs || strcmp(gang->plan.op, "all_to_all") == 0;
    for (uint32_t i = 0; i < gang->nmembers; i++) {
        const struct member *member = &gang->members[i];
        const uint8_t *at = member->addresses;

        for (uint32_t rank = member->first_rank; rank < member->first_rank + member->devices;
             rank++) {
            uint16_t len = 0;

            if (at) {
                memcpy(&len, at, sizeof(len));
                probe_addresses_add(addresses, rank, at + sizeof(len), len);
                at += sizeof(len) + len;
            } else {
                probe_addresses_add(addresses, rank, NULL, 0);
            }
        }
    }
    return addresses;
}

/* Libraries of two versions may refuse each other, or worse; tcp is ours, and its version is the
 * system's. */
static bool may_differ(const char *backend)
{
    return strcmp(backend, "tcp") == 0;
}

/* All must have one backend, or they cannot talk with each other. */
static bool agree_on_backend(struct cgang *gang)
{
    const struct member *first = &gang->members[0];
    const char *wanted = gang->backend[0] ? gang->backend : first->backend;
    char text[COORD_WHO_MAX + VERDICT_TEXT], who[COORD_WHO_MAX];

    for (uint32_t i = 0; i < gang->nmembers; i++) {
        const struct member *member = &gang->members[i];

        if (strcmp(member->backend, wanted) == 0 &&
            (may_differ(wanted) || strcmp(member->version, first->version) == 0))
            continue;
        coord__who(member, who);
        if (strcmp(member->backend, wanted) != 0)
            snprintf(text, sizeof(text), "rank %u (%s) has backend %s, %s", member->first_rank, who,
                     member->backend, gang->backend[0] ? "asked for is " : "rank 0 has ");
        else
            snprintf(text, sizeof(text), "rank %u (%s) has %s %s, rank 0 has ", member->first_rank,
                     who, member->backend, member->version);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s",
                 strcmp(member->backend, wanted) != 0 ? wanted : first->version);
        coord__end(gang, VERDICT_SKIPPED, text);
        return false;
    }
    return true;
}

/* Who reports has until some time before the deadline, so that what it says comes in time. */
static int64_t time_to_run(const struct cgang *gang)
{
    int64_t left = gang->deadline_ns - GRACE_NS - gang->coordinator->now_ns;

    return left < gang->run_ns ? left : gang->run_ns;
}

static void begin_running(struct cgang *gang, uint64_t start_id, uint32_t round, int64_t run_ns)
{
    gang->phase = PHASE_RUNNING;
    gang->start_id = start_id;
    gang->round = round;
    gang->nclaims = 0;
    gang->untold = false;
    gang->round_until_ns = gang->coordinator->now_ns + run_ns + GRACE_NS;
    gang->result.round = round;
    gang->result.joined_ns = gang->coordinator->now_ns;
    if (!gang->result.started_ns)
        gang->result.started_ns = gang->coordinator->now_ns;
    for (uint32_t i = 0; i < gang->nmembers; i++) {
        struct member *member = &gang->members[i];

        member->claim = 0;
        free(member->addresses);
        member->addresses = NULL;
        member->address_bytes = 0;
    }
}

static void start(struct cgang *gang)
{
    struct coordinator *coordinator = gang->coordinator;
    int64_t run_ns = time_to_run(gang);
    struct coordinator_order *order = coord__order(gang, PROBE_START);
    struct probe_addresses *addresses = gather(gang);

    if (!order || !addresses) { /* the deadline ends it */
        coordinator->counts.left_out++;
        coord__order_unref(order);
        probe_addresses_unref(addresses);
        return;
    }
    begin_running(gang, (uint64_t)coordinator->limits.epoch << 32 | ++coordinator->starts,
                  gang->round + 1, run_ns);
    order->order.start.start_id = gang->start_id;
    order->order.start.round = gang->round;
    order->order.start.ranks = gang->ranks;
    order->order.start.deadline_ms = (uint32_t)(run_ns / 1000000);
    order->order.start.plan = gang->plan;
    order->order.start.addresses = addresses;
    for (uint32_t i = 0; i < gang->nmembers; i++)
        if (gang->members[i].stream)
            coord__send(coordinator, &gang->members[i], gang->members[i].stream, order, false);
    coord__order_unref(order);
    coordinator->counts.starts++;
}

/* All say that they are in one round, which another coordinator began: it goes on, for as long as
 * one may take. */
static void take_over(struct cgang *gang)
{
    begin_running(gang, gang->claimed, gang->claimed_round, gang->run_ns);
    gang->coordinator->counts.adopted++;
    if (gang->nreported == gang->nmembers)
        coord__end_measured(gang);
}

void coord__complete(struct cgang *gang)
{
    if (gang->phase != PHASE_COLLECTING || gang->npresent + MUTANT(START_EARLY) < gang->nmembers)
        return;
    if (gang->nclaims == gang->nmembers) {
        take_over(gang);
        return;
    }
    if (MUTANT(START_EARLY) || agree_on_backend(gang)) {
        if (time_to_run(gang) >= RUN_LEAST_NS)
            start(gang);
        else
            coord__end(gang, VERDICT_INFRASTRUCTURE,
                       "all ranks are here, but too late: no time is left to measure");
    }
}

/* ---- anew ------------------------------------------------------------------------------------ */

static void begin_anew(struct member *member, struct coordinator_order *order)
{
    if (member->stream)
        coord__send(member->gang->coordinator, member, member->stream, order, true);
    coord__detach(member);
    coord__forget_report(member);
    coord__set_present(member, false, 0);
}

void coord__claims_end(struct cgang *gang, const char *reason)
{
    struct coordinator_order *order = gang->nclaims ? coord__abort_order(gang, true, reason) : NULL;

    for (uint32_t i = 0; gang->nclaims && i < gang->nmembers; i++)
        if (gang->members[i].present && gang->members[i].claim)
            begin_anew(&gang->members[i], order);
    coord__order_unref(order);
    gang->untold = true;
}

void coord__restart(struct cgang *gang, const char *reason)
{
    struct coordinator_order *order;
    char text[VERDICT_TEXT * 2];

    if (gang->round >= gang->coordinator->limits.rounds_max) {
        snprintf(text, sizeof(text), "given up after %u rounds: %s", gang->round, reason);
        coord__end(gang, VERDICT_INFRASTRUCTURE, text);
        return;
    }
    order = coord__abort_order(gang, true, reason);
    gang->phase = PHASE_COLLECTING;
    gang->untold = true;
    gang->result.joined_ns = 0;
    for (uint32_t i = 0; i < gang->nmembers; i++)
        begin_anew(&gang->members[i], order);
    coord__order_unref(order);
    gang->coordinator->counts.restarts++;
}

bool coord__claim(struct member *member, uint64_t claim, uint32_t round)
{
    struct cgang *gang = member->gang;

    if (gang->npresent > gang->nclaims && !MUTANT(CLAIMS_MIXED))
        return false;
    if (gang->nclaims && gang->claimed != claim && !MUTANT(CLAIMS_MIXED))
        return false;
    gang->claimed = claim;
    gang->claimed_round = round;
    coord__set_present(member, true, claim);
    return true;
}

/* ---- joins ----------------------------------------------------------------------------------- */

static bool says_what_is_known(struct coordinator *coordinator, uint64_t call,
                               const struct member *member, const struct probe_join *join)
{
    if (strcmp(join->pod, member->pod) != 0 || strcmp(join->node, member->node) != 0)
        coord__refuse(coordinator, call, REFUSED_MISMATCH,
                      "pod %.100s on %.100s, expected %.100s on %.100s", join->pod, join->node,
                      member->pod, member->node);
    else if (join->devices != member->devices)
        coord__refuse(coordinator, call, REFUSED_MISMATCH,
                      "pod %.100s with %u devices, expected %u", member->pod, join->devices,
                      member->devices);
    else if (join->first_rank >= 0 && (uint32_t)join->first_rank != member->first_rank)
        coord__refuse(coordinator, call, REFUSED_MISMATCH,
                      "pod %.100s from rank %d on, expected %u", member->pod, join->first_rank,
                      member->first_rank);
    else
        return true;
    return false;
}

/* A join that was sent before the one that is being served, and came after it. */
static bool is_older(const struct member *member, const struct probe_join *join)
{
    if (join->process == member->process)
        return join->attempt <= member->attempt;
    return member->stream && join->process < member->process;
}

static int keep_addresses(struct member *member, const struct probe_join *join)
{
    size_t size = 0;
    uint8_t *at;

    free(member->addresses);
    member->address_bytes = 0;
    for (uint32_t i = 0; i < member->devices; i++)
        member->address_bytes += join->addresses[i].len;
    size = member->address_bytes + member->devices * sizeof(uint16_t);
    member->addresses = at = malloc(size + 1); /* the analyzer takes it for 0 */
    if (!at) {
        member->address_bytes = 0;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < member->devices; i++) {
        const struct probe_address *address = &join->addresses[i];

        memcpy(at, &address->len, sizeof(address->len));
        memcpy(at + sizeof(address->len), address->bytes, address->len);
        at += sizeof(address->len) + address->len;
    }
    return 0;
}

static int keep_names(struct member *member, const struct probe_join *join)
{
    intern_free(member->backend);
    intern_free(member->version);
    member->backend = intern(join->backend);
    member->version = intern(join->version);
    return member->backend && member->version ? 0 : -ENOMEM;
}

/* It says that it is in a round that is over, or that cannot be any more. */
static void refuse_round(struct member *member)
{
    uint64_t stream = member->stream;

    coord__detach(member);
    coord__forget_report(member);
    send_abort(member, stream, true, "the round is over");
}

static bool is_ours(const struct coordinator *coordinator, uint64_t start_id)
{
    return start_id >> 32 == coordinator->limits.epoch;
}

/* Not who is missing: that costs a look at all. */
static void tell_ranks(struct member *member)
{
    struct cgang *gang = member->gang;
    struct coordinator_order *order = coord__order(gang, PROBE_WAITING);

    if (!order)
        return;
    order->order.waiting.joined = gang->joined_ranks;
    order->order.waiting.ranks = gang->ranks;
    coord__send(gang->coordinator, member, member->stream, order, false);
    coord__order_unref(order);
}

static void join_collecting(struct member *member, const struct probe_join *join)
{
    struct cgang *gang = member->gang;

    gang->untold = true;
    member->opening = join->opening;
    if (join->start_id) {
        bool over = is_ours(gang->coordinator, join->start_id) || join->start_id == gang->start_id;

        if (!over && coord__claim(member, join->start_id, join->round))
            return;
        if (!over)
            coord__claims_end(gang, "ranks are in different rounds");
        refuse_round(member);
        return;
    }
    coord__forget_report(member);
    coord__claims_end(gang, "a rank began anew");
    if (join->opening)
        tell_ranks(member);
    else if (keep_addresses(member, join) == 0)
        coord__set_present(member, true, 0);
}

/*
 * Who follows the round that runs, or has reported on it, only needs its stream; who is fresh has
 * lost the round for all.
 */
static bool may_stay(const struct member *member, const struct probe_join *join)
{
    return join->start_id == member->gang->start_id || member->reported || MUTANT(LATE_JOIN_STAYS);
}

static void tell_verdict(struct member *member)
{
    struct cgang *gang = member->gang;
    struct coordinator_order *order = coord__verdict_order(gang);

    coord__send(gang->coordinator, member, member->stream, order, gang->phase == PHASE_DONE);
    coord__order_unref(order);
    if (gang->phase == PHASE_DONE)
        coord__detach(member);
}

/* Its stream is not sent away with the others'. */
static int lose_round(struct member *member)
{
    char reason[COORD_WHO_MAX + 64], who[COORD_WHO_MAX];
    uint64_t stream = member->stream;

    coord__detach(member);
    coord__who(member, who);
    snprintf(reason, sizeof(reason), "rank %u (%s) began anew", member->first_rank, who);
    coord__restart(member->gang, reason);
    return coord__attach(member, stream);
}

static int admit(struct member *member, const struct probe_join *join, uint64_t stream)
{
    struct cgang *gang = member->gang;
    int r = keep_names(member, join);

    if (r == 0)
        r = coord__attach(member, stream);
    if (r == 0 && gang->phase == PHASE_RUNNING && !may_stay(member, join))
        r = lose_round(member);
    if (r < 0)
        return r;
    if (gang->phase >= PHASE_HELD) {
        tell_verdict(member);
    } else if (gang->phase == PHASE_COLLECTING) {
        join_collecting(member, join);
        coord__complete(gang);
    } else if (join->start_id == gang->start_id) {
        tell_ranks(member); /* back in the round: it learns by an order that it is heard again */
    }
    return 0;
}

void coord__join(struct coordinator *coordinator, const struct coordinator_event *event)
{
    const struct probe_join *join = event->join;
    struct member *member = coord__speaker(coordinator, event, &join->gang, join->pod_uid);

    if (!member || !says_what_is_known(coordinator, event->stream, member, join))
        return;
    if (is_older(member, join)) {
        coord__refuse(coordinator, event->stream, REFUSED_SUPERSEDED,
                      "a later join of pod %.100s is being served", member->pod);
        return;
    }
    coordinator->counts.joins++;
    if (member->stream) {
        if (!MUTANT(REPLACED_UNTOLD))
            send_abort(member, member->stream, false, "a later join of the pod took its place");
        coord__detach(member);
        coordinator->counts.replaced++;
    }
    if (member->gang->phase == PHASE_COLLECTING) {
        if (member->claim != join->start_id)
            coord__forget_report(member);
        coord__set_present(member, false, 0);
    }
    member->process = join->process;
    member->attempt = join->attempt;
    free(member->why);
    member->why = NULL;
    if (admit(member, join, event->stream) < 0)
        coord__refuse(coordinator, event->stream, REFUSED_UNKNOWN, "out of memory");
    coord__due(member->gang);
}
