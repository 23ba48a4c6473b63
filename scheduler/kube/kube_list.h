/*
 * kube_list.h - all objects of one kind, read once, in pages. Blocks: for a command, not for the daemon.
 *
 * What a list shows is of one moment; objects that change while the next pages are read are not mixed in.
 */
#pragma once

#include <jansson.h>

#include "base/http_client.h"

/* The object is borrowed. A negative return ends the list with it. */
typedef int kube_object_fn(void *context, const json_t *object, struct err *err);

/*
 * paths: versions of one kind, newest first, the last one followed by NULL; the first that is served is
 * read. -ENOENT: none is; -EACCES: forbidden (401, 403); others with err.
 */
int kube_list(struct http_client *client, const char *const *paths, kube_object_fn *fn,
              void *context, struct err *err);
