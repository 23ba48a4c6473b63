/* load_internal.h - what the loaders of a cluster (load.c) and of a gang (load_gang.c) share. */
#pragma once

#include "base/strbuf.h"
#include "base/yaml.h"
#include "scheduler/cli/cli.h"

#define FILE_MAX ((size_t)1 << 30)
#define DOCS_MAX 1000000

typedef int object_fn(void *context, const char *kind, json_t *object, struct err *err);

/* The file's bytes, and what messages call it. */
int load_text(const char *path, struct strbuf *ret_text, const char **ret_name, struct err *err);
/* Calls fn for each object; a List's items take its place. */
int each_object(const char *name, const struct yaml_docs *docs, object_fn *fn, void *context,
                struct err *err);

/* An object_fn whose context is a loader. */
int load_object(void *context, const char *kind, json_t *object, struct err *err);
int give_object(struct loader *loader, struct event event, int r); /* to the core, unless r is an error */

int set_text(char **field, const char *text); /* of an object: the old text is freed */
/* A pod of a manifest has no UID yet: its name stands in. */
int give_uid(struct obj_pod *pod);
