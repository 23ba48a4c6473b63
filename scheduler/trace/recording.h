/*
 * recording.h - writes a trace (trace.h) while the core runs.
 *
 * recording_open() appends to the file, so that a process that begins anew goes on in it with a header
 * of its own; a lock keeps two processes apart. The stepping thread then tells each call of the core and
 * what it wanted, and recording_flush() writes it: before the actions are carried out, so that all that
 * ever reached the API server stands in the trace of a process that was killed. Memory: what is told
 * between two flushes. The file never grows beyond the limit, and is readable for its owner alone.
 *
 * recording_object() and recording_on() may be called by any thread, the rest by one at a time.
 */
#pragma once

#include "scheduler/trace/trace.h"

/*
 * Some days of a busy cluster: a bound pod takes about 10 KiB (five versions of it, its vote, its
 * writes), a silent cluster 3 MiB a day; and a disk that holds logs has room for this much more.
 */
#define RECORDING_MAX_BYTES ((uint64_t)2 << 30)

struct recording;

/* max_bytes: the size that the file may reach; RECORDING_MAX_BYTES but in tests. */
int recording_open(const char *path, const struct trace_header *header, uint64_t max_bytes,
                   struct recording **ret, struct err *err);
void recording_close(struct recording *recording, const char *why); /* takes NULL */

bool recording_on(const struct recording *recording); /* false: it has ended, or is NULL */
/* What recording_step() takes for an event with this object; NULL: not recording, or no memory. */
char *recording_object(const struct recording *recording, enum event_kind kind,
                       const json_t *object);

void recording_step(struct recording *recording, const struct event *event, const char *object,
                    int64_t now_ns);
void recording_settle(struct recording *recording, int64_t now_ns);
/* What the last of the two calls above wanted: the actions from `from` to before `to`. */
void recording_actions(struct recording *recording, const struct actions *actions, size_t from,
                       size_t to);
/* Negative once, when the recording ends by itself; err says why. Nothing is recorded from then on. */
int recording_flush(struct recording *recording, struct err *err);
