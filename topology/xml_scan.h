/*
 * xml_scan.h - a first pass over XML from outside, before hwloc or expat sees it. Refuses, with file and line,
 * what is not well-formed or what only an attack would hold: entity declarations, depth, sizes and counts
 * beyond any machine's. One pass, no allocation; pure.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

#define XML_BYTES_MAX (16 << 20)
#define XML_DEPTH_MAX 64
#define XML_ELEMENTS_MAX 200000
#define XML_ATTRIBUTES_MAX 64 /* of one element */
#define XML_VALUE_MAX (64 << 10)

/* A piece of the text; nothing is decoded. */
struct xml_piece {
    const char *at;
    size_t len;
};

/*
 * What is wanted of a scan: called for every attribute (of elements without any: once, with an empty one). A negative
 * answer ends the scan and is returned; it then has set err.
 */
struct xml_visitor {
    int (*attribute)(void *context, unsigned line, struct xml_piece element, struct xml_piece attribute,
                     struct xml_piece value, struct err *err);
    void *context;
};

/* visitor may be NULL. ret_root (may be NULL): the name of the root element. -EINVAL. */
int xml_scan(const char *name, const char *text, size_t len, const struct xml_visitor *visitor,
             struct xml_piece *ret_root, struct err *err);

int xml_piece_is(struct xml_piece piece, const char *text);
