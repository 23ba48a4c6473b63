/* Any bytes as a trace: lines with a meaning, or an error that says where; what is read can be written. */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/trace/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FILE *file = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    struct trace_reader *reader = file ? trace_reader_new(file, "trace") : NULL;
    struct strbuf out = STRBUF_INIT(TRACE_LINE_MAX);
    struct trace_line line = {0}, again;
    struct err err = ERR_INIT;
    int r = 0;

    while (reader && (r = trace_reader_next(reader, &line, &err)) > 0) {
        strbuf_clear(&out);
        if (line.kind == TRACE_HEADER)
            trace_add_header(&out, &line.header);
        else if (line.kind == TRACE_STEP && !event_has_object(line.event.kind))
            trace_add_step(&out, &line.event, NULL, line.now_ns);
        if (out.len > 0) {
            if (trace_line_read(out.data, out.len, &again, &err) < 0)
                abort();
            trace_line_release(&again);
        }
        trace_line_release(&line);
    }
    if (r < 0 && !err.text[0])
        abort();
    strbuf_release(&out);
    trace_reader_free(reader);
    return 0;
}
