/* Any bytes as a report: an error that says why, or a value that is written and read again as it
 * is. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* But for -0, which is not written. */
static bool is_same(const struct probe_report *report, const struct probe_report *again)
{
    struct strbuf out[2] = {STRBUF_INIT(PROBE_REQUEST_MAX), STRBUF_INIT(PROBE_REQUEST_MAX)};
    bool same;

    if (probe_report_encode(report, &out[0], NULL) < 0 ||
        probe_report_encode(again, &out[1], NULL) < 0)
        abort();
    same = out[0].len == out[1].len && memcmp(out[0].data, out[1].data, out[0].len) == 0;
    strbuf_release(&out[0]);
    strbuf_release(&out[1]);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct probe_report report, again;
    struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct err err = ERR_INIT;

    if (probe_report_decode(data, size, &report, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (probe_report_encode(&report, &out, &err) < 0 ||
        probe_report_decode((const uint8_t *)out.data, out.len, &again, &err) < 0 ||
        !is_same(&report, &again))
        abort();
    strbuf_release(&out);
    return 0;
}
