#include "scheduler/model/known_levels.h"

#include <string.h>

#define KEYS_MAX 5 /* of one set; a set ends with NULL */

static const char *const zones[KEYS_MAX] = {"topology.kubernetes.io/zone"};

static const char *const fabrics[][KEYS_MAX] = {
    {"fabric.topograph.run/tier-3", "fabric.topograph.run/tier-2", "fabric.topograph.run/tier-1",
     "fabric.topograph.run/tier-0"},
    {"network.topology.nvidia.com/tier-3", "network.topology.nvidia.com/tier-2",
     "network.topology.nvidia.com/tier-1", "network.topology.nvidia.com/tier-0"},
    {"network.topology.nvidia.com/core", "network.topology.nvidia.com/spine",
     "network.topology.nvidia.com/leaf"},
    {"cloud.google.com/gce-topology-block", "cloud.google.com/gce-topology-subblock"},
    {"topology.k8s.aws/network-node-layer-1", "topology.k8s.aws/network-node-layer-2",
     "topology.k8s.aws/network-node-layer-3"},
    {"oci.oraclecloud.com/rdma.hpc_island_id", "oci.oraclecloud.com/rdma.network_block_id",
     "oci.oraclecloud.com/rdma.local_block_id"},
    {"oci.oraclecloud.com/host.network_block_id", "oci.oraclecloud.com/host.rack_id"},
};

/* Alternatives: they name the same thing, and a level that repeats another would only cost time. */
static const char *const nvlink_domains[][KEYS_MAX] = {
    {"nvidia.com/gpu.clique"},
    {"accelerator.topograph.run/domain"},
    {"network.topology.nvidia.com/accelerator"},
};

bool is_nvlink_domain_key(const char *key)
{
    for (size_t i = 0; i < sizeof(nvlink_domains) / sizeof(nvlink_domains[0]); i++)
        if (strcmp(nvlink_domains[i][0], key) == 0)
            return true;
    return false;
}

struct found {
    label_present_fn *present;
    void *context;
    const char **keys;
    size_t n, max;
};

/* Adds the keys of the set that nodes carry; false: none of them. */
static bool add_set(struct found *found, const char *const set[KEYS_MAX])
{
    bool any = false;

    for (size_t k = 0; k < KEYS_MAX && set[k]; k++) {
        if (!found->present(found->context, set[k]))
            continue;
        any = true;
        if (found->n < found->max)
            found->keys[found->n++] = set[k];
    }
    return any;
}

size_t known_levels(label_present_fn *present, void *context, const char **ret_keys, size_t max)
{
    struct found found = {present, context, ret_keys, 0, max};

    add_set(&found, zones);
    for (size_t s = 0; s < sizeof(fabrics) / sizeof(fabrics[0]); s++)
        if (add_set(&found, fabrics[s]))
            break;
    for (size_t s = 0; s < sizeof(nvlink_domains) / sizeof(nvlink_domains[0]); s++)
        if (add_set(&found, nvlink_domains[s]))
            break;
    return found.n;
}
