#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/intern.h"
#include "base/parse.h"
#include "scheduler/kube/read_internal.h"

#define FOUND_MAX 80 /* bytes of a bad value that a message shows */
#define NAMESPACE_MAX 63
#define FIELD_MAX 400 /* bytes of the name of a field */

int read__begin(struct reading *reading, const json_t *object, const char *kind, struct err *err)
{
    const json_t *meta = json_object_get(object, "metadata");
    const char *ns = json_string_value(json_object_get(meta, "namespace"));
    const char *name = json_string_value(json_object_get(meta, "name"));

    *reading = (struct reading){kind, ns ? ns : "", name ? name : "", "", err};
    if (!json_is_object(meta))
        return err_set(err, -EINVAL, "%s: metadata: missing, expected a mapping", kind);
    if (!name || !is_dns_subdomain(name, strlen(name)))
        return err_set(err, -EINVAL, "%s: metadata.name: found '%.80s', expected a DNS name", kind,
                       name ? name : "");
    if (ns && *ns && (strlen(ns) > NAMESPACE_MAX || !is_dns_subdomain(ns, strlen(ns))))
        return err_set(err, -EINVAL, "%s %s: metadata.namespace: found '%.80s', expected a DNS label",
                       kind, name, ns);
    return 0;
}

int read__bad(const struct reading *reading, const char *field, const json_t *found,
              const char *expected)
{
    CLEANUP_FREE char *text = json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY);

    return err_set(reading->err, -EINVAL, "%s %s%s%s: %s%s: found %.*s, expected %s", reading->kind,
                   reading->ns, *reading->ns ? "/" : "", reading->name, reading->within, field,
                   FOUND_MAX, text ? text : "nothing", expected);
}

static int bad_entry(const struct reading *reading, const char *field, const char *key,
                     const json_t *found, const char *expected)
{
    char path[FIELD_MAX];

    snprintf(path, sizeof(path), "%s.%s", field, key);
    return read__bad(reading, path, found, expected);
}

/* Fields are named by their path; the last part is the key in the parent. */
static const json_t *member(const json_t *parent, const char *path)
{
    const char *dot = strrchr(path, '.');

    return json_object_get(parent, dot ? dot + 1 : path);
}

char *read__copy(const char *text)
{
    return intern(text ? text : "");
}

static int read_text(const struct reading *reading, const json_t *parent, const char *field,
                     char *(*copy_of)(const char *text), char **ret)
{
    const json_t *value = member(parent, field);
    char *copy;

    if (value && !json_is_null(value) &&
        (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value))))
        return read__bad(reading, field, value, "text");
    copy = copy_of(json_string_value(value));
    if (!copy)
        return -ENOMEM;
    intern_free(*ret);
    *ret = copy;
    return 0;
}

int read__text(const struct reading *reading, const json_t *parent, const char *field, char **ret)
{
    return read_text(reading, parent, field, read__copy, ret);
}

static char *own_copy(const char *text)
{
    return strdup(text ? text : "");
}

int read__unique(const struct reading *reading, const json_t *parent, const char *field, char **ret)
{
    return read_text(reading, parent, field, own_copy, ret);
}

int read__int(const struct reading *reading, const json_t *parent, const char *field, int64_t missing,
              int64_t min, int64_t max, int64_t *ret)
{
    const json_t *value = member(parent, field);

    if (!value || json_is_null(value)) {
        *ret = missing;
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        char expected[80];

        snprintf(expected, sizeof(expected), "a whole number from %lld to %lld", (long long)min,
                 (long long)max);
        return read__bad(reading, field, value, expected);
    }
    *ret = json_integer_value(value);
    return 0;
}

int read__check_texts(const struct reading *reading, const json_t *meta, const char *field)
{
    const json_t *map = json_object_get(meta, field);
    const char *key;
    char path[32];
    json_t *value;

    if (!map || json_is_null(map))
        return 0;
    snprintf(path, sizeof(path), "metadata.%s", field);
    if (!json_is_object(map))
        return read__bad(reading, path, map, "a mapping");
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
        if (!json_is_string(value) && !json_is_null(value))
            return bad_entry(reading, path, key, value, "text (in YAML: in quotes)");
    return 0;
}

bool read__flag(const json_t *parent, const char *field)
{
    return json_is_true(json_object_get(parent, field));
}

int read__time(const struct reading *reading, const json_t *parent, const char *field, int64_t *ret)
{
    const json_t *value = member(parent, field);

    *ret = 0;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value) ||
        parse_time(json_string_value(value), json_string_length(value), ret) < 0)
        return read__bad(reading, field, value, "a time such as 2026-01-02T03:04:05Z");
    return 0;
}

