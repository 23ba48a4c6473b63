/* What the readers make of an object, they make of what a trace keeps of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read.h"
#include "scheduler/trace/trace.h"
#include "tests/unit/object_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_object(const json_t *object, struct event *event)
{
    switch (event->kind) {
    case EV_NODE:
        return read_node(object, &event->object.node, NULL);
    case EV_POD:
        return read_pod(object, &event->object.pod, NULL);
    case EV_JOB:
        return read_job(object, &event->object.job, NULL);
    case EV_GROUP:
        return read_group(object, &event->object.group, NULL);
    case EV_NAMESPACE:
        return read_namespace(object, &event->object.ns, NULL);
    case EV_PLACEMENT:
        return read_placement(object, &event->object.placement, NULL);
    default:
        return read_lease(object, &event->object.lease, NULL);
    }
}

static void compare(const struct trace_mask *mask, enum event_kind kind, const json_t *object)
{
    struct strbuf texts[2] = {STRBUF_INIT((size_t)64 << 20), STRBUF_INIT((size_t)64 << 20)};
    struct event whole = {.kind = kind}, kept = {.kind = kind};
    json_t *reduced;
    char *text;

    if (read_object(object, &whole) < 0)
        return;
    text = trace_mask_text(mask, kind, object);
    reduced = json_loads(text, 0, NULL);
    if (!reduced || read_object(reduced, &kept) < 0)
        abort();
    text_of_object(&texts[0], &whole);
    text_of_object(&texts[1], &kept);
    if (strcmp(texts[0].data, texts[1].data) != 0)
        abort();
    strbuf_release(&texts[0]);
    strbuf_release(&texts[1]);
    trace_event_release(&whole);
    trace_event_release(&kept);
    json_decref(reduced);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trace_mask *mask;
    json_t *object = json_loadb((const char *)data, size, 0, NULL);

    if (!mask)
        mask = trace_mask_new();
    for (enum event_kind kind = 0; object && kind < EVENT_KINDS; kind++)
        if (trace_has_object(kind))
            compare(mask, kind, object);
    json_decref(object);
    return 0;
}
