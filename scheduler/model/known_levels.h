/*
 * known_levels.h - which node labels say where a node is, when lockstep.yaml names none.
 *
 * Sets of keys that cloud providers and discovery tools put on nodes, outermost level first; the
 * first set of which a key is present wins, its absent keys are left out. Sources: Topograph's and
 * GKE's label documentation, AWS EC2 instance topology, OCI node labels, Kubernetes well-known labels.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef bool label_present_fn(void *context, const char *key); /* does any node carry the key? */

/* Returns how many keys (static strings) it wrote to ret_keys. Pure. */
size_t known_levels(label_present_fn *present, void *context, const char **ret_keys, size_t max);
