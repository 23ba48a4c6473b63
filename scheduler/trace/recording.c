#include "scheduler/trace/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX ((size_t)256 << 20) /* told and not yet written; a batch is some MiB at most */
#define DRAIN_BYTES ((size_t)4 << 20)
#define LOCK_TRIES 100 /* 20 ms apart: a killed process is seen dead before its last thread lets go */
#define END_BYTES 256 /* kept free for the line that says why it ended */

struct recording {
    int fd;
    _Atomic bool on;
    uint64_t bytes, max_bytes;
    struct strbuf out;
    struct trace_mask *mask;
    int error; /* why it ends at the next flush, 0: it does not */
    bool full; /* ... because of max_bytes */
};

/* ---- the file ----------------------------------------------------------------------------------- */

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Half a line goes again where it can: only a killed process leaves one. */
static int write_out(struct recording *recording)
{
    int r = write_all(recording->fd, recording->out.data, recording->out.len);

    if (r < 0 && ftruncate(recording->fd, (off_t)recording->bytes) < 0)
        return r;
    if (r == 0)
        recording->bytes += recording->out.len;
    strbuf_clear(&recording->out);
    return r;
}

static int lock_file(int fd)
{
    int r = -1;

    for (unsigned i = 0; r < 0 && i < LOCK_TRIES; i++) {
        if (i > 0)
            usleep(20000);
        r = flock(fd, LOCK_EX | LOCK_NB);
    }
    return r;
}

/* Opens, locks and measures; a torn last line gets its line feed by the header's first byte. */
static int open_file(struct recording *recording, const char *path, struct err *err)
{
    struct stat stat;
    char last = '\n';
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);

    recording->fd = fd;
    if (fd < 0)
        return err_set(err, -errno, "cannot record to '%s': %s", path, strerror(errno));
    if (lock_file(fd) < 0)
        return err_set(err, -EBUSY, "cannot record to '%s': another process does", path);
    if (fstat(fd, &stat) < 0)
        return err_set(err, -errno, "cannot record to '%s': %s", path, strerror(errno));
    recording->bytes = (uint64_t)stat.st_size;
    if (stat.st_size > 0 && pread(fd, &last, 1, stat.st_size - 1) == 1 && last != '\n')
        strbuf_addc(&recording->out, '\n');
    return 0;
}

static int begin(struct recording *recording, const char *path, const struct trace_header *header,
                 struct err *err)
{
    int r = open_file(recording, path, err);

    if (r < 0)
        return r;
    trace_add_header(&recording->out, header);
    if (recording->out.failed)
        return err_set(err, -ENOMEM, "out of memory");
    if (recording->bytes + recording->out.len + END_BYTES > recording->max_bytes)
        return err_set(err, -EFBIG, "cannot record to '%s': it has %llu bytes, the limit is %llu",
                       path, (unsigned long long)recording->bytes,
                       (unsigned long long)recording->max_bytes);
    r = write_out(recording);
    return r < 0 ? err_set(err, r, "cannot record to '%s': %s", path, strerror(-r)) : 0;
}

static void destroy(struct recording *recording)
{
    if (recording->fd >= 0)
        close(recording->fd);
    strbuf_release(&recording->out);
    trace_mask_free(recording->mask);
    free(recording);
}

int recording_open(const char *path, const struct trace_header *header, uint64_t max_bytes,
                   struct recording **ret, struct err *err)
{
    struct recording *recording = calloc(1, sizeof(*recording));
    int r;

    if (!recording)
        return err_set(err, -ENOMEM, "out of memory");
    signal(SIGXFSZ, SIG_IGN); /* a limit of the file's size is an error of write() then */
    recording->fd = -1;
    recording->max_bytes = max_bytes;
    recording->out = (struct strbuf)STRBUF_INIT(PENDING_MAX);
    recording->mask = trace_mask_new();
    r = recording->mask ? begin(recording, path, header, err)
                        : err_set(err, -ENOMEM, "out of memory");
    if (r < 0) {
        destroy(recording);
        return r;
    }
    atomic_store(&recording->on, true);
    *ret = recording;
    return 0;
}

bool recording_on(const struct recording *recording)
{
    return recording && atomic_load(&recording->on);
}

/* ---- what is told -------------------------------------------------------------------------------- */

static void fail(struct recording *recording, int error)
{
    if (!recording->error)
        recording->error = error;
    atomic_store(&recording->on, false);
    strbuf_clear(&recording->out);
}

/* Only between two calls of the core: what stands in the file is whole calls. */
static void drain(struct recording *recording)
{
    int r;

    if (recording->out.failed) {
        fail(recording, -ENOMEM);
    } else if (recording->bytes + recording->out.len + END_BYTES > recording->max_bytes) {
        recording->full = true;
        fail(recording, -EFBIG);
    } else if (recording->out.len > 0) {
        r = write_out(recording);
        if (r < 0)
            fail(recording, r);
    }
}

char *recording_object(const struct recording *recording, enum event_kind kind,
                       const json_t *object)
{
    return recording_on(recording) ? trace_mask_text(recording->mask, kind, object) : NULL;
}

static bool ready(struct recording *recording)
{
    if (recording_on(recording) && recording->out.len > DRAIN_BYTES)
        drain(recording);
    return recording_on(recording);
}

void recording_step(struct recording *recording, const struct event *event, const char *object,
                    int64_t now_ns)
{
    if (!ready(recording))
        return;
    if (event_has_object(event->kind) && !object)
        fail(recording, -ENOMEM);
    else
        trace_add_step(&recording->out, event, object, now_ns);
}

void recording_settle(struct recording *recording, int64_t now_ns)
{
    if (ready(recording))
        trace_add_settle(&recording->out, now_ns);
}

void recording_actions(struct recording *recording, const struct actions *actions, size_t from,
                       size_t to)
{
    for (size_t i = from; recording_on(recording) && i < to; i++)
        trace_add_action(&recording->out, &actions->items[i]);
}

/* ---- the end ------------------------------------------------------------------------------------- */

static void say_end(struct recording *recording, const char *why)
{
    strbuf_clear(&recording->out);
    trace_add_end(&recording->out, why);
    (void)write_out(recording); /* without it the trace reads as one of a killed process */
}

int recording_flush(struct recording *recording, struct err *err)
{
    int r;

    if (recording_on(recording))
        drain(recording);
    if (!recording || !recording->error)
        return 0;
    r = recording->error;
    recording->error = 0;
    if (recording->full) {
        say_end(recording, "the file has reached its limit");
        return err_set(err, r, "the file has reached its limit of %llu bytes",
                       (unsigned long long)recording->max_bytes);
    }
    return err_set(err, r, "%s", strerror(-r));
}

void recording_close(struct recording *recording, const char *why)
{
    struct err unused = ERR_INIT;

    if (!recording)
        return;
    (void)recording_flush(recording, &unused);
    if (recording_on(recording))
        say_end(recording, why);
    destroy(recording);
}
