/* What stands around the coordinator: the service that feeds it and does what it says, and what
 * must hold of that. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/probe_sim/probe_sim.h"

enum probe_sim_mutant probe_sim_mutant = MUTANT_NONE;

static void uid_of(char ret[PROBE_UID_MAX + 1], uint64_t instance)
{
    snprintf(ret, PROBE_UID_MAX + 1, "uid-%" PRIu64, instance);
}

static void gang_id(const struct sim *sim, int gang, struct probe_gang_id *ret)
{
    *ret = (struct probe_gang_id){.ns = "sim", .generation = sim->gangs[gang].generation};
    snprintf(ret->name, sizeof(ret->name), "gang-%d", gang);
}

static void names_of(const struct sim_client *client, char pod[32], char node[32])
{
    snprintf(pod, 32, "g%d-p%d", client->gang, client->index);
    snprintf(node, 32, "node-%d-%d", client->gang, client->index);
}

static uint32_t first_rank(const struct sim *sim, const struct sim_client *client)
{
    uint32_t rank = 0;

    for (int i = 0; i < client->index; i++)
        rank += (uint32_t)sim->clients[client->gang * PODS + i].devices;
    return rank;
}

/* ---- checks of single actions ---------------------------------------------------------------- */

static void check_encodes(struct sim *sim, const struct coordinator_action *action)
{
    struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);
    struct probe_order *order = &action->send.order->order;
    struct err err = ERR_INIT;

    if (probe_order_encode(order, action->send.first_rank, action->send.devices, &out, &err) < 0)
        sim_fail(sim, "an order that cannot be sent: %s", err.text);
    for (size_t i = 0; i < out.len; i++)
        sim->hash = (sim->hash ^ (unsigned char)out.data[i]) * UINT64_C(0x100000001b3);
    strbuf_release(&out);
}

/* A start goes to all, and says of each rank what its process of now has said. */
static void check_start(struct sim *sim, const struct coordinator_action *action)
{
    const struct probe_order *order = &action->send.order->order;
    const struct sim_stream *to = &sim->streams[action->stream];
    int gang = sim->clients[to->pod].gang;
    uint32_t rank = 0;
    unsigned streams = 0;

    for (int i = 0; i < sim->gangs[gang].npods; i++) {
        const struct sim_client *client = &sim->clients[gang * PODS + i];
        const struct sim_stream *from = NULL;

        for (uint64_t k = 1; k < sim->next_id; k++)
            if (sim->streams[k].pod == gang * PODS + i && sim->streams[k].server_open &&
                sim->streams[k].instance == client->instance && sim->streams[k].life == sim->life)
                from = &sim->streams[k];
        if (!from || from->start_id || from->opening)
            sim_fail(sim, "a start without pod %d of gang %d, which has %s", i, gang,
                     from ? "not come fresh" : "not joined, or left");
        for (int device = 0; device < client->devices; device++, rank++) {
            uint64_t said = 0;
            size_t len;
            const uint8_t *bytes = probe_addresses_of(order->start.addresses, rank, &len);

            if (len == sizeof(said))
                memcpy(&said, bytes, sizeof(said));
            if (said != from->incarnation)
                sim_fail(sim, "a start with address %" PRIu64 " of rank %u, expected %" PRIu64,
                         said, rank, from->incarnation);
        }
        streams++;
    }
    if (streams != (unsigned)sim->gangs[gang].npods || order->start.ranks != rank)
        sim_fail(sim, "a start of %u ranks, expected %u", order->start.ranks, rank);
}

static void new_round(struct sim *sim, uint64_t start_id, int gang)
{
    struct sim_round *round;

    if (round_of(sim, start_id))
        return;
    if (sim->nrounds == ROUNDS)
        sim_fail(sim, "%d rounds in one life", ROUNDS);
    round = &sim->rounds[sim->nrounds++];
    *round = (struct sim_round){.start_id = start_id,
                                .gang = gang,
                                .generation = sim->gangs[gang].generation,
                                .complete_ns = NEVER,
                                .broken_ns = NEVER,
                                .busbw_gb_s = sim->gangs[gang].speed * 100 + sim->nrounds * 1e-3};
    sim->gangs[gang].rounds++;
}

