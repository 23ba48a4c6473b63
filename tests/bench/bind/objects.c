#include "tests/bench/bind/objects.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/cleanup.h"

char *bench_pod_json(const struct bench_pod *pod)
{
    CLEANUP_FREE char *level = NULL, *place = NULL, *group = NULL;
    char *body = NULL;

    if (asprintf(&level, ",\"lockstep.dev/topology\":\"%s\"", pod->topology) < 0 ||
        asprintf(&place, ",\"nodeName\":\"%s\"", pod->node) < 0 ||
        asprintf(&group, ",\"schedulingGroup\":{\"podGroupName\":\"%s\"}", pod->pod_group) < 0 ||
        asprintf(&body,
                 "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"bench-%05u\","
                 "\"labels\":{\"lockstep.dev/gang\":\"bench-%u\"},"
                 "\"annotations\":{\"lockstep.dev/gang-size\":\"%u\"%s}},"
                 "\"spec\":{\"schedulerName\":\"%s\",\"terminationGracePeriodSeconds\":0%s%s,"
                 "\"containers\":[{\"name\":\"c\",\"image\":\"none.test/none\","
                 "\"resources\":{\"limits\":{\"nvidia.com/gpu\":\"8\"}}}]}}",
                 pod->index, pod->gang, pod->gang_size, pod->topology[0] ? level : "",
                 pod->scheduler, pod->node[0] ? place : "", pod->pod_group[0] ? group : "") < 0)
        return NULL;
    return body;
}

static json_t *images_json(uint32_t node)
{
    json_t *images = json_array();

    for (uint32_t i = 0; i < 20; i++) {
        char image[200];

        snprintf(image, sizeof(image), "registry.example.com/team-%u/training-image@sha256:%064x",
                 i % 5, node * 31 + i);
        json_array_append_new(images, json_pack("{s:[s, s], s:I}", "names", image,
                                                "registry.example.com/team/training-image:1.2.3",
                                                "sizeBytes", (json_int_t)123456789 + i));
    }
    return images;
}

static json_t *labels_json(uint32_t node, const char *name)
{
    char rack[64], block[64];

    snprintf(rack, sizeof(rack), "rack-%04u", node / 32);
    snprintf(block, sizeof(block), "block-%04u", node / 128);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "kubernetes.io/hostname",
                     name, "kubernetes.io/os", "linux", "kubernetes.io/arch", "amd64",
                     "node.kubernetes.io/instance-type", "gpu-8x-large",
                     "topology.kubernetes.io/region", "region-1", "topology.kubernetes.io/zone",
                     "region-1-a", "nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3",
                     "example.com/rack", rack, "example.com/block", block);
}

static json_t *condition_json(const char *type, const char *status, const char *reason)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status, "reason",
                     reason, "message", "as kubelet says it in some more words",
                     "lastHeartbeatTime", "2026-01-01T00:00:00Z", "lastTransitionTime",
                     "2026-01-01T00:00:00Z");
}

static json_t *resources_json(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "cpu", "96", "memory", "1Ti", "pods", "110",
                     "nvidia.com/gpu", "8");
}

/* What kubelet reports of a machine, about as long as it is there. */
static json_t *status_json(uint32_t node, const char *name)
{
    return json_pack(
        "{s:o, s:o, s:o, s:[o, o, o], s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}}",
        "allocatable", resources_json(), "capacity", resources_json(), "images", images_json(node),
        "conditions", condition_json("Ready", "True", "KubeletReady"),
        condition_json("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition_json("DiskPressure", "False", "KubeletHasNoDiskPressure"), "nodeInfo", "machineID",
        name, "systemUUID", name, "bootID", name, "kernelVersion", "6.1.0", "osImage",
        "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion", "containerd://1.6.20",
        "kubeletVersion", "v1.37.2", "kubeProxyVersion", "", "operatingSystem", "linux",
        "architecture", "amd64");
}

char *bench_node_json(uint32_t index)
{
    char name[64], *text;
    json_t *node;

    snprintf(name, sizeof(name), "node-%05u", index);
    node = json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:o}, s:o}", "apiVersion", "v1", "kind", "Node",
                     "metadata", "name", name, "annotations", "kwok.x-k8s.io/node", "fake", "labels",
                     labels_json(index, name), "status", status_json(index, name));
    text = json_dumps(node, JSON_COMPACT);
    json_decref(node);
    return text;
}
