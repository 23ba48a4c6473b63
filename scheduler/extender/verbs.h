/*
 * verbs.h - the extender protocol: what kube-scheduler posts is decoded, looked up in the core and
 * encoded; nothing is decided here.
 *
 *   filter   gang member with a plan: its one node; without: one unresolvable refusal (never
 *            FailedNodes, which would invite eviction); other pods: the nodes where they fit beside
 *            what is held
 *   preempt  never a victim out of a gang; for a gang member nothing at all
 *   bind     a vote: held until the core answers
 *
 * Handlers run on the HTTP server's threads: they take the read lock around questions to the core,
 * and post votes and observations as events. kube-scheduler's wire format: knowledge of
 * k8s.io/kube-scheduler/extender/v1/types.go (keys are the Go names).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/http_server.h"
#include "base/metrics.h"
#include "scheduler/extender/unseen.h"
#include "scheduler/model/core.h"

struct verbs {
    const struct core *core;
    pthread_rwlock_t *lock; /* read: questions; the stepping thread holds it for writing */
    void (*post)(void *context, const struct event *event); /* copies the event */
    /* A planned node that kube-scheduler did not offer: for the log. */
    void (*missed)(void *context, const char *pod, const char *node, size_t offered);
    void *context;
    struct unseen unseen; /* UNSEEN_INIT */
    _Atomic int64_t next_pause_ns; /* filter makes kube-scheduler wait for nominations not before, see verbs.c */
};

#define VERBS_ROUTES                                                                               \
    {"POST", "/filter", verb_filter}, {"POST", "/preempt", verb_preempt},                          \
        {"POST", "/bind", verb_bind}

/* Handlers; their context is a struct verbs. */
http_handler_fn verb_filter, verb_preempt, verb_bind;

/* The metrics of all verbs, for metrics_write(). */
extern struct metric *const verb_metrics[];
extern const size_t verb_metrics_n;