const char *read__entry(const json_t *map, const char *key)
{
    return json_string_value(json_object_get(map, key));
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

int read__labels(const struct reading *reading, const json_t *map, const char *field,
                 struct labels *ret)
{
    struct labels labels = {0};
    const char *key;
    json_t *value;

    if (!map || json_is_null(map))
        return 0;
    if (!json_is_object(map) || json_object_size(map) > OBJ_LABELS_MAX)
        return read__bad(reading, field, map, "a mapping of at most 1024 labels");
    labels.items = calloc(json_object_size(map) + 1, sizeof(struct label));
    if (!labels.items)
        return -ENOMEM;
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        struct label *label = &labels.items[labels.n++];

        label->key = intern(key);
        label->value = read__copy(json_string_value(value));
        if (label->key && label->value && (json_is_string(value) || json_is_null(value)))
            continue;
        labels_free(&labels);
        return json_is_string(value) ? -ENOMEM : bad_entry(reading, field, key, value, "text");
    }
    qsort(labels.items, labels.n, sizeof(struct label), compare_labels);
    labels_free(ret);
    *ret = labels;
    return 0;
}

/* ---- amounts ------------------------------------------------------------------------------------ */

/* Index of the resource, or where it belongs. */
static size_t amount_position(const struct amounts *amounts, const char *resource, bool *ret_found)
{
    size_t at = 0;

    while (at < amounts->n && strcmp(amounts->items[at].resource, resource) < 0)
        at++;
    *ret_found = at < amounts->n && strcmp(amounts->items[at].resource, resource) == 0;
    return at;
}

int64_t amounts__get(const struct amounts *amounts, const char *resource, bool *ret_found)
{
    size_t at = amount_position(amounts, resource, ret_found);

    return *ret_found ? amounts->items[at].value : 0;
}

int amounts__set(struct amounts *amounts, const char *resource, int64_t value)
{
    struct amount *items;
    bool found;
    size_t at = amount_position(amounts, resource, &found);
    char *name;

    if (found) {
        amounts->items[at].value = value;
        return 0;
    }
    if (amounts->n == OBJ_RESOURCES_MAX)
        return -E2BIG;
    items = realloc(amounts->items, (amounts->n + 1) * sizeof(*items));
    if (!items)
        return -ENOMEM;
    amounts->items = items;
    name = intern(resource);
    if (!name)
        return -ENOMEM;
    memmove(items + at + 1, items + at, (amounts->n - at) * sizeof(*items));
    items[at] = (struct amount){name, value};
    amounts->n++;
    return 0;
}

int amounts__add(struct amounts *sum, const struct amounts *more)
{
    for (size_t i = 0; i < more->n; i++) {
        bool found;
        int64_t value = amounts__get(sum, more->items[i].resource, &found);
        int r;

        if (__builtin_add_overflow(value, more->items[i].value, &value))
            value = INT64_MAX;
        r = amounts__set(sum, more->items[i].resource, value);
        if (r < 0)
            return r;
    }
    return 0;
}

int amounts__max(struct amounts *sum, const struct amounts *other)
{
    for (size_t i = 0; i < other->n; i++) {
        bool found;
        int64_t value = amounts__get(sum, other->items[i].resource, &found);
        int r = 0;

        if (!found || value < other->items[i].value)
            r = amounts__set(sum, other->items[i].resource, other->items[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Manifests may say cpu: 0.5: the number as it was written, so with no more digits than it had. */
static int read_number(const json_t *value, char *ret, size_t size)
{
    if (json_is_integer(value))
        snprintf(ret, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(ret, size, "%.15g", json_real_value(value));
    else
        return -EINVAL;
    return 0;
}

static int read_quantity(const json_t *value, bool milli, int64_t *ret)
{
    char number[64];
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (!text) {
        if (read_number(value, number, sizeof(number)) < 0)
            return -EINVAL;
        text = number;
        len = strlen(number);
    }
    return milli ? parse_quantity_milli(text, len, ret) : parse_quantity(text, len, ret);
}

int read__amounts(const struct reading *reading, const json_t *map, const char *field,
                  struct amounts *ret)
{
    const char *resource;
    json_t *value;

    if (!map || json_is_null(map))
        return 0;
    if (!json_is_object(map))
        return read__bad(reading, field, map, "a mapping of resources");
    json_object_foreach((json_t *)(uintptr_t)map, resource, value) {
        int64_t amount;
        int r = read_quantity(value, strcmp(resource, "cpu") == 0, &amount);

        if (r < 0)
            return bad_entry(reading, field, resource, value, "a quantity such as 8, 500m or 16Gi");
        r = amounts__set(ret, resource, amount);
        if (r == -E2BIG)
            return read__bad(reading, field, map, "at most 64 resources");
        if (r < 0)
            return r;
    }
    return 0;
}
