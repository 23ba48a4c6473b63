/*
 * What a pod asks for, added up as kube-scheduler and the API server do it.
 * Source: component-helpers resource/helpers.go (PodRequests) and the defaults of core/v1 Pods
 * (SetDefaults_Pod, defaultPodRequests), Kubernetes 1.37.
 *
 * While a pod is resized in place, three sums exist: what its spec wants, what kubelet has granted and
 * what the containers run with; the largest of each resource counts. A resize that kubelet called
 * infeasible does not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/kube/read_internal.h"

#define CONTAINERS_MAX 256 /* of each of the two lists */
#define FIELD_MAX 96

enum view { VIEW_SPEC, VIEW_GRANTED, VIEW_RUNNING };

struct counting {
    const struct reading *reading;
    const json_t *spec, *status; /* status is NULL in a template */
    enum view view;
    bool infeasible; /* the spec is a wish that kubelet will not fulfil */
};

/* Limits stand in for requests that are not said. */
static int spec_amounts(const struct reading *reading, const json_t *container, const char *field,
                        struct amounts *ret)
{
    const json_t *resources = json_object_get(container, "resources");
    struct amounts limits = {0};
    char path[FIELD_MAX];
    int r;

    snprintf(path, sizeof(path), "%s.resources.limits", field);
    r = read__amounts(reading, json_object_get(resources, "limits"), path, &limits);
    snprintf(path, sizeof(path), "%s.resources.requests", field);
    if (r == 0)
        r = read__amounts(reading, json_object_get(resources, "requests"), path, ret);
    for (size_t i = 0; r == 0 && i < limits.n; i++) {
        bool found;

        amounts__get(ret, limits.items[i].resource, &found);
        if (!found)
            r = amounts__set(ret, limits.items[i].resource, limits.items[i].value);
    }
    amounts_free(&limits);
    return r;
}

static const json_t *find_status(const struct counting *counting, const json_t *container)
{
    static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
    const char *name = read__entry(container, "name");
    size_t index;
    json_t *status;

    for (size_t i = 0; name && i < 2; i++) {
        json_array_foreach(json_object_get(counting->status, lists[i]), index, status) {
            const char *other = read__entry(status, "name");

            if (other && strcmp(other, name) == 0)
                return status;
        }
    }
    return NULL;
}

static int container_amounts(const struct counting *counting, const json_t *container,
                             const char *field, struct amounts *ret)
{
    const json_t *status, *granted, *running;

    if (counting->view == VIEW_SPEC)
        return spec_amounts(counting->reading, container, field, ret);
    status = find_status(counting, container);
    granted = json_object_get(status, "allocatedResources");
    running = json_object_get(json_object_get(status, "resources"), "requests");
    if (counting->view == VIEW_RUNNING && json_is_object(running))
        return read__amounts(counting->reading, running, "status: resources.requests", ret);
    if (json_is_object(granted))
        return read__amounts(counting->reading, granted, "status: allocatedResources", ret);
    return counting->infeasible ? 0 : spec_amounts(counting->reading, container, field, ret);
}

/* One step of starting up: a sidecar stays (it adds to the sum and to each later step), others end. */
static int init_step(struct amounts *step, bool sidecar, struct amounts *sum,
                     struct amounts *sidecars, struct amounts *largest)
{
    int r;

    if (!sidecar) {
        r = amounts__add(step, sidecars);
        return r < 0 ? r : amounts__max(largest, step);
    }
    r = amounts__add(sum, step);
    if (r == 0)
        r = amounts__add(sidecars, step);
    return r < 0 ? r : amounts__max(largest, sidecars);
}

