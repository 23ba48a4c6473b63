/* Any JSON object as a NodeTopology: an error that says why, or a machine of which the object can be written again. */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/kube/node_topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine, again;
    json_t *object = json_loadb((const char *)data, size, 0, NULL), *written;
    struct err err = ERR_INIT;

    if (object && read_node_topology(object, &machine, &err) < 0 && !err.text[0])
        abort();
    if (object && !err.text[0]) {
        written = node_topology_json(&machine, "n");
        if (!written || read_node_topology(written, &again, &err) < 0)
            abort();
        json_decref(written);
    }
    json_decref(object);
    return 0;
}
