/* Which nodes a pod shape may run on: the rules of NodeAffinity, NodeUnschedulable and TaintToleration. */
#include "scheduler/model/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"

static bool tolerates(const struct toleration *toleration, const char *key, const char *value,
                      enum taint_effect effect)
{
    if (toleration->effect != EFFECT_ANY && toleration->effect != effect)
        return false;
    if (toleration->key[0] && strcmp(toleration->key, key) != 0)
        return false;
    return toleration->exists || strcmp(toleration->value, value) == 0;
}

static bool shape_tolerates(const struct pod_shape *shape, const char *key, const char *value,
                            enum taint_effect effect)
{
    for (size_t i = 0; i < shape->ntolerations; i++)
        if (tolerates(&shape->tolerations[i], key, value, effect))
            return true;
    return false;
}

static bool taints_admit(const struct obj_node *node, const struct pod_shape *shape)
{
    if (node->unschedulable &&
        !shape_tolerates(shape, TAINT_UNSCHEDULABLE, "", EFFECT_NO_SCHEDULE))
        return false;
    for (size_t i = 0; i < node->ntaints; i++) {
        const struct taint *taint = &node->taints[i];

        if (taint->effect != EFFECT_PREFER_NO_SCHEDULE &&
            !shape_tolerates(shape, taint->key, taint->value, taint->effect))
            return false;
    }
    return true;
}

static bool value_listed(const struct requirement *requirement, const char *value)
{
    for (size_t i = 0; i < requirement->nvalues; i++)
        if (strcmp(requirement->values[i], value) == 0)
            return true;
    return false;
}

/* Gt and Lt compare whole numbers; a value that is none does not match. */
static bool number_compares(const struct requirement *requirement, const char *value)
{
    int64_t bound, found;

    if (requirement->nvalues != 1 ||
        parse_i64(requirement->values[0], strlen(requirement->values[0]), INT64_MIN, INT64_MAX,
                  &bound) < 0 ||
        parse_i64(value, strlen(value), INT64_MIN, INT64_MAX, &found) < 0)
        return false;
    return requirement->op == OP_GT ? found > bound : found < bound;
}

static bool requirement_holds(const struct requirement *requirement, const struct obj_node *node)
{
    const char *value = requirement->is_field ? node->name
                                              : labels_get(&node->labels, requirement->key);

    switch (requirement->op) {
    case OP_IN:
        return value && value_listed(requirement, value);
    case OP_NOT_IN:
        return !value || !value_listed(requirement, value);
    case OP_EXISTS:
        return value != NULL;
    case OP_DOES_NOT_EXIST:
        return value == NULL;
    case OP_GT:
    case OP_LT:
        return value && number_compares(requirement, value);
    }
    return false;
}

/* A term without requirements matches nothing, as in core/v1. */
static bool term_holds(const struct selector_term *term, const struct obj_node *node)
{
    for (size_t i = 0; i < term->n; i++)
        if (!requirement_holds(&term->items[i], node))
            return false;
    return term->n > 0;
}

static bool labels_admit(const struct obj_node *node, const struct pod_shape *shape)
{
    for (size_t i = 0; i < shape->node_selector.n; i++) {
        const struct label *wanted = &shape->node_selector.items[i];
        const char *value = labels_get(&node->labels, wanted->key);

        if (!value || strcmp(value, wanted->value) != 0)
            return false;
    }
    for (size_t i = 0; i < shape->naffinity; i++)
        if (term_holds(&shape->affinity[i], node))
            return true;
    return shape->naffinity == 0;
}

bool node_admits(const struct node *node, const struct pod_shape *shape)
{
    return node->object && taints_admit(node->object, shape) && labels_admit(node->object, shape);
}
