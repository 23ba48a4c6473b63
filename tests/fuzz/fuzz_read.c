/* Any JSON object as any kind of Kubernetes object: a value or an error that says why. */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/kube/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_say(int r, const struct err *err)
{
    if (r < 0 && !err->text[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *object = json_loadb((const char *)data, size, 0, NULL);
    struct err err = ERR_INIT;
    struct obj_pod *pod = NULL;
    struct obj_node *node = NULL;
    struct obj_job *job = NULL;
    struct obj_group *group = NULL;
    struct obj_namespace *ns = NULL;
    struct obj_placement *placement = NULL;
    struct obj_lease *lease = NULL;

    if (!object)
        return 0;
    must_say(read_pod(object, &pod, &err), &err);
    must_say(read_node(object, &node, &err), &err);
    must_say(read_job(object, &job, &err), &err);
    must_say(read_group(object, &group, &err), &err);
    must_say(read_namespace(object, &ns, &err), &err);
    must_say(read_placement(object, &placement, &err), &err);
    must_say(read_lease(object, &lease, &err), &err);
    obj_pod_free(pod);
    obj_node_free(node);
    obj_job_free(job);
    obj_group_free(group);
    obj_namespace_free(ns);
    obj_placement_free(placement);
    obj_lease_free(lease);
    json_decref(object);
    return 0;
}
