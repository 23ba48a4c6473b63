#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/model/known_levels.h"

/* Labels that the nodes carry, and the levels that follow; both separated by blanks. */
static const struct {
    const char *labels, *levels;
} cases[] = {
    {"", ""},
    {"kubernetes.io/hostname", ""},
    {"topology.kubernetes.io/zone", "topology.kubernetes.io/zone"},
    {"nvidia.com/gpu.clique", "nvidia.com/gpu.clique"},
    {"fabric.topograph.run/tier-0 fabric.topograph.run/tier-1 accelerator.topograph.run/domain",
     "fabric.topograph.run/tier-1 fabric.topograph.run/tier-0 accelerator.topograph.run/domain"},
    {"fabric.topograph.run/tier-0 nvidia.com/gpu.clique accelerator.topograph.run/domain",
     "fabric.topograph.run/tier-0 nvidia.com/gpu.clique"},
    {"network.topology.nvidia.com/leaf network.topology.nvidia.com/spine "
     "network.topology.nvidia.com/core network.topology.nvidia.com/accelerator",
     "network.topology.nvidia.com/core network.topology.nvidia.com/spine "
     "network.topology.nvidia.com/leaf network.topology.nvidia.com/accelerator"},
    {"network.topology.nvidia.com/tier-0 network.topology.nvidia.com/tier-1",
     "network.topology.nvidia.com/tier-1 network.topology.nvidia.com/tier-0"},
    {"cloud.google.com/gce-topology-subblock cloud.google.com/gce-topology-block "
     "topology.kubernetes.io/zone",
     "topology.kubernetes.io/zone cloud.google.com/gce-topology-block "
     "cloud.google.com/gce-topology-subblock"},
    {"topology.k8s.aws/network-node-layer-3 topology.k8s.aws/network-node-layer-1 "
     "topology.k8s.aws/network-node-layer-2",
     "topology.k8s.aws/network-node-layer-1 topology.k8s.aws/network-node-layer-2 "
     "topology.k8s.aws/network-node-layer-3"},
    {"oci.oraclecloud.com/rdma.local_block_id oci.oraclecloud.com/rdma.hpc_island_id "
     "oci.oraclecloud.com/host.rack_id",
     "oci.oraclecloud.com/rdma.hpc_island_id oci.oraclecloud.com/rdma.local_block_id"},
    {"oci.oraclecloud.com/host.rack_id oci.oraclecloud.com/host.network_block_id",
     "oci.oraclecloud.com/host.network_block_id oci.oraclecloud.com/host.rack_id"},
    {"fabric.topograph.run/tier-0 topology.k8s.aws/network-node-layer-3",
     "fabric.topograph.run/tier-0"},
};

static bool has_word(void *context, const char *word)
{
    const char *text = context;
    size_t len = strlen(word);

    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void levels_follow_from_the_labels_that_are_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *keys[8];
        size_t n = known_levels(has_word, (void *)(uintptr_t)cases[i].labels, keys, 8);
        char joined[600] = "";

        for (size_t k = 0; k < n; k++)
            snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s",
                     k ? " " : "", keys[k]);
        assert_string_equal(joined, cases[i].levels);
    }
}

static bool has_all(void *context, const char *word)
{
    (void)context;
    (void)word;
    return true;
}

static void never_more_levels_than_there_is_room_for(void **state)
{
    (void)state;
    for (size_t max = 0; max <= 6; max++) {
        const char *keys[6];

        assert_int_equal(known_levels(has_all, NULL, keys, max), max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_follow_from_the_labels_that_are_there),
        cmocka_unit_test(never_more_levels_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
