#include "scheduler/model/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/intern.h"
#include "base/strbuf.h"

#define SHAPE_KEY_MAX ((size_t)1 << 20)

const char *labels_get(const struct labels *labels, const char *key)
{
    size_t low = 0, high = labels->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(labels->items[middle].key, key);

        if (order == 0)
            return labels->items[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const char *const policies[] = {"", "off", "warn", "gate"};

const char *probe_policy_name(enum probe_policy policy)
{
    return policies[policy];
}

bool probe_policy_from_name(const char *name, enum probe_policy *ret_policy)
{
    for (unsigned i = PROBE_OFF; i <= PROBE_GATE; i++)
        if (strcmp(policies[i], name) == 0) {
            *ret_policy = (enum probe_policy)i;
            return true;
        }
    return false;
}

void amounts_free(struct amounts *amounts)
{
    for (size_t i = 0; i < amounts->n; i++)
        intern_free(amounts->items[i].resource);
    free(amounts->items);
    *amounts = (struct amounts){0};
}

void labels_free(struct labels *labels)
{
    for (size_t i = 0; i < labels->n; i++) {
        intern_free(labels->items[i].key);
        intern_free(labels->items[i].value);
    }
    free(labels->items);
    *labels = (struct labels){0};
}

static void term_free(struct selector_term *term)
{
    for (size_t i = 0; i < term->n; i++) {
        for (size_t v = 0; v < term->items[i].nvalues; v++)
            intern_free(term->items[i].values[v]);
        free(term->items[i].values);
        intern_free(term->items[i].key);
    }
    free(term->items);
}

void pod_shape_free(struct pod_shape *shape)
{
    amounts_free(&shape->requests);
    labels_free(&shape->node_selector);
    for (size_t i = 0; i < shape->naffinity; i++)
        term_free(&shape->affinity[i]);
    for (size_t i = 0; i < shape->ntolerations; i++) {
        intern_free(shape->tolerations[i].key);
        intern_free(shape->tolerations[i].value);
    }
    free(shape->affinity);
    free(shape->tolerations);
    intern_free(shape->key);
    *shape = (struct pod_shape){0};
}

/* Lengths go before texts, so that no two different shapes give one key. */
static void add_text(struct strbuf *out, const char *text)
{
    strbuf_addf(out, "%zu:%s;", strlen(text), text);
}

static void add_requirement(struct strbuf *out, const struct requirement *requirement)
{
    strbuf_addf(out, "%d%d", (int)requirement->op, (int)requirement->is_field);
    add_text(out, requirement->key);
    for (size_t i = 0; i < requirement->nvalues; i++)
        add_text(out, requirement->values[i]);
    strbuf_addc(out, '&');
}

int pod_shape_seal(struct pod_shape *shape)
{
    struct strbuf out = STRBUF_INIT(SHAPE_KEY_MAX);
    char *key;

    for (size_t i = 0; i < shape->requests.n; i++) {
        add_text(&out, shape->requests.items[i].resource);
        strbuf_addf(&out, "%lld,", (long long)shape->requests.items[i].value);
    }
    strbuf_addc(&out, '|');
    for (size_t i = 0; i < shape->node_selector.n; i++) {
        add_text(&out, shape->node_selector.items[i].key);
        add_text(&out, shape->node_selector.items[i].value);
    }
    strbuf_addc(&out, '|');
    for (size_t i = 0; i < shape->naffinity; i++) {
        for (size_t k = 0; k < shape->affinity[i].n; k++)
            add_requirement(&out, &shape->affinity[i].items[k]);
        strbuf_addc(&out, '/');
    }
    strbuf_addc(&out, '|');
    for (size_t i = 0; i < shape->ntolerations; i++) {
        const struct toleration *toleration = &shape->tolerations[i];

        strbuf_addf(&out, "%d%d", (int)toleration->effect, (int)toleration->exists);
        add_text(&out, toleration->key);
        add_text(&out, toleration->value);
    }
    if (shape->own_cpus > 0)
        strbuf_addf(&out, "|%d", shape->own_cpus);
    key = out.failed ? NULL : intern(out.data);
    strbuf_release(&out);
    if (!key)
        return -ENOMEM;
    intern_free(shape->key);
    shape->key = key;
    return 0;
}

static void owner_free(struct owner *owner)
{
    intern_free(owner->api_version);
    intern_free(owner->kind_name);
    intern_free(owner->name);
    intern_free(owner->uid);
}

static void wish_free(struct gang_wish *wish)
{
    intern_free(wish->name);
    intern_free(wish->required);
    intern_free(wish->preferred);
    intern_free(wish->role);
    intern_free(wish->subgroup);
    intern_free(wish->within);
    intern_free(wish->spread);
    intern_free(wish->unsupported);
}

void obj_pod_free(struct obj_pod *pod)
{
    if (!pod)
        return;
    intern_free(pod->ns);
    intern_free(pod->name);
    intern_free(pod->uid);
    intern_free(pod->scheduler);
    intern_free(pod->node);
    intern_free(pod->nominated);
    intern_free(pod->refusal);
    intern_free(pod->waiting);
    intern_free(pod->group_native);
    intern_free(pod->group_sigs);
    intern_free(pod->unsupported);
    owner_free(&pod->owner);
    wish_free(&pod->wish);
    pod_shape_free(&pod->shape);
    free(pod);
}

void obj_node_free(struct obj_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->ntaints; i++) {
        intern_free(node->taints[i].key);
        intern_free(node->taints[i].value);
    }
    free(node->taints);
    intern_free(node->name);
    intern_free(node->uid);
    labels_free(&node->labels);
    amounts_free(&node->allocatable);
    free(node);
}

static bool same_labels(const struct labels *a, const struct labels *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
            strcmp(a->items[i].value, b->items[i].value) != 0)
            return false;
    return a->n == b->n;
}

