#include "scheduler/kube/kube_write.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "scheduler/model/lease.h"

#define WRITE_TIMEOUT_S (LEASE_WRITE_NS / 1000000000) /* the server is told too: it gives up then */
#define TIMEOUT "?timeout=8s"
_Static_assert(WRITE_TIMEOUT_S == 8, "TIMEOUT says the same");
#define ANSWER_MAX ((size_t)1 << 20)
#define RETRY_AFTER_MAX_S 5
#define PLACEMENTS "/apis/lockstep.dev/v1alpha1/namespaces/%s/gangplacements"
#define MERGE_PATCH "application/merge-patch+json"

struct write {
    struct kube_writer by;
    char *method, *path, *type, *body;
    char *create_path, *create_body; /* placements: what to do on 404 */
    char *read_uid; /* a GET: of the pod that is expected */
    bool wants_version; /* done() gets the object's resourceVersion */
    bool urgent, waited, created;
    kube_done_fn *done;
    void *context;
};

enum write_result kube_classify(int status)
{
    if (status >= 200 && status < 300)
        return WRITE_OK;
    switch (status) {
    case 409:
        return WRITE_CONFLICT;
    case 404:
    case 410:
        return WRITE_GONE;
    case 401:
    case 403:
        return WRITE_FORBIDDEN;
    case 429:
        return WRITE_BUSY;
    case -ECONNREFUSED:
    case -ENOBUFS:
    case -ENOMEM:
    case -EPERM:
        return WRITE_SERVER; /* it was not sent */
    default:
        break;
    }
    if (status < 0 || status == 504)
        return WRITE_UNKNOWN;
    return status >= 500 ? WRITE_SERVER : WRITE_INVALID;
}

static void write_free(struct write *write)
{
    if (!write)
        return;
    free(write->method);
    free(write->path);
    free(write->type);
    free(write->body);
    free(write->create_path);
    free(write->create_body);
    free(write->read_uid);
    free(write);
}

static void on_answer(void *context, int status, const char *body, size_t len, int retry_after_s);

static int submit(struct write *write, const char *method, const char *path, const char *type,
                  const char *body)
{
    struct http_call call = {.method = method,
                             .path = path,
                             .type = type,
                             .body = body,
                             .urgent = write->urgent,
                             .epoch = write->by.term,
                             .timeout_s = WRITE_TIMEOUT_S,
                             .answer_max = ANSWER_MAX,
                             .context = write,
                             .on_done = on_answer};

    return http_client_send(write->by.client, &call);
}

static void end_write(struct write *write, int status, const char *body, size_t len)
{
    bool good = status >= 200 && status < 300;
    json_t *root = good && !write->wants_version ? NULL : json_loadb(body, len, 0, NULL);
    const char *message = json_string_value(
        good ? json_object_get(json_object_get(root, "metadata"), "resourceVersion") : json_object_get(root, "message"));

    if (write->done)
        write->done(write->context, kube_classify(status), message ? message : "");
    json_decref(root);
    write_free(write);
}

/* The pod's node as the message; a namesake with another UID is not the pod. */
static void end_read(struct write *write, const char *body, size_t len)
{
    json_t *root = json_loadb(body, len, 0, NULL), *spec = json_object_get(root, "spec");
    const char *uid = json_string_value(json_object_get(json_object_get(root, "metadata"), "uid"));
    const char *node = json_string_value(json_object_get(spec, "nodeName"));
    enum write_result result = !uid                                  ? WRITE_SERVER
                               : strcmp(uid, write->read_uid) == 0 ? WRITE_OK
                                                                     : WRITE_GONE;

    write->done(write->context, result, result == WRITE_OK && node ? node : "");
    json_decref(root);
    write_free(write);
}

/* A placement's creation first, while it is under way. */
static int send_write(struct write *write)
{
    if (write->created && write->create_body)
        return write->create_path
                   ? submit(write, "POST", write->create_path, "application/json", write->create_body)
                   : -ENOMEM;
    return submit(write, write->method, write->path, write->type, write->body);
}

static void submit_again(void *context)
{
    struct write *write = context;
    int r = send_write(write);

    if (r < 0)
        end_write(write, r, "", 0);
}

