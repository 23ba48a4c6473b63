/*
 * watch_lines.h - splits a watch stream into lines, one event each, without scanning a byte twice.
 *
 * Limit: WATCH_EVENT_MAX bytes per event. One thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

#define WATCH_EVENT_MAX ((size_t)8 << 20)

struct watch_lines {
    struct strbuf pending; /* the partial line */
    size_t scanned; /* bytes of it that hold no newline */
};

enum watch_kind { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

/* Called for each whole event; object is borrowed. A negative return ends the feed with it. */
typedef int watch_event_fn(void *context, enum watch_kind kind, json_t *object);

void watch_lines_init(struct watch_lines *lines);
void watch_lines_release(struct watch_lines *lines);
/* -EINVAL: a line is no watch event; -E2BIG: an event over the limit; or what the callback said. */
int watch_lines_feed(struct watch_lines *lines, const char *bytes, size_t len, watch_event_fn *fn,
                     void *context);
