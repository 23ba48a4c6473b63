/* The coordinator's side of the service: events go in, what it wants is done, and the clock is watched. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_service_internal.h"

#define KEY_TEXT 24

#define REFUSED "lockstep_probe_refused_total"
#define REFUSED_HELP "Joins and reports that were not taken."
struct metric service__malformed = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"malformed\""};
struct metric service__unauthenticated = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"unauthenticated\""};
struct metric service__impostors = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"identity\""};
struct metric service__mismatched = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"mismatch\""};
static struct metric unknown = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"unknown\""};
static struct metric superseded = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"superseded\""};
static struct metric stale = {.name = REFUSED, .help = REFUSED_HELP, .label = "why=\"stale\""};

/* ---- streams ---------------------------------------------------------------------------------------------- */

static void key_of(uint64_t stream, char ret[KEY_TEXT])
{
    snprintf(ret, KEY_TEXT, "%" PRIx64, stream);
}

int service__remember(struct probe_service *service, struct visit *visit)
{
    char key[KEY_TEXT];

    key_of(visit->stream, key);
    return hashmap_set(&service->visits, key, visit);
}

bool service__forget_visit(struct probe_service *service, const struct visit *visit)
{
    char key[KEY_TEXT];

    key_of(visit->stream, key);
    return visit->stream != 0 && hashmap_remove(&service->visits, key) != NULL;
}

static struct visit *visit_of(struct probe_service *service, uint64_t stream)
{
    char key[KEY_TEXT];

    key_of(stream, key);
    return hashmap_get(&service->visits, key);
}

/* ---- what the coordinator wants ----------------------------------------------------------------------------- */

static void send_order(struct probe_service *service, const struct coordinator_action *action)
{
    struct visit *visit = visit_of(service, action->stream);
    struct err err = ERR_INIT;

    if (!visit)
        return;
    strbuf_clear(&service->bytes);
    if (probe_order_encode(&action->send.order->order, action->send.first_rank, action->send.devices,
                           &service->bytes, &err) < 0) {
        log_line(LOG_ERROR, "probe", "an order cannot be sent: %s", err.text);
        rpc_call_finish(visit->call, RPC_INTERNAL, err.text, NULL, 0);
        return;
    }
    rpc_call_send(visit->call, service->bytes.data, service->bytes.len);
    if (action->send.last)
        rpc_call_finish(visit->call, RPC_OK, NULL, NULL, 0);
}

static void reply(struct probe_service *service, const struct coordinator_action *action)
{
    struct visit *visit = visit_of(service, action->stream);

    strbuf_clear(&service->bytes);
    if (visit && probe_reply_encode(action->counted, &service->bytes) == 0)
        rpc_call_finish(visit->call, RPC_OK, NULL, service->bytes.data ? service->bytes.data : "", service->bytes.len);
}

static enum rpc_status status_of(enum coordinator_refusal refusal)
{
    switch (refusal) {
    case REFUSED_UNKNOWN:
        return RPC_NOT_FOUND;
    case REFUSED_IDENTITY:
        return RPC_PERMISSION_DENIED;
    case REFUSED_MISMATCH:
        return RPC_FAILED_PRECONDITION;
    default:
        return RPC_ABORTED;
    }
}

static void refuse(struct probe_service *service, const struct coordinator_action *action)
{
    static struct metric *const metrics[REFUSALS] = {
        [REFUSED_UNKNOWN] = &unknown, [REFUSED_SUPERSEDED] = &superseded, [REFUSED_STALE] = &stale,
        [REFUSED_IDENTITY] = &service__impostors, [REFUSED_MISMATCH] = &service__mismatched};
    struct visit *visit = visit_of(service, action->stream);

    metric_add(metrics[action->refuse.refusal], 1);
    if (!visit)
        return;
    log_line(action->refuse.refusal == REFUSED_UNKNOWN ? LOG_DEBUG : LOG_WARN, "probe", "refused %s from=%s: %s: %s",
             visit->join ? "join" : "report", rpc_call_peer(visit->call),
             coordinator_refusal_name(action->refuse.refusal), action->refuse.text);
    rpc_call_finish(visit->call, status_of(action->refuse.refusal), action->refuse.text, NULL, 0);
}

static void carry_out(struct probe_service *service)
{
    for (size_t i = 0; i < service->actions.n; i++) {
        const struct coordinator_action *action = &service->actions.items[i];

        switch (action->kind) {
        case COORD_SEND:
            send_order(service, action);
            break;
        case COORD_REPLY:
            reply(service, action);
            break;
        case COORD_REFUSE:
            refuse(service, action);
            break;
        case COORD_VERDICT:
            if (service->verdict)
                service->verdict(service->context, action->result);
            break;
        case COORD_HOLD_ENDED:
            log_line(LOG_INFO, "probe", "gang %s/%s was held for as long as a gate holds",
                     action->result->gang.ns, action->result->gang.name);
            break;
        }
    }
    coordinator_actions_clear(&service->actions);
}

