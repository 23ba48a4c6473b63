/* One life: plans, faults, then calm. */
#include "tests/probe_sim/probe_sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TROUBLE_NS (180 * SECOND) /* how long there are faults */
#define LIFE_NS (900 * SECOND)

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;
    int n = snprintf(sim->why, sizeof(sim->why), "seed %" PRIu64 " at %.3f s: ", sim->seed,
                     (double)sim->now_ns / 1e9);

    va_start(args, format);
    vsnprintf(sim->why + n, sizeof(sim->why) - (size_t)n, format, args);
    va_end(args);
    longjmp(sim->failed, 1);
}

unsigned sim_random(struct sim *sim, unsigned below)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (unsigned)(sim->random >> 11) % below;
}

int64_t sim_some_time(struct sim *sim, int64_t most_ns)
{
    return 1 + (int64_t)sim_random(sim, (unsigned)(most_ns / 1000)) * 1000;
}

int64_t sim_delay(struct sim *sim)
{
    if (!sim->calm && sim_random(sim, 30) == 0)
        return sim_some_time(sim, 8 * SECOND); /* a slow network */
    return sim_some_time(sim, 20 * 1000000);
}

struct sim_message *sim_message(struct sim *sim, enum message_kind kind, int64_t delay_ns)
{
    struct sim_message *message = &sim->messages[sim->nmessages];

    if (sim->nmessages == MESSAGES)
        sim_fail(sim, "%d messages are under way", MESSAGES);
    *message = (struct sim_message){
        .kind = kind, .at_ns = sim->now_ns + delay_ns, .sequence = ++sim->steps};
    sim->nmessages++;
    return message;
}

struct sim_gang *sim_gang_of(struct sim *sim, const struct sim_client *client)
{
    return &sim->gangs[client->gang];
}

/* ---- plans ----------------------------------------------------------------------------------- */

static void new_pod(struct sim *sim, struct sim_client *client, int gang, int index)
{
    if (client->state != CLIENT_DOWN && client->state != CLIENT_EXITED)
        client_kill(sim, client);
    *client = (struct sim_client){.instance = sim->next_id++,
                                  .gang = gang,
                                  .index = index,
                                  .devices = 1 + (int)sim_random(sim, 2),
                                  .wake_ns = sim->now_ns + sim_some_time(sim, 15 * SECOND)};
    client->fails = sim_random(sim, 40) == 0;
    client->skips = sim_random(sim, 60) == 0;
    client->wrong = sim_random(sim, 60) == 0;
    client->never = sim_random(sim, 25) == 0;
}

static void plan(struct sim *sim, int number)
{
    struct sim_gang *gang = &sim->gangs[number];
    uint64_t generation = gang->generation + 1;
    bool again = gang->planned && !gang->stored;

    if (!again)
        gang->npods = 1 + (int)sim_random(sim, PODS);
    for (int i = 0; i < gang->npods; i++) {
        struct sim_client *client = &sim->clients[number * PODS + i];

        if (!again || client->instance == 0 || sim_random(sim, 3) == 0)
            new_pod(sim, client, number, i);
    }
    *gang = (struct sim_gang){.planned = true,
                              .generation = generation,
                              .npods = gang->npods,
                              .gate = sim_random(sim, 2),
                              .expected_gb_s = sim_random(sim, 5) ? 100 : 0,
                              .speed = sim_random(sim, 3)   ? 1
                                       : sim_random(sim, 2) ? 0.95
                                                            : 0.5,
                              .planned_ns = sim->now_ns,
                              .deadline_ns =
                                  sim->now_ns + 60 * SECOND + sim_some_time(sim, 120 * SECOND),
                              .tell_ns = NEVER};
    for (int i = 0; i < gang->npods; i++) {
        sim->clients[number * PODS + i].until_ns = gang->deadline_ns + HOLD_NS + 60 * SECOND;
        gang->true_skip = gang->true_skip ||
                          sim->clients[number * PODS + i].skips; /* it may have said so already */
    }
    if (sim->coordinator)
        server_expect(sim, number);
}

