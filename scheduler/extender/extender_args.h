/*
 * extender_args.h - the bodies that kube-scheduler posts, as spans into the request.
 *
 * Nothing is copied but the pod's identity; node names are walked where they stand. Errors (-EINVAL)
 * name the field and what was expected.
 */
#pragma once

#include "base/err.h"
#include "base/json_scan.h"

#define ARGS_TEXT 256

struct pod_identity {
    char ns[ARGS_TEXT], name[ARGS_TEXT], uid[ARGS_TEXT];
};

struct filter_args {
    struct pod_identity pod;
    struct json_span names; /* the array NodeNames */
};
int filter_args_read(const char *body, size_t len, struct filter_args *ret, struct err *err);

/* Walks NodeNames: 1 with the name (raw bytes, no escapes in a valid node name), 0 at the end. */
struct name_walk {
    struct json_scan scan;
};
void name_walk_begin(struct name_walk *walk, struct json_span names);
int name_walk_next(struct name_walk *walk, struct json_span *ret_name);

struct bind_args {
    struct pod_identity pod;
    char node[ARGS_TEXT];
};
int bind_args_read(const char *body, size_t len, struct bind_args *ret, struct err *err);
