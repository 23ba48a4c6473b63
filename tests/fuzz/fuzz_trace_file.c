/* Any bytes as a trace of `lockstep simulate`: taken whole or refused with a message, nothing leaked. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/simulate/trace_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"block", "rack"};
    const struct trace_levels levels = {names, 2};
    struct trace_file trace;
    struct err err = ERR_INIT;

    if (trace_file_parse("fuzz", (const char *)data, size, &levels, &trace, &err) == 0)
        trace_file_release(&trace);
    else if (!err.text[0])
        abort(); /* a refusal without a word */
    return 0;
}