static void drop(struct sim *sim, int number)
{
    struct sim_gang *gang = &sim->gangs[number];

    if (!gang->planned)
        return;
    gang->planned = false;
    if (gang->told)
        server_gone(sim, number);
    gang->told = false;
    for (int i = 0; i < gang->npods; i++) {
        client_kill(sim, &sim->clients[number * PODS + i]);
        sim->clients[number * PODS + i].never = true;
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void stop_a_gang(struct sim *sim)
{
    int number = (int)sim_random(sim, GANGS);

    if (sim->gangs[number].planned && sim->gangs[number].told && sim_random(sim, 3) == 0)
        server_stop(sim, number);
}

static void break_a_stream(struct sim *sim)
{
    uint64_t stream = sim->clients[sim_random(sim, CLIENTS)].stream;

    if (stream)
        stream_break(sim, stream);
}

/* What was said before is said again, by the same pod, or in its name by another. */
static void repeat_a_report(struct sim *sim)
{
    struct sim_message *message;
    unsigned n = sim->nold < OLD_REPORTS ? sim->nold : OLD_REPORTS;

    if (n == 0 || sim->next_id >= STREAMS - 1)
        return;
    message = sim_message(sim, MESSAGE_REPORT, sim_delay(sim));
    message->stream = sim->next_id++;
    message->report = sim->old[sim_random(sim, n)];
    message->speaker = message->report.pod;
    if (sim_random(sim, 3) == 0) {
        message->speaker = (int)sim_random(sim, CLIENTS);
        message->report.outcome = PROBE_OUTCOME_ERROR;
        if (message->speaker == message->report.pod)
            message->report.outcome = PROBE_OUTCOME_LOST;
        else
            message->report.pod_instance = sim->clients[message->report.pod].instance;
        if (message->speaker != message->report.pod)
            message->report.start_id = message->report.round = 0;
    }
}

static void tell_a_state(struct sim *sim)
{
    static const char *const texts[] = {"", "pulling image example.com/train:1",
                                        "ImagePullBackOff"};
    const struct sim_client *client = &sim->clients[sim_random(sim, CLIENTS)];

    if (client->instance && sim->coordinator)
        server_pod_state(sim, client, texts[sim_random(sim, 3)]);
}

static void some_fault(struct sim *sim)
{
    switch (sim_random(sim, 13)) {
    case 0:
    case 1:
        break_a_stream(sim);
        break;
    case 2:
    case 3:
        client_kill(sim, &sim->clients[sim_random(sim, CLIENTS)]);
        break;
    case 4:
        sim->crash_after = (int)sim_random(sim, 4);
        break;
    case 5:
    case 6:
    case 7:
        repeat_a_report(sim);
        break;
    case 8:
    case 9:
        tell_a_state(sim);
        break;
    case 10:
        stop_a_gang(sim);
        break;
    case 11:
        plan(sim, (int)sim_random(sim, GANGS));
        break;
    default:
        if (sim_random(sim, 3) == 0)
            drop(sim, (int)sim_random(sim, GANGS));
        break;
    }
}

/* ---- calm ------------------------------------------------------------------------------------ */

/*
 * A gang that is in no round, of which all can come, and that has time, has to be measured now.
 * Rounds have an end too, so it must not have used them up.
 */
static bool can_be_measured(const struct sim *sim, int number, bool *ret_fails)
{
    const struct sim_gang *gang = &sim->gangs[number];

    *ret_fails = false;
    if (!gang->planned || gang->stored || gang->deadline_ns < sim->now_ns + 90 * SECOND ||
        gang->rounds > 0)
        return false;
    for (int i = 0; i < gang->npods; i++) {
        const struct sim_client *client = &sim->clients[number * PODS + i];

        if (client->never || client->skips || client->start_id || client->state == CLIENT_EXITED)
            return false;
        *ret_fails = *ret_fails || client->fails;
    }
    return true;
}

static void begin_calm(struct sim *sim)
{
    sim->calm = true;
    sim->calm_ns = sim->now_ns;
    sim->crash_after = -1;
    for (unsigned i = 0; i < sim->nmessages; i++)
        if (sim->messages[i].at_ns > sim->now_ns + 20 * SECOND)
            sim->messages[i].at_ns = sim->now_ns + 20 * SECOND;
    for (int i = 0; i < GANGS; i++) {
        bool fails, sure = can_be_measured(sim, i, &fails);

        sim->gangs[i].must_measure = sure && !fails;
        sim->gangs[i].must_blame = sure && fails;
        sim->sure += sure;
    }
}

static void check_end(struct sim *sim)
{
    for (int i = 0; i < CLIENTS; i++) {
        const struct sim_client *client = &sim->clients[i];
        const struct sim_gang *gang = &sim->gangs[client->gang];

        if (client->state != CLIENT_EXITED && client->state != CLIENT_DOWN)
            sim_fail(sim, "pod %d has not ended, being in state %d", i, (int)client->state);
        /* One that had time to hear it: its gang ended, or could be told of, after things became
         * calm. */
        if (client->state == CLIENT_EXITED && !client->heard && gang->planned &&
            client->index < gang->npods && client->until_ns > sim->calm_ns + 60 * SECOND &&
            gang->deadline_ns > sim->calm_ns)
            sim_fail(sim, "pod %d of gang %d ended without having heard the verdict", i,
                     client->gang);
    }
    for (int i = 0; i < GANGS; i++)
        if (sim->gangs[i].planned && !sim->gangs[i].stored)
            sim_fail(sim, "gang %d has no verdict", i);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static unsigned next_message(const struct sim *sim)
{
    unsigned next = 0;

    for (unsigned i = 1; i < sim->nmessages; i++)
        if (sim->messages[i].at_ns < sim->messages[next].at_ns ||
            (sim->messages[i].at_ns == sim->messages[next].at_ns &&
             sim->messages[i].sequence < sim->messages[next].sequence))
            next = i;
    return next;
}

static void deliver(struct sim *sim, unsigned index)
{
    struct sim_message message = sim->messages[index];

    sim->messages[index] = sim->messages[--sim->nmessages];
    if (sim->trace)
        printf("%9.3f message %d, stream %" PRIu64 "\n", (double)sim->now_ns / 1e9,
               (int)message.kind, message.stream);
    if (message.kind == MESSAGE_JOIN || message.kind == MESSAGE_LEFT ||
        message.kind == MESSAGE_REPORT)
        server_take(sim, &message);
    else
        client_take(sim, &message);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What comes next, at its time. */
static bool advance(struct sim *sim, int64_t *fault_ns)
{
    unsigned message = next_message(sim);
    int64_t at = least(*fault_ns, coordinator_deadline(sim->coordinator));

    if (sim->nmessages)
        at = least(at, sim->messages[message].at_ns);
    for (int i = 0; i < CLIENTS; i++)
        at = least(at, client_due(sim, &sim->clients[i]));
    for (int i = 0; i < GANGS; i++)
        at = least(at, sim->gangs[i].tell_ns);
    if (at == NEVER)
        return false; /* nothing will happen any more */
    sim->now_ns = at > sim->now_ns ? at : sim->now_ns;
    for (int i = 0; i < GANGS; i++)
        if (sim->gangs[i].tell_ns <= sim->now_ns) {
            sim->gangs[i].tell_ns = NEVER;
            if (sim->gangs[i].planned && !sim->gangs[i].told)
                server_expect(sim, i);
            return true;
        }
    if (coordinator_deadline(sim->coordinator) <= sim->now_ns) {
        server_tick(sim);
        return true;
    }
    if (sim->nmessages && sim->messages[message].at_ns <= sim->now_ns) {
        deliver(sim, message);
        return true;
    }
    for (int i = 0; i < CLIENTS; i++)
        if (client_due(sim, &sim->clients[i]) <= sim->now_ns) {
            client_wake(sim, &sim->clients[i]);
            return true;
        }
    some_fault(sim);
    *fault_ns = sim->now_ns + sim_some_time(sim, 4 * SECOND);
    return true;
}

static void live(struct sim *sim)
{
    int64_t fault_ns = SECOND;

    for (int i = 0; i < 8; i++)
        sim_random(sim, 2);
    for (int i = 0; i < CLIENTS; i++)
        sim->clients[i] = (struct sim_client){
            .gang = i / PODS, .index = i % PODS, .wake_ns = NEVER, .never = true};
    for (int i = 0; i < GANGS; i++)
        sim->gangs[i].tell_ns = NEVER;
    server_start(sim);
    for (int i = 0; i < GANGS; i++)
        plan(sim, i);
    while (sim->now_ns < LIFE_NS) {
        if (!sim->calm && sim->now_ns >= TROUBLE_NS) {
            begin_calm(sim);
            fault_ns = NEVER;
        }
        if (!advance(sim, &fault_ns))
            break;
    }
    check_end(sim);
}

int sim_run(struct sim *sim, uint64_t seed, bool trace)
{
    memset(sim, 0, sizeof(*sim));
    sim->seed = seed;
    sim->random = (seed * UINT64_C(0x9e3779b97f4a7c15)) | 1;
    sim->trace = trace;
    sim->next_id = 1;
    sim->crash_after = -1;
    if (setjmp(sim->failed) == 0) {
        live(sim);
        server_end(sim);
    }
    coordinator_actions_release(&sim->actions);
    coordinator_free(sim->coordinator);
    sim->coordinator = NULL;
    return sim->why[0] ? -1 : 0;
}
