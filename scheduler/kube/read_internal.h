/* read_internal.h - helpers that the readers share. */
#pragma once

#include "scheduler/kube/read.h"

/* One object being read: its name goes into every message. */
struct reading {
    const char *kind, *ns, *name;
    struct err *err;
};

int read__begin(struct reading *reading, const json_t *object, const char *kind, struct err *err);
int read__bad(const struct reading *reading, const char *field, const json_t *found,
              const char *expected);

/* A member that is text; absent or null gives "". Copies. */
int read__text(const struct reading *reading, const json_t *parent, const char *field, char **ret);
int read__int(const struct reading *reading, const json_t *parent, const char *field, int64_t missing,
              int64_t min, int64_t max, int64_t *ret);
bool read__flag(const json_t *parent, const char *field); /* absent: false */
int read__time(const struct reading *reading, const json_t *parent, const char *field, int64_t *ret);
int read__labels(const struct reading *reading, const json_t *map, const char *field,
                 struct labels *ret);
/* Text member of a map of labels or annotations, NULL: absent. Borrowed. */
const char *read__entry(const json_t *map, const char *key);
char *read__copy(const char *text); /* NULL reads as "" */

/* A resource list; cpu in thousandths. */
int read__amounts(const struct reading *reading, const json_t *map, const char *field,
                  struct amounts *ret);
int64_t amounts__get(const struct amounts *amounts, const char *resource, bool *ret_found);
int amounts__set(struct amounts *amounts, const char *resource, int64_t value);
int amounts__add(struct amounts *sum, const struct amounts *more);
int amounts__max(struct amounts *sum, const struct amounts *other);

int read__shape(const struct reading *reading, const json_t *spec, struct pod_shape *ret);
int read__wish(const struct reading *reading, const json_t *labels, const json_t *annotations,
               struct gang_wish *ret);
/* A pod or a pod template: metadata may be absent in a template. */
int read__pod_body(const struct reading *reading, const json_t *object, struct obj_pod *pod);
