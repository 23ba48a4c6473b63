/*
 * child_wire.h - the records between a parent and the ranks in its child processes. Pure: bytes to
 * values and back.
 *
 * A record is its type and the length of what follows (u32 each), then the fields in a fixed order,
 * in the machine's byte order: both ends are programs of one build on one machine, and WIRE_VERSION
 * in OPEN says that they are. Each type has its greatest length; counts, names and numbers are
 * checked as if a stranger had sent them, for a child's memory may be broken by what it loaded.
 * -EPROTO with a message; nothing is returned then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "collective/child.h"

#define WIRE_VERSION 1
#define WIRE_HEAD 8
#define WIRE_LIBRARY_MAX 4096
#define WIRE_NAME_MAX 64
#define WIRE_RECORD_MAX                                                                            \
    (WIRE_HEAD + 16 + (size_t)BACKEND_RANKS_MAX * (BACKEND_ADDRESS_MAX + 2)) /* CONNECT */

enum wire_type {
    WIRE_OPEN = 1, /* to the child */
    WIRE_CONNECT,
    WIRE_RUN,
    WIRE_PAIRS,
    WIRE_CLOSE,
    WIRE_OPENED = 17, /* from the child: the kinds of child_event, CHILD_OPENED first */
    WIRE_CONNECTED,
    WIRE_RESULT,
    WIRE_TIMES,
    WIRE_PROGRESS,
    WIRE_FAILED
};

struct wire_record {
    enum wire_type type;
    const uint8_t *bytes; /* into the buffer that was looked at */
    size_t len;
};

/*
 * The first record of a buffer. 1: whole, *ret_used bytes; 0: not all of it came; -EPROTO: it is
 * none.
 */
int wire_next(const void *bytes, size_t len, bool to_child, struct wire_record *ret,
              size_t *ret_used, struct err *err);

/* ---- to the child ------------------------------------------------------------------ */

struct wire_open {
    struct backend_options options; /* host and library point into this struct */
    char backend[WIRE_NAME_MAX], host[WIRE_NAME_MAX], library[WIRE_LIBRARY_MAX];
};

/* -E2BIG, and the buffer is marked as failed, when a text is too long. */
int wire_put_open(struct strbuf *out, const char *backend, const struct backend_options *options);
int wire_put_connect(struct strbuf *out, const struct backend_address *addresses, unsigned ranks,
                     uint64_t deadline_ns);
int wire_put_run(struct strbuf *out, const struct measure_plan *plan, uint64_t deadline_ns);
int wire_put_pairs(struct strbuf *out, const struct measure_pairs *pairs, uint64_t deadline_ns);
int wire_put_close(struct strbuf *out);

int wire_get_open(const struct wire_record *record, struct wire_open *ret, struct err *err);
/* addresses[ranks] are filled; another number of them than `ranks` is refused. */
int wire_get_connect(const struct wire_record *record, unsigned ranks,
                     struct backend_address *addresses, uint64_t *ret_deadline_ns, struct err *err);
int wire_get_run(const struct wire_record *record, unsigned ranks, struct measure_plan *ret,
                 uint64_t *ret_deadline_ns, struct err *err);
/* The caller frees ret->peers. */
int wire_get_pairs(const struct wire_record *record, unsigned ranks, struct measure_pairs *ret,
                   uint64_t *ret_deadline_ns, struct err *err);

/* ---- from the child: kind says which fields of the event stand in the record ------- */

int wire_put_event(struct strbuf *out,
                   const struct child_event *event); /* CHILD_OPENED to CHILD_FAILED */
int wire_get_event(const struct wire_record *record, struct child_event *ret, struct err *err);

/* Text of unknown origin into UTF-8 without control characters: what is not, becomes '?'. */
void wire_clean_text(const char *text, size_t len, char *ret, size_t size);