static void check_measured(struct sim *sim, const struct coordinator_result *result, int gang)
{
    for (unsigned i = 0; i < sim->nrounds; i++) {
        const struct sim_round *round = &sim->rounds[i];
        bool all = true;

        if (round->gang != gang || round->generation != sim->gangs[gang].generation ||
            round->busbw_gb_s != result->measured_gb_s)
            continue;
        for (int k = 0; k < sim->gangs[gang].npods; k++)
            all = all && round->sent_ok[k];
        if (all)
            return;
        sim_fail(sim, "a verdict on round %u, which not all have measured", i);
    }
    sim_fail(sim, "a verdict on %g GB/s, which no round has measured", result->measured_gb_s);
}

static void on_verdict(struct sim *sim, const struct coordinator_result *result)
{
    int number = (int)(result->gang.name[5] - '0');
    struct sim_gang *gang = &sim->gangs[number];

    if (sim->trace)
        printf("%9.3f verdict of gang %d: %s: %s\n", (double)sim->now_ns / 1e9, number,
               verdict_name(result->verdict), result->message);
    if (gang->stored)
        sim_fail(sim, "gang %d has a verdict already", number);
    if (result->gang.generation != gang->generation)
        sim_fail(sim, "a verdict on a former plan");
    if (!gang->planned)
        sim_fail(sim, "a verdict on gang %d, which is gone", number);
    if (result->verdict <= VERDICT_UNKNOWN)
        check_measured(sim, result, number);
    if (result->verdict == VERDICT_ERROR && !gang->true_error)
        sim_fail(sim, "a verdict of error, though no rank has failed: %s", result->message);
    if (result->verdict == VERDICT_SKIPPED && !gang->true_skip)
        sim_fail(sim, "a verdict of skipped, though no rank has said so: %s", result->message);
    if (result->verdict == VERDICT_WRONG_DATA && !gang->true_wrong)
        sim_fail(sim, "a verdict of wrong data, though none was");
    if (gang->must_blame && result->verdict != VERDICT_ERROR)
        sim_fail(sim, "gang %d has a rank that fails, and the verdict is %s: %s", number,
                 verdict_name(result->verdict), result->message);
    if (gang->must_measure && result->verdict > VERDICT_WRONG_DATA)
        sim_fail(sim, "gang %d was not measured, though all went well: %s", number,
                 result->message);
    if (result->hold != (gang->gate && verdict_holds(result->verdict)))
        sim_fail(sim, "a hold, or none, against the policy");
    gang->stored = true;
    gang->hold = result->hold;
    gang->hold_ended = false;
    gang->verdict = result->verdict;
    gang->measured_gb_s = result->measured_gb_s;
    gang->ended_ns = sim->now_ns;
    sim->verdicts[result->verdict]++;
}

/* ---- doing what it says ---------------------------------------------------------------------- */

static void close_stream(struct sim *sim, uint64_t number, const struct coordinator_action *refused)
{
    struct sim_stream *stream = &sim->streams[number];
    struct sim_message *message;

    stream->server_open = false;
    message = sim_message(sim, MESSAGE_CLOSED, sim_delay(sim));
    message->stream = number;
    message->refused = refused != NULL;
    if (refused)
        message->refusal = refused->refuse.refusal;
    message->speaker = stream->pod;
    if (message->at_ns < stream->to_client_ns)
        message->at_ns = stream->to_client_ns;
}

static void send(struct sim *sim, const struct coordinator_action *action)
{
    const struct probe_order *order = &action->send.order->order;
    struct sim_stream *stream = &sim->streams[action->stream];
    struct sim_message *message;

    check_encodes(sim, action);
    if (!stream->server_open)
        sim_fail(sim, "an order to stream %" PRIu64 ", which is closed", action->stream);
    if (order->kind == PROBE_WAITING) {
        if (sim->now_ns - stream->waiting_ns < SECOND)
            sim_fail(sim, "stream %" PRIu64 " is told to wait twice in a second", action->stream);
        if (!stream->opening || order->waiting.missing[0])
            stream->waiting_ns = sim->now_ns;
    }
    if (order->kind == PROBE_START) {
        check_start(sim, action);
        new_round(sim, order->start.start_id, sim->clients[stream->pod].gang);
        stream->started = order->start.start_id;
    }
    message = sim_message(sim, MESSAGE_ORDER, sim_delay(sim));
    message->stream = action->stream;
    message->order = order->kind;
    message->generation = order->gang.generation;
    if (order->kind == PROBE_START) {
        message->start_id = order->start.start_id;
        message->round = order->start.round;
        message->deadline_ms = order->start.deadline_ms;
    }
    message->again = order->kind == PROBE_ABORT && order->abort.again;
    message->hold = order->kind == PROBE_VERDICT && order->verdict.hold;
    message->hold_ms = order->kind == PROBE_VERDICT ? order->verdict.hold_ms : 0;
    if (message->at_ns < stream->to_client_ns)
        message->at_ns = stream->to_client_ns;
    stream->to_client_ns = message->at_ns;
    if (action->send.last)
        close_stream(sim, action->stream, NULL);
}

