/*
 * Any bytes as a file about a machine: a machine that holds what all must, or an error that says why. What begins as hwloc's
 * XML takes a process each (tests/fuzz/fuzz_xml_scan.c is the fast one for what stands before that).
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "topology/machine_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;
    struct err err = ERR_INIT;
    int r = machine_read("fuzz", (const char *)data, size, &machine, &err);

    if (r < 0 && (!err.text[0] || r == -EIO))
        abort();
    if (r == 0 && machine_check(&machine, NULL) < 0)
        abort();
    return 0;
}
