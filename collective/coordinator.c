#include "collective/coordinator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/coordinator_internal.h"

#define GANGS_MAX 4096
#define RANKS_MAX 200000
#define ROUNDS_MAX 4
#define KEEP_NS (600 * NS_PER_S)

struct coordinator *coordinator_new(const struct coordinator_limits *limits)
{
    struct coordinator *coordinator = calloc(1, sizeof(*coordinator));

    if (!coordinator)
        return NULL;
    coordinator->limits = *limits;
    if (!limits->gangs_max)
        coordinator->limits.gangs_max = GANGS_MAX;
    if (!limits->ranks_max)
        coordinator->limits.ranks_max = RANKS_MAX;
    if (!limits->rounds_max || limits->rounds_max > PROBE_ROUND_MAX)
        coordinator->limits.rounds_max = ROUNDS_MAX;
    if (limits->keep_ns <= 0)
        coordinator->limits.keep_ns = KEEP_NS;
    return coordinator;
}

void coordinator_free(struct coordinator *coordinator)
{
    if (!coordinator)
        return;
    coordinator->out = NULL; /* nobody is told */
    while (coordinator->heap_size)
        coord__forget(coordinator->heap[coordinator->heap_size - 1], "");
    hashmap_release(&coordinator->gangs);
    hashmap_release(&coordinator->pods);
    hashmap_release(&coordinator->streams);
    free(coordinator->heap);
    free(coordinator);
}

/* ---- streams --------------------------------------------------------------------------------- */

#define STREAM_TEXT 20

static void stream_key(char ret[STREAM_TEXT], uint64_t stream)
{
    snprintf(ret, STREAM_TEXT, "%" PRIx64, stream);
}

int coord__attach(struct member *member, uint64_t stream)
{
    char key[STREAM_TEXT];

    stream_key(key, stream);
    if (hashmap_set(&member->gang->coordinator->streams, key, member) < 0)
        return -ENOMEM;
    member->stream = stream;
    member->gang->nstreams++;
    member->gang->coordinator->counts.streams++;
    return 0;
}

void coord__detach(struct member *member)
{
    char key[STREAM_TEXT];

    if (!member->stream)
        return;
    stream_key(key, member->stream);
    hashmap_remove(&member->gang->coordinator->streams, key);
    member->stream = 0;
    member->gang->nstreams--;
    member->gang->coordinator->counts.streams--;
}

void coord__left(struct coordinator *coordinator, uint64_t stream)
{
    char key[STREAM_TEXT];
    struct member *member;

    stream_key(key, stream);
    member = hashmap_get(&coordinator->streams, key);
    if (!member)
        return;
    coord__detach(member);
    /* Who was fresh has addresses that may be nobody's now; who follows a round may go on without
     * its stream. */
    member->opening = false;
    if (member->gang->phase == PHASE_COLLECTING && member->present && !member->claim &&
        !MUTANT(LEFT_IGNORED)) {
        coord__set_present(member, false, 0);
        member->gang->untold = true;
    }
    coord__due(member->gang);
}

/* ---- who speaks ------------------------------------------------------------------------------ */

static bool is_of_gang(struct coordinator *coordinator, uint64_t call, const struct cgang *gang,
                       const struct probe_gang_id *said)
{
    if (said->name[0] &&
        (strcmp(said->ns, gang->id.ns) != 0 || strcmp(said->name, gang->id.name) != 0)) {
        coord__refuse(coordinator, call, REFUSED_IDENTITY, "the pod is of gang %s, not of %.100s",
                      gang->id.name, said->name);
        return false;
    }
    if (said->uid[0] && gang->id.uid[0] && strcmp(said->uid, gang->id.uid) != 0) {
        coord__refuse(coordinator, call, REFUSED_STALE,
                      "a gang of that name, but another one: UID %s, expected %s", said->uid,
                      gang->id.uid);
        return false;
    }
    if (said->generation > gang->id.generation) {
        coord__refuse(coordinator, call, REFUSED_UNKNOWN,
                      "plan %" PRIu64 " is not known yet, %" PRIu64 " is", said->generation,
                      gang->id.generation);
        return false;
    }
    if (said->generation && said->generation < gang->id.generation && !MUTANT(OLD_PLAN_TAKEN)) {
        coord__refuse(coordinator, call, REFUSED_STALE,
                      "plan %" PRIu64 " is over, expected %" PRIu64, said->generation,
                      gang->id.generation);
        return false;
    }
    return true;
}

