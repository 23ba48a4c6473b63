/* The child's main loop: an order, its answer; after the first failure it ends. */
#include "collective/rank.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "collective/child_wire.h"

#define PROGRESS_EVERY_NS 100000000u
#define READ_AT_ONCE 65536

struct serving {
    int fd;
    struct strbuf in, out;
    size_t used; /* of the record at hand, within `in` */
    struct wire_open open;
    const struct backend *backend;
    struct backend_rank *rank;
    bool connected;
    enum child_phase phase;
    uint64_t told_ns; /* when progress was last told */
    struct child_event event; /* to be sent: too large for the stack of small threads */
    struct err err;
};

static int send_all(struct serving *serving)
{
    size_t at = 0;

    while (at < serving->out.len) {
        ssize_t n = send(serving->fd, serving->out.data + at, serving->out.len - at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -EPIPE; /* the parent is gone: nobody wants to know more */
        at += (size_t)n;
    }
    return 0;
}

static int tell(struct serving *serving, enum child_event_kind kind)
{
    serving->event.kind = kind;
    strbuf_clear(&serving->out);
    if (wire_put_event(&serving->out, &serving->event) < 0)
        return -ENOMEM;
    return send_all(serving);
}

static void tell_progress(void *context, uint64_t bytes, unsigned iterations)
{
    struct serving *serving = context;
    struct timespec now;
    uint64_t now_ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (now_ns - serving->told_ns < PROGRESS_EVERY_NS)
        return;
    serving->told_ns = now_ns;
    serving->event.phase = serving->phase;
    serving->event.bytes = bytes;
    serving->event.iterations = iterations;
    (void)tell(serving, CHILD_PROGRESS); /* a parent that is gone is found out by the answer */
}

/* ---- orders ------------------------------------------------------------------------ */

static int do_open(struct serving *serving, const struct wire_record *record)
{
    struct wire_open *open = &serving->open;
    int r = wire_get_open(record, open, &serving->err);

    if (r < 0)
        return r;
    if (serving->backend)
        return err_set(&serving->err, -EPROTO, "told to open twice");
    serving->backend = backend_find(open->backend);
    if (!serving->backend)
        return err_set(&serving->err, -ENODEV, "this program has no backend '%s'", open->backend);
    r = serving->backend->open(&open->options, &serving->rank, &serving->event.info, &serving->err);
    if (r == 0)
        r = serving->backend->address(serving->rank, &serving->event.address, &serving->err);
    return r < 0 ? r : tell(serving, CHILD_OPENED);
}

static int do_connect(struct serving *serving, const struct wire_record *record)
{
    unsigned ranks = serving->open.options.ranks;
    CLEANUP_FREE struct backend_address *addresses = NULL;
    uint64_t deadline_ns;
    int r;

    if (!serving->rank || serving->connected)
        return err_set(&serving->err, -EPROTO, "told to connect out of turn");
    addresses = cleanup_alloc(ranks * sizeof(*addresses));
    if (!addresses)
        return err_set(&serving->err, -ENOMEM, "out of memory");
    r = wire_get_connect(record, ranks, addresses, &deadline_ns, &serving->err);
    if (r == 0)
        r = serving->backend->connect(serving->rank, addresses, deadline_ns, &serving->err);
    if (r < 0)
        return r;
    serving->connected = true;
    return tell(serving, CHILD_CONNECTED);
}

static int do_run(struct serving *serving, const struct wire_record *record)
{
    struct measure_watcher watcher = {.progress = tell_progress, .context = serving};
    struct measure_plan plan;
    uint64_t deadline_ns;
    int r;

    if (!serving->connected)
        return err_set(&serving->err, -EPROTO, "told to run before it is connected");
    r = wire_get_run(record, serving->open.options.ranks, &plan, &deadline_ns, &serving->err);
    if (r == 0)
        r = measure_run(serving->backend, serving->rank, serving->open.options.ranks, &plan,
                        &watcher, deadline_ns, &serving->event.result, &serving->err);
    return r < 0 ? r : tell(serving, CHILD_RESULT);
}

static int do_pairs(struct serving *serving, const struct wire_record *record)
{
    struct measure_watcher watcher = {.progress = tell_progress, .context = serving};
    struct measure_pairs pairs = {0};
    uint64_t deadline_ns;
    int r;

    if (!serving->connected)
        return err_set(&serving->err, -EPROTO, "told to run before it is connected");
    r = wire_get_pairs(record, serving->open.options.ranks, &pairs, &deadline_ns, &serving->err);
    if (r == 0)
        r = measure_pairs_run(serving->backend, serving->rank, &pairs, &watcher, deadline_ns,
                              serving->event.seconds, &serving->err);
    serving->event.n_seconds = pairs.n_rounds;
    free(pairs.peers);
    return r < 0 ? r : tell(serving, CHILD_PAIRS);
}

/* 1: told to close. */
static int obey(struct serving *serving, const struct wire_record *record)
{
    static const enum child_phase phases[] = {[WIRE_OPEN] = CHILD_OPENING,
                                              [WIRE_CONNECT] = CHILD_CONNECTING,
                                              [WIRE_RUN] = CHILD_RUNNING,
                                              [WIRE_PAIRS] = CHILD_RUNNING,
                                              [WIRE_CLOSE] = CHILD_CLOSING};

    serving->phase = phases[record->type];
    switch (record->type) {
    case WIRE_OPEN:
        return do_open(serving, record);
    case WIRE_CONNECT:
        return do_connect(serving, record);
    case WIRE_RUN:
        return do_run(serving, record);
    case WIRE_PAIRS:
        return do_pairs(serving, record);
    default:
        return 1;
    }
}

/* ---- the loop ---------------------------------------------------------------------- */

/* 1: a record; 0: the socket ended. */
static int read_record(struct serving *serving, struct wire_record *ret)
{
    for (;;) {
        int r =
            wire_next(serving->in.data, serving->in.len, true, ret, &serving->used, &serving->err);
        ssize_t n;

        if (r != 0)
            return r;
        if (strbuf_reserve(&serving->in, READ_AT_ONCE) < 0)
            return err_set(&serving->err, -ENOMEM, "out of memory");
        n = recv(serving->fd, serving->in.data + serving->in.len, READ_AT_ONCE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        serving->in.len += (size_t)n;
    }
}

static int serve(struct serving *serving)
{
    struct wire_record record;
    int r;

    for (;;) {
        r = read_record(serving, &record);
        if (r <= 0)
            return r;
        r = obey(serving, &record);
        if (r != 0)
            return r < 0 ? r : 0;
        strbuf_consume(&serving->in, serving->used);
    }
}

static void tell_failure(struct serving *serving, int r)
{
    const char *text = serving->err.text[0] ? serving->err.text : strerror(-r);

    serving->event.phase = serving->phase;
    serving->event.error = r;
    wire_clean_text(text, strlen(text), serving->event.text, sizeof(serving->event.text));
    (void)tell(serving, CHILD_FAILED);
}

static bool tie_to(pid_t parent)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (parent == 0)
        return true;
    /* Whoever died before this call is not our parent any more. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

int rank_main(int fd, pid_t parent)
{
    struct serving *serving;
    int r;

    if (!tie_to(parent))
        return 1;
    serving = calloc(1, sizeof(*serving));
    if (!serving)
        return 1;
    serving->fd = fd;
    serving->in = (struct strbuf)STRBUF_INIT(WIRE_RECORD_MAX + 2 * READ_AT_ONCE);
    serving->out = (struct strbuf)STRBUF_INIT(WIRE_RECORD_MAX);
    r = serve(serving);
    if (r < 0)
        tell_failure(serving, r);
    if (serving->backend && serving->rank)
        serving->backend->close(serving->rank, r < 0);
    strbuf_release(&serving->in);
    strbuf_release(&serving->out);
    free(serving);
    return r < 0;
}

int rank_main_of(const char *text)
{
    uint64_t parent;

    if (parse_u64(text, strlen(text), INT32_MAX, &parent) < 0 || parent == 0)
        return 2;
    return rank_main(RANK_FD, (pid_t)parent);
}
