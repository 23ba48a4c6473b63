/*
 * known_levels.h - which node labels say where a node is, when lockstep.yaml names none.
 *
 * From the outside: the zone; the fabric, by the first set of keys of which a node carries any (of
 * that set only the keys that are there); the NVLink domain, by the first key that is there.
 * Sources: Topograph's label documentation (tier-0 is the nearest switch), GKE, AWS EC2 instance
 * topology, OKE's RDMA locality and host labels, GPU feature discovery, Kubernetes' well-known labels.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef bool label_present_fn(void *context, const char *key); /* does any node carry the key? */

/* Returns how many keys (static strings) it wrote to ret_keys, at most max. Pure. */
size_t known_levels(label_present_fn *present, void *context, const char **ret_keys, size_t max);

/* Does the label say which NVLink domain a node is in? */
bool is_nvlink_domain_key(const char *key);
