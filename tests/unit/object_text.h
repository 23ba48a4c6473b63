/* object_text.h - all that is in an object of scheduler/model/objects.h as text, to compare two of them. */
#pragma once

#include "base/strbuf.h"
#include "scheduler/model/event.h"

static inline void text_of_labels(struct strbuf *out, const struct labels *labels)
{
    for (size_t i = 0; i < labels->n; i++)
        strbuf_addf(out, "%s=%s;", labels->items[i].key, labels->items[i].value);
}

static inline void text_of_wish(struct strbuf *out, const struct gang_wish *wish)
{
    strbuf_addf(out, "wish %s|%d|%s|%s|%s|%s|%s|%s|%s\n", wish->name, wish->size, wish->required,
                wish->preferred, wish->role, wish->subgroup, wish->within, wish->spread, wish->unsupported);
}

static inline void text_of_pod(struct strbuf *out, const struct obj_pod *pod)
{
    strbuf_addf(out, "pod %s|%s|%s|%s|%s|%s|%s\n", pod->ns, pod->name, pod->uid, pod->scheduler,
                pod->node ? pod->node : "", pod->nominated, pod->refusal);
    strbuf_addf(out, "%d|%d|%d|%d|%d|%lld|%d|%s|%d\n", pod->phase, pod->rejected, pod->terminating,
                pod->gated, pod->priority, (long long)pod->created_s, pod->index,
                pod->waiting ? pod->waiting : "", pod->stuck);
    strbuf_addf(out, "owner %d|%s|%s|%s|%s\n", pod->owner.kind, pod->owner.api_version,
                pod->owner.kind_name, pod->owner.name, pod->owner.uid);
    text_of_wish(out, &pod->wish);
    strbuf_addf(out, "%s|%s|%s\n%s\n", pod->group_native, pod->group_sigs, pod->unsupported,
                pod->shape.key); /* the key tells all of the shape */
}

static inline void text_of_node(struct strbuf *out, const struct obj_node *node)
{
    strbuf_addf(out, "node %s|%s|%d\n", node->name, node->uid, node->unschedulable);
    text_of_labels(out, &node->labels);
    for (size_t i = 0; i < node->ntaints; i++)
        strbuf_addf(out, "taint %s|%s|%d\n", node->taints[i].key, node->taints[i].value,
                    node->taints[i].effect);
    for (size_t i = 0; i < node->allocatable.n; i++)
        strbuf_addf(out, "%s %lld\n", node->allocatable.items[i].resource,
                    (long long)node->allocatable.items[i].value);
}

static inline void text_of_job(struct strbuf *out, const struct obj_job *job)
{
    strbuf_addf(out, "job %s|%s|%s|%d|%d|%d|%d|%d|%lld\n", job->ns, job->name, job->uid,
                job->parallelism, job->completions, job->indexed, job->suspended, job->finished,
                (long long)job->created_s);
    text_of_pod(out, job->template);
}

static inline void text_of_group(struct strbuf *out, const struct obj_group *group)
{
    strbuf_addf(out, "group %d|%s|%s|%s|%s|%d|%s|%s|%s|%lld\n", group->kind, group->ns, group->name,
                group->uid, group->api_version, group->min, group->required, group->preferred,
                group->unsupported, (long long)group->created_s);
}

static inline void text_of_placement(struct strbuf *out, const struct obj_placement *placement)
{
    strbuf_addf(out, "placement %s|%s|%s|%s|%s|%s|%s|%lld|%d\n", placement->ns, placement->name,
                placement->uid, placement->gang_kind, placement->gang_name, placement->state,
                placement->reason_code, (long long)placement->generation, placement->pods);
    strbuf_addf(out, "%d|%lld|%s\n", placement->owned, (long long)placement->since_s, placement->version);
    for (size_t i = 0; i < placement->nshares; i++)
        strbuf_addf(out, "%s %d %d %s\n", placement->shares[i].node, placement->shares[i].first,
                    placement->shares[i].count, placement->shares[i].gpus);
}

static inline void text_of_lease(struct strbuf *out, const struct obj_lease *lease)
{
    strbuf_addf(out, "lease %s|%s|%s|%lld|%lld|%lld|%d\n", lease->ns, lease->name, lease->holder,
                (long long)lease->duration_ns, (long long)lease->acquired_ns,
                (long long)lease->renewed_ns, lease->transitions);
}

static inline void text_of_machine(struct strbuf *out, const struct obj_machine *object)
{
    const struct machine *machine = &object->machine;

    strbuf_addf(out, "machine %s|%s|%d|%u|%u\n", object->name, machine->model, (int)machine->fabric,
                machine->ngpus, machine->nnics);
    for (uint32_t i = 0; i < machine->ngpus; i++)
        for (uint32_t k = 0; k < machine->ngpus; k++)
            strbuf_addf(out, "%d %d %g\n", machine->link[i][k].class, machine->link[i][k].links,
                        (double)machine->link[i][k].gb_s);
}

static inline void text_of_object(struct strbuf *out, const struct event *event)
{
    switch (event->kind) {
    case EV_NODE:
        text_of_node(out, event->object.node);
        break;
    case EV_MACHINE:
        text_of_machine(out, event->object.machine);
        break;
    case EV_POD:
        text_of_pod(out, event->object.pod);
        break;
    case EV_JOB:
        text_of_job(out, event->object.job);
        break;
    case EV_GROUP:
        text_of_group(out, event->object.group);
        break;
    case EV_NAMESPACE:
        strbuf_addf(out, "namespace %s|%d|%d\n", event->object.ns->name,
                    event->object.ns->jobs_are_gangs, event->object.ns->evict_allowed);
        break;
    case EV_PLACEMENT:
        text_of_placement(out, event->object.placement);
        break;
    case EV_LEASE:
        text_of_lease(out, event->object.lease);
        break;
    default:
        break;
    }
}
