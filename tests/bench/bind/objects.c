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

/* What kubelet reports of a machine, as long as it is there: labels, conditions, some images. */
char *bench_node_json(uint32_t index)
{
    json_t *images = json_array(), *labels, *node;
    char name[64], rack[64], block[64], *text;

    snprintf(name, sizeof(name), "node-%05u", index);
    snprintf(rack, sizeof(rack), "rack-%04u", index / 32);
    snprintf(block, sizeof(block), "block-%04u", index / 128);
    for (uint32_t i = 0; i < 20; i++) {
        char image[200];

        snprintf(image, sizeof(image), "registry.example.com/team-%u/training-image@sha256:%064x",
                 i % 5, index * 31 + i);
        json_array_append_new(images, json_pack("{s:[s, s], s:I}", "names", image,
                                                "registry.example.com/team/training-image:1.2.3",
                                                "sizeBytes", (json_int_t)123456789 + i));
    }
    labels = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "kubernetes.io/hostname",
                       name, "kubernetes.io/os", "linux", "kubernetes.io/arch", "amd64",
                       "node.kubernetes.io/instance-type", "gpu-8x-large",
                       "topology.kubernetes.io/region", "region-1", "topology.kubernetes.io/zone",
                       "region-1-a", "nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3",
                       "example.com/rack", rack, "example.com/block", block);
    node = json_pack(
        "{s:s, s:s, s:{s:s, s:{s:s}, s:o}, s:{s:{s:s, s:s, s:s, s:s}, s:{s:s, s:s, s:s, s:s}, s:o,"
        " s:[{s:s, s:s, s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s, s:s, s:s}],"
        " s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}}}",
        "apiVersion", "v1", "kind", "Node", "metadata", "name", name, "annotations",
        "kwok.x-k8s.io/node", "fake", "labels", labels, "status",
        "allocatable", "cpu", "96", "memory", "1Ti", "pods", "110", "nvidia.com/gpu", "8",
        "capacity", "cpu", "96", "memory", "1Ti", "pods", "110", "nvidia.com/gpu", "8", "images",
        images, "conditions", "type", "Ready", "status", "True", "reason", "KubeletReady", "message",
        "kubelet is posting ready status", "lastHeartbeatTime", "2026-01-01T00:00:00Z",
        "lastTransitionTime", "2026-01-01T00:00:00Z", "type", "MemoryPressure", "status", "False",
        "reason", "KubeletHasSufficientMemory", "message", "kubelet has sufficient memory available",
        "lastHeartbeatTime", "2026-01-01T00:00:00Z", "lastTransitionTime", "2026-01-01T00:00:00Z",
        "nodeInfo", "machineID", name, "systemUUID", name, "bootID", name, "kernelVersion", "6.1.0",
        "osImage", "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion", "containerd://1.6.20",
        "kubeletVersion", "v1.37.2", "kubeProxyVersion", "", "operatingSystem", "linux",
        "architecture", "amd64");
    text = json_dumps(node, JSON_COMPACT);
    json_decref(node);
    return text;
}
