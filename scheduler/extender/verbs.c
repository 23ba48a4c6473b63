#include "scheduler/extender/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "scheduler/extender/extender_args.h"

#define UNSEEN_TRIES 20 /* 100 ms: kube-scheduler schedules nothing else meanwhile */
#define UNSEEN_WAIT_US 5000
#define PAUSE_MAX_NS INT64_C(2000000000)
#define PAUSE_QUIET_NS INT64_C(100000000)
#define PAUSE_WAIT_US 5000

#define CALLS(verb_name)                                                                           \
    {                                                                                              \
        .name = "lockstep_verb_seconds", .help = "Time to answer a verb of kube-scheduler.",       \
        .label = "verb=\"" verb_name "\"", .kind = METRIC_HISTOGRAM                                \
    }
static struct metric filter_seconds = CALLS("filter");
static struct metric pause_seconds = {
    .name = "lockstep_steer_pause_seconds",
    .help = "Time that filter kept a pod back until the others of its gang were nominated.",
    .kind = METRIC_HISTOGRAM};
static struct metric preempt_seconds = CALLS("preempt");
static struct metric bind_seconds = CALLS("bind");
#define ANSWERS(outcome)                                                                           \
    {                                                                                              \
        .name = "lockstep_filter_answers_total", .help = "Answers to filter by outcome.",          \
        .label = "outcome=\"" outcome "\"", .kind = METRIC_COUNTER                                 \
    }
static struct metric planned_answers = ANSWERS("planned");
static struct metric missed_answers = ANSWERS("missed");
static struct metric wait_answers = ANSWERS("wait");
static struct metric ordinary_answers = ANSWERS("ordinary");
static struct metric unknown_answers = ANSWERS("unknown");
static struct metric bad_requests = {.name = "lockstep_bad_requests_total",
                                     .help = "Verb calls that could not be read.",
                                     .kind = METRIC_COUNTER};

struct metric *const verb_metrics[] = {
    &filter_seconds, &pause_seconds, &preempt_seconds, &bind_seconds,     &planned_answers, &missed_answers,
    &wait_answers,   &ordinary_answers, &unknown_answers, &bad_requests};
const size_t verb_metrics_n = sizeof(verb_metrics) / sizeof(verb_metrics[0]);

static enum http_outcome bad_request(struct http_reply *reply, const struct err *err)
{
    metric_add(&bad_requests, 1);
    reply->status = 400;
    strbuf_adds(&reply->body, "{\"Error\":");
    json_write_string(&reply->body, err->text, strlen(err->text));
    strbuf_adds(&reply->body, "}");
    return HTTP_DONE;
}

/* ---- filter ---------------------------------------------------------------------------------------- */

static void post_pod(const struct verbs *verbs, enum event_kind kind, const char *uid,
                     const char *node)
{
    struct event event = {.kind = kind};

    snprintf(event.uid, sizeof(event.uid), "%s", uid);
    snprintf(event.name, sizeof(event.name), "%s", node);
    verbs->post(verbs->context, &event);
}

static void begin_filter_reply(struct strbuf *out)
{
    strbuf_adds(out, "{\"Nodes\":null,\"NodeNames\":[");
}

static void end_filter_reply(struct strbuf *out, struct json_span refused, const char *reason,
                             const char *error)
{
    strbuf_adds(out, "],\"FailedNodes\":null,\"FailedAndUnresolvableNodes\":");
    if (refused.text) {
        strbuf_addc(out, '{');
        json_write_string(out, refused.text, refused.len);
        strbuf_addc(out, ':');
        json_write_string(out, reason, strlen(reason));
        strbuf_addc(out, '}');
    } else {
        strbuf_adds(out, "null");
    }
    strbuf_adds(out, ",\"Error\":");
    json_write_string(out, error, strlen(error));
    strbuf_addc(out, '}');
}

/* Is the name offered? Also the first name and how many there are. */
static bool offered(struct json_span names, const char *node, struct json_span *ret_first,
                    size_t *ret_n)
{
    struct name_walk walk;
    struct json_span name;
    bool found = false;

    *ret_first = (struct json_span){0};
    *ret_n = 0;
    name_walk_begin(&walk, names);
    while (name_walk_next(&walk, &name) > 0) {
        if ((*ret_n)++ == 0)
            *ret_first = name;
        found = found || json_span_is(name, node);
    }
    return found;
}

static void filter_ordinary(const struct verbs *verbs, const struct filter_args *args,
                            struct strbuf *out)
{
    struct name_walk walk;
    struct json_span name;
    bool first = true;

