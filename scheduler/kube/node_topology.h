/*
 * node_topology.h - a machine as an object of the cluster: NodeTopology (lockstep.dev/v1alpha1, cluster-scoped, named as
 * its node). What is unknown is left out; the rest comes back as it was: reading what was written gives the same
 * struct machine.
 *
 * links[i] joins accelerator i with i+1, i+2, ...: one word each, "NV18@450" (class, number of links, GB/s), "PIX@31.5",
 * "SYS", or "?". nicLinks[i] joins it with each NIC: "PIX". Pure; any thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "topology/machine.h"

#define NODE_TOPOLOGY_ROW_MAX 1024 /* bytes of one row of links */

json_t *node_topology_json(const struct machine *machine, const char *node); /* NULL: no memory */

/* -EINVAL: err names object, field, what was found and what was expected. */
int read_node_topology(const json_t *object, struct machine *ret, struct err *err);

extern const char *const node_topology__fabrics[4], *const node_topology__vendors[6];
