/*
 * kube_kinds.h - the kinds of objects that lockstep reads: where the API serves them, what they mean to the core.
 */
#pragma once

#include "scheduler/model/event.h"

#define KUBE_KINDS 8

struct kube_kind {
    const char *paths[4]; /* the versions of its API, newest first, and NULL */
    enum event_kind upsert, gone;
    enum group_kind group_kind;
};
extern const struct kube_kind kube_kinds[KUBE_KINDS];