    begin_filter_reply(out);
    name_walk_begin(&walk, args->names);
    while (name_walk_next(&walk, &name) > 0) {
        if (!core_node_fits(verbs->core, args->pod.uid, name.text, name.len))
            continue;
        if (!first)
            strbuf_addc(out, ',');
        first = false;
        json_write_string(out, name.text, name.len);
    }
    end_filter_reply(out, (struct json_span){0}, "", "");
}

static const char *const not_offered_text = "the planned node was not among those looked at: "
                                            "the pod is steered to it";

static void filter_member(const struct verbs *verbs, const struct filter_args *args,
                          const struct answer *answer, struct strbuf *out)
{
    const char *node = answer->kind == ANSWER_PLANNED ? answer->node : "";
    struct json_span first;
    size_t n;

    begin_filter_reply(out);
    if (offered(args->names, node, &first, &n) && *node) {
        metric_add(&planned_answers, 1);
        json_write_string(out, node, strlen(node));
        end_filter_reply(out, (struct json_span){0}, "", "");
    } else if (*node) {
        metric_add(&missed_answers, 1);
        verbs->missed(verbs->context, args->pod.name, node, n);
        post_pod(verbs, EV_MISSED, args->pod.uid, node);
        end_filter_reply(out, first, not_offered_text, "");
    } else {
        metric_add(&wait_answers, 1);
        post_pod(verbs, EV_REFUSED, args->pod.uid, "");
        end_filter_reply(out, first, answer->reason, "");
    }
}

/*
 * kube-scheduler's watch can be ahead of ours by some milliseconds. An error would send the pod into its backoff,
 * and the gang would wait a second for it: it is looked for a moment longer, but once only, as one that our
 * readers refuse never comes. Returns with the read lock held.
 */
static void await_answer(struct verbs *verbs, const char *uid, struct answer *ret_answer)
{
    for (unsigned tries = 0;; tries++) {
        pthread_rwlock_rdlock(verbs->lock);
        core_answer(verbs->core, uid, ret_answer);
        if (ret_answer->kind != ANSWER_UNKNOWN || !core_active(verbs->core) ||
            unseen_has(&verbs->unseen, uid))
            return;
        if (tries == UNSEEN_TRIES) {
            unseen_add(&verbs->unseen, uid);
            return;
        }
        pthread_rwlock_unlock(verbs->lock);
        usleep(UNSEEN_WAIT_US);
    }
}

/* More than the one node that a nomination leads to? */
static bool is_scan(struct json_span names)
{
    struct name_walk walk;
    struct json_span name;

    name_walk_begin(&walk, names);
    return name_walk_next(&walk, &name) > 0 && name_walk_next(&walk, &name) > 0;
}

/*
 * A gang mate that is scanned now costs kube-scheduler's only scheduling thread some 25 ms at 5,000 nodes, on
 * all cores, and takes them from the API server that is to write the nominations. So the first one that
 * comes is kept until those are written, as long as there is progress; never more than half of
 * the time, as other pods wait too. Called and returns with the read lock held.
 */
static void await_steering(struct verbs *verbs, const char *uid, struct answer *ret_answer)
{
    int64_t start = clock_boot_ns(), last = start, now = start;
    uint64_t stamp = core_steering(verbs->core, uid), before = stamp;

    if (!stamp || start < atomic_load(&verbs->next_pause_ns))
        return;
    while (stamp && now - start < PAUSE_MAX_NS && now - last < PAUSE_QUIET_NS) {
        pthread_rwlock_unlock(verbs->lock);
        usleep(PAUSE_WAIT_US);
        now = clock_boot_ns();
        pthread_rwlock_rdlock(verbs->lock);
        stamp = core_steering(verbs->core, uid);
        if (stamp != before)
            last = now;
        before = stamp;
    }
    atomic_store(&verbs->next_pause_ns, now + (now - start));
    metric_observe(&pause_seconds, now - start);
    core_answer(verbs->core, uid, ret_answer);
}

enum http_outcome verb_filter(void *context, const struct http_request *request,
                              struct http_reply *reply)
{
    struct verbs *verbs = context;
    int64_t start = clock_boot_ns();
    struct err err = ERR_INIT;
    struct filter_args args;
    struct answer answer;

