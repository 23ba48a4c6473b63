/* A process of a pod, as coordinator.h says of clients, and the collectives between them. */
#include <stdio.h>
#include <string.h>

#include "tests/probe_sim/probe_sim.h"

struct sim_round *round_of(struct sim *sim, uint64_t start_id)
{
    for (unsigned i = 0; i < sim->nrounds; i++)
        if (sim->rounds[i].start_id == start_id)
            return &sim->rounds[i];
    return NULL;
}

/* Its ranks are gone: who is in a collective with them will notice, or hang. */
static void ranks_end(struct sim *sim, struct sim_client *client)
{
    struct sim_round *round = client->start_id ? round_of(sim, client->start_id) : NULL;

    if (round && round->broken_ns == NEVER && client->state == CLIENT_RUNNING &&
        sim->now_ns < round->complete_ns)
        round->broken_ns = sim->now_ns;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void client_leaves_stream(struct sim *sim, struct sim_client *client)
{
    struct sim_stream *stream = &sim->streams[client->stream];
    struct sim_message *message;

    if (!client->stream)
        return;
    stream->client_open = false;
    message = sim_message(sim, MESSAGE_LEFT, sim_delay(sim));
    message->stream = client->stream;
    if (message->at_ns < stream->to_server_ns)
        message->at_ns = stream->to_server_ns;
    client->stream = 0;
}

/* Both sides will know, each in its time. */
void stream_break(struct sim *sim, uint64_t number)
{
    struct sim_stream *stream = &sim->streams[number];
    struct sim_message *message = sim_message(sim, MESSAGE_LEFT, sim_some_time(sim, 10 * SECOND));

    message->stream = number;
    if (message->at_ns < stream->to_server_ns)
        message->at_ns = stream->to_server_ns;
    message = sim_message(sim, MESSAGE_CLOSED, sim_some_time(sim, 10 * SECOND));
    message->stream = number;
}

static void backoff(struct sim *sim, struct sim_client *client)
{
    client->wake_ns = sim->now_ns + SECOND / 5 + sim_some_time(sim, SECOND);
}

static void join(struct sim *sim, struct sim_client *client)
{
    struct sim_stream *stream;
    struct sim_message *message;

    if (sim->next_id >= STREAMS - 1)
        sim_fail(sim, "%d joins and reports in one life", STREAMS);
    client->stream = sim->next_id++;
    stream = &sim->streams[client->stream];
    *stream = (struct sim_stream){.pod = (int)(client - sim->clients),
                                  .instance = client->instance,
                                  .process = client->process,
                                  .attempt = ++client->attempt,
                                  .incarnation = client->incarnation,
                                  .start_id = client->start_id,
                                  .opening = !client->knows && !client->start_id,
                                  .client_open = true,
                                  .waiting_ns = -SECOND,
                                  .life = sim->life};
    message = sim_message(sim, MESSAGE_JOIN, sim_delay(sim));
    message->stream = client->stream;
    message->round = client->round;
    message->generation = client->generation;
    stream->to_server_ns = message->at_ns;
    client->wake_ns = NEVER;
}

/* ---- reports --------------------------------------------------------------------------------- */

static void send_report(struct sim *sim, struct sim_client *client)
{
    struct sim_message *message = sim_message(sim, MESSAGE_REPORT, sim_delay(sim));

    if (sim->next_id >= STREAMS - 1)
        sim_fail(sim, "%d joins and reports in one life", STREAMS);
    message->stream = client->call = sim->next_id++;
    message->report = client->report;
    message->report.generation = client->generation;
    message->speaker = (int)(client - sim->clients);
    client->call_ns = sim->now_ns + 3 * SECOND;
    sim->old[sim->nold++ % OLD_REPORTS] = message->report;
}

static void report(struct sim *sim, struct sim_client *client, enum probe_outcome outcome)
{
    struct sim_round *round = client->start_id ? round_of(sim, client->start_id) : NULL;
    struct sim_gang *gang = sim_gang_of(sim, client);

    client->has_report = true;
    client->acked = false;
    client->report = (struct sim_report){.pod = (int)(client - sim->clients),
                                         .pod_instance = client->instance,
                                         .process = client->process,
                                         .start_id = client->start_id,
                                         .round = client->round,
                                         .outcome = outcome};
    if ((outcome == PROBE_OUTCOME_OK || outcome == PROBE_OUTCOME_WRONG_DATA) && round) {
        client->report.busbw_gb_s = round->busbw_gb_s;
        round->sent_ok[client->index] = true;
    }
    if (outcome == PROBE_OUTCOME_ERROR)
        gang->true_error = true;
    if (outcome == PROBE_OUTCOME_SKIPPED)
        gang->true_skip = true;
    send_report(sim, client);
}

/* ---- life ------------------------------------------------------------------------------------ */

void client_start(struct sim *sim, struct sim_client *client)
{
    struct sim_gang *gang = sim_gang_of(sim, client);

    client->process = (uint64_t)sim->now_ns + 1;
    client->attempt = 0;
    client->incarnation = sim->next_id++;
    client->stream = client->start_id = client->generation = client->call = 0;
    client->round = 0;
    client->has_report = client->heard = client->knows = false;
    client->hangs = sim_random(sim, 4) == 0;
    client->report = (struct sim_report){0};
    client->until_ns = gang->deadline_ns + HOLD_NS + 60 * SECOND;
    client->hold_until_ns = 0;
    client->state = CLIENT_BACKOFF;
    client->wake_ns = sim->now_ns;
    if (client->skips)
        report(sim, client, PROBE_OUTCOME_SKIPPED); /* and joins, to hear the verdict */
}

void client_kill(struct sim *sim, struct sim_client *client)
{
    if (client->state == CLIENT_DOWN || client->state == CLIENT_EXITED)
        return;
    ranks_end(sim, client);
    client_leaves_stream(sim, client);
    client->state = CLIENT_DOWN;
    client->call = 0;
    client->wake_ns = sim->now_ns + sim_some_time(sim, 20 * SECOND);
    sim->kills++;
}

static void exit_now(struct sim *sim, struct sim_client *client)
{
    ranks_end(sim, client);
    client_leaves_stream(sim, client);
    client->state = CLIENT_EXITED;
    client->wake_ns = NEVER;
    client->call = 0;
}

/* What becomes of its collective by now? */
static void look_at_round(struct sim *sim, struct sim_client *client)
{
    struct sim_round *round = round_of(sim, client->start_id);

    if (client->state != CLIENT_RUNNING || !round)
        return;
    if (client->fails && sim->now_ns >= client->wake_ns) {
        ranks_end(sim, client);
        client->state = CLIENT_REPORTED;
        report(sim, client, PROBE_OUTCOME_ERROR);
    } else if (sim->now_ns >= round->complete_ns && round->broken_ns == NEVER) {
        client->state = CLIENT_REPORTED;
        if (client->wrong)
            sim_gang_of(sim, client)->true_wrong = true;
        report(sim, client, client->wrong ? PROBE_OUTCOME_WRONG_DATA : PROBE_OUTCOME_OK);
    } else if (round->broken_ns != NEVER && !client->hangs && sim->now_ns >= round->broken_ns) {
        client->state = CLIENT_REPORTED;
        report(sim, client, PROBE_OUTCOME_LOST);
    } else if (sim->now_ns >= client->run_until_ns) {
        ranks_end(sim, client);
        client->state = CLIENT_REPORTED;
        report(sim, client, PROBE_OUTCOME_TIMEOUT);
    }
}

int64_t client_due(const struct sim *sim, const struct sim_client *client)
{
    int64_t due = client->wake_ns;
    const struct sim_round *round;

    if (client->state == CLIENT_EXITED)
        return NEVER;
    if (client->state != CLIENT_DOWN && client->until_ns < due)
        due = client->until_ns;
    if (client->call && client->call_ns < due)
        due = client->call_ns;
    if (client->state == CLIENT_HELD && client->hold_until_ns < due)
        due = client->hold_until_ns;
    if (client->state != CLIENT_RUNNING)
        return due;
    if (client->run_until_ns < due)
        due = client->run_until_ns;
    round = round_of((struct sim *)(uintptr_t)sim, client->start_id);
    if (round && round->broken_ns == NEVER && round->complete_ns < due)
        due = round->complete_ns;
    if (round && round->broken_ns != NEVER && !client->hangs && round->broken_ns < due)
        due = round->broken_ns;
    return due;
}

void client_wake(struct sim *sim, struct sim_client *client)
{
    if (client->state == CLIENT_DOWN) {
        client->wake_ns = NEVER;
        if (!client->never && sim_gang_of(sim, client)->planned)
            client_start(sim, client);
        return;
    }
    if (sim->now_ns >= client->until_ns ||
        (client->state == CLIENT_HELD && sim->now_ns >= client->hold_until_ns)) {
        exit_now(sim, client);
        return;
    }
    if (client->call && sim->now_ns >= client->call_ns) {
        send_report(sim, client);
    }
    look_at_round(sim, client);
    if (sim->now_ns >= client->wake_ns) {
        client->wake_ns = NEVER;
        if (client->state == CLIENT_BACKOFF)
            client->state = CLIENT_JOINED;
        if (client->stream && client->state == CLIENT_JOINED)
            client_leaves_stream(sim, client); /* they are open */
        if (!client->stream) {
            join(sim, client);
            if (client->has_report)
                send_report(sim, client);
        }
    }
}

/* ---- what it is told ------------------------------------------------------------------------- */

static void on_start(struct sim *sim, struct sim_client *client, const struct sim_message *message)
{
    struct sim_round *round = round_of(sim, message->start_id);
    bool all = true;

    if (client->state != CLIENT_JOINED || client->start_id || !round ||
        sim->streams[client->stream].opening)
        sim_fail(sim, "pod %d is told to start, being in state %d", (int)(client - sim->clients),
                 (int)client->state);
    client->state = CLIENT_RUNNING;
    client->start_id = message->start_id;
    client->round = message->round;
    client->run_until_ns = sim->now_ns + (int64_t)message->deadline_ms * 1000000;
    client->wake_ns = client->fails ? sim->now_ns + sim_some_time(sim, SECOND) : NEVER;
    round->began[client->index] = client->incarnation;
    for (int i = 0; i < sim->gangs[client->gang].npods; i++)
        all = all && round->began[i] && !sim->clients[client->gang * PODS + i].fails;
    if (all && round->broken_ns == NEVER)
        round->complete_ns = sim->now_ns + sim_some_time(sim, 3 * SECOND);
}

static void on_abort(struct sim *sim, struct sim_client *client, bool again)
{
    ranks_end(sim, client);
    client_leaves_stream(sim, client);
    client->start_id = client->generation = 0;
    client->round = 0;
    client->has_report = client->knows = false;
    if (client->report.outcome != PROBE_OUTCOME_ERROR)
        client->call = 0; /* an own error is told all the same */
    if (!again) {
        exit_now(sim, client);
        return;
    }
    client->incarnation = sim->next_id++;
    client->state = CLIENT_BACKOFF;
    backoff(sim, client);
    if (client->skips)
        report(sim, client, PROBE_OUTCOME_SKIPPED);
}

static void on_order(struct sim *sim, struct sim_client *client, const struct sim_message *message)
{
    if (message->order != PROBE_ABORT)
        client->generation = message->generation;
    switch (message->order) {
    case PROBE_WAITING:
        if (!client->knows &&
            client->state == CLIENT_JOINED) { /* its ranks are open a while later */
            client->knows = true;
            client->wake_ns = sim->now_ns + sim_some_time(sim, 2 * SECOND);
        }
        break;
    case PROBE_START:
        on_start(sim, client, message);
        break;
    case PROBE_ABORT:
        on_abort(sim, client, message->again);
        break;
    case PROBE_VERDICT:
        client->heard = true;
        ranks_end(sim, client);
        client->call = 0;
        if (!message->hold) {
            exit_now(sim, client);
            break;
        }
        client->state = CLIENT_HELD;
        client->has_report = false;
        client->hold_until_ns = sim->now_ns + (int64_t)message->hold_ms * 1000000 + SECOND;
        break;
    }
}

static void on_closed(struct sim *sim, struct sim_client *client, const struct sim_message *message)
{
    sim->streams[client->stream].client_open = false;
    client->stream = 0;
    if (message->refused && !coordinator_refusal_again(message->refusal)) {
        if (sim->calm && message->refusal != REFUSED_STALE)
            sim_fail(sim, "pod %d is refused: %s", message->speaker,
                     coordinator_refusal_name(message->refusal));
        on_abort(sim, client, true);
        return;
    }
    if (client->state == CLIENT_JOINED)
        client->state = CLIENT_BACKOFF;
    backoff(sim, client);
}

static void on_reply(struct sim *sim, struct sim_client *client, const struct sim_message *message)
{
    if (message->refused && coordinator_refusal_again(message->refusal)) {
        client->call_ns = sim->now_ns + SECOND;
        return; /* it is sent again then */
    }
    client->call = 0;
    client->acked = true;
    if (message->refused)
        client->has_report = false; /* that round is over; its stream will say so */
}

void client_take(struct sim *sim, const struct sim_message *message)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct sim_client *client = &sim->clients[i];

        if (client->state == CLIENT_DOWN || client->state == CLIENT_EXITED)
            continue;
        if (message->kind == MESSAGE_REPLY && client->call == message->stream)
            on_reply(sim, client, message);
        else if (message->kind == MESSAGE_ORDER && client->stream == message->stream)
            on_order(sim, client, message);
        else if (message->kind == MESSAGE_CLOSED && client->stream == message->stream)
            on_closed(sim, client, message);
        else
            continue;
        return;
    }
}