static void answer(struct sim *sim, const struct coordinator_action *action,
                   const struct sim_message *asked)
{
    struct sim_message *message;

    if (asked && asked->kind == MESSAGE_JOIN && action->kind == COORD_REFUSE) {
        close_stream(sim, action->stream, action);
        return;
    }
    message = sim_message(sim, MESSAGE_REPLY, sim_delay(sim));
    message->stream = action->stream;
    message->refused = action->kind == COORD_REFUSE;
    if (message->refused)
        message->refusal = action->refuse.refusal;
    else
        message->counted = action->counted;
    if (sim_random(sim, 20) == 0 && !sim->calm)
        message->at_ns += 10 * SECOND; /* as if it were lost */
    if (asked && !message->refused && message->counted)
        sim->clients[asked->report.pod].reported_in_life = asked->report.start_id;
}

static void act(struct sim *sim, const struct coordinator_action *action,
                const struct sim_message *asked)
{
    sim->hash =
        (sim->hash ^ action->stream ^ (uint64_t)action->kind << 60) * UINT64_C(0x100000001b3);
    switch (action->kind) {
    case COORD_SEND:
        if (sim->trace)
            printf("%9.3f to stream %" PRIu64 " (pod %d): %d%s\n", (double)sim->now_ns / 1e9,
                   action->stream, sim->streams[action->stream].pod,
                   (int)action->send.order->order.kind, action->send.last ? ", the last" : "");
        send(sim, action);
        break;
    case COORD_REPLY:
    case COORD_REFUSE:
        if (sim->trace)
            printf("%9.3f answer to %" PRIu64 ": %s\n", (double)sim->now_ns / 1e9, action->stream,
                   action->kind == COORD_REPLY ? "taken" : action->refuse.text);
        answer(sim, action, asked);
        break;
    case COORD_VERDICT:
        on_verdict(sim, action->result);
        break;
    case COORD_HOLD_ENDED:
        sim->gangs[action->result->gang.name[5] - '0'].hold_ended = true;
        break;
    }
}

static void check_deadlines(struct sim *sim)
{
    for (int i = 0; i < GANGS; i++) {
        const struct sim_gang *gang = &sim->gangs[i];

        if (!gang->planned || !gang->told)
            continue;
        if (!gang->stored && sim->now_ns >= gang->deadline_ns)
            sim_fail(sim, "gang %d has no verdict by its deadline", i);
        if (gang->stored && gang->hold && !gang->hold_ended &&
            sim->now_ns > gang->ended_ns + HOLD_NS)
            sim_fail(sim, "gang %d is held for ever", i);
    }
}

void server_check(struct sim *sim)
{
    struct coordinator_counts counts;
    struct err err = ERR_INIT;
    uint32_t open = 0;

    if (coordinator_check(sim->coordinator, &err) < 0)
        sim_fail(sim, "%s", err.text);
    coordinator_counts(sim->coordinator, &counts);
    for (uint64_t i = 1; i < sim->next_id; i++)
        open += sim->streams[i].server_open;
    if (open != counts.streams)
        sim_fail(sim, "%u streams are open, the coordinator knows of %u", open, counts.streams);
    if (coordinator_deadline(sim->coordinator) <= sim->now_ns)
        sim_fail(sim, "something is due and was not done");
    if (counts.members > CLIENTS)
        sim_fail(sim, "%u members are remembered of %d", counts.members, CLIENTS);
    check_deadlines(sim);
}

static void step(struct sim *sim, const struct coordinator_event *event,
                 const struct sim_message *asked)
{
    struct err err = ERR_INIT;

    coordinator_actions_clear(&sim->actions);
    if (coordinator_step(sim->coordinator, event, sim->now_ns, &sim->actions, &err) < 0)
        sim_fail(sim, "%s", err.text);
    sim->steps++;
    for (size_t i = 0; i < sim->actions.n; i++) {
        if (sim->crash_after == 0) {
            sim->crash_after = -1;
            server_end(sim);
            server_start(sim);
            return;
        }
        sim->crash_after -= sim->crash_after > 0;
        act(sim, &sim->actions.items[i], asked);
    }
    /* Nobody is told of a past that an action not carried out would have ended. */
    server_check(sim);
}

