/* A trace as YAML or JSON: a list of mappings under `gangs`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/simulate/trace_internal.h"

#define FOUND_SHOWN 80

/* A number or a text, as the fields of a CSV line are. */
static int value_text(const json_t *value, char *ret, size_t size)
{
    int len = -1;

    if (json_is_integer(value))
        len = snprintf(ret, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_string(value) && json_string_length(value) == strlen(json_string_value(value)))
        len = snprintf(ret, size, "%s", json_string_value(value));
    return len < 0 || (size_t)len >= size ? -EINVAL : len;
}

static int read_key(struct trace_reading *reading, struct trace_row *row, const char *key,
                    const json_t *value)
{
    int column = trace__column(key, strlen(key)), len;
    const char *near = column < 0 ? trace__nearest_column(key) : NULL;
    char text[512];

    if (column < 0)
        return err_set(reading->err, -EINVAL, "%s:%u: unknown key '%.*s' in gangs[%zu]%s%s%s",
                       reading->file, yaml_line(row->docs, row->entry, key), FOUND_SHOWN, key,
                       reading->trace->n, near ? ", did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    len = value_text(value, text, sizeof(text));
    if (len < 0) {
        CLEANUP_FREE char *found = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        return err_set(reading->err, -EINVAL, "%s:%u: %s: found %.*s, expected a number or a text",
                       reading->file, yaml_line(row->docs, row->entry, key), key, FOUND_SHOWN,
                       found ? found : "?");
    }
    return trace__set(reading, row, (size_t)column, text, (size_t)len);
}

static int read_entry(struct trace_reading *reading, const struct yaml_docs *docs,
                      const json_t *entry)
{
    struct trace_row row;
    const char *key;
    json_t *value;
    int r = 0;

    if (!json_is_object(entry))
        return err_set(reading->err, -EINVAL, "%s: gangs[%zu]: expected a mapping of keys to values",
                       reading->file, reading->trace->n);
    trace__row_init(&row);
    row.docs = docs;
    row.entry = entry;
    json_object_foreach((json_t *)(uintptr_t)entry, key, value) {
        r = read_key(reading, &row, key, value);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = trace__row_take(reading, &row);
    free(row.gang.name);
    return r;
}

int trace__read_yaml(struct trace_reading *reading, const char *text, size_t len)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    const json_t *gangs;
    const char *key;
    json_t *value;
    int r = yaml_load(reading->file, text, len, 1, &docs, reading->err);

    if (r < 0)
        return r;
    gangs = docs.n ? json_object_get(docs.items[0], "gangs") : NULL;
    if (!json_is_array(gangs))
        return err_set(reading->err, -EINVAL, "%s: gangs: missing, expected a list", reading->file);
    json_object_foreach(docs.items[0], key, value)
        if (value != gangs)
            return err_set(reading->err, -EINVAL, "%s:%u: unknown key '%.*s', expected gangs alone",
                           reading->file, yaml_line(&docs, docs.items[0], key), FOUND_SHOWN, key);
    for (size_t i = 0; i < json_array_size(gangs) && r == 0; i++)
        r = read_entry(reading, &docs, json_array_get(gangs, i));
    return r;
}
