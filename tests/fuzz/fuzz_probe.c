/* Any bytes as --sizes and as an earlier result: refused with a message, or within their bounds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/cli/probe_show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct local_options options = {.backend = "tcp", .ranks = 4};
    struct err sizes = ERR_INIT, earlier = ERR_INIT;
    struct probe_earlier found;

    if (probe_sizes_parse((const char *)data, size, &options.plan, &sizes) < 0) {
        if (!sizes.text[0])
            abort();
    } else if (!options.plan.sweep || measure_plan_check(&options.plan, 4, NULL) < 0) {
        abort();
    }
    if (probe_earlier_parse("file", (const char *)data, size, &options, &found, &earlier) < 0) {
        if (!earlier.text[0])
            abort();
    } else if (found.n_rows > MEASURE_SIZES_MAX || !isfinite(found.busbw_gb_s) ||
               found.busbw_gb_s <= 0) {
        abort();
    }
    return 0;
}