/* ---- feeding it ------------------------------------------------------------------------------ */

void server_tick(struct sim *sim)
{
    step(sim, &(struct coordinator_event){.kind = COORD_TICK}, NULL);
}

void server_expect(struct sim *sim, int number)
{
    struct sim_gang *gang = &sim->gangs[number];
    struct coordinator_pod pods[PODS];
    char uids[PODS][PROBE_UID_MAX + 1], names[PODS][32], nodes[PODS][32];
    struct coordinator_gang expected = {
        .pods = pods,
        .npods = (size_t)gang->npods,
        .gate = gang->gate,
        .plan = {.op = "all_reduce", .expected_gb_s = gang->expected_gb_s},
        .deadline_ns = gang->deadline_ns,
        .run_ns = RUN_NS,
        .hold_ns = HOLD_NS,
        .decided = gang->stored,
        .verdict = gang->verdict,
        .measured_gb_s = gang->measured_gb_s,
        .message = "as it is stored",
        .hold_left_ns = gang->ended_ns + HOLD_NS - sim->now_ns};
    unsigned life = sim->life;

    gang_id(sim, number, &expected.id);
    for (int i = 0; i < gang->npods; i++) {
        const struct sim_client *client = &sim->clients[number * PODS + i];

        uid_of(uids[i], client->instance);
        names_of(client, names[i], nodes[i]);
        pods[i] = (struct coordinator_pod){names[i], uids[i], nodes[i], first_rank(sim, client),
                                           (uint32_t)client->devices};
    }
    if (gang->stored && gang->hold && expected.hold_left_ns <= 0)
        gang->hold_ended = true;
    gang->rounds = 0;
    step(sim, &(struct coordinator_event){.kind = COORD_EXPECT, .gang = &expected}, NULL);
    if (life == sim->life)
        gang->told = true; /* else it ended over it */
    check_deadlines(sim);
}

void server_gone(struct sim *sim, int gang)
{
    struct probe_gang_id id;

    gang_id(sim, gang, &id);
    step(sim, &(struct coordinator_event){.kind = COORD_GONE, .id = &id}, NULL);
}

void server_stop(struct sim *sim, int number)
{
    const struct sim_gang *gang = &sim->gangs[number];
    bool was_stored = gang->stored;
    unsigned life = sim->life;
    struct probe_gang_id id;

    gang_id(sim, number, &id);
    step(sim, &(struct coordinator_event){.kind = COORD_STOP, .id = &id, .why = "stopped by hand"},
         NULL);
    if (life == sim->life && !gang->stored)
        sim_fail(sim, "gang %d goes on, though it was stopped", number);
    if (life == sim->life && !was_stored && gang->verdict != VERDICT_INFRASTRUCTURE)
        sim_fail(sim, "gang %d was stopped, and its verdict is %s", number,
                 verdict_name(gang->verdict));
}

void server_pod_state(struct sim *sim, const struct sim_client *client, const char *text)
{
    char uid[PROBE_UID_MAX + 1];

    uid_of(uid, client->instance);
    step(sim, &(struct coordinator_event){.kind = COORD_POD_STATE, .pod_uid = uid, .text = text},
         NULL);
}

/*
 * Who came fresh amid a round, on which it has not reported here, has ended it: nobody of its gang
 * can still be told that it runs.
 */
static void check_late_join(struct sim *sim, const struct sim_message *message)
{
    const struct sim_stream *joined = &sim->streams[message->stream];
    const struct sim_client *client = &sim->clients[joined->pod];

    if (!joined->server_open || joined->start_id || joined->started ||
        sim->gangs[client->gang].stored)
        return;
    for (uint64_t i = 1; i < sim->next_id; i++) {
        const struct sim_stream *other = &sim->streams[i];

        if (other->server_open && other != joined &&
            sim->clients[other->pod].gang == client->gang && other->started &&
            other->life == sim->life && other->started != client->reported_in_life)
            sim_fail(sim, "pod %d came anew, and pod %d is left in its round", joined->pod,
                     other->pod);
    }
}

