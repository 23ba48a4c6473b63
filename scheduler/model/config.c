#include "scheduler/model/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "base/yaml.h"

#define CONFIG_BYTES_MAX (256 * 1024)
#define SECOND INT64_C(1000000000)
#define LIST_MAX 64

/* What a reader of one key needs: the document for line numbers, and where the key stands. */
struct field {
    const struct yaml_docs *docs;
    const char *file;
    const json_t *parent;
    const char *key;
    const json_t *value;
    struct err *err;
};

typedef int read_field_fn(const struct field *field, struct config *config);
struct key {
    const char *name;
    read_field_fn *read;
};

static int bad(const struct field *field, const char *expected)
{
    CLEANUP_FREE char *found = json_dumps(field->value, JSON_COMPACT | JSON_ENCODE_ANY);

    return err_set(field->err, -EINVAL, "%s:%u: %s: found %.80s, expected %s", field->file,
                   yaml_line(field->docs, field->parent, field->key), field->key,
                   found ? found : "?", expected);
}

static int read_keys(const struct field *field, const struct key *keys, size_t nkeys,
                     struct config *config)
{
    const char *names[32], *name;
    json_t *value;

    if (!json_is_object(field->value))
        return bad(field, "a mapping");
    for (size_t i = 0; i < nkeys; i++)
        names[i] = keys[i].name;
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value) {
        struct field inner = {field->docs, field->file, field->value, name, value, field->err};
        size_t at = 0;
        int r;

        while (at < nkeys && strcmp(keys[at].name, name) != 0)
            at++;
        if (at == nkeys) {
            const char *near = nearest_name(name, names, nkeys);

            return err_set(field->err, -EINVAL, "%s:%u: unknown key '%s'%s%s%s", field->file,
                           yaml_line(field->docs, field->value, name), name,
                           near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        r = keys[at].read(&inner, config);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- values ------------------------------------------------------------------------------------- */

static int read_text(const struct field *field, char **ret)
{
    char *copy;

    if (!json_is_string(field->value) || json_string_length(field->value) == 0)
        return bad(field, "text");
    copy = strdup(json_string_value(field->value));
    if (!copy)
        return -ENOMEM;
    free(*ret);
    *ret = copy;
    return 0;
}

static void free_texts(char **texts)
{
    for (char **text = texts; text && *text; text++)
        free(*text);
    free(texts);
}

static int read_texts(const struct field *field, size_t max, char ***ret, size_t *ret_n)
{
    size_t n = json_array_size(field->value);
    char **texts;

    if (!json_is_array(field->value) || n > max)
        return bad(field, "a list of texts (not too long)");
    texts = calloc(n + 1, sizeof(char *));
    if (!texts)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(field->value, i));

        texts[i] = text && *text ? strdup(text) : NULL;
        if (!texts[i]) {
            free_texts(texts);
            return bad(field, "a list of texts");
        }
    }
    free_texts(*ret);
    *ret = texts;
    if (ret_n)
        *ret_n = n;
    return 0;
}

static int read_duration(const struct field *field, int64_t min, int64_t max, int64_t *ret)
{
    const char *text = json_string_value(field->value);
    int64_t value;

    if (!text || parse_duration(text, strlen(text), &value) < 0)
        return bad(field, "a duration such as 50s or 10m");
    if (value < min || value > max)
        return bad(field, "a duration within the bounds that configs/lockstep.yaml names");
    *ret = value;
    return 0;
}

static int read_listen(const struct field *field, char **ret)
{
    const char *text = json_string_value(field->value);
    const char *colon = text ? strrchr(text, ':') : NULL;
    uint64_t port;

    if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0 || port == 0)
        return bad(field, "address:port, such as 127.0.0.1:9443 or :9440");
    return read_text(field, ret);
}

/* ---- keys ---------------------------------------------------------------------------------------- */

static int read_levels(const struct field *field, struct config *config)
{
    return read_texts(field, CONFIG_LEVELS_MAX, &config->levels, &config->nlevels);
}

