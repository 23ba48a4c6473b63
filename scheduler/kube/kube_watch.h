/*
 * kube_watch.h - keeps up with one kind of objects: LIST in pages, then WATCH from there, for ever.
 *
 * A watch that ends is resumed from the last version seen; 410, errors and repeated early ends list
 * again. Objects that vanished between two lists are reported as gone. Failures are retried with
 * jittered backoff (0.2 s to 10 s); 404 (the kind is not served) counts as an empty list and is
 * asked again every 60 s. All callbacks run on the HTTP client's thread.
 *
 * Versions: a kind may have a path for each version of its API. The first that is served is used, and
 * where it is no longer (the API server was upgraded), another.
 *
 * Terms: a new leader must not decide on what was read before it led. kube_watch_relist() with a new
 * term number makes each watch list once more, by a read that began after the call, and synced() tells
 * that number then.
 */
#pragma once

#include <jansson.h>

#include "base/http_client.h"

struct kube_watch;

struct kube_watch_handler {
    void *context;
    void (*upsert)(void *context, const json_t *object); /* borrowed */
    void (*gone)(void *context, const char *ns, const char *name, const char *uid);
    void (*synced)(void *context, uint64_t term); /* after the first complete list of the term */
    void (*trouble)(void *context, const char *what); /* a failure that is being retried */
};

/* path: "/api/v1/pods"; query: "" or a selector such as "labelSelector=…" (already escaped). */
int kube_watch_start(struct http_client *client, const char *path, const char *query, unsigned seed,
                     const struct kube_watch_handler *handler, struct kube_watch **ret);
/* paths: versions of one kind, the last one followed by NULL. */
int kube_watch_start_any(struct http_client *client, const char *const *paths, const char *query,
                         unsigned seed, const struct kube_watch_handler *handler,
                         struct kube_watch **ret);
/* The path in use; NULL: none is served. On the HTTP client's thread. */
const char *kube_watch_path(const struct kube_watch *watch);
/* Any thread. Other watches of the same client lose their streams too and list again. */
void kube_watch_relist(struct kube_watch *watch, uint64_t term);
void kube_watch_free(struct kube_watch *watch); /* only after the client has stopped */
