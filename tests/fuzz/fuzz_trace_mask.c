/* What the readers make of an object, they make of what a trace keeps of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read.h"
#include "scheduler/trace/trace.h"
#include "tests/unit/object_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct trace_mask *mask, enum event_kind kind, const json_t *object)
{
    struct strbuf texts[2] = {STRBUF_INIT((size_t)64 << 20), STRBUF_INIT((size_t)64 << 20)};
    struct event whole = {.kind = kind}, kept = {.kind = kind};
    json_t *reduced;
    char *text;

    if (read_event(object, &whole, NULL) < 0)
        return;
    text = trace_mask_text(mask, kind, object);
    reduced = json_loads(text, 0, NULL);
    if (!reduced || read_event(reduced, &kept, NULL) < 0)
        abort();
    text_of_object(&texts[0], &whole);
    text_of_object(&texts[1], &kept);
    if (strcmp(texts[0].data, texts[1].data) != 0)
        abort();
    strbuf_release(&texts[0]);
    strbuf_release(&texts[1]);
    event_release(&whole);
    event_release(&kept);
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
        if (event_has_object(kind))
            compare(mask, kind, object);
    json_decref(object);
    return 0;
}
