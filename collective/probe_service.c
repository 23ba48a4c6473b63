#include "collective/probe_service_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

#define JOIN "/lockstep.probe.v1.Probe/Join"
#define REPORT "/lockstep.probe.v1.Probe/Report"
#define BEARER "Bearer "
#define CALLS_MAX 25000 /* a stream for each pod of the gangs that are measured, and reports */

int64_t service__now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static void visit_unref(struct visit *visit)
{
    if (atomic_fetch_sub(&visit->refs, 1) > 1)
        return;
    rpc_call_unref(visit->call);
    free(visit->join);
    free(visit->report);
    free(visit);
}

/* Two hold it: the call until it is gone, and the question who it is. */
static struct visit *visit_new(struct probe_service *service, struct rpc_call *call)
{
    struct visit *visit = calloc(1, sizeof(*visit));

    if (!visit)
        return NULL;
    atomic_init(&visit->refs, 2);
    visit->service = service;
    visit->call = rpc_call_ref(call);
    rpc_call_set_data(call, visit);
    return visit;
}

/* What it says of itself is what its token says. */
static bool agrees(const struct visit *visit, const struct probe_identity *who)
{
    const struct probe_gang_id *gang = visit->join ? &visit->join->gang : &visit->report->gang;
    const char *uid = visit->join ? visit->join->pod_uid : visit->report->pod_uid;
    const char *pod = visit->join ? visit->join->pod : visit->report->pod;

    return strcmp(uid, who->uid) == 0 && strcmp(pod, who->pod) == 0 &&
           (gang->ns[0] == '\0' || strcmp(gang->ns, who->ns) == 0);
}

static void refuse(struct visit *visit, enum rpc_status status, struct metric *metric, const char *why)
{
    const char *uid = visit->join ? visit->join->pod_uid : visit->report ? visit->report->pod_uid : "";

    metric_add(metric, 1);
    log_line(LOG_WARN, "probe", "refused %s from=%s uid=%s: %s", visit->join ? "join" : "report",
             rpc_call_peer(visit->call), uid, why);
    rpc_call_finish(visit->call, status, why, NULL, 0);
}

/* Who it is is known: the coordinator hears of it. The lock is held. */
static void enter(struct visit *visit, const struct probe_identity *who)
{
    struct coordinator_event event = {.kind = visit->join ? COORD_JOIN : COORD_REPORT, .pod_uid = who->uid};

    visit->stream = event.stream = ++visit->service->last_stream;
    if (service__remember(visit->service, visit) < 0) {
        rpc_call_finish(visit->call, RPC_RESOURCE_EXHAUSTED, "out of memory", NULL, 0);
        return;
    }
    if (visit->join)
        event.join = visit->join;
    else
        event.report = visit->report;
    service__step(visit->service, &event, NULL);
}

static void identified(void *question, const struct probe_identity *who, bool again, const char *why)
{
    struct visit *visit = question;
    struct probe_service *service = visit->service;

    pthread_mutex_lock(&service->lock);
    if (!visit->gone && !service->stopping) {
        if (!who)
            refuse(visit, again ? RPC_UNAVAILABLE : RPC_UNAUTHENTICATED, &service__unauthenticated, why);
        else if (!agrees(visit, who))
            refuse(visit, RPC_PERMISSION_DENIED, &service__impostors, "the token is another pod's");
        else
            enter(visit, who);
    }
    service->asking--;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    visit_unref(visit);
}

/* ---- handlers ---------------------------------------------------------------------------------------------- */

