/* The seven kinds of objects that lockstep watches, and its Lease, read and posted as events. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/kube/kube_kinds.h"
#include "scheduler/kube/read.h"

_Static_assert(WATCHES == KUBE_KINDS, "a watch for each kind");

static void on_upsert(void *context, const json_t *object)
{
    struct watch_source *source = context;
    struct event event = {.kind = source->upsert, .group_kind = source->group_kind};
    struct daemon *daemon = source->daemon;
    struct err err = ERR_INIT;

    if (read_event(object, &event, &err) < 0) {
        log_line(LOG_WARN, "watch", "left out: %s", err.text);
        return;
    }
    queue_post(&daemon->queue, &event,
               daemon->recording ? recording_object(daemon->recording, event.kind, object) : NULL);
}

static void on_gone(void *context, const char *ns, const char *name, const char *uid)
{
    struct watch_source *source = context;
    struct event event = {.kind = source->gone, .group_kind = source->group_kind};

    snprintf(event.ns_name, sizeof(event.ns_name), "%s", ns);
    snprintf(event.name, sizeof(event.name), "%s", name);
    snprintf(event.uid, sizeof(event.uid), "%s", uid);
    queue_post(&source->daemon->queue, &event, NULL);
}

static void on_synced(void *context, uint64_t term)
{
    struct watch_source *source = context;
    struct daemon *daemon = source->daemon;
    struct event event = {.kind = EV_SYNCED, .ticket = term};
    const char *path = kube_watch_path(daemon->watches[source - daemon->sources]);

    if (path)
        log_line(LOG_INFO, "watch", "listed %s", path);
    else
        log_line(LOG_INFO, "watch", "%s is not served here", source->what);
    if (source->upsert == EV_LEASE)
        return;
    if (source->synced_term == 0)
        atomic_fetch_add(&daemon->synced, 1);
    source->synced_term = term + 1;
    for (size_t i = 0; i < WATCHES; i++)
        if (daemon->sources[i].synced_term != term + 1)
            return;
    queue_post(&daemon->queue, &event, NULL);
    malloc_trim(0); /* the lists are read: what reading them took goes back */
}

static void on_trouble(void *context, const char *what)
{
    (void)context;
    log_line(LOG_WARN, "watch", "%s", what);
}

/* kube-scheduler's Lease decides whether we lead; it has a watch of its own, in no term. */
static int watch_lease(struct daemon *daemon, const struct kube_watch_handler *handler)
{
    const char *lease = daemon->config.lease, *slash = strchr(lease, '/');
    char query[300];

    if (!slash)
        return 0;
    if (asprintf(&daemon->lease_path, "/apis/coordination.k8s.io/v1/namespaces/%.*s/leases",
                 (int)(slash - lease), lease) < 0)
        return -ENOMEM;
    snprintf(query, sizeof(query), "fieldSelector=metadata.name%%3D%.253s", slash + 1);
    daemon->sources[WATCHES].what = daemon->lease_path;
    return kube_watch_start(daemon->watch_client, daemon->lease_path, query, WATCHES + 1, handler,
                            &daemon->watches[WATCHES]);
}

void daemon_relist(struct daemon *daemon, uint64_t term)
{
    log_line(LOG_INFO, "lead", "term %llu begins: reading everything anew",
             (unsigned long long)term);
    for (size_t i = 0; i < WATCHES; i++)
        kube_watch_relist(daemon->watches[i], term);
}

int daemon_watch(struct daemon *daemon, struct err *err)
{
    struct watch_source *lease = &daemon->sources[WATCHES];
    struct kube_watch_handler lease_handler = {lease, on_upsert, on_gone, on_synced, on_trouble};

    for (size_t i = 0; i < WATCHES; i++) {
        struct watch_source *source = &daemon->sources[i];
        struct kube_watch_handler handler = {source, on_upsert, on_gone, on_synced, on_trouble};
        int r;

        *source = (struct watch_source){daemon, kube_kinds[i].upsert, kube_kinds[i].gone,
                                        kube_kinds[i].group_kind, kube_kinds[i].paths[0], 0};
        r = kube_watch_start_any(daemon->watch_client, kube_kinds[i].paths, "", (unsigned)i + 1,
                                 &handler, &daemon->watches[i]);
        if (r < 0)
            return err_set(err, r, "cannot watch %s", kube_kinds[i].paths[0]);
    }
    *lease = (struct watch_source){.daemon = daemon, .upsert = EV_LEASE, .gone = EV_LEASE_GONE};
    if (watch_lease(daemon, &lease_handler) < 0)
        return err_set(err, -ENOMEM, "cannot watch the Lease %s", daemon->config.lease);
    return 0;
}
