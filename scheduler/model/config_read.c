#include "scheduler/model/config_read.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/strbuf.h"

#define KEYS_MAX 32 /* of one block */
#define TEXT_MAX 4096
#define LABEL_NAME_MAX 63
#define FOUND_SHOWN 80

static void *target(const struct config_field *field, struct config *config)
{
    return (char *)config + field->key->at;
}

/* "tls.verbs.cert": the key with the blocks around it. */
static void add_path(struct strbuf *path, const struct config_field *field)
{
    if (field->parent && field->parent->parent) {
        add_path(path, field->parent);
        strbuf_addc(path, '.');
    }
    strbuf_adds(path, field->parent ? field->key->name : "the document");
}

static unsigned line_of(const struct config_field *field)
{
    return field->parent ? yaml_line(field->docs, field->parent->value, field->key->name) : 1;
}

static int bad(const struct config_field *field, const char *expected)
{
    CLEANUP_FREE char *found = json_dumps(field->value, JSON_COMPACT | JSON_ENCODE_ANY);
    CLEANUP(strbuf_release) struct strbuf path = STRBUF_INIT(256);

    add_path(&path, field);
    return err_set(field->err, -EINVAL, "%s:%u: %s: found %.*s, expected %s", field->file,
                   line_of(field), path.data ? path.data : "?", FOUND_SHOWN, found ? found : "?",
                   expected);
}

static int no_memory(const struct config_field *field)
{
    return err_set(field->err, -ENOMEM, "%s: out of memory", field->file);
}

/* ---- blocks --------------------------------------------------------------------------------------- */

