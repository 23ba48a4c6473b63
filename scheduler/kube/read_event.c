#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/node_topology.h"
#include "scheduler/kube/read.h"

int read_machine(const json_t *object, struct obj_machine **ret, struct err *err)
{
    const json_t *name = json_object_get(json_object_get(object, "metadata"), "name");
    struct obj_machine *machine = calloc(1, sizeof(*machine));
    int r = machine ? read_node_topology(object, &machine->machine, err) : -ENOMEM;

    if (r == 0) {
        machine->name = strdup(json_string_value(name)); /* the reader has seen that it is one */
        r = machine->name ? 0 : -ENOMEM;
    }
    if (r < 0)
        obj_machine_free(machine);
    else
        *ret = machine;
    return r;
}

int read_event(const json_t *object, struct event *event, struct err *err)
{
    int r;

    switch (event->kind) {
    case EV_NODE:
        return read_node(object, &event->object.node, err);
    case EV_MACHINE:
        return read_machine(object, &event->object.machine, err);
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
