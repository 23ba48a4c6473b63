/*
 * json_scan.h - walks one large JSON object without building it: for extender requests, where a list
 * of 15,000 node names would cost milliseconds as objects.
 *
 *   struct json_scan scan;
 *   json_scan_init(&scan, bytes, len);
 *   json_scan_enter(&scan, '{');
 *   while ((r = json_scan_key(&scan, &key)) > 0) { json_scan_value(&scan, &span) ... }
 *   json_scan_end(&scan);
 *
 * Strict: UTF-8, no control characters in strings, no lone surrogates, no \u0000, no trailing bytes,
 * nesting at most 64. Whatever jansson refuses is refused here, but for keys repeated inside skipped
 * values. Spans point into the input, which the caller keeps. Errors: -EINVAL, scan.at is where.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JSON_SCAN_DEPTH_MAX 64

struct json_scan {
    const char *text;
    size_t len, at;
    bool first; /* no member of the innermost entered value was read yet */
};

struct json_span {
    const char *text;
    size_t len;
};

void json_scan_init(struct json_scan *scan, const char *text, size_t len);
int json_scan_enter(struct json_scan *scan, char open); /* '{' or '[' */
/* The next key of the entered object, raw (escapes kept): 1; 0: the object ended. */
int json_scan_key(struct json_scan *scan, struct json_span *ret_key);
/* 1: the entered array has another item, which is to be read; 0: it ended. */
int json_scan_item(struct json_scan *scan);
/* Skips and checks one value; the span covers it whole. */
int json_scan_value(struct json_scan *scan, struct json_span *ret_value);
/* A string value without its quotes; *ret_escaped: it holds escapes (json_scan_unescape). */
int json_scan_string(struct json_scan *scan, struct json_span *ret_text, bool *ret_escaped);
int json_scan_end(struct json_scan *scan); /* only white space may follow */

bool json_span_is(struct json_span span, const char *text);

/* Decodes a raw string into a buffer of `size`, NUL-terminated; -E2BIG, -EINVAL. */
int json_scan_unescape(struct json_span raw, char *ret, size_t size);

/* The text at a path of object keys ("metadata", "uid", NULL) inside an object: 1 found, 0 not. */
int json_scan_path(struct json_span object, const char *const *path, char *ret, size_t size);