struct member *coord__speaker(struct coordinator *coordinator,
                              const struct coordinator_event *event,
                              const struct probe_gang_id *gang, const char *pod_uid)
{
    struct member *member;

    if (strcmp(event->pod_uid, pod_uid) != 0 && !MUTANT(TOKEN_IGNORED)) {
        coord__refuse(coordinator, event->stream, REFUSED_IDENTITY,
                      "pod UID %s with the token of pod UID %.63s", pod_uid, event->pod_uid);
        return NULL;
    }
    member = hashmap_get(&coordinator->pods, pod_uid);
    if (!member) {
        coord__refuse(coordinator, event->stream, REFUSED_UNKNOWN,
                      "pod UID %s is not, or not yet, known", pod_uid);
        return NULL;
    }
    return is_of_gang(coordinator, event->stream, member->gang, gang) ? member : NULL;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void gone(struct coordinator *coordinator, const struct probe_gang_id *id)
{
    struct cgang *gang = coord__find(coordinator, id);

    if (gang && (id->generation == 0 || id->generation == gang->id.generation))
        coord__forget(gang, "the gang is not measured any more");
}

static void stop(struct coordinator *coordinator, const struct coordinator_event *event)
{
    struct cgang *gang = coord__find(coordinator, event->id);

    if (gang && gang->phase < PHASE_HELD && !MUTANT(STOP_IGNORED))
        coord__end(gang, VERDICT_INFRASTRUCTURE, event->why);
}

static void pod_state(struct coordinator *coordinator, const struct coordinator_event *event)
{
    struct member *member = hashmap_get(&coordinator->pods, event->pod_uid);
    char text[PROBE_REASON_MAX / 2];

    if (!member || member->gang->phase > PHASE_RUNNING)
        return;
    probe_text_set(text, sizeof(text), event->text);
    if (strcmp(member->why ? member->why : "", text) == 0)
        return;
    free(member->why);
    member->why = text[0] ? strdup(text) : NULL;
    if (member->gang->phase == PHASE_COLLECTING && !member->present)
        member->gang->untold = true;
    coord__due(member->gang);
}

static void do_what_is_due(struct coordinator *coordinator)
{
    while (coordinator->heap_size && coordinator->heap[0]->due_ns <= coordinator->now_ns)
        coord__on_due(coordinator->heap[0]);
}

int coordinator_step(struct coordinator *coordinator, const struct coordinator_event *event,
                     int64_t now_ns, struct coordinator_actions *actions, struct err *err)
{
    int r = 0;

    coordinator->now_ns = now_ns;
    coordinator->out = actions;
    do_what_is_due(coordinator); /* before the event, which comes after it */
    switch (event->kind) {
    case COORD_TICK:
        break;
    case COORD_EXPECT:
        r = coord__expect(coordinator, event->gang, err);
        break;
    case COORD_GONE:
        gone(coordinator, event->id);
        break;
    case COORD_STOP:
        stop(coordinator, event);
        break;
    case COORD_JOIN:
        coord__join(coordinator, event);
        break;
    case COORD_LEFT:
        coord__left(coordinator, event->stream);
        break;
    case COORD_REPORT:
        coord__report(coordinator, event);
        break;
    case COORD_POD_STATE:
        pod_state(coordinator, event);
        break;
    }
    do_what_is_due(coordinator);
    coordinator->out = NULL;
    return r;
}

int64_t coordinator_deadline(const struct coordinator *coordinator)
{
    return coordinator->heap_size ? coordinator->heap[0]->due_ns : INT64_MAX;
}

void coordinator_counts(const struct coordinator *coordinator, struct coordinator_counts *ret)
{
    *ret = coordinator->counts;
}
