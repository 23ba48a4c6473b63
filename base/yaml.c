#include "base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/parse.h"

#define DEPTH_MAX 64

struct yaml_line {
    const json_t *object;
    char *key;
    unsigned line;
};

struct reader {
    const char *name;
    yaml_parser_t parser;
    struct yaml_docs *docs;
    struct err *err;
};

void yaml_docs_release(struct yaml_docs *docs)
{
    if (!docs)
        return;
    for (size_t i = 0; i < docs->n; i++)
        json_decref(docs->items[i]);
    for (size_t i = 0; i < docs->nlines; i++)
        free(docs->lines[i].key);
    free(docs->items);
    free(docs->lines);
    *docs = (struct yaml_docs){0};
}

unsigned yaml_line(const struct yaml_docs *docs, const json_t *object, const char *key)
{
    for (size_t i = 0; i < docs->nlines; i++)
        if (docs->lines[i].object == object && strcmp(docs->lines[i].key, key) == 0)
            return docs->lines[i].line;
    return 0;
}

static int add_doc(struct yaml_docs *docs, json_t *value, size_t max)
{
    if (docs->n == max) {
        json_decref(value);
        return -E2BIG;
    }
    if (docs->n == docs->size) {
        size_t size = docs->size ? docs->size * 2 : 8;
        json_t **items = realloc(docs->items, size * sizeof(json_t *));

        if (!items) {
            json_decref(value);
            return -ENOMEM;
        }
        docs->items = items;
        docs->size = size;
    }
    docs->items[docs->n++] = value;
    return 0;
}

static void add_line(struct yaml_docs *docs, const json_t *object, const char *key, size_t line)
{
    struct yaml_line *lines;

    if (docs->nlines == docs->lines_size) {
        size_t size = docs->lines_size ? docs->lines_size * 2 : 64;

        lines = realloc(docs->lines, size * sizeof(*lines));
        if (!lines)
            return;
        docs->lines = lines;
        docs->lines_size = size;
    }
    docs->lines[docs->nlines].object = object;
    docs->lines[docs->nlines].line = (unsigned)line + 1;
    docs->lines[docs->nlines].key = strdup(key);
    docs->nlines += docs->lines[docs->nlines].key != NULL;
}

/* ---- scalars ----------------------------------------------------------------------------------- */

static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0)
            return true;
    return false;
}

static bool looks_real(const char *text)
{
    const char *at = text + (*text == '-' || *text == '+');
    bool digit = false, special = false;

    for (; *at; at++) {
        digit |= isdigit((unsigned char)*at) != 0;
        special |= strchr(".eE", *at) != NULL;
        if (!isdigit((unsigned char)*at) && !strchr(".eE+-", *at))
            return false;
    }
    return digit && special;
}

static json_t *plain_scalar(const char *text, size_t len)
{
    static const char *const nulls[] = {"", "~", "null", NULL};
    static const char *const trues[] = {"true", "yes", "on", NULL};
    static const char *const falses[] = {"false", "no", "off", NULL};
    int64_t integer;
    double real;
    char *end;

    if (one_of(text, nulls))
        return json_null();
    if (one_of(text, trues))
        return json_true();
    if (one_of(text, falses))
        return json_false();
    if (!(text[0] == '0' && len > 1) && parse_i64(text, len, INT64_MIN, INT64_MAX, &integer) == 0)
        return json_integer(integer);
    if (looks_real(text)) {
        real = strtod(text, &end);
        if (*end == '\0' && real - real == 0)
            return json_real(real);
    }
    return json_stringn(text, len);
}

/* ---- documents ---------------------------------------------------------------------------------- */

static int fail_at(struct reader *reader, const yaml_mark_t *mark, const char *what)
{
    return err_set(reader->err, -EINVAL, "%s:%zu:%zu: %s", reader->name, mark->line + 1,
                   mark->column + 1, what);
}

static int next_event(struct reader *reader, yaml_event_t *ret)
{
    if (yaml_parser_parse(&reader->parser, ret))
        return 0;
    return fail_at(reader, &reader->parser.problem_mark,
                   reader->parser.problem ? reader->parser.problem : "not YAML");
}

static int read_value(struct reader *reader, yaml_event_t *event, unsigned depth, json_t **ret);

static int read_sequence(struct reader *reader, unsigned depth, json_t **ret)
{
    json_t *array = json_array();
    yaml_event_t event;

    for (;;) {
        json_t *item = NULL;
        bool end;
        int r = next_event(reader, &event);

        if (r < 0) {
            json_decref(array);
            return r;
        }
        end = event.type == YAML_SEQUENCE_END_EVENT;
        r = end ? 0 : read_value(reader, &event, depth, &item);
        yaml_event_delete(&event);
        if (r < 0) {
            json_decref(array);
            return r;
        }
        if (end)
            break;
        json_array_append_new(array, item);
    }
    *ret = array;
    return 0;
}

