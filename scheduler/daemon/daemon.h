/*
 * daemon.h - the extender's parts wired together; included by daemon/ only.
 *
 * Threads: the loop (main) steps the core under the write lock; the HTTP client's thread brings watch
 * events and write results; the servers' threads ask the core under the read lock. All of them post
 * events to one queue; only the loop takes them out.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/http_client.h"
#include "base/http_server.h"
#include "scheduler/extender/verbs.h"
#include "scheduler/kube/kube_config.h"
#include "scheduler/kube/kube_watch.h"
#include "scheduler/model/config.h"
#include "scheduler/model/core.h"
#include "scheduler/trace/recording.h"

#define WATCHES 8

struct arrival {
    struct event event;
    char *source; /* its object as the recording takes it; NULL: none, or nothing is recorded */
};

struct event_queue {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct arrival *items;
    size_t n, size;
    bool stopped;
};

struct daemon;
struct watch_source { /* context of one watch's callbacks */
    struct daemon *daemon;
    enum event_kind upsert, gone;
    enum group_kind group_kind;
    const char *what;
    uint64_t synced_term; /* + 1; the client's thread only */
};

struct probe_service;
struct token_cache;

struct daemon {
    struct config config;
    struct kube_config kube;
    struct core *core;
    pthread_rwlock_t core_lock;
    struct event_queue queue;
    struct recording *recording; /* NULL: without --record */
    struct http_client *client, *watch_client;
    struct http_server *verbs_server, *health_server;
    struct probe_service *probes; /* NULL: not leading, or not listening; the loop's, others under probes_lock */
    pthread_mutex_t probes_lock;
    struct token_cache *tokens; /* that probes showed; written while there is no service */
    struct verbs verbs;
    struct watch_source sources[WATCHES + 1]; /* the last one is the Lease */
    struct kube_watch *watches[WATCHES + 1];
    char *lease_path;
    _Atomic int synced; /* watches that have listed once */
    /* The fence: no write begins later than this, or in another term than its own. See may_write(). */
    _Atomic int64_t write_until_ns; /* model/lease.h */
    _Atomic uint64_t term;
    _Atomic bool leads;
    _Atomic int64_t beat_ns; /* when the loop last went round */
    _Atomic int64_t violations; /* broken invariants seen, see core_check() */
};

/* queue.c */
void queue_init(struct event_queue *queue);
void queue_release(struct event_queue *queue);
/* Copies; takes the object and the source. */
int queue_post(struct event_queue *queue, const struct event *event, char *source);
void queue_stop(struct event_queue *queue);
/* Waits until there are events or the deadline; moves at most max out. false: stopped. */
bool queue_take(struct event_queue *queue, int64_t deadline_ns, size_t max, struct arrival *ret,
                size_t *ret_n);

/* loop.c */
void daemon_loop(struct daemon *daemon);
/* actions.c */
void daemon_act(struct daemon *daemon, const struct actions *actions);
/* probes.c; the loop's thread but for the metrics */
void daemon_probe(struct daemon *daemon, const struct action *action); /* ACT_PROBE, _END, _POD */
void daemon_probes_lead(struct daemon *daemon, bool leads);
void daemon_probes_metrics(struct daemon *daemon, struct strbuf *out);
/* watches.c */
int daemon_watch(struct daemon *daemon, struct err *err);
void daemon_relist(struct daemon *daemon, uint64_t term);
/* fit_metrics.c: lockstep_largest_gang_pods, lockstep_fragmentation_ratio; any thread */
void fit_metrics(struct daemon *daemon, struct strbuf *out);
/* health.c */
extern const struct http_route health_routes[];