static int unknown_key(const struct config_field *field, const char *name)
{
    CLEANUP(strbuf_release) struct strbuf path = STRBUF_INIT(256);
    const char *names[KEYS_MAX], *near;

    for (size_t i = 0; i < field->key->ninner && i < KEYS_MAX; i++)
        names[i] = field->key->inner[i].name;
    near = nearest_name(name, names, field->key->ninner);
    add_path(&path, field);
    return err_set(field->err, -EINVAL, "%s:%u: unknown key '%.*s' in %s%s%s%s", field->file,
                   yaml_line(field->docs, field->value, name), FOUND_SHOWN, name,
                   path.data ? path.data : "?", near ? ", did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
}

int config__block(const struct config_field *field, struct config *config)
{
    const char *name;
    json_t *value;

    if (!json_is_object(field->value))
        return bad(field, "a mapping of keys to values");
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value) {
        struct config_field inner = {field->docs, field->file, field, NULL, value, field->err};
        int r;

        for (size_t i = 0; i < field->key->ninner && !inner.key; i++)
            if (strcmp(field->key->inner[i].name, name) == 0)
                inner.key = &field->key->inner[i];
        if (!inner.key)
            return unknown_key(field, name);
        r = inner.key->read(&inner, config);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

int config__text(const struct config_field *field, struct config *config)
{
    char **ret = target(field, config), *copy;
    size_t len = json_string_length(field->value);

    if (!json_is_string(field->value) || len == 0 || len > TEXT_MAX)
        return bad(field, "a text that is not empty");
    copy = strdup(json_string_value(field->value));
    if (!copy)
        return no_memory(field);
    free(*ret);
    *ret = copy;
    return 0;
}

int config__name(const struct config_field *field, struct config *config)
{
    const char *text = json_string_value(field->value);

    if (!text || !is_dns_subdomain(text, strlen(text)))
        return bad(field, "a name of lower-case letters, digits, '-' and '.'");
    return config__text(field, config);
}

void config__free_texts(char **texts)
{
    for (char **text = texts; text && *text; text++)
        free(*text);
    free(texts);
}

/* [prefix/]name as Kubernetes writes label keys and extended resources. */
static bool is_label_key(const char *text)
{
    const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
    size_t len = strlen(name);

    if (slash && !is_dns_subdomain(text, (size_t)(slash - text)))
        return false;
    if (len == 0 || len > LABEL_NAME_MAX || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return true;
}

static bool stands_before(const json_t *list, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (json_equal(json_array_get(list, i), json_array_get(list, at)))
            return true;
    return false;
}

static bool is_list(const struct config_field *field, bool label_keys)
{
    size_t n = json_array_size(field->value);

    if (!json_is_array(field->value) || (int64_t)n < field->key->min || (int64_t)n > field->key->max)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(field->value, i));

        if (!text || !text[0] || strlen(text) > TEXT_MAX || stands_before(field->value, i) ||
            (label_keys && !is_label_key(text)))
            return false;
    }
    return true;
}

static char **copy_list(const json_t *list)
{
    size_t n = json_array_size(list);
    char **texts = calloc(n + 1, sizeof(char *));

    for (size_t i = 0; texts && i < n; i++) {
        texts[i] = strdup(json_string_value(json_array_get(list, i)));
        if (!texts[i]) {
            config__free_texts(texts);
            return NULL;
        }
    }
    return texts;
}

static int read_list(const struct config_field *field, struct config *config, bool label_keys,
                     const char *expected)
{
    char ***ret = target(field, config), **texts;

    if (!is_list(field, label_keys))
        return bad(field, expected);
    texts = copy_list(field->value);
    if (!texts)
        return no_memory(field);
    config__free_texts(*ret);
    *ret = texts;
    if (field->key->count_at)
        *(size_t *)(void *)((char *)config + field->key->count_at) = json_array_size(field->value);
    return 0;
}

int config__texts(const struct config_field *field, struct config *config)
{
    char expected[80];

    snprintf(expected, sizeof(expected), "a list of %d to %d different texts",
             (int)field->key->min, (int)field->key->max);
    return read_list(field, config, false, expected);
}

int config__label_keys(const struct config_field *field, struct config *config)
{
    char expected[120];

    snprintf(expected, sizeof(expected), "a list of %d to %d different %s such as example.com/rack",
             (int)field->key->min, (int)field->key->max, field->key->what);
    return read_list(field, config, true, expected);
}

/* ---- other values --------------------------------------------------------------------------------- */

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static bool is_label_value(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && (!text[0] || (is_label_key(text) && !strchr(text, '/')));
}

int config__labels(const struct config_field *field, struct config *config)
{
    struct labels *ret = target(field, config), labels = {0};
    const char *name;
    json_t *value;

    if (!json_is_object(field->value) ||
        (int64_t)json_object_size(field->value) > field->key->max)
        return bad(field, "a mapping of label keys to values");
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value)
        if (!is_label_key(name) || !is_label_value(value))
            return bad(field, "a mapping of label keys to texts (quote true, false and numbers)");
    labels.items = calloc(json_object_size(field->value) + 1, sizeof(struct label));
    if (!labels.items)
        return no_memory(field);
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value) {
        struct label *label = &labels.items[labels.n++];

        label->key = strdup(name);
        label->value = strdup(json_string_value(value));
        if (!label->key || !label->value) {
            labels_free(&labels);
            return no_memory(field);
        }
    }
    qsort(labels.items, labels.n, sizeof(struct label), compare_labels);
    labels_free(ret);
    *ret = labels;
    return 0;
}

static int compare_ratios(const void *a, const void *b)
{
    return strcmp(((const struct config_ratio *)a)->key, ((const struct config_ratio *)b)->key);
}

void config__free_ratios(struct config_ratio *ratios, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(ratios[i].key);
    free(ratios);
}

