/*
 * trace.h - a file of everything the core was given and everything it wanted, in order.
 *
 * A trace replays: the same events at the same times give the same actions (tests/replay). Lines of
 * JSON, each ends with a line feed and has at most TRACE_LINE_MAX bytes:
 *
 *   {"trace":1,"program":"...","host":"...","epoch_s":N,"began":N,"config":{...}}
 *                                                                         a process began: a new core
 *   {"step":"vote","now":N,"ticket":N,"uid":"...","name":"..."}           core_step()
 *   {"settle":N}                                                          core_settle() at now = N
 *   {"act":"bind","ns":"...","name":"...",...}                            what the call above wanted
 *   {"end":"..."}                                                         the recording ended in order
 *
 * `now` and `settle` are nanoseconds of the core's clock. Kinds are the names of event.h; fields that
 * are "", 0 or the first of their enum are left out. A body of more than TRACE_BODY_MAX bytes stands
 * there as its length and SHA-256. The configuration has the form of lockstep.yaml and only what the
 * core reads of it. A process that was killed leaves no end line, its last call may lack actions and
 * its last line may be torn: the reader takes that before a header line and at the end of the file.
 *
 * What an operator hands out with a trace: names of nodes, namespaces, pods, Jobs and gangs; labels,
 * taints and capacity of nodes; requests, selectors and tolerations of pods, names of their containers
 * and for which reason they wait; messages of the scheduler and of the API server. Objects are recorded as JSON with only what scheduler/kube/read.h reads of
 * them (trace_mask.c is the list): no environment, command, image, volume or annotation of a workload,
 * but for lockstep's own and the index of a Job's pod.
 *
 * No function here does I/O but trace_reader_*; recording.h writes the file. One thread per object.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "scheduler/model/config.h"
#include "scheduler/model/event.h"

#define TRACE_VERSION 1
/* A watch event has at most 8 MiB (watch_lines.h), and what is recorded of it is less. */
#define TRACE_LINE_MAX ((size_t)16 << 20)
#define TRACE_BODY_MAX 4096

/* ---- writing: each appends one line ----------------------------------------------------------- */

struct trace_header {
    char program[64]; /* "lockstep-extender 0.1.0" */
    char host[NAME_TEXT]; /* core_set_host() */
    int64_t epoch_s; /* core_set_epoch() */
    int64_t began_ns; /* core_set_predecessor() */
    struct config config; /* the reader's: owned; the writer's: borrowed */
};

void trace_add_header(struct strbuf *out, const struct trace_header *header);
/* object: of an event that has one, its JSON by trace_mask_text(). EV_GROUP: group_kind is set too. */
void trace_add_step(struct strbuf *out, const struct event *event, const char *object,
                    int64_t now_ns);
void trace_add_settle(struct strbuf *out, int64_t now_ns);
void trace_add_action(struct strbuf *out, const struct action *action);
void trace_add_end(struct strbuf *out, const char *why);

/* What the readers read of each kind of object; immutable, any thread. */
struct trace_mask;
struct trace_mask *trace_mask_new(void); /* NULL: no memory */
void trace_mask_free(struct trace_mask *mask);
/* The object without all else, as JSON in one line; the caller frees. NULL: no memory. */
char *trace_mask_text(const struct trace_mask *mask, enum event_kind kind, const json_t *object);

/* ---- reading ------------------------------------------------------------------------------------ */

enum trace_line_kind { TRACE_HEADER, TRACE_STEP, TRACE_SETTLE, TRACE_ACTION, TRACE_END };

struct trace_line {
    enum trace_line_kind kind;
    struct trace_header header;
    int64_t now_ns; /* step and settle */
    struct event event; /* with its object, made by the readers of scheduler/kube */
    json_t *action;
};

/* 0, -EINVAL, -ENOMEM; on failure nothing is owned. -EBADMSG: not even JSON, so it may be torn. */
int trace_line_read(const char *text, size_t len, struct trace_line *ret, struct err *err);
void trace_line_release(struct trace_line *line); /* what was moved out must have been zeroed */

struct trace_reader;
/* name: for messages, which begin with "name:line: ". Takes the file over, on failure too. */
struct trace_reader *trace_reader_new(FILE *file, const char *name); /* NULL: no memory */
void trace_reader_free(struct trace_reader *reader);
/* 1: a line; 0: the end; negative: err says where and why. *ret holds nothing before. */
int trace_reader_next(struct trace_reader *reader, struct trace_line *ret, struct err *err);
uint64_t trace_reader_line(const struct trace_reader *reader); /* the number of the last one */
uint64_t trace_reader_torn(const struct trace_reader *reader); /* torn lines passed over */
