#include "scheduler/model/event.h"

bool event_has_object(enum event_kind kind)
{
    switch (kind) {
    case EV_NODE:
    case EV_MACHINE:
    case EV_POD:
    case EV_JOB:
    case EV_GROUP:
    case EV_NAMESPACE:
    case EV_PLACEMENT:
    case EV_LEASE:
        return true;
    default:
        return false;
    }
}

void event_release(struct event *event)
{
    switch (event->kind) {
    case EV_NODE:
        obj_node_free(event->object.node);
        break;
    case EV_MACHINE:
        obj_machine_free(event->object.machine);
        break;
    case EV_POD:
        obj_pod_free(event->object.pod);
        break;
    case EV_JOB:
        obj_job_free(event->object.job);
        break;
    case EV_GROUP:
        obj_group_free(event->object.group);
        break;
    case EV_NAMESPACE:
        obj_namespace_free(event->object.ns);
        break;
    case EV_PLACEMENT:
        obj_placement_free(event->object.placement);
        break;
    case EV_LEASE:
        obj_lease_free(event->object.lease);
        break;
    default:
        break;
    }
    event->object.node = NULL;
}
