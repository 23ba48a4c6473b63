/* Fields of a trace, whatever the format: what each may be, and what is said when it is not. */
#include "scheduler/simulate/trace_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/strbuf.h"
#include "scheduler/model/objects.h"
#include "scheduler/simulate/trace_internal.h"

#define FILE_MAX ((size_t)256 << 20)
#define FOUND_SHOWN 80
#define PRIORITY_MAX 1000000000 /* of what users may set in Kubernetes */
#define NVLINK_DOMAIN_KEY "nvidia.com/gpu.clique"

struct column {
    const char *name;
    bool needed;
    size_t at; /* offset in struct trace_gang of an int64_t; texts and levels: of theirs */
    int64_t min, max;
    const char *expected;
    int (*set)(struct trace_reading *reading, struct trace_row *row, const struct column *column,
               const char *text, size_t len);
};

/* Where the column of the row stands; where it has none, the row itself. */
static unsigned line_of(const struct trace_row *row, const char *column)
{
    unsigned line = row->docs ? yaml_line(row->docs, row->entry, column) : row->line;
    const char *key;
    json_t *value;

    if (line || !row->docs)
        return line;
    json_object_foreach((json_t *)(uintptr_t)row->entry, key, value)
        return yaml_line(row->docs, row->entry, key);
    return 0;
}

static int bad(const struct trace_reading *reading, const struct trace_row *row, const char *column,
               const char *text, size_t len, const char *expected)
{
    return err_set(reading->err, -EINVAL, "%s:%u: %s: found '%.*s', expected %s", reading->file,
                   line_of(row, column), column, (int)(len < FOUND_SHOWN ? len : FOUND_SHOWN), text,
                   expected);
}

static int set_number(struct trace_reading *reading, struct trace_row *row,
                      const struct column *column, const char *text, size_t len)
{
    int64_t *ret = (int64_t *)(void *)((char *)&row->gang + column->at);

    if (parse_i64(text, len, column->min, column->max, ret) < 0)
        return bad(reading, row, column->name, text, len, column->expected);
    return 0;
}

static int set_name(struct trace_reading *reading, struct trace_row *row,
                    const struct column *column, const char *text, size_t len)
{
    if (len == 0 || len > TRACE_NAME_MAX || !is_dns_subdomain(text, len))
        return bad(reading, row, column->name, text, len, column->expected);
    row->gang.name = strndup(text, len);
    return row->gang.name ? 0 : err_set(reading->err, -ENOMEM, "%s: out of memory", reading->file);
}

static bool is_text(const char *text, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(text, name, len) == 0;
}

static int unknown_level(const struct trace_reading *reading, const struct trace_row *row,
                         const struct column *column, const char *text, size_t len)
{
    CLEANUP(strbuf_release) struct strbuf expected = STRBUF_INIT(256);

    strbuf_adds(&expected, "a level of the cluster:");
    for (uint32_t i = 0; i < reading->levels->n; i++)
        strbuf_addf(&expected, " %s,", reading->levels->names[i]);
    strbuf_adds(&expected, " node");
    return bad(reading, row, column->name, text, len,
               expected.failed ? "a level of the cluster" : expected.data);
}

/* An empty field of an optional column says nothing. */
static int set_level(struct trace_reading *reading, struct trace_row *row,
                     const struct column *column, const char *text, size_t len)
{
    int *ret = (int *)(void *)((char *)&row->gang + column->at);
    const struct trace_levels *levels = reading->levels;
    const char *name = text;

    if (len == 0)
        return 0;
    if (is_text(text, len, "node")) {
        *ret = (int)levels->n;
        return 0;
    }
    if (is_text(text, len, "nvlink-domain")) {
        name = NVLINK_DOMAIN_KEY;
        len = strlen(name);
    }
    for (uint32_t i = 0; i < levels->n; i++)
        if (is_text(name, len, levels->names[i])) {
            *ret = (int)i;
            return 0;
        }
    return unknown_level(reading, row, column, name, len);
}

#define AT(field) offsetof(struct trace_gang, field)
static const struct column columns[] = {
    {"name", true, AT(name), 0, 0,
     "lower-case letters, digits, '-' and '.', at most 63 of them", set_name},
    {"submit_s", true, AT(submit_s), 0, TRACE_SECONDS_MAX, "whole seconds, 0 to 1000000000",
     set_number},
    {"duration_s", true, AT(duration_s), 1, TRACE_SECONDS_MAX, "whole seconds, 1 to 1000000000",
     set_number},
    {"pods", true, AT(pods), 1, OBJ_GANG_PODS_MAX, "1 to 20000", set_number},
    {"gpus", true, AT(gpus), 1, TRACE_GPUS_MAX, "accelerators per pod, 1 to 1024", set_number},
    {"priority", false, AT(priority), -PRIORITY_MAX, PRIORITY_MAX,
     "a whole number, -1000000000 to 1000000000", set_number},
    {"required", false, AT(required_level), 0, 0, "", set_level},
    {"preferred", false, AT(preferred_level), 0, 0, "", set_level},
};
#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))
_Static_assert(NCOLUMNS <= TRACE_COLUMNS_MAX, "a row notes which columns it has");

int trace__column(const char *name, size_t len)
{
    for (size_t i = 0; i < NCOLUMNS; i++)
        if (is_text(name, len, columns[i].name))
            return (int)i;
    return -1;
}