int service__step(struct probe_service *service, const struct coordinator_event *event, struct err *err)
{
    int64_t before = coordinator_deadline(service->coordinator);
    int r = coordinator_step(service->coordinator, event, service__now_ns(), &service->actions, err);

    carry_out(service);
    if (coordinator_deadline(service->coordinator) < before)
        pthread_cond_broadcast(&service->changed);
    return r;
}

void *service__tick(void *context)
{
    struct probe_service *service = context;

    pthread_mutex_lock(&service->lock);
    while (!service->stopping) {
        int64_t due = coordinator_deadline(service->coordinator);
        struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};

        if (due <= service__now_ns())
            service__step(service, &(struct coordinator_event){.kind = COORD_TICK}, NULL);
        else if (due == INT64_MAX)
            pthread_cond_wait(&service->changed, &service->lock);
        else
            pthread_cond_timedwait(&service->changed, &service->lock, &until);
    }
    pthread_mutex_unlock(&service->lock);
    return NULL;
}

/* ---- gangs ------------------------------------------------------------------------------------------------- */

int probe_service_expect(struct probe_service *service, const struct coordinator_gang *gang, struct err *err)
{
    const struct coordinator_event event = {.kind = COORD_EXPECT, .gang = gang};
    int r;

    pthread_mutex_lock(&service->lock);
    r = service__step(service, &event, err);
    pthread_mutex_unlock(&service->lock);
    return r;
}

static void step_of(struct probe_service *service, const char *ns, const char *name, struct coordinator_event event)
{
    struct probe_gang_id id = {0};

    snprintf(id.ns, sizeof(id.ns), "%s", ns);
    snprintf(id.name, sizeof(id.name), "%s", name);
    event.id = &id;
    pthread_mutex_lock(&service->lock);
    service__step(service, &event, NULL);
    pthread_mutex_unlock(&service->lock);
}

void probe_service_forget(struct probe_service *service, const char *ns, const char *name)
{
    step_of(service, ns, name, (struct coordinator_event){.kind = COORD_GONE});
}

void probe_service_end(struct probe_service *service, const char *ns, const char *name, const char *why)
{
    step_of(service, ns, name, (struct coordinator_event){.kind = COORD_STOP, .why = why});
}

bool probe_service_tell(struct probe_service *service, const char *ns, const char *name, char *ret, size_t size)
{
    bool known;

    pthread_mutex_lock(&service->lock);
    known = coordinator_tell(service->coordinator, ns, name, ret, size);
    pthread_mutex_unlock(&service->lock);
    return known;
}

void probe_service_pod_state(struct probe_service *service, const char *uid, const char *text)
{
    const struct coordinator_event event = {.kind = COORD_POD_STATE, .pod_uid = uid, .text = text};

    pthread_mutex_lock(&service->lock);
    service__step(service, &event, NULL);
    pthread_mutex_unlock(&service->lock);
}

/* ---- metrics ------------------------------------------------------------------------------------------------ */

#define GAUGE(id, metric_name, metric_help)                                                        \
    static struct metric id = {.name = metric_name, .help = metric_help, .kind = METRIC_GAUGE}
#define COUNTER(id, metric_name, metric_help)                                                      \
    static struct metric id = {.name = metric_name, .help = metric_help, .kind = METRIC_COUNTER}
GAUGE(measured, "lockstep_probe_gangs", "Gangs that are measured, or were lately.");
GAUGE(streams, "lockstep_probe_streams", "Probes that are connected.");
COUNTER(joins, "lockstep_probe_joins_total", "Probes that came, again too.");
COUNTER(reports, "lockstep_probe_reports_total", "Reports that came.");
COUNTER(starts, "lockstep_probe_starts_total", "Rounds that were begun.");

void probe_service_metrics(struct probe_service *service, struct strbuf *out)
{
    static struct metric *const all[] = {&measured, &streams, &joins, &reports, &starts, &service__malformed,
                                         &service__unauthenticated, &service__impostors, &service__mismatched,
                                         &unknown, &superseded, &stale};
    struct coordinator_counts counts = {0};

    if (service) {
        pthread_mutex_lock(&service->lock);
        coordinator_counts(service->coordinator, &counts);
        pthread_mutex_unlock(&service->lock);
    }
    metric_set(&measured, counts.gangs);
    metric_set(&streams, counts.streams);
    metric_set(&joins, (int64_t)counts.joins);
    metric_set(&reports, (int64_t)counts.reports);
    metric_set(&starts, (int64_t)counts.starts);
    metrics_write(out, all, sizeof(all) / sizeof(all[0]));
}
