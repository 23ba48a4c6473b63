/* Any bytes as an entry of the machine catalogue. */
#include <stdint.h>
#include <stdlib.h>

#include "topology/catalogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct catalogue_entry entry;
    struct err err = ERR_INIT;

    if (catalogue_parse("fuzz", (const char *)data, size, &entry, &err) < 0) {
        if (!err.text[0])
            abort();
    } else if (!entry.source[0] || machine_check(&entry.machine, NULL) < 0) {
        abort();
    }
    return 0;
}
