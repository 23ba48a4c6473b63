/* Any bytes as a join: an error that says why, or a value that is written and read again as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct probe_join join, again;
    struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct err err = ERR_INIT;

    if (probe_join_decode(data, size, &join, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (probe_join_encode(&join, &out, &err) < 0 ||
        probe_join_decode((const uint8_t *)out.data, out.len, &again, &err) < 0 ||
        memcmp(&join, &again, sizeof(join)) != 0)
        abort();
    strbuf_release(&out);
    return 0;
}
