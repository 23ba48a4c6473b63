/*
 * Measuring gangs: the core's orders to the coordinator, its verdicts back into the queue, and whose token a probe shows.
 * The listener is open while this replica leads; the other one refuses connections, so probes find the right one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "collective/pod_probe.h"
#include "collective/probe_service.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/kube/kube_token.h"
#include "scheduler/kube/token_cache.h"

#define AUDIENCE "lockstep-probe"
#define HOLD_NS INT64_C(600000000000)

/* ---- whose token is it -------------------------------------------------------------------------------------- */

#define SHOWN "lockstep_probe_tokens_total"
#define SHOWN_HELP "Tokens that probes showed, by who said whose they are."
static struct metric reviewed = {.name = SHOWN, .help = SHOWN_HELP, .label = "by=\"api-server\""};
static struct metric remembered = {.name = SHOWN, .help = SHOWN_HELP, .label = "by=\"cache\""};

struct asked {
    struct daemon *daemon;
    probe_identified_fn *done;
    void *question;
    int64_t at_ns;
    char digest[SHA256_HEX]; /* of the token */
};

static void tell_identity(const struct asked *asked, const struct kube_identity *who)
{
    struct probe_identity identity = {0};

    snprintf(identity.ns, sizeof(identity.ns), "%s", who->ns);
    snprintf(identity.pod, sizeof(identity.pod), "%.*s", (int)sizeof(identity.pod) - 1, who->pod);
    snprintf(identity.uid, sizeof(identity.uid), "%.*s", (int)sizeof(identity.uid) - 1, who->uid);
    asked->done(asked->question, &identity, false, "");
}

static void on_review(void *context, enum write_result result, const struct kube_identity *who, const char *why)
{
    struct asked *asked = context;

    if (who) {
        token_cache_put(asked->daemon->tokens, asked->digest, asked->at_ns, who);
        tell_identity(asked, who);
    } else {
        asked->done(asked->question, NULL, result != WRITE_OK, why);
    }
    free(asked);
}

static void identify(void *context, const char *token, size_t len, probe_identified_fn *done, void *question)
{
    struct daemon *daemon = context;
    struct kube_writer by = {daemon->client, atomic_load(&daemon->term)};
    struct asked *asked = malloc(sizeof(*asked));
    struct kube_identity who;
    int r = -ENOMEM;

    if (asked) {
        *asked = (struct asked){daemon, done, question, clock_read(CLOCK_MONOTONIC), ""};
        sha256_hex(token, len, asked->digest);
        if (token_cache_get(daemon->tokens, asked->digest, asked->at_ns, &who)) {
            metric_add(&remembered, 1);
            tell_identity(asked, &who);
            free(asked);
            return;
        }
        r = kube_review_token(&by, token, len, AUDIENCE, on_review, asked);
    }
    if (r == 0) {
        metric_add(&reviewed, 1);
        return;
    }
    free(asked);
    done(question, NULL, r != -EINVAL,
         r == -EINVAL ? "the token is none of a ServiceAccount" : "the API server cannot be asked now");
}

/* ---- verdicts ------------------------------------------------------------------------------------------------ */

static void on_verdict(void *context, const struct coordinator_result *result)
{
    struct daemon *daemon = context;
    struct event event = {.kind = EV_PROBED, .ticket = result->gang.generation,
                          .busbw = (int64_t)(result->measured_gb_s * 1e9)};

    log_line(LOG_INFO, "probe",
             "gang %s/%s is %s: %s (ranks %u, rounds %u, %.1f s until all had joined, %.1f s to measure, %.3g GB sent)",
             result->gang.ns, result->gang.name, verdict_name(result->verdict), result->message, result->ranks,
             result->round, result->joined_ns ? (double)(result->joined_ns - result->expected_ns) / 1e9 : 0.0,
             result->started_ns ? (double)(result->ended_ns - result->started_ns) / 1e9 : 0.0,
             (double)result->bytes_moved / 1e9);
    snprintf(event.ns_name, sizeof(event.ns_name), "%s", result->gang.ns);
    snprintf(event.name, sizeof(event.name), "%s", result->gang.name);
    snprintf(event.uid, sizeof(event.uid), "%s", verdict_name(result->verdict));
    snprintf(event.text, sizeof(event.text), "%s", result->message);
    queue_post(&daemon->queue, &event, NULL);
}

/* ---- orders -------------------------------------------------------------------------------------------------- */

static bool any_gpus(const json_t *pods)
{
    const json_t *pod;
    size_t i;

    json_array_foreach(pods, i, pod)
        if (json_integer_value(json_object_get(pod, "gpus")) > 0)
            return true;
    return false;
}

/* Pods without accelerators take part only in gangs that have none at all: a rank each then. */
static size_t list_pods(const json_t *pods, bool gpus, struct coordinator_pod *ret)
{
    uint32_t rank = 0;
    const json_t *pod;
    size_t i, n = 0;

    json_array_foreach(pods, i, pod) {
        uint32_t devices = gpus ? (uint32_t)json_integer_value(json_object_get(pod, "gpus")) : 1;

        if (devices == 0)
            continue;
        ret[n++] = (struct coordinator_pod){.pod = json_string_value(json_object_get(pod, "name")),
                                            .uid = json_string_value(json_object_get(pod, "uid")),
                                            .node = json_string_value(json_object_get(pod, "node")),
                                            .first_rank = rank, .devices = devices};
        rank += devices;
    }
    return n;
}

