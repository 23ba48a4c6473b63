/*
 * yaml.h - YAML and JSON text to jansson values, by Kubernetes' rules.
 *
 * A stream gives one value per document. Plain scalars become null, bool, integer or real as
 * YAML 1.1 readers of Kubernetes take them (yes/no/on/off are booleans); quoted ones stay text.
 * Duplicate keys, anchors, aliases, tags and nesting beyond 64 are refused with line and column.
 * Text that begins with { or [ is read as JSON (several documents may follow each other).
 * The lines of keys are kept for error messages.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

struct yaml_docs {
    json_t **items;
    size_t n, size;
    struct yaml_line *lines; /* private */
    size_t nlines, lines_size;
};

/* `name` is the file's, for messages. -EINVAL, -ENOMEM, -E2BIG (more than max_docs). */
int yaml_load(const char *name, const char *text, size_t len, size_t max_docs,
              struct yaml_docs *ret_docs, struct err *err);
void yaml_docs_release(struct yaml_docs *docs);

/* The line where `key` of this object stands, 0: not known (JSON, or made otherwise). */
unsigned yaml_line(const struct yaml_docs *docs, const json_t *object, const char *key);