/* In as much time for each wrong secret of that length. */
static bool same_secret(const char *a, const char *b, size_t len)
{
    unsigned char differ = 0;

    if (strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

static void identify_by_secret(struct visit *visit, const char *token, size_t len)
{
    const char *secret = visit->service->secret;
    struct probe_identity who = {0};

    if (!secret || !same_secret(token, secret, len)) {
        identified(visit, NULL, false, "the token is not the one that was given out");
        return;
    }
    snprintf(who.ns, sizeof(who.ns), "%s", visit->join ? visit->join->gang.ns : visit->report->gang.ns);
    snprintf(who.pod, sizeof(who.pod), "%s", visit->join ? visit->join->pod : visit->report->pod);
    snprintf(who.uid, sizeof(who.uid), "%s", visit->join ? visit->join->pod_uid : visit->report->pod_uid);
    identified(visit, &who, false, "");
}

static void identify(struct visit *visit)
{
    struct probe_service *service = visit->service;
    const char *token = rpc_call_metadata(visit->call, "authorization");
    size_t len;

    pthread_mutex_lock(&service->lock);
    service->asking++;
    pthread_mutex_unlock(&service->lock);
    if (!token || strncmp(token, BEARER, strlen(BEARER)) != 0) {
        identified(visit, NULL, false, "no token came with it (authorization: Bearer)");
        return;
    }
    token += strlen(BEARER);
    len = strlen(token);
    if (service->identify)
        service->identify(service->context, token, len, identified, visit);
    else
        identify_by_secret(visit, token, len);
}

static void malformed(struct rpc_call *call, const char *what, const struct err *err)
{
    metric_add(&service__malformed, 1);
    log_line(LOG_WARN, "probe", "refused %s from=%s: %s", what, rpc_call_peer(call), err->text);
    rpc_call_finish(call, RPC_INVALID_ARGUMENT, err->text, NULL, 0);
}

static void on_join(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    struct probe_join *join = calloc(1, sizeof(*join));
    struct err err = {"out of memory"};
    struct visit *visit;

    if (!join || probe_join_decode(bytes, len, join, &err) < 0) {
        free(join);
        malformed(call, "join", &err);
        return;
    }
    visit = visit_new(context, call);
    if (!visit) {
        free(join);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory", NULL, 0);
        return;
    }
    visit->join = join;
    identify(visit);
}

static void on_report(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    struct probe_report *report = calloc(1, sizeof(*report));
    struct err err = {"out of memory"};
    struct visit *visit;

    if (!report || probe_report_decode(bytes, len, report, &err) < 0) {
        free(report);
        malformed(call, "report", &err);
        return;
    }
    visit = visit_new(context, call);
    if (!visit) {
        free(report);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory", NULL, 0);
        return;
    }
    visit->report = report;
    identify(visit);
}

static void on_gone(void *context, struct rpc_call *call)
{
    struct probe_service *service = context;
    struct visit *visit = rpc_call_data(call);

    if (!visit)
        return; /* it was refused before it was one */
    pthread_mutex_lock(&service->lock);
    visit->gone = true;
    if (service__forget_visit(service, visit) && visit->join)
        service__step(service, &(struct coordinator_event){.kind = COORD_LEFT, .stream = visit->stream}, NULL);
    pthread_mutex_unlock(&service->lock);
    visit_unref(visit);
}

static const struct rpc_method methods[] = {
    {.path = JOIN, .handler = on_join, .gone = on_gone, .streaming = true},
    {.path = REPORT, .handler = on_report, .gone = on_gone},
    {0},
};

/* ---- start and stop ---------------------------------------------------------------------------------------- */

static void service_free(struct probe_service *service)
{
    hashmap_release(&service->visits);
    coordinator_free(service->coordinator);
    coordinator_actions_release(&service->actions);
    strbuf_release(&service->bytes);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    free_secret(service->secret);
    free(service);
}

static struct probe_service *service_new(const struct probe_service_options *options)
{
    struct probe_service *service = calloc(1, sizeof(*service));
    pthread_condattr_t monotonic;

    if (!service)
        return NULL;
    pthread_mutex_init(&service->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&service->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    service->bytes = (struct strbuf)STRBUF_INIT(PROBE_ORDER_MAX);
    service->identify = options->identify;
    service->verdict = options->verdict;
    service->context = options->context;
    service->secret = options->secret ? strdup(options->secret) : NULL;
    service->coordinator = coordinator_new(&options->limits);
    if (service->coordinator && (service->secret || !options->secret))
        return service;
    service_free(service);
    return NULL;
}

int probe_service_start(const struct probe_service_options *options, struct probe_service **ret, struct err *err)
{
    struct probe_service *service = service_new(options);
    struct rpc_server_options rpc = {.listen = options->listen, .cert_file = options->cert_file,
                                     .key_file = options->key_file, .cert_pem = options->cert_pem,
                                     .key_pem = options->key_pem, .methods = methods, .context = service,
                                     .calls_max = CALLS_MAX, .message_max = PROBE_REQUEST_MAX,
                                     .queue_bytes_max = 2 * PROBE_ORDER_MAX};
    int r;

    if (!service)
        return err_set(err, -ENOMEM, "out of memory");
    r = pthread_create(&service->ticker, NULL, service__tick, service) == 0
            ? 0
            : err_set(err, -EAGAIN, "no thread can be started");
    if (r < 0) {
        service_free(service);
        return r;
    }
    r = rpc_server_start(&rpc, &service->server, err);
    if (r < 0) {
        probe_service_stop(service);
        return r;
    }
    *ret = service;
    return 0;
}

void probe_service_stop(struct probe_service *service)
{
    if (!service)
        return;
    pthread_mutex_lock(&service->lock);
    service->stopping = true;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    pthread_join(service->ticker, NULL);
    rpc_server_stop(service->server); /* streams end, and no handler runs any more */
    pthread_mutex_lock(&service->lock);
    while (service->asking > 0)
        pthread_cond_wait(&service->changed, &service->lock);
    pthread_mutex_unlock(&service->lock);
    service_free(service);
}

unsigned probe_service_calls(struct probe_service *service)
{
    return rpc_server_calls(service->server);
}

unsigned probe_service_port(const struct probe_service *service)
{
    return rpc_server_port(service->server);
}
