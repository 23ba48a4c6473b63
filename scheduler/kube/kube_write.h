/*
 * kube_write.h - the writes that lockstep makes, and what the API server's answers mean.
 *
 * Each is asynchronous; done() is called once, on the client's thread, with a classified result and
 * the server's message. Nothing is retried here but for 429, once, after its Retry-After (at most
 * 5 s): who may retry, and until when, is the core's business.
 */
#pragma once

#include "base/http_client.h"
#include "scheduler/model/event.h"

typedef void kube_done_fn(void *context, enum write_result result, const char *message);

/* Through which client, and in which term: no part of a write, retries too, leaves in a later one. */
struct kube_writer {
    struct http_client *client;
    uint64_t term;
};

struct kube_target { /* a pod */
    const char *ns, *name, *uid;
};

/* Evicts the pod of exactly this UID. WRITE_BUSY: a PodDisruptionBudget forbids it now. */
int kube_evict(const struct kube_writer *by, const struct kube_target *pod, kube_done_fn *done,
               void *context);
/* GET: done() gets the pod's spec.nodeName as the message; WRITE_GONE: no pod of this UID. */
int kube_read_pod(const struct kube_writer *by, const struct kube_target *pod, kube_done_fn *done,
                  void *context);
/* annotations: a JSON object as text, or NULL. */
int kube_bind(const struct kube_writer *by, const struct kube_target *pod, const char *node,
              const char *annotations, kube_done_fn *done, void *context);
int kube_nominate(const struct kube_writer *by, const struct kube_target *pod, const char *node,
                  kube_done_fn *done, void *context);
/*
 * Patches the status; where the object does not exist it is created first. body: the whole object.
 * fresh: it is not there as far as we know, so creating it is tried first; a write saved. done() gets the
 * object's resourceVersion as the message of a write that was made.
 */
int kube_put_placement(const struct kube_writer *by, const char *ns, const char *name, const char *body,
                       bool fresh, kube_done_fn *done, void *context);
/* preconditions: a JSON object as text (uid, resourceVersion). WRITE_CONFLICT: it is another one by now. */
int kube_delete_placement(const struct kube_writer *by, const char *ns, const char *name,
                          const char *preconditions, kube_done_fn *done, void *context);
int kube_pod_event(const struct kube_writer *by, const struct kube_target *pod, const char *reason,
                   bool warning, const char *note);

/* Pure: what an HTTP status (or negative errno of http_client) means for a write. */
enum write_result kube_classify(int status);
