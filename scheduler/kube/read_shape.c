/* What of a pod's spec decides where it can run: selector, affinity, tolerations (and its requests). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/kube/read_internal.h"

#define LIST_MAX 256 /* terms, requirements, values, tolerations */

/* ---- affinity --------------------------------------------------------------------------------------- */

static int read_op(const char *text, enum requirement_op *ret)
{
    static const char *const names[] = {
        [OP_IN] = "In",         [OP_NOT_IN] = "NotIn", [OP_EXISTS] = "Exists",
        [OP_DOES_NOT_EXIST] = "DoesNotExist", [OP_GT] = "Gt",       [OP_LT] = "Lt"};

    for (size_t i = 0; text && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *ret = (enum requirement_op)i;
        return 0;
    }
    return -EINVAL;
}

static int read_requirement(const struct reading *reading, const json_t *object, bool is_field,
                            struct requirement *ret)
{
    const json_t *values = json_object_get(object, "values");
    size_t n = json_array_size(values);

    ret->is_field = is_field;
    if (read_op(json_string_value(json_object_get(object, "operator")), &ret->op) < 0 ||
        !json_is_string(json_object_get(object, "key")) || n > LIST_MAX)
        return read__bad(reading, "nodeAffinity", object, "key, a known operator and values");
    ret->key = read__copy(json_string_value(json_object_get(object, "key")));
    ret->values = calloc(n + 1, sizeof(char *));
    if (!ret->key || !ret->values)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        ret->values[i] = read__copy(json_string_value(json_array_get(values, i)));
        if (!ret->values[i])
            return -ENOMEM;
        ret->nvalues++;
    }
    return 0;
}

static int read_requirements(const struct reading *reading, const json_t *list, bool is_field,
                             struct selector_term *term)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        int r = read_requirement(reading, json_array_get(list, i), is_field,
                                 &term->items[term->n++]);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_affinity(const struct reading *reading, const json_t *spec, struct pod_shape *shape)
{
    const json_t *affinity = json_object_get(json_object_get(spec, "affinity"), "nodeAffinity");
    const json_t *required = json_object_get(affinity,
                                             "requiredDuringSchedulingIgnoredDuringExecution");
    const json_t *terms = json_object_get(required, "nodeSelectorTerms");
    size_t n = json_array_size(terms);

    if (n == 0)
        return 0;
    if (n > LIST_MAX)
        return read__bad(reading, "nodeSelectorTerms", terms, "at most 256 terms");
    shape->affinity = calloc(n, sizeof(*shape->affinity));
    if (!shape->affinity)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *term = json_array_get(terms, i);
        const json_t *labels = json_object_get(term, "matchExpressions");
        const json_t *fields = json_object_get(term, "matchFields");
        size_t count = json_array_size(labels) + json_array_size(fields);
        struct selector_term *out = &shape->affinity[shape->naffinity++];
        int r;

        if (count > LIST_MAX)
            return read__bad(reading, "matchExpressions", term, "at most 256 requirements");
        out->items = calloc(count + 1, sizeof(*out->items));
        if (!out->items)
            return -ENOMEM;
        r = read_requirements(reading, labels, false, out);
        if (r == 0)
            r = read_requirements(reading, fields, true, out);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- tolerations --------------------------------------------------------------------------------- */

static enum taint_effect read_effect(const char *text)
{
    if (!text || !*text)
        return EFFECT_ANY;
    return strcmp(text, "NoSchedule") == 0         ? EFFECT_NO_SCHEDULE
           : strcmp(text, "PreferNoSchedule") == 0 ? EFFECT_PREFER_NO_SCHEDULE
                                                   : EFFECT_NO_EXECUTE;
}

static int read_tolerations(const struct reading *reading, const json_t *list,
                            struct pod_shape *shape)
{
    size_t n = json_array_size(list);

    if (n > LIST_MAX)
        return read__bad(reading, "spec.tolerations", list, "at most 256 tolerations");
    shape->tolerations = calloc(n + 1, sizeof(*shape->tolerations));
    if (!shape->tolerations)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *object = json_array_get(list, i);
        struct toleration *toleration = &shape->tolerations[shape->ntolerations++];
        const char *operator= json_string_value(json_object_get(object, "operator"));

        toleration->key = read__copy(read__entry(object, "key"));
        toleration->value = read__copy(read__entry(object, "value"));
        toleration->effect = read_effect(read__entry(object, "effect"));
        toleration->exists = operator&& strcmp(operator, "Exists") == 0;
        if (!toleration->key || !toleration->value)
            return -ENOMEM;
    }
    return 0;
}

int read__shape(const struct reading *reading, const json_t *object, struct pod_shape *ret)
{
    const json_t *spec = json_object_get(object, "spec");
    int r = read__requests(reading, object, &ret->requests);

    if (r == 0)
        r = read__labels(reading, json_object_get(spec, "nodeSelector"), "spec.nodeSelector",
                         &ret->node_selector);
    if (r == 0)
        r = read_affinity(reading, spec, ret);
    if (r == 0)
        r = read_tolerations(reading, json_object_get(spec, "tolerations"), ret);
    if (r == 0)
        ret->own_cpus = read__own_cpus(reading, spec);
    return r < 0 ? r : pod_shape_seal(ret);
}
