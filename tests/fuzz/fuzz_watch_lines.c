/* A watch stream in two different cuts gives the same events. */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/kube/watch_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *context, enum watch_kind kind, json_t *object)
{
    (void)kind;
    (void)object;
    ++*(int *)context;
    return 0;
}

static int feed(const uint8_t *data, size_t size, size_t step, int *ret_events)
{
    struct watch_lines lines;
    int r = 0;

    *ret_events = 0;
    watch_lines_init(&lines);
    for (size_t at = 0; r == 0 && at < size; at += step)
        r = watch_lines_feed(&lines, (const char *)data + at, size - at < step ? size - at : step,
                             count, ret_events);
    watch_lines_release(&lines);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int whole, pieces, r = feed(data, size, size ? size : 1, &whole);

    if (feed(data, size, 7, &pieces) != r || whole != pieces)
        abort();
    return 0;
}