/* The larger of all containers together and the largest step of starting up. */
static int sum_init_containers(const struct counting *counting, struct amounts *sum)
{
    struct amounts sidecars = {0}, largest = {0};
    size_t index;
    json_t *container;
    int r = 0;

    json_array_foreach(json_object_get(counting->spec, "initContainers"), index, container) {
        struct amounts step = {0};
        const char *policy = read__entry(container, "restartPolicy");
        char field[FIELD_MAX];

        snprintf(field, sizeof(field), "spec.initContainers[%zu]", index);
        r = container_amounts(counting, container, field, &step);
        if (r == 0)
            r = init_step(&step, policy && strcmp(policy, "Always") == 0, sum, &sidecars, &largest);
        amounts_free(&step);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = amounts__max(sum, &largest);
    amounts_free(&sidecars);
    amounts_free(&largest);
    return r;
}

static int sum_containers(const struct counting *counting, struct amounts *sum)
{
    size_t index;
    json_t *container;

    json_array_foreach(json_object_get(counting->spec, "containers"), index, container) {
        struct amounts one = {0};
        char field[FIELD_MAX];
        int r;

        snprintf(field, sizeof(field), "spec.containers[%zu]", index);
        r = container_amounts(counting, container, field, &one);
        if (r == 0)
            r = amounts__add(sum, &one);
        amounts_free(&one);
        if (r < 0)
            return r;
    }
    return sum_init_containers(counting, sum);
}

static bool resize_is_infeasible(const json_t *status)
{
    size_t index;
    json_t *condition;

    json_array_foreach(json_object_get(status, "conditions"), index, condition) {
        const char *type = read__entry(condition, "type");
        const char *reason = read__entry(condition, "reason");

        if (type && strcmp(type, "PodResizePending") == 0)
            return reason && strcmp(reason, "Infeasible") == 0;
    }
    return false;
}

/* Most pods were never resized: their status says nothing that the spec does not say. */
static bool status_has_resources(const json_t *status)
{
    static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
    size_t index;
    json_t *one;

    for (size_t i = 0; i < 2; i++)
        json_array_foreach(json_object_get(status, lists[i]), index, one)
            if (json_object_get(one, "allocatedResources") || json_object_get(one, "resources"))
                return true;
    return json_object_get(status, "allocatedResources") != NULL;
}

static int take_larger(struct amounts *sum, struct amounts *other, int r)
{
    if (r == 0)
        r = amounts__max(sum, other);
    amounts_free(other);
    return r;
}

static int sum_views(struct counting *counting, struct amounts *sum)
{
    const struct reading *reading = counting->reading;
    const json_t *granted = json_object_get(counting->status, "allocatedResources");
    const json_t *running = json_object_get(json_object_get(counting->status, "resources"),
                                            "requests");
    struct amounts other = {0};
    int r = 0;

    if (!status_has_resources(counting->status))
        return sum_containers(counting, sum);
    if (!counting->infeasible)
        r = sum_containers(counting, sum);
    if (json_is_object(granted) && json_is_object(running)) { /* the pod's own sums are there */
        if (r == 0)
            r = read__amounts(reading, granted, "status.allocatedResources", &other);
        r = take_larger(sum, &other, r);
        if (r == 0)
            r = read__amounts(reading, running, "status.resources.requests", &other);
        return take_larger(sum, &other, r);
    }
    for (enum view view = VIEW_GRANTED; r == 0 && view <= VIEW_RUNNING; view++) {
        counting->view = view;
        r = take_larger(sum, &other, sum_containers(counting, &other));
    }
    counting->view = VIEW_SPEC;
    return r;
}

/* ---- the pod as a whole ----------------------------------------------------------------------------- */

static bool is_hugepages(const char *resource)
{
    return strncmp(resource, "hugepages-", 10) == 0;
}

static bool pod_may_say(const char *resource)
{
    return strcmp(resource, "cpu") == 0 || strcmp(resource, "memory") == 0 ||
           is_hugepages(resource);
}

/* A pod's own limit stands in only where neither it nor its containers request; hugepages: always. */
static int default_from_limits(const struct amounts *limits, const struct amounts *sum,
                               struct amounts *requests)
{
    for (size_t i = 0; i < limits->n; i++) {
        const char *resource = limits->items[i].resource;
        bool said, summed;
        int r;

        amounts__get(requests, resource, &said);
        amounts__get(sum, resource, &summed);
        if (said || (summed && !is_hugepages(resource)))
            continue;
        r = amounts__set(requests, resource, limits->items[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Requests of the pod take the place of its containers' sum, resource by resource. */
static int apply_pod_level(const struct counting *counting, struct amounts *sum)
{
    const struct reading *reading = counting->reading;
    const json_t *resources = json_object_get(counting->spec, "resources");
    const json_t *status = json_object_get(counting->status, "resources");
    struct amounts limits = {0}, requests = {0}, other = {0};
    int r = read__amounts(reading, json_object_get(resources, "limits"), "spec.resources.limits",
                          &limits);

    if (r == 0)
        r = read__amounts(reading, json_object_get(resources, "requests"),
                          "spec.resources.requests", &requests);
    if (r == 0)
        r = default_from_limits(&limits, sum, &requests);
    if (r == 0 && requests.n > 0 && json_is_object(status)) {
        if (counting->infeasible)
            amounts_free(&requests);
        r = read__amounts(reading, json_object_get(status, "requests"),
                          "status.resources.requests", &other);
        r = take_larger(&requests, &other, r);
        if (r == 0)
            r = read__amounts(reading, json_object_get(counting->status, "allocatedResources"),
                              "status.allocatedResources", &other);
        r = take_larger(&requests, &other, r);
    }
    for (size_t i = 0; r == 0 && i < requests.n; i++)
        if (pod_may_say(requests.items[i].resource))
            r = amounts__set(sum, requests.items[i].resource, requests.items[i].value);
    amounts_free(&limits);
    amounts_free(&requests);
    return r;
}

int read__requests(const struct reading *reading, const json_t *object, struct amounts *ret)
{
    const json_t *spec = json_object_get(object, "spec");
    const json_t *status = json_object_get(object, "status");
    const json_t *containers = json_object_get(spec, "containers");
    const json_t *inits = json_object_get(spec, "initContainers");
    struct counting counting = {reading, spec, status, VIEW_SPEC, resize_is_infeasible(status)};
    struct amounts overhead = {0};
    int r;

    if (!json_is_array(containers) || json_array_size(containers) == 0 ||
        json_array_size(containers) > CONTAINERS_MAX)
        return read__bad(reading, "spec.containers", containers, "a list of 1 to 256 containers");
    if (inits && !json_is_null(inits) &&
        (!json_is_array(inits) || json_array_size(inits) > CONTAINERS_MAX))
        return read__bad(reading, "spec.initContainers", inits, "a list of at most 256 containers");
    r = sum_views(&counting, ret);
    if (r == 0)
        r = apply_pod_level(&counting, ret);
    if (r == 0)
        r = read__amounts(reading, json_object_get(spec, "overhead"), "spec.overhead", &overhead);
    if (r == 0)
        r = amounts__add(ret, &overhead);
    amounts_free(&overhead);
    if (r == 0)
        r = amounts__set(ret, "pods", 1);
    if (r == -E2BIG)
        return read__bad(reading, "spec.containers", NULL, "at most 64 kinds of resources in all");
    return r;
}
