#include "scheduler/kube/read.h"

int read_event(const json_t *object, struct event *event, struct err *err)
{
    int r;

    switch (event->kind) {
    case EV_NODE:
        return read_node(object, &event->object.node, err);
    case EV_POD:
        return read_pod(object, &event->object.pod, err);
    case EV_JOB:
        return read_job(object, &event->object.job, err);
    case EV_GROUP:
        r = read_group(object, &event->object.group, err);
        if (r == 0) /* items of a list carry no apiVersion: who watches knows it */
            event->object.group->kind = event->group_kind;
        return r;
    case EV_NAMESPACE:
        return read_namespace(object, &event->object.ns, err);
    case EV_PLACEMENT:
        return read_placement(object, &event->object.placement, err);
    default:
        return read_lease(object, &event->object.lease, err);
    }
}
