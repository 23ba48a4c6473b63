/* Any bytes through the scan of XML; refused with a word, or with a root that lies in them. */
#include <stdint.h>
#include <stdlib.h>

#include "topology/xml_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct xml_piece root;

    if (xml_scan("fuzz", (const char *)data, size, NULL, &root, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (root.len == 0 || root.at < (const char *)data || root.at + root.len > (const char *)data + size)
        abort();
    return 0;
}