static void take_join(struct sim *sim, const struct sim_message *message)
{
    static struct probe_join join;
    struct sim_stream *stream = &sim->streams[message->stream];
    const struct sim_client *client = &sim->clients[stream->pod];
    unsigned life = sim->life;
    char uid[PROBE_UID_MAX + 1];

    if (stream->life != sim->life)
        return; /* it was sent to one that is no more */
    uid_of(uid, stream->instance);
    join = (struct probe_join){.first_rank =
                                   sim_random(sim, 2) ? -1 : (int32_t)first_rank(sim, client),
                               .devices = (uint32_t)client->devices,
                               .process = stream->process,
                               .attempt = stream->attempt,
                               .start_id = stream->start_id,
                               .round = message->round,
                               .opening = stream->opening,
                               .backend = "tcp"};
    if (message->generation)
        gang_id(sim, client->gang, &join.gang);
    join.gang.generation = message->generation;
    names_of(client, join.pod, join.node);
    memcpy(join.pod_uid, uid, sizeof(uid));
    for (int i = 0; i < client->devices && !stream->opening; i++) {
        join.addresses[i].len = sizeof(stream->incarnation);
        memcpy(join.addresses[i].bytes, &stream->incarnation, sizeof(stream->incarnation));
    }
    stream->server_open = true;
    step(sim,
         &(struct coordinator_event){
             .kind = COORD_JOIN, .stream = message->stream, .pod_uid = uid, .join = &join},
         message);
    if (life == sim->life)
        check_late_join(sim, message);
}

static void take_report(struct sim *sim, const struct sim_message *message)
{
    static struct probe_report report;
    const struct sim_report *said = &message->report;
    const struct sim_client *client = &sim->clients[said->pod];
    char uid[PROBE_UID_MAX + 1];

    report = (struct probe_report){.first_rank = first_rank(sim, client),
                                   .devices = (uint32_t)client->devices,
                                   .process = said->process,
                                   .start_id = said->start_id,
                                   .round = said->round,
                                   .outcome = said->outcome,
                                   .rank = first_rank(sim, client),
                                   .text = "as the simulator has it",
                                   .busbw_gb_s = said->busbw_gb_s,
                                   .backend = "tcp"};
    if (said->generation)
        gang_id(sim, client->gang, &report.gang);
    report.gang.generation = said->generation;
    names_of(client, report.pod, report.node);
    uid_of(report.pod_uid, said->pod_instance);
    uid_of(uid, message->speaker == said->pod ? said->pod_instance
                                              : sim->clients[message->speaker].instance);
    step(sim,
         &(struct coordinator_event){
             .kind = COORD_REPORT, .stream = message->stream, .pod_uid = uid, .report = &report},
         message);
}

void server_take(struct sim *sim, const struct sim_message *message)
{
    struct sim_stream *stream = &sim->streams[message->stream];

    switch (message->kind) {
    case MESSAGE_JOIN:
        take_join(sim, message);
        break;
    case MESSAGE_REPORT:
        take_report(sim, message);
        break;
    case MESSAGE_LEFT:
        if (stream->life != sim->life || !stream->server_open)
            break;
        stream->server_open = false;
        step(sim, &(struct coordinator_event){.kind = COORD_LEFT, .stream = message->stream},
             message);
        break;
    case MESSAGE_ORDER:
    case MESSAGE_CLOSED:
    case MESSAGE_REPLY:
        break;
    }
}

/* ---- its lives ------------------------------------------------------------------------------- */

void server_start(struct sim *sim)
{
    struct coordinator_counts counts;

    if (sim->coordinator) {
        coordinator_counts(sim->coordinator, &counts);
        sim->restarts += counts.restarts;
        sim->adopted += counts.adopted;
    }
    sim->life++;
    sim->coordinator = coordinator_new(&(struct coordinator_limits){.epoch = 1000 + sim->life});
    for (int i = 0; i < GANGS; i++) {
        sim->gangs[i].told = false;
        sim->gangs[i].tell_ns =
            sim->gangs[i].planned ? sim->now_ns + sim_some_time(sim, 3 * SECOND) : NEVER;
    }
    for (int i = 0; i < CLIENTS; i++)
        sim->clients[i].reported_in_life = 0;
}

/* All that was open breaks; what is under way is lost. */
void server_end(struct sim *sim)
{
    struct coordinator_counts counts;

    coordinator_counts(sim->coordinator, &counts);
    sim->restarts += counts.restarts;
    sim->adopted += counts.adopted;
    coordinator_free(sim->coordinator);
    sim->coordinator = NULL;
    sim->crashes++;
    for (uint64_t i = 1; i < sim->next_id; i++) {
        struct sim_stream *stream = &sim->streams[i];

        if (stream->life != sim->life || (!stream->server_open && !stream->client_open))
            continue;
        stream->server_open = false;
        close_stream(sim, i, NULL);
    }
}
