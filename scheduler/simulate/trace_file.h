/*
 * trace_file.h - a trace: which gangs are submitted when, what each takes and for how long.
 *
 * CSV with a header line that names the columns, in any order, or YAML (or JSON) with a list under
 * `gangs:` whose entries have the same keys:
 *
 *   name        a DNS name of at most 63 bytes; each once
 *   submit_s    when it is submitted: whole seconds since the trace's beginning
 *   duration_s  how long it runs once all its pods have started: whole seconds
 *   pods, gpus  how many pods, and accelerators per pod
 *   priority    optional, default 0; higher goes first
 *   required, preferred  optional: a level's name, as in annotation lockstep.dev/topology
 *
 * CSV is plain: a field has no quotes and no comma, blanks around it do not count; empty lines and lines
 * that begin with # are skipped. Reading is strict: what is unknown, missing or out of range is an error
 * that names file, line and column, what was found and what was expected.
 *
 * The struct owns its texts; immutable after loading. Any thread, one owner.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TRACE_GANGS_MAX 1000000
#define TRACE_SECONDS_MAX INT64_C(1000000000) /* of one time; some 31 years */
#define TRACE_TOTAL_SECONDS_MAX INT64_C(8000000000) /* all after one another, so that nanoseconds suffice */
#define TRACE_NAME_MAX 63 /* bytes: it stands in a label */
#define TRACE_GPUS_MAX 1024

struct trace_gang {
    char *name;
    int64_t submit_s, duration_s;
    int64_t pods, gpus, priority;
    int required_level, preferred_level; /* plan.h's indices, -1: none */
};
struct trace_file {
    struct trace_gang *gangs; /* in order of submission, then by name */
    size_t n, size;
};

/* The cluster's levels, outermost first; `node` and `nvlink-domain` may be named beside them. */
struct trace_levels {
    const char *const *names;
    uint32_t n;
};

/* "-" is standard input. -EINVAL and -E2BIG with err; on failure *ret is untouched. */
int trace_file_load(const char *path, const struct trace_levels *levels, struct trace_file *ret,
                    struct err *err);
int trace_file_parse(const char *name, const char *text, size_t len,
                     const struct trace_levels *levels, struct trace_file *ret, struct err *err);
void trace_file_release(struct trace_file *trace);
