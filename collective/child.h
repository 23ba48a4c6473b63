/*
 * child.h - the parent's side of a rank that runs in a child process (rank.h).
 *
 * Nothing here waits, but for child_free(): the owner polls what child_pollfds() says until its own
 * deadline, and takes events with child_next() until there is none. What a child sends is bounded
 * and checked; one that sends anything else is killed, and that is a FAILED event with -EPROTO. The
 * end of a child, whatever its reason, is one ENDED event, the last; no child is left as a zombie,
 * and no descriptor after child_free().
 *
 * The thread that starts a child must live as long as the child (PR_SET_PDEATHSIG looks at threads,
 * prctl(2)). Children are made by posix_spawn: fork without exec is not safe beside gRPC. One
 * thread per child.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "collective/backend.h"
#include "collective/measure.h"

#define CHILD_TEXT_MAX 480 /* of a message, or of the tail of stderr that is shown */
#define CHILD_POLLFDS 3

struct child;

struct child_options {
    /* NULL-terminated; argv[0] is a path. The parent's pid is added as last argument. */
    const char *const *argv;
    uint64_t grace_ns; /* between SIGTERM and SIGKILL; 0: 500 ms */
};

enum child_phase { CHILD_OPENING, CHILD_CONNECTING, CHILD_RUNNING, CHILD_CLOSING, CHILD_PHASES };
const char *child_phase_name(enum child_phase phase); /* "open", "connect", "run", "close" */

enum child_event_kind {
    CHILD_OPENED, /* info, address */
    CHILD_CONNECTED,
    CHILD_RESULT, /* result */
    CHILD_PAIRS, /* seconds, n_seconds */
    CHILD_PROGRESS, /* phase, bytes, iterations */
    CHILD_FAILED, /* phase, error, text */
    CHILD_ENDED, /* text: how; error: 0 when it ended well, as it was told to */
    CHILD_EVENT_KINDS
};

struct child_event {
    enum child_event_kind kind;
    enum child_phase phase;
    int error; /* negative errno */
    char text[CHILD_TEXT_MAX]; /* UTF-8, no control characters; with the tail of its stderr */
    struct backend_info info;
    struct backend_address address;
    struct measure_result result;
    double seconds[MEASURE_ROUNDS_MAX];
    unsigned n_seconds;
    uint64_t bytes;
    unsigned iterations;
};

int child_start(const struct child_options *options, struct child **ret_child, struct err *err);
/*
 * Ends it if it did not end (SIGTERM, the grace, SIGKILL: child_stop() before, for many at once),
 * reaps it, frees.
 */
void child_free(struct child *child);

/*
 * Orders; they are queued, and sent as the child takes them. -EPIPE: it is gone; -E2BIG, -EINVAL:
 * out of bounds.
 */
int child_open(struct child *child, const char *backend, const struct backend_options *options,
               struct err *err);
int child_connect(struct child *child, const struct backend_address *addresses, unsigned ranks,
                  uint64_t deadline_ns, struct err *err);
int child_run(struct child *child, const struct measure_plan *plan, uint64_t deadline_ns,
              struct err *err);
int child_pairs(struct child *child, const struct measure_pairs *pairs, uint64_t deadline_ns,
                struct err *err);
int child_close(struct child *child, struct err *err);

/* SIGTERM now; SIGKILL by child_next() or child_free() when the grace is over. Never waits. */
void child_stop(struct child *child);
void child_kill(struct child *child); /* SIGKILL now */

/*
 * Descriptors to poll, CHILD_POLLFDS of them (-1: none), and until when at most (UINT64_MAX: no
 * limit).
 */
void child_pollfds(const struct child *child, struct pollfd fds[CHILD_POLLFDS]);
uint64_t child_wake_ns(const struct child *child);
/* Reads, writes, reaps, without waiting. 1: *ret_event is the next event; 0: none now. */
int child_next(struct child *child, struct child_event *ret_event);

pid_t child_pid(const struct child *child);
bool child_ended(const struct child *child); /* reaped; its ENDED event may still be to come */