static int read_accelerators(const struct field *field, struct config *config)
{
    return read_texts(field, CONFIG_ACCELERATORS_MAX, &config->accelerators,
                      &config->naccelerators);
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

static int read_selector(const struct field *field, struct config *config)
{
    struct labels labels = {0};
    const char *name;
    json_t *value;

    if (!json_is_object(field->value) || json_object_size(field->value) > LIST_MAX)
        return bad(field, "a mapping of label keys to values");
    labels.items = calloc(json_object_size(field->value) + 1, sizeof(struct label));
    if (!labels.items)
        return -ENOMEM;
    json_object_foreach((json_t *)(uintptr_t)field->value, name, value) {
        if (!json_is_string(value)) {
            labels_free(&labels);
            return bad(field, "a mapping of label keys to texts");
        }
        labels.items[labels.n].key = strdup(name);
        labels.items[labels.n++].value = strdup(json_string_value(value));
    }
    qsort(labels.items, labels.n, sizeof(struct label), compare_labels);
    labels_free(&config->node_selector);
    config->node_selector = labels;
    return 0;
}

static int read_hold(const struct field *field, struct config *config)
{
    return read_duration(field, SECOND, 3600 * SECOND, &config->hold_deadline_ns);
}

static int read_early(const struct field *field, struct config *config)
{
    return read_duration(field, 0, 600 * SECOND, &config->early_plan_deadline_ns);
}

static int read_head_of_line(const struct field *field, struct config *config)
{
    return read_duration(field, SECOND, 30 * 86400 * SECOND, &config->head_of_line_ns);
}

static int read_give_up(const struct field *field, struct config *config)
{
    return read_duration(field, SECOND, 365 * 86400 * SECOND, &config->give_up_ns);
}

static int read_preemption(const struct field *field, struct config *config)
{
    if (json_is_true(field->value))
        return bad(field, "off (gang preemption is not built yet)");
    if (!json_is_false(field->value))
        return bad(field, "off");
    config->preemption = false;
    return 0;
}

static int read_probe(const struct field *field, struct config *config)
{
    (void)config;
    return json_is_false(field->value) ? 0 : bad(field, "off (the probe is not built yet)");
}

static int read_listen_verbs(const struct field *field, struct config *config)
{
    return read_listen(field, &config->listen_verbs);
}

static int read_listen_health(const struct field *field, struct config *config)
{
    return read_listen(field, &config->listen_health);
}

static int read_listens(const struct field *field, struct config *config)
{
    static const struct key keys[] = {{"verbs", read_listen_verbs}, {"health", read_listen_health}};

    return read_keys(field, keys, 2, config);
}

static int read_verbs_ca(const struct field *field, struct config *config)
{
    return read_text(field, &config->verbs.ca);
}

static int read_verbs_cert(const struct field *field, struct config *config)
{
    return read_text(field, &config->verbs.cert);
}

static int read_verbs_key(const struct field *field, struct config *config)
{
    return read_text(field, &config->verbs.key);
}

static int read_verbs_clients(const struct field *field, struct config *config)
{
    return read_texts(field, LIST_MAX, &config->verbs.clients, NULL);
}

static int read_health_cert(const struct field *field, struct config *config)
{
    return read_text(field, &config->health.cert);
}

static int read_health_key(const struct field *field, struct config *config)
{
    return read_text(field, &config->health.key);
}

static int read_tls_verbs(const struct field *field, struct config *config)
{
    static const struct key keys[] = {{"ca", read_verbs_ca},
                                      {"cert", read_verbs_cert},
                                      {"key", read_verbs_key},
                                      {"clients", read_verbs_clients}};

    return read_keys(field, keys, 4, config);
}

static int read_tls_health(const struct field *field, struct config *config)
{
    static const struct key keys[] = {{"cert", read_health_cert}, {"key", read_health_key}};

    return read_keys(field, keys, 2, config);
}

static int read_tls(const struct field *field, struct config *config)
{
    static const struct key keys[] = {{"verbs", read_tls_verbs}, {"health", read_tls_health}};

    return read_keys(field, keys, 2, config);
}

static int read_scheduler_name(const struct field *field, struct config *config)
{
    return read_text(field, &config->scheduler_name);
}

static const struct key top_keys[] = {
    {"schedulerName", read_scheduler_name}, {"levels", read_levels},
    {"acceleratorResources", read_accelerators}, {"nodeSelector", read_selector},
    {"holdDeadline", read_hold}, {"earlyPlanDeadline", read_early},
    {"headOfLineAfter", read_head_of_line}, {"giveUpAfter", read_give_up},
    {"preemption", read_preemption}, {"probe", read_probe},
    {"listen", read_listens}, {"tls", read_tls},
};

/* ---- whole --------------------------------------------------------------------------------------- */

int config_init(struct config *config)
{
    *config = (struct config){.hold_deadline_ns = 50 * SECOND,
                              .early_plan_deadline_ns = 5 * SECOND,
                              .head_of_line_ns = 600 * SECOND};
    config->scheduler_name = strdup("lockstep");
    config->listen_verbs = strdup("127.0.0.1:9443");
    config->listen_health = strdup(":9440");
    config->accelerators = calloc(2, sizeof(char *));
    config->verbs.ca = strdup("");
    config->verbs.cert = strdup("");
    config->verbs.key = strdup("");
    config->health.cert = strdup("");
    config->health.key = strdup("");
    if (config->accelerators) {
        config->accelerators[0] = strdup("nvidia.com/gpu");
        config->naccelerators = 1;
    }
    if (config->scheduler_name && config->listen_verbs && config->listen_health &&
        config->accelerators && config->accelerators[0] && config->health.key)
        return 0;
    config_release(config);
    return -ENOMEM;
}

void config_release(struct config *config)
{
    free(config->scheduler_name);
    free_texts(config->levels);
    free_texts(config->accelerators);
    free_texts(config->verbs.clients);
    labels_free(&config->node_selector);
    free(config->listen_verbs);
    free(config->listen_health);
    free(config->verbs.ca);
    free(config->verbs.cert);
    free(config->verbs.key);
    free(config->health.ca);
    free(config->health.cert);
    free(config->health.key);
    *config = (struct config){0};
}

int config_parse(const char *name, const char *text, size_t len, struct config *ret_config,
                 struct err *err)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    struct config config;
    int r = yaml_load(name, text, len, 1, &docs, err);

    if (r < 0)
        return r;
    if (config_init(&config) < 0)
        return -ENOMEM;
    if (docs.n == 1) {
        struct field root = {&docs, name, NULL, "document", docs.items[0], err};

        r = read_keys(&root, top_keys, sizeof(top_keys) / sizeof(top_keys[0]), &config);
    }
    if (r < 0)
        config_release(&config);
    else
        *ret_config = config;
    return r;
}

int config_load(const char *path, struct config *ret_config, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(CONFIG_BYTES_MAX);
    int r = strbuf_read_file(&text, path);

    if (r < 0)
        return err_set(err, r, "cannot read configuration '%s': %s", path, strerror(-r));
    return config_parse(path, text.data, text.len, ret_config, err);
}