static bool same_amounts(const struct amounts *a, const struct amounts *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (strcmp(a->items[i].resource, b->items[i].resource) != 0 ||
            a->items[i].value != b->items[i].value)
            return false;
    return a->n == b->n;
}

static bool same_taints(const struct obj_node *a, const struct obj_node *b)
{
    for (size_t i = 0; a->ntaints == b->ntaints && i < a->ntaints; i++)
        if (strcmp(a->taints[i].key, b->taints[i].key) != 0 ||
            strcmp(a->taints[i].value, b->taints[i].value) != 0 ||
            a->taints[i].effect != b->taints[i].effect)
            return false;
    return a->ntaints == b->ntaints;
}

bool obj_node_equal(const struct obj_node *a, const struct obj_node *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->uid, b->uid) == 0 &&
           a->unschedulable == b->unschedulable && same_labels(&a->labels, &b->labels) &&
           same_taints(a, b) && same_amounts(&a->allocatable, &b->allocatable);
}

void obj_machine_free(struct obj_machine *machine)
{
    if (machine)
        intern_free(machine->name);
    free(machine);
}

void obj_job_free(struct obj_job *job)
{
    if (!job)
        return;
    intern_free(job->ns);
    intern_free(job->name);
    intern_free(job->uid);
    obj_pod_free(job->template);
    free(job);
}

void obj_group_free(struct obj_group *group)
{
    if (!group)
        return;
    intern_free(group->ns);
    intern_free(group->name);
    intern_free(group->uid);
    intern_free(group->api_version);
    intern_free(group->required);
    intern_free(group->preferred);
    intern_free(group->unsupported);
    free(group);
}

void obj_namespace_free(struct obj_namespace *ns)
{
    if (!ns)
        return;
    intern_free(ns->name);
    free(ns);
}

void obj_lease_free(struct obj_lease *lease)
{
    if (!lease)
        return;
    intern_free(lease->ns);
    intern_free(lease->name);
    intern_free(lease->holder);
    free(lease);
}

void obj_placement_free(struct obj_placement *placement)
{
    if (!placement)
        return;
    for (size_t i = 0; i < placement->nshares; i++) {
        intern_free(placement->shares[i].node);
        intern_free(placement->shares[i].gpus);
    }
    free(placement->shares);
    intern_free(placement->ns);
    intern_free(placement->name);
    intern_free(placement->uid);
    intern_free(placement->version);
    intern_free(placement->gang_kind);
    intern_free(placement->gang_name);
    intern_free(placement->state);
    intern_free(placement->reason_code);
    intern_free(placement->probe_verdict);
    intern_free(placement->probe_message);
    intern_free(placement->measured);
    free(placement);
}
