/*
 * Which CPUs a pod is to have alone. kubelet's static CPU manager gives whole CPUs to the containers of Guaranteed
 * pods that ask for a whole number, and its Topology Manager then wants them next to the container's devices.
 * Source: Kubernetes, "Control CPU Management Policies on the Node" and "Pod Quality of Service Classes", 1.37.
 */
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read_internal.h"

/* Limits of cpu and memory, and no request that differs. What it asks for, in ret_limits, is the caller's to free. */
static bool is_guaranteed(const struct reading *reading, const json_t *container, struct amounts *ret_limits)
{
    static const char *const both[] = {"cpu", "memory"};
    const json_t *resources = json_object_get(container, "resources");
    struct amounts requests = {0};
    bool same = read__amounts(reading, json_object_get(resources, "limits"), "limits", ret_limits) == 0 &&
                read__amounts(reading, json_object_get(resources, "requests"), "requests", &requests) == 0;

    for (size_t i = 0; i < 2; i++) {
        bool limited, requested;
        int64_t limit = amounts__get(ret_limits, both[i], &limited);
        int64_t request = amounts__get(&requests, both[i], &requested);

        same = same && limited && limit > 0 && (!requested || request == limit);
    }
    amounts_free(&requests);
    return same;
}

static bool has_devices(const struct amounts *limits)
{
    for (size_t i = 0; i < limits->n; i++)
        if (strchr(limits->items[i].resource, '/') && limits->items[i].value > 0)
            return true;
    return false;
}

int32_t read__own_cpus(const struct reading *reading, const json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    int64_t most = 0;
    size_t index;
    json_t *container;
    bool guaranteed = !json_object_get(spec, "resources"); /* else the pod as a whole says what it has */

    for (size_t i = 0; i < 2; i++)
        json_array_foreach(json_object_get(spec, lists[i]), index, container) {
            struct amounts limits = {0};
            int64_t cpu;
            bool found;

            guaranteed = guaranteed && is_guaranteed(reading, container, &limits);
            cpu = amounts__get(&limits, "cpu", &found); /* in thousandths */
            if (i == 0 && has_devices(&limits) && cpu % 1000 == 0 && cpu / 1000 > most)
                most = cpu / 1000;
            amounts_free(&limits);
        }
    return guaranteed && most <= INT32_MAX ? (int32_t)most : 0;
}