static void fill_gang(const struct action *action, const json_t *body, bool gpus, struct coordinator_gang *ret)
{
    const char *policy = json_string_value(json_object_get(body, "policy"));

    snprintf(ret->id.ns, sizeof(ret->id.ns), "%s", action->ns);
    snprintf(ret->id.name, sizeof(ret->id.name), "%.*s", (int)sizeof(ret->id.name) - 1, action->name);
    ret->id.generation = action->ticket;
    ret->gate = policy && strcmp(policy, "gate") == 0;
    ret->plan.expected_gb_s = gpus ? json_number_value(json_object_get(body, "expected_gb_s")) : 0;
    ret->plan.bytes_max = gpus ? POD_NCCL_BYTES_MAX : POD_TCP_BYTES_MAX;
    ret->plan.check = true;
    snprintf(ret->plan.op, sizeof(ret->plan.op), "all_reduce");
    ret->deadline_ns = clock_read(CLOCK_MONOTONIC) + json_integer_value(json_object_get(body, "deadline_ns"));
    ret->hold_ns = HOLD_NS;
}

/* Somebody has to tell the core, or it would wait for its own deadline. */
static void tell_not_measured(struct daemon *daemon, const struct action *action, const char *why)
{
    struct event event = {.kind = EV_PROBED, .ticket = action->ticket};

    snprintf(event.ns_name, sizeof(event.ns_name), "%s", action->ns);
    snprintf(event.name, sizeof(event.name), "%s", action->name);
    snprintf(event.uid, sizeof(event.uid), "%s", verdict_name(VERDICT_INFRASTRUCTURE));
    snprintf(event.text, sizeof(event.text), "not measured: %.200s", why);
    queue_post(&daemon->queue, &event, NULL);
}

static void expect(struct daemon *daemon, const struct action *action)
{
    json_t *body = json_loads(action->body ? action->body : "", 0, NULL);
    const json_t *pods = json_object_get(body, "pods");
    struct coordinator_pod *list = calloc(json_array_size(pods) + 1, sizeof(*list));
    bool gpus = any_gpus(pods);
    struct coordinator_gang gang = {.pods = list};
    struct err err = ERR_INIT;
    int r = -ENOMEM;

    if (list) {
        gang.npods = list_pods(pods, gpus, list);
        fill_gang(action, body, gpus, &gang);
        r = daemon->probes ? probe_service_expect(daemon->probes, &gang, &err)
                           : err_set(&err, -EHOSTDOWN, "listen.probes is off, or its port cannot be opened");
    }
    if (r < 0) {
        log_line(LOG_WARN, "probe", "gang %s/%s is not measured: %s", action->ns, action->name, err.text);
        tell_not_measured(daemon, action, err.text);
    }
    free(list);
    json_decref(body);
}

void daemon_probe(struct daemon *daemon, const struct action *action)
{
    if (action->kind == ACT_PROBE)
        expect(daemon, action);
    else if (daemon->probes && action->kind == ACT_PROBE_POD)
        probe_service_pod_state(daemon->probes, action->uid, action->text ? action->text : "");
    else if (daemon->probes)
        probe_service_forget(daemon->probes, action->ns, action->name);
}

/* ---- leading ------------------------------------------------------------------------------------------------- */

static struct probe_service *open_service(struct daemon *daemon)
{
    const struct probe_service_options options = {
        .listen = daemon->config.listen_probes,
        .cert_file = daemon->config.probes.cert,
        .key_file = daemon->config.probes.key,
        .identify = identify,
        .verdict = on_verdict,
        .context = daemon,
        .limits = {.epoch = (uint32_t)(clock_read(CLOCK_REALTIME) / 1000000000)},
    };
    struct probe_service *service = NULL;
    struct err err = ERR_INIT;

    if (probe_service_start(&options, &service, &err) < 0)
        log_line(LOG_ERROR, "probe", "probes cannot come in: %s", err.text);
    else
        log_line(LOG_INFO, "probe", "probes on %s", daemon->config.listen_probes);
    return service;
}

void daemon_probes_lead(struct daemon *daemon, bool leads)
{
    struct probe_service *before = daemon->probes;
    struct probe_service *now = NULL;

    if (leads && daemon->config.listen_probes[0]) {
        daemon->tokens = token_cache_new(TOKEN_CACHE_MAX); /* without one each token is asked about */
        now = open_service(daemon);
    }
    pthread_mutex_lock(&daemon->probes_lock);
    daemon->probes = now;
    pthread_mutex_unlock(&daemon->probes_lock);
    probe_service_stop(before);
    if (!leads) {
        token_cache_free(daemon->tokens); /* nobody asks any more */
        daemon->tokens = NULL;
    }
}

void daemon_probes_metrics(struct daemon *daemon, struct strbuf *out)
{
    static struct metric *const tokens[] = {&reviewed, &remembered};

    pthread_mutex_lock(&daemon->probes_lock);
    probe_service_metrics(daemon->probes, out);
    metrics_write(out, tokens, sizeof(tokens) / sizeof(tokens[0]));
    pthread_mutex_unlock(&daemon->probes_lock);
}