int config__ratios(const struct config_field *field, struct config *config)
{
    struct config_ratio **ret = target(field, config), *ratios;
    size_t *ret_n = (size_t *)(void *)((char *)config + field->key->count_at), n = 0;
    const char *name;
    json_t *value;

    if (!json_is_object(field->value) || json_object_size(field->value) > CONFIG_LEVELS_MAX)
        return bad(field, "a mapping of at most 6 node label keys to ratios such as 4");
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value)
        if (!is_label_key(name) || !json_is_number(value) || !(json_number_value(value) >= 1) ||
            json_number_value(value) > (double)field->key->max)
            return bad(field, "a mapping of node label keys to ratios from 1 to 1000, such as 4");
    ratios = calloc(json_object_size(field->value) + 1, sizeof(*ratios));
    if (!ratios)
        return no_memory(field);
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value) {
        ratios[n] = (struct config_ratio){strdup(name), json_number_value(value)};
        if (!ratios[n++].key) {
            config__free_ratios(ratios, n);
            return no_memory(field);
        }
    }
    qsort(ratios, n, sizeof(*ratios), compare_ratios);
    config__free_ratios(*ret, *ret_n);
    *ret = ratios;
    *ret_n = n;
    return 0;
}

int config__duration(const struct config_field *field, struct config *config)
{
    const char *text = json_string_value(field->value);
    char expected[120];
    int64_t value;

    snprintf(expected, sizeof(expected), "a duration such as 50s or 10m, %s", field->key->what);
    if (!text || parse_duration(text, strlen(text), &value) < 0 || value < field->key->min ||
        value > field->key->max)
        return bad(field, expected);
    *(int64_t *)target(field, config) = value;
    return 0;
}

static bool is_address(const char *text, size_t len)
{
    char host[INET6_ADDRSTRLEN];
    struct in6_addr six;
    struct in_addr four;
    bool bracket = len >= 2 && text[0] == '[' && text[len - 1] == ']';

    if (len == 0)
        return true;
    if (len >= sizeof(host) + 2)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(bracket ? len - 2 : len), text + bracket);
    return bracket ? inet_pton(AF_INET6, host, &six) == 1 : inet_pton(AF_INET, host, &four) == 1;
}

int config__address(const struct config_field *field, struct config *config)
{
    const char *text = json_string_value(field->value);
    const char *colon = text ? strrchr(text, ':') : NULL;
    uint64_t port;

    if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0 || port == 0 ||
        !is_address(text, (size_t)(colon - text)))
        return bad(field, "address:port, such as 127.0.0.1:9443, [::1]:9443 or :9440");
    return config__text(field, config);
}

int config__address_or_off(const struct config_field *field, struct config *config)
{
    char **ret = target(field, config), *none;

    if (!json_is_false(field->value))
        return config__address(field, config);
    none = strdup("");
    if (!none)
        return no_memory(field);
    free(*ret);
    *ret = none;
    return 0;
}

int config__switch(const struct config_field *field, struct config *config)
{
    if (!json_is_boolean(field->value))
        return bad(field, "on or off");
    *(bool *)target(field, config) = json_is_true(field->value);
    return 0;
}

int config__probe(const struct config_field *field, struct config *config)
{
    const char *text = json_is_false(field->value) ? "off" : json_string_value(field->value);

    if (!text || !probe_policy_from_name(text, target(field, config)))
        return bad(field, "off, warn or gate");
    return 0;
}

int config__object(const struct config_field *field, struct config *config)
{
    const char *text = json_is_false(field->value) ? "" : json_string_value(field->value);
    const char *slash = text ? strchr(text, '/') : NULL;
    char **ret = target(field, config), *copy;

    if (!text || (text[0] && (!slash || !is_dns_subdomain(text, (size_t)(slash - text)) ||
                              !is_dns_subdomain(slash + 1, strlen(slash + 1)))))
        return bad(field, "namespace/name, or off");
    copy = strdup(text);
    if (!copy)
        return no_memory(field);
    free(*ret);
    *ret = copy;
    return 0;
}

int config__unbuilt(const struct config_field *field, struct config *config)
{
    char expected[120];

    (void)config;
    snprintf(expected, sizeof(expected), "off: this version comes without %s", field->key->what);
    return json_is_false(field->value) ? 0 : bad(field, expected);
}
