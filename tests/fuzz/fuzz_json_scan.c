/* json_scan against jansson: what jansson refuses is refused, but for duplicates in skipped values. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_scan scan;
    struct json_span span;
    json_error_t error;
    json_t *value;
    int r;

    json_scan_init(&scan, (const char *)data, size);
    r = json_scan_value(&scan, &span);
    if (r == 0)
        r = json_scan_end(&scan);
    value = json_loadb((const char *)data, size, JSON_DECODE_ANY, &error);
    /* Sizes of numbers are not our business: nobody reads them here. */
    if (r == 0 && !value && json_error_code(&error) != json_error_numeric_overflow)
        abort();
    json_decref(value);
    return 0;
}
