/* trace_internal.h - module-internal: what the readers of CSV and YAML traces share. */
#pragma once

#include <stdbool.h>

#include "base/hashmap.h"
#include "base/yaml.h"
#include "scheduler/simulate/trace_file.h"

#define TRACE_COLUMNS_MAX 16

struct trace_reading {
    const char *file; /* for messages */
    const struct trace_levels *levels;
    struct trace_file *trace;
    struct hashmap names; /* of the gangs so far */
    int64_t seconds; /* all durations */
    struct err *err;
};

/* The index of a column, -1: there is none of that name. */
int trace__column(const char *name, size_t len);
size_t trace__columns(void);
const char *trace__column_name(size_t column);
const char *trace__nearest_column(const char *name); /* NULL: none is near */

/* A row in the making: where it stands and which columns it has so far. */
struct trace_row {
    struct trace_gang gang;
    unsigned line; /* CSV; 0: each key of `entry` has its own, searched only for a message */
    const struct yaml_docs *docs;
    const json_t *entry;
    bool seen[TRACE_COLUMNS_MAX];
};
void trace__row_init(struct trace_row *row);
int trace__set(struct trace_reading *reading, struct trace_row *row, size_t column, const char *text,
               size_t len);
/* Checks that it is whole and moves its gang into the trace. */
int trace__row_take(struct trace_reading *reading, struct trace_row *row);

int trace__read_csv(struct trace_reading *reading, const char *text, size_t len);
int trace__read_yaml(struct trace_reading *reading, const char *text, size_t len);
