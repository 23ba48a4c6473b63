#include "scheduler/model/known_levels.h"

#define SET_MAX 6

static const char *const sets[][SET_MAX] = {
    {"fabric.topograph.run/tier-3", "fabric.topograph.run/tier-2", "fabric.topograph.run/tier-1",
     "fabric.topograph.run/tier-0", "accelerator.topograph.run/domain"},
    {"network.topology.nvidia.com/core", "network.topology.nvidia.com/spine",
     "network.topology.nvidia.com/leaf", "network.topology.nvidia.com/accelerator"},
    {"cloud.google.com/gce-topology-block", "cloud.google.com/gce-topology-subblock"},
    {"topology.k8s.aws/network-node-layer-1", "topology.k8s.aws/network-node-layer-2",
     "topology.k8s.aws/network-node-layer-3"},
    {"oci.oraclecloud.com/host.network_block_id", "oci.oraclecloud.com/host.rack_id"},
    {"topology.kubernetes.io/zone", "nvidia.com/gpu.clique"},
};

size_t known_levels(label_present_fn *present, void *context, const char **ret_keys, size_t max)
{
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        size_t n = 0;

        for (size_t k = 0; k < SET_MAX && sets[s][k] && n < max; k++)
            if (present(context, sets[s][k]))
                ret_keys[n++] = sets[s][k];
        if (n > 0)
            return n;
    }
    return 0;
}
