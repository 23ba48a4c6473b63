#include "scheduler/kube/watch_lines.h"

#include <errno.h>
#include <string.h>

void watch_lines_init(struct watch_lines *lines)
{
    *lines = (struct watch_lines){.pending = STRBUF_INIT(WATCH_EVENT_MAX)};
}

void watch_lines_release(struct watch_lines *lines)
{
    strbuf_release(&lines->pending);
    lines->scanned = 0;
}

static int read_kind(const char *text, enum watch_kind *ret)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};

    for (unsigned i = 0; text && i < 5; i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *ret = (enum watch_kind)i;
        return 0;
    }
    return -EINVAL;
}

static int event(const char *line, size_t len, watch_event_fn *fn, void *context)
{
    json_t *root = json_loadb(line, len, 0, NULL);
    json_t *object = json_object_get(root, "object");
    enum watch_kind kind;
    int r = read_kind(json_string_value(json_object_get(root, "type")), &kind);

    if (r == 0)
        r = json_is_object(object) ? fn(context, kind, object) : -EINVAL;
    json_decref(root);
    return r;
}

static bool blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\r' && line[i] != '\t')
            return false;
    return true;
}

int watch_lines_feed(struct watch_lines *lines, const char *bytes, size_t len, watch_event_fn *fn,
                     void *context)
{
    struct strbuf *pending = &lines->pending;
    size_t start = 0;
    int r = strbuf_add(pending, bytes, len);

    while (r == 0) {
        const char *newline = memchr(pending->data + lines->scanned, '\n',
                                     pending->len - lines->scanned);
        size_t end;

        if (!newline)
            break;
        end = (size_t)(newline - pending->data);
        if (!blank(pending->data + start, end - start))
            r = event(pending->data + start, end - start, fn, context);
        start = lines->scanned = end + 1;
    }
    strbuf_consume(pending, start);
    lines->scanned = pending->len;
    return r;
}
