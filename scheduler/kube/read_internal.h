/* read_internal.h - helpers that the readers share. */
#pragma once

#include "scheduler/kube/read.h"

/* One object being read: its name goes into every message. */
struct reading {
    const char *kind, *ns, *name;
    const char *within; /* goes before each field: "spec.template." or "" */
    struct err *err;
};

int read__begin(struct reading *reading, const json_t *object, const char *kind, struct err *err);
int read__bad(const struct reading *reading, const char *field, const json_t *found,
              const char *expected);

/*
 * Members by the path that messages name, such as "spec.priority": its last part is the key in parent.
 * Text: absent or null gives "". Copies, shared with other objects (base/intern.h) or, unique, their own.
 */
int read__text(const struct reading *reading, const json_t *parent, const char *field, char **ret);
int read__unique(const struct reading *reading, const json_t *parent, const char *field, char **ret);
int read__int(const struct reading *reading, const json_t *parent, const char *field, int64_t missing,
              int64_t min, int64_t max, int64_t *ret);
/* metadata.labels or .annotations: a value that is not text is named, not passed over. */
int read__check_texts(const struct reading *reading, const json_t *meta, const char *field);
bool read__flag(const json_t *parent, const char *field); /* absent: false */
int read__time(const struct reading *reading, const json_t *parent, const char *field, int64_t *ret);
int read__labels(const struct reading *reading, const json_t *map, const char *field,
                 struct labels *ret);
/* Text member of a map of labels or annotations, NULL: absent. Borrowed. */
const char *read__entry(const json_t *map, const char *key);
char *read__copy(const char *text); /* shared; NULL reads as "" */

/* A resource list; cpu in thousandths. */
int read__amounts(const struct reading *reading, const json_t *map, const char *field,
                  struct amounts *ret);
int64_t amounts__get(const struct amounts *amounts, const char *resource, bool *ret_found);
int amounts__set(struct amounts *amounts, const char *resource, int64_t value);
int amounts__add(struct amounts *sum, const struct amounts *more);
int amounts__max(struct amounts *sum, const struct amounts *other);

/* The object is a pod or a pod template; a template has no status. */
int read__requests(const struct reading *reading, const json_t *object, struct amounts *ret);
/* How many CPUs the container with devices that has most is to have alone; 0: none. Of a spec that was read. */
int32_t read__own_cpus(const struct reading *reading, const json_t *spec);
int read__shape(const struct reading *reading, const json_t *object, struct pod_shape *ret);
/* obj_pod.waiting and .stuck, of a pod that is bound and Pending. */
int read__waiting(const json_t *spec, const json_t *status, char **ret_waiting, bool *ret_stuck);
/* From an object's metadata. On failure too the caller owns what ret holds. */
int read__wish(const struct reading *reading, const json_t *meta, struct gang_wish *ret);
void read__wish_free(struct gang_wish *wish);
/* A pod or a pod template: metadata may be absent in a template. */
int read__pod_body(const struct reading *reading, const json_t *object, struct obj_pod *pod);