static void on_answer(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct write *write = context;

    if (status == 429 && !write->waited && retry_after_s <= RETRY_AFTER_MAX_S) {
        write->waited = true;
        if (http_client_after(write->by.client, retry_after_s > 0 ? retry_after_s * 1000 : 1000,
                              submit_again, write) == 0)
            return;
    }
    if (status == 404 && write->create_body && !write->created) {
        write->created = true;
        if (submit(write, "POST", write->create_path, "application/json", write->create_body) == 0)
            return;
    } else if (write->created && write->create_body && (status == 201 || status == 409)) {
        free(write->create_body); /* it exists now: once more to the status */
        write->create_body = NULL;
        if (submit(write, write->method, write->path, write->type, write->body) == 0)
            return;
        status = -ENOBUFS;
    }
    if (write->read_uid && status == 200)
        end_read(write, body, len);
    else
        end_write(write, status, body, len);
}

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

static struct write *new_write(const struct kube_writer *by, const char *method, const char *type,
                               bool urgent, kube_done_fn *done, void *context)
{
    struct write *write = calloc(1, sizeof(*write));

    if (!write)
        return NULL;
    write->by = *by;
    write->urgent = urgent;
    write->done = done;
    write->context = context;
    write->method = copy(method);
    write->type = copy(type);
    if (write->method && write->type)
        return write;
    write_free(write);
    return NULL;
}

/* Takes the write over; the body is owned by it. */
static int go(struct write *write)
{
    int r = write->path && write->body ? send_write(write) : -ENOMEM;

    if (r < 0)
        write_free(write);
    return r;
}

static char *path_of(const char *format, const char *ns, const char *name)
    __attribute__((format_arg(1)));

static char *path_of(const char *format, const char *ns, const char *name)
{
    char *path = NULL;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (asprintf(&path, format, ns, name) < 0)
        return NULL;
#pragma GCC diagnostic pop
    return path;
}

int kube_bind(const struct kube_writer *by, const struct kube_target *pod, const char *node,
              const char *annotations, kube_done_fn *done, void *context)
{
    struct write *write = new_write(by, "POST", "application/json", true, done, context);
    json_t *stamp = annotations ? json_loads(annotations, 0, NULL) : json_object(), *binding;

    if (!write || !stamp) {
        json_decref(stamp);
        write_free(write);
        return -ENOMEM;
    }
    binding = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:o}, s:{s:s, s:s, s:s}}", "apiVersion", "v1",
                        "kind", "Binding", "metadata", "name", pod->name, "namespace", pod->ns,
                        "uid", pod->uid, "annotations", stamp, "target", "apiVersion", "v1", "kind",
                        "Node", "name", node);
    write->path = path_of("/api/v1/namespaces/%s/pods/%s/binding" TIMEOUT, pod->ns, pod->name);
    write->body = json_dumps(binding, JSON_COMPACT);
    json_decref(binding);
    return go(write);
}

int kube_evict(const struct kube_writer *by, const struct kube_target *pod, kube_done_fn *done,
               void *context)
{
    struct write *write = new_write(by, "POST", "application/json", true, done, context);
    json_t *eviction = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:{s:s}}}", "apiVersion", "policy/v1",
                                 "kind", "Eviction", "metadata", "name", pod->name, "namespace",
                                 pod->ns, "deleteOptions", "preconditions", "uid", pod->uid);

    if (!write) {
        json_decref(eviction);
        return -ENOMEM;
    }
    write->path = path_of("/api/v1/namespaces/%s/pods/%s/eviction" TIMEOUT, pod->ns, pod->name);
    write->body = json_dumps(eviction, JSON_COMPACT);
    json_decref(eviction);
    return go(write);
}

int kube_read_pod(const struct kube_writer *by, const struct kube_target *pod, kube_done_fn *done,
                  void *context)
{
    struct write *write = new_write(by, "GET", "application/json", true, done, context);
    int r = -ENOMEM;

    if (!write)
        return r;
    write->read_uid = copy(pod->uid);
    write->path = path_of("/api/v1/namespaces/%s/pods/%s" TIMEOUT, pod->ns, pod->name);
    if (write->read_uid && write->path)
        r = submit(write, write->method, write->path, NULL, NULL);
    if (r < 0)
        write_free(write);
    return r;
}