static int read_pair(struct reader *reader, const yaml_event_t *key, json_t *object, unsigned depth)
{
    const char *name = (const char *)key->data.scalar.value;
    yaml_event_t event;
    json_t *value;
    int r;

    if (key->type != YAML_SCALAR_EVENT)
        return fail_at(reader, &key->start_mark, "a key must be text");
    if (strlen(name) != key->data.scalar.length)
        return fail_at(reader, &key->start_mark, "a key holds a NUL byte");
    if (json_object_get(object, name))
        return fail_at(reader, &key->start_mark, "this key stands twice");
    r = next_event(reader, &event);
    if (r < 0)
        return r;
    r = read_value(reader, &event, depth, &value);
    yaml_event_delete(&event);
    if (r < 0)
        return r;
    add_line(reader->docs, object, name, key->start_mark.line);
    return json_object_set_new(object, name, value) < 0
               ? fail_at(reader, &key->start_mark, "not UTF-8 text")
               : 0;
}

static int read_mapping(struct reader *reader, unsigned depth, json_t **ret)
{
    json_t *object = json_object();
    yaml_event_t event;

    for (;;) {
        bool end;
        int r = next_event(reader, &event);

        if (r < 0) {
            json_decref(object);
            return r;
        }
        end = event.type == YAML_MAPPING_END_EVENT;
        r = end ? 0 : read_pair(reader, &event, object, depth);
        yaml_event_delete(&event);
        if (r < 0) {
            json_decref(object);
            return r;
        }
        if (end)
            break;
    }
    *ret = object;
    return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    json_t *value = NULL;

    if (event->data.scalar.anchor)
        return fail_at(reader, &event->start_mark, "anchors are not supported");
    if (strlen(text) == len)
        value = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(text, len)
                                                                     : json_stringn(text, len);
    if (!value)
        return fail_at(reader, &event->start_mark, "not UTF-8 text without NUL");
    *ret = value;
    return 0;
}

static int read_value(struct reader *reader, yaml_event_t *event, unsigned depth, json_t **ret)
{
    if (depth == DEPTH_MAX)
        return fail_at(reader, &event->start_mark, "nested too deeply");
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event, ret);
    case YAML_SEQUENCE_START_EVENT:
        return read_sequence(reader, depth + 1, ret);
    case YAML_MAPPING_START_EVENT:
        return read_mapping(reader, depth + 1, ret);
    default:
        return fail_at(reader, &event->start_mark, "anchors and aliases are not supported");
    }
}

static int read_stream(struct reader *reader, size_t max_docs)
{
    for (;;) {
        yaml_event_t event;
        yaml_event_type_t type;
        json_t *value = NULL;
        int r = next_event(reader, &event);

        if (r < 0)
            return r;
        type = event.type;
        if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
            type == YAML_MAPPING_START_EVENT || type == YAML_ALIAS_EVENT)
            r = read_value(reader, &event, 0, &value);
        yaml_event_delete(&event);
        if (r == 0 && value && json_is_null(value))
            json_decref(value); /* an empty document */
        else if (r == 0 && value)
            r = add_doc(reader->docs, value, max_docs);
        if (r < 0)
            return r == -E2BIG ? err_set(reader->err, r, "%s: more than %zu documents",
                                         reader->name, max_docs)
                               : r;
        if (type == YAML_STREAM_END_EVENT)
            return 0;
    }
}

static int load_json(const char *name, const char *text, size_t len, size_t max_docs,
                     struct yaml_docs *docs, struct err *err)
{
    size_t at = 0;

    for (;;) {
        json_error_t error;
        json_t *value;
        int r;

        while (at < len && isspace((unsigned char)text[at]))
            at++;
        if (at == len)
            return 0;
        value = json_loadb(text + at, len - at, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK,
                           &error);
        if (!value)
            return err_set(err, -EINVAL, "%s:%d:%d: %s", name, error.line, error.column,
                           error.text);
        at += (size_t)error.position;
        r = add_doc(docs, value, max_docs);
        if (r < 0)
            return err_set(err, r, "%s: more than %zu documents", name, max_docs);
    }
}

int yaml_load(const char *name, const char *text, size_t len, size_t max_docs,
              struct yaml_docs *ret_docs, struct err *err)
{
    struct yaml_docs docs = {0};
    struct reader reader = {.name = name, .docs = &docs, .err = err};
    size_t first = 0;
    int r;

    while (first < len && isspace((unsigned char)text[first]))
        first++;
    if (first < len && (text[first] == '{' || text[first] == '[')) {
        r = load_json(name, text, len, max_docs, &docs, err);
    } else {
        if (!yaml_parser_initialize(&reader.parser))
            return -ENOMEM;
        yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
        r = read_stream(&reader, max_docs);
        yaml_parser_delete(&reader.parser);
    }
    if (r < 0)
        yaml_docs_release(&docs);
    else
        *ret_docs = docs;
    return r;
}