size_t trace__columns(void)
{
    return NCOLUMNS;
}

const char *trace__column_name(size_t column)
{
    return columns[column].name;
}

const char *trace__nearest_column(const char *name)
{
    const char *names[NCOLUMNS];

    for (size_t i = 0; i < NCOLUMNS; i++)
        names[i] = columns[i].name;
    return nearest_name(name, names, NCOLUMNS);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void trace__row_init(struct trace_row *row)
{
    *row = (struct trace_row){.gang = {.required_level = -1, .preferred_level = -1}};
}

int trace__set(struct trace_reading *reading, struct trace_row *row, size_t column, const char *text,
               size_t len)
{
    row->seen[column] = true;
    if (!columns[column].needed && len == 0)
        return 0;
    return columns[column].set(reading, row, &columns[column], text, len);
}

static int check_row(struct trace_reading *reading, const struct trace_row *row)
{
    const char *name = row->gang.name;

    for (size_t i = 0; i < NCOLUMNS; i++)
        if (columns[i].needed && !row->seen[i])
            return err_set(reading->err, -EINVAL, "%s:%u: %s: missing, expected %s", reading->file,
                           line_of(row, columns[i].name), columns[i].name, columns[i].expected);
    if (hashmap_get(&reading->names, name))
        return err_set(reading->err, -EINVAL, "%s:%u: name: found '%s' again, expected each once",
                       reading->file, line_of(row, "name"), name);
    reading->seconds += row->gang.duration_s;
    if (reading->seconds + row->gang.submit_s > TRACE_TOTAL_SECONDS_MAX)
        return err_set(reading->err, -E2BIG,
                       "%s:%u: duration_s: all of them add up to more than %lld seconds",
                       reading->file, line_of(row, "duration_s"),
                       (long long)TRACE_TOTAL_SECONDS_MAX);
    return 0;
}

static int grow(struct trace_reading *reading)
{
    struct trace_file *trace = reading->trace;
    size_t size = trace->size ? trace->size * 2 : 256;
    struct trace_gang *gangs;

    if (trace->n == TRACE_GANGS_MAX)
        return err_set(reading->err, -E2BIG, "%s: more than %d gangs", reading->file,
                       TRACE_GANGS_MAX);
    if (trace->n < trace->size)
        return 0;
    gangs = realloc(trace->gangs, size * sizeof(*gangs));
    if (!gangs)
        return err_set(reading->err, -ENOMEM, "%s: out of memory", reading->file);
    trace->gangs = gangs;
    trace->size = size;
    return 0;
}

int trace__row_take(struct trace_reading *reading, struct trace_row *row)
{
    int r = check_row(reading, row);

    if (r == 0)
        r = grow(reading);
    if (r == 0 && hashmap_set(&reading->names, row->gang.name, reading) < 0)
        r = err_set(reading->err, -ENOMEM, "%s: out of memory", reading->file);
    if (r < 0)
        return r;
    reading->trace->gangs[reading->trace->n++] = row->gang;
    row->gang.name = NULL; /* moved */
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int compare_gangs(const void *a, const void *b)
{
    const struct trace_gang *left = a, *right = b;

    if (left->submit_s != right->submit_s)
        return left->submit_s < right->submit_s ? -1 : 1;
    return strcmp(left->name, right->name);
}

/* JSON, a YAML document's beginning, or the key that a YAML trace consists of. */
static bool is_yaml(const char *text, size_t len)
{
    static const char *const starts[] = {"{", "---", "gangs:"};
    size_t at = 0;

    while (at < len && (text[at] == '#' || text[at] == '\n' || text[at] == '\r' || text[at] == ' ')) {
        const char *end = text[at] == '#' ? memchr(text + at, '\n', len - at) : NULL;

        at = text[at] != '#' ? at + 1 : end ? (size_t)(end - text) + 1 : len;
    }
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (len - at >= strlen(starts[i]) && memcmp(text + at, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

int trace_file_parse(const char *name, const char *text, size_t len,
                     const struct trace_levels *levels, struct trace_file *ret, struct err *err)
{
    CLEANUP(trace_file_release) struct trace_file trace = {0};
    struct trace_reading reading = {.file = name, .levels = levels, .trace = &trace, .err = err};
    int r = is_yaml(text, len) ? trace__read_yaml(&reading, text, len)
                               : trace__read_csv(&reading, text, len);

    hashmap_release(&reading.names);
    if (r == 0 && trace.n == 0)
        r = err_set(err, -EINVAL, "%s: no gangs in it", name);
    if (r < 0)
        return r;
    qsort(trace.gangs, trace.n, sizeof(*trace.gangs), compare_gangs);
    *ret = trace;
    trace = (struct trace_file){0}; /* moved */
    return 0;
}

int trace_file_load(const char *path, const struct trace_levels *levels, struct trace_file *ret,
                    struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    int r = strbuf_read_file(&text, path);

    if (r < 0)
        return err_set(err, r, "cannot read '%s': %s", name, strerror(-r));
    return trace_file_parse(name, text.data ? text.data : "", text.len, levels, ret, err);
}

void trace_file_release(struct trace_file *trace)
{
    if (!trace)
        return;
    for (size_t i = 0; i < trace->n; i++)
        free(trace->gangs[i].name);
    free(trace->gangs);
    *trace = (struct trace_file){0};
}
