/*
 * read.h - Kubernetes objects as JSON to the values of scheduler/model/objects.h.
 *
 * The only place that knows the API's field names. Each reader takes one object as the API server,
 * kubectl -o json or a manifest gives it, and returns a new value; on failure the message names
 * object, field, what was found and what was expected. Fields that are absent take the API's
 * defaults; sizes are limited (objects.h). Pure; any thread. A field that is read anew is added to
 * what traces keep: scheduler/trace/trace_mask.c.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "scheduler/model/event.h"

int read_pod(const json_t *object, struct obj_pod **ret, struct err *err);
int read_node(const json_t *object, struct obj_node **ret, struct err *err);
int read_machine(const json_t *object, struct obj_machine **ret, struct err *err); /* NodeTopology */
int read_job(const json_t *object, struct obj_job **ret, struct err *err);
int read_group(const json_t *object, struct obj_group **ret, struct err *err); /* both PodGroups */
int read_namespace(const json_t *object, struct obj_namespace **ret, struct err *err);
int read_placement(const json_t *object, struct obj_placement **ret, struct err *err);
int read_lease(const json_t *object, struct obj_lease **ret, struct err *err);

/* The object of an event with event_has_object(), by its kind and, for a PodGroup, its group_kind. */
int read_event(const json_t *object, struct event *event, struct err *err);