int kube_nominate(const struct kube_writer *by, const struct kube_target *pod, const char *node,
                  kube_done_fn *done, void *context)
{
    struct write *write = new_write(by, "PATCH", MERGE_PATCH, true, done, context);
    json_t *patch = json_pack("{s:{s:s}, s:{s:s}}", "metadata", "uid", pod->uid, "status",
                              "nominatedNodeName", node);

    if (!write) {
        json_decref(patch);
        return -ENOMEM;
    }
    write->path = path_of("/api/v1/namespaces/%s/pods/%s/status" TIMEOUT, pod->ns, pod->name);
    write->body = json_dumps(patch, JSON_COMPACT);
    json_decref(patch);
    return go(write);
}

int kube_put_placement(const struct kube_writer *by, const char *ns, const char *name, const char *body,
                       bool fresh, kube_done_fn *done, void *context)
{
    struct write *write = new_write(by, "PATCH", MERGE_PATCH, true, done, context);
    json_t *object = json_loads(body, 0, NULL);
    json_t *patch = json_pack("{s:O}", "status", json_object_get(object, "status"));

    if (!write || !patch) {
        json_decref(object);
        json_decref(patch);
        write_free(write);
        return -ENOMEM;
    }
    write->path = path_of(PLACEMENTS "/%s/status" TIMEOUT, ns, name);
    write->body = json_dumps(patch, JSON_COMPACT);
    write->create_path = path_of(PLACEMENTS "%.0s", ns, name);
    write->create_body = copy(body);
    write->created = fresh;
    write->wants_version = true;
    json_decref(patch);
    json_decref(object);
    return go(write);
}

int kube_delete_placement(const struct kube_writer *by, const char *ns, const char *name,
                          const char *preconditions, kube_done_fn *done, void *context)
{
    struct write *write = new_write(by, "DELETE", "application/json", false, done, context);
    json_t *conditions = json_loads(preconditions, 0, NULL), *options;

    if (!write || !conditions) {
        json_decref(conditions);
        write_free(write);
        return -ENOMEM;
    }
    options = json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "DeleteOptions",
                        "preconditions", conditions);
    write->path = path_of(PLACEMENTS "/%s" TIMEOUT, ns, name);
    write->body = json_dumps(options, JSON_COMPACT);
    json_decref(options);
    return go(write);
}

static void event_time(char *ret, size_t size)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret, size, "%s.%06ldZ", text, now.tv_nsec / 1000);
}

int kube_pod_event(const struct kube_writer *by, const struct kube_target *pod, const char *reason,
                   bool warning, const char *note)
{
    struct write *write = new_write(by, "POST", "application/json", false, NULL, NULL);
    char name[320], when[64], host[64] = "lockstep", text[1024];
    struct timespec now;
    json_t *event;

    if (!write)
        return -ENOMEM;
    clock_gettime(CLOCK_REALTIME, &now);
    gethostname(host, sizeof(host) - 1);
    event_time(when, sizeof(when));
    snprintf(name, sizeof(name), "%.200s.%llx", pod->name,
             (unsigned long long)now.tv_sec * 1000000000ULL + (unsigned long long)now.tv_nsec);
    snprintf(text, sizeof(text), "%s", note); /* the API's limit */
    event = json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:s, s:s, s:s, s:s,"
                      " s:{s:s, s:s, s:s, s:s, s:s}}",
                      "apiVersion", "events.k8s.io/v1", "kind", "Event", "metadata", "name", name,
                      "namespace", pod->ns, "eventTime", when, "reportingController",
                      "lockstep.dev/extender", "reportingInstance", host, "action", "Place", "reason",
                      reason, "type", warning ? "Warning" : "Normal", "note", text, "regarding",
                      "apiVersion", "v1", "kind", "Pod", "namespace", pod->ns, "name", pod->name,
                      "uid", pod->uid);
    write->path = path_of("/apis/events.k8s.io/v1/namespaces/%s/events%.0s", pod->ns, "");
    write->body = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    return go(write);
}