    if (filter_args_read(request->body, request->len, &args, &err) < 0)
        return bad_request(reply, &err);
    await_answer(verbs, args.pod.uid, &answer);
    if (answer.kind == ANSWER_PLANNED && is_scan(args.names))
        await_steering(verbs, args.pod.uid, &answer);
    if (answer.kind == ANSWER_UNKNOWN) {
        metric_add(&unknown_answers, 1);
        begin_filter_reply(&reply->body);
        end_filter_reply(&reply->body, (struct json_span){0}, "", answer.reason);
    } else if (answer.kind == ANSWER_ORDINARY) {
        metric_add(&ordinary_answers, 1);
        filter_ordinary(verbs, &args, &reply->body);
    } else {
        filter_member(verbs, &args, &answer, &reply->body);
    }
    pthread_rwlock_unlock(verbs->lock);
    metric_observe(&filter_seconds, clock_boot_ns() - start);
    return HTTP_DONE;
}

/* ---- preempt --------------------------------------------------------------------------------------- */

static bool may_touch_gang(const struct verbs *verbs, const json_t *victims)
{
    size_t index;
    json_t *pod;

    json_array_foreach(json_object_get(victims, "Pods"), index, pod) {
        const char *uid = json_string_value(json_object_get(pod, "UID"));

        if (!uid)
            uid = json_string_value(json_object_get(json_object_get(pod, "metadata"), "uid"));
        if (!uid || !core_is_ordinary(verbs->core, uid))
            return true;
    }
    return false;
}

/* The reply wants victims by UID only, whatever form they came in. */
static json_t *meta_victims(const json_t *victims)
{
    json_t *pods = json_array(), *pod, *violations = json_object_get(victims, "NumPDBViolations");
    size_t index;

    json_array_foreach(json_object_get(victims, "Pods"), index, pod) {
        json_t *uid = json_object_get(pod, "UID");

        if (!uid)
            uid = json_object_get(json_object_get(pod, "metadata"), "uid");
        json_array_append_new(pods, json_pack("{s:O}", "UID", uid));
    }
    return json_pack("{s:o, s:I}", "Pods", pods, "NumPDBViolations",
                     (json_int_t)(json_is_integer(violations) ? json_integer_value(violations)
                                                              : 0));
}

static json_t *keep_candidates(const struct verbs *verbs, const json_t *args, const char *uid)
{
    json_t *kept = json_object(), *nodes = json_object_get(args, "NodeNameToMetaVictims"), *victims;
    const char *node;

    if (!json_is_object(nodes))
        nodes = json_object_get(args, "NodeNameToVictims");
    pthread_rwlock_rdlock(verbs->lock);
    if (core_is_ordinary(verbs->core, uid))
        json_object_foreach(nodes, node, victims)
            if (!may_touch_gang(verbs, victims))
                json_object_set_new(kept, node, meta_victims(victims));
    pthread_rwlock_unlock(verbs->lock);
    return kept;
}

enum http_outcome verb_preempt(void *context, const struct http_request *request,
                               struct http_reply *reply)
{
    const struct verbs *verbs = context;
    int64_t start = clock_boot_ns();
    struct err err = ERR_INIT;
    json_error_t error;
    json_t *args = json_loadb(request->body, request->len, JSON_REJECT_DUPLICATES, &error), *answer;
    const char *uid = json_string_value(
        json_object_get(json_object_get(json_object_get(args, "Pod"), "metadata"), "uid"));
    char *text;

    if (!args || !uid) {
        err_set(&err, -EINVAL, "%s", args ? "Pod.metadata.uid: missing, expected text" : error.text);
        json_decref(args);
        return bad_request(reply, &err);
    }
    answer = json_pack("{s:o}", "NodeNameToMetaVictims", keep_candidates(verbs, args, uid));
    text = json_dumps(answer, JSON_COMPACT | JSON_SORT_KEYS);
    strbuf_adds(&reply->body, text ? text : "{}");
    free(text);
    json_decref(answer);
    json_decref(args);
    metric_observe(&preempt_seconds, clock_boot_ns() - start);
    return HTTP_DONE;
}

/* ---- bind ------------------------------------------------------------------------------------------ */

enum http_outcome verb_bind(void *context, const struct http_request *request,
                            struct http_reply *reply)
{
    const struct verbs *verbs = context;
    int64_t start = clock_boot_ns();
    struct event event = {.kind = EV_VOTE, .ticket = request->token};
    struct err err = ERR_INIT;
    struct bind_args args;

    if (bind_args_read(request->body, request->len, &args, &err) < 0)
        return bad_request(reply, &err);
    snprintf(event.uid, sizeof(event.uid), "%s", args.pod.uid);
    snprintf(event.name, sizeof(event.name), "%s", args.node);
    verbs->post(verbs->context, &event);
    metric_observe(&bind_seconds, clock_boot_ns() - start);
    return HTTP_HELD;
}
