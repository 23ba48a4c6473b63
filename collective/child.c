/* A rank in a process of its own, as its parent sees it. */
#include "collective/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "collective/child_wire.h"
#include "collective/rank.h"

#define NEVER UINT64_MAX
#define GRACE_NS 500000000u
#define REAP_NS 2000000000u /* for the kernel to end a process after SIGKILL */
#define ARGS_MAX 16
#define READ_AT_ONCE 65536
#define TAIL 2048 /* of stderr, bytes kept */

struct child {
    pid_t pid;
    int pidfd; /* -1: the kernel has none; the socket's end tells too */
    int fd, err_fd;
    struct strbuf in, out;
    char tail[TAIL];
    size_t tail_len;
    uint64_t grace_ns, kill_at_ns;
    bool stopped; /* SIGTERM was sent */
    bool reaped, told_end, closing, refused;
    uint32_t records; /* that it sent */
    int status; /* as of waitpid; -1: somebody else took it */
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *child_phase_name(enum child_phase phase)
{
    static const char *const names[CHILD_PHASES] = {"open", "connect", "run", "close"};

    return phase < CHILD_PHASES ? names[phase] : "?";
}

/* ---- starting ---------------------------------------------------------------------- */

static int set_files(posix_spawn_file_actions_t *files, int fd, int err_fd)
{
    int r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);

    if (r == 0) /* libraries log to both */
        r = posix_spawn_file_actions_adddup2(files, err_fd, 1);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(files, err_fd, 2);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(files, fd, RANK_FD);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(files, RANK_FD + 1);
    return r;
}

/*
 * Signals as a new program expects them, and a group of its own: an interrupt at the terminal is
 * for the parent.
 */
static int set_signals(posix_spawnattr_t *attributes)
{
    static const int own[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t none, usual;
    int r;

    sigemptyset(&none);
    sigemptyset(&usual);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigaddset(&usual, own[i]);
    r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                 POSIX_SPAWN_SETPGROUP);
    if (r == 0)
        r = posix_spawnattr_setsigmask(attributes, &none);
    return r ? r : posix_spawnattr_setsigdefault(attributes, &usual);
}

static int spawn(struct child *child, const char *const *argv, int fd, int err_fd)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char *args[ARGS_MAX + 2] = {NULL};
    char parent[24];
    size_t n = 0;
    int r;

    if (!argv[0])
        return -EINVAL;
    for (; argv[n]; n++) {
        if (n == ARGS_MAX)
            return -E2BIG;
        args[n] = (char *)(uintptr_t)argv[n]; /* posix_spawn changes none of them */
    }
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    args[n] = parent;
    if (posix_spawn_file_actions_init(&files) != 0)
        return -ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return -ENOMEM;
    }
    r = set_files(&files, fd, err_fd);
    if (r == 0)
        r = set_signals(&attributes);
    if (r == 0)
        r = posix_spawn(&child->pid, argv[0], &files, &attributes, args, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return -r;
}

/* Above those that the child gets, or its dup2 would overwrite one with another. */
static int lift(int *fd)
{
    int high = *fd > RANK_FD ? *fd : fcntl(*fd, F_DUPFD_CLOEXEC, RANK_FD + 1);

    if (high < 0)
        return -errno;
    if (high != *fd)
        close(*fd);
    *fd = high;
    return 0;
}

static int make_channels(struct child *child, int ret_theirs[2])
{
    int sockets[2], pipes[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    child->fd = sockets[0];
    ret_theirs[0] = sockets[1];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -errno;
    child->err_fd = pipes[0];
    ret_theirs[1] = pipes[1];
    if (fcntl(child->fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(child->err_fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    if (lift(&ret_theirs[0]) < 0 || lift(&ret_theirs[1]) < 0)
        return -EMFILE;
    return 0;
}

int child_start(const struct child_options *options, struct child **ret_child, struct err *err)
{
    struct child *child = calloc(1, sizeof(*child));
    int theirs[2] = {-1, -1}, r;

    if (!child)
        return err_set(err, -ENOMEM, "out of memory");
    child->pid = child->pidfd = child->fd = child->err_fd = -1;
    child->in = (struct strbuf)STRBUF_INIT(WIRE_RECORD_MAX + 2 * READ_AT_ONCE);
    child->out = (struct strbuf)STRBUF_INIT(2 * WIRE_RECORD_MAX);
    child->grace_ns = options->grace_ns ? options->grace_ns : GRACE_NS;
    child->kill_at_ns = NEVER;
    child->reaped = true; /* until it is there */
    r = make_channels(child, theirs);
    if (r == 0)
        r = spawn(child, options->argv, theirs[0], theirs[1]);
    for (unsigned i = 0; i < 2; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    if (r < 0) {
        child_free(child);
        return err_set(err, r, "cannot start %s: %s",
                       options->argv[0] ? options->argv[0] : "nothing", strerror(-r));
    }
    child->reaped = false;
    child->pidfd = pidfd_open(child->pid, 0);
    *ret_child = child;
    return 0;
}

/* ---- orders ------------------------------------------------------------------------ */

static int queued(struct child *child, size_t before, int r, struct err *err)
{
    if (r == 0 && child->fd < 0)
        r = -EPIPE;
    if (r < 0) {
        child->out.len = before;
        child->out.failed = false;
        return err_set(err, r,
                       r == -EPIPE ? "the rank's process is gone"
                                   : "an order does not fit its record");
    }
    return 0;
}

int child_open(struct child *child, const char *backend, const struct backend_options *options,
               struct err *err)
{
    size_t before = child->out.len;

    return queued(child, before, wire_put_open(&child->out, backend, options), err);
}

int child_connect(struct child *child, const struct backend_address *addresses, unsigned ranks,
                  uint64_t deadline_ns, struct err *err)
{
    size_t before = child->out.len;

    return queued(child, before, wire_put_connect(&child->out, addresses, ranks, deadline_ns), err);
}

int child_run(struct child *child, const struct measure_plan *plan, uint64_t deadline_ns,
              struct err *err)
{
    size_t before = child->out.len;

    return queued(child, before, wire_put_run(&child->out, plan, deadline_ns), err);
}

int child_pairs(struct child *child, const struct measure_pairs *pairs, uint64_t deadline_ns,
                struct err *err)
{
    size_t before = child->out.len;

    return queued(child, before, wire_put_pairs(&child->out, pairs, deadline_ns), err);
}

int child_close(struct child *child, struct err *err)
{
    size_t before = child->out.len;

    child->closing = true;
    return queued(child, before, wire_put_close(&child->out), err);
}

static void send_signal(const struct child *child, int number)
{
    if (child->reaped)
        return;
    if (child->pidfd >= 0)
        (void)pidfd_send_signal(child->pidfd, number, NULL, 0);
    else
        (void)kill(child->pid, number); /* not reaped: the number is still its own */
}

void child_stop(struct child *child)
{
    if (child->stopped || child->reaped)
        return;
    child->stopped = true;
    send_signal(child, SIGTERM);
    child->kill_at_ns = now_ns() + child->grace_ns;
}

static void kill_now(struct child *child)
{
    send_signal(child, SIGKILL);
    child->kill_at_ns = NEVER;
}

void child_kill(struct child *child)
{
    kill_now(child);
    child->stopped = true;
}

/* ---- what comes -------------------------------------------------------------------- */

static void close_socket(struct child *child)
{
    if (child->fd < 0)
        return;
    close(child->fd);
    child->fd = -1;
    strbuf_clear(&child->out);
}

static void push(struct child *child)
{
    while (child->fd >= 0 && child->out.len) {
        ssize_t n = send(child->fd, child->out.data, child->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (errno != EAGAIN) /* what it said before is still to be read */
                strbuf_clear(&child->out);
            return;
        }
        strbuf_consume(&child->out, (size_t)n);
    }
}

/* Some of what it wrote to stderr; the last TAIL bytes stay. A flood takes one turn per call. */
static void read_tail(struct child *child)
{
    char bytes[4096];
    ssize_t n;

    if (child->err_fd < 0)
        return;
    n = read(child->err_fd, bytes, sizeof(bytes));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(child->err_fd);
        child->err_fd = -1;
    }
    if (n <= 0)
        return;
    if (n >= TAIL) {
        memcpy(child->tail, bytes + n - TAIL, TAIL);
        child->tail_len = TAIL;
        return;
    }
    if (child->tail_len + (size_t)n > TAIL) {
        size_t drop = child->tail_len + (size_t)n - TAIL;

        memmove(child->tail, child->tail + drop, child->tail_len - drop);
        child->tail_len -= drop;
    }
    memcpy(child->tail + child->tail_len, bytes, (size_t)n);
    child->tail_len += (size_t)n;
}

static void read_socket(struct child *child)
{
    ssize_t n;

    if (child->fd < 0 || child->in.len >= WIRE_RECORD_MAX ||
        strbuf_reserve(&child->in, READ_AT_ONCE) < 0)
        return;
    n = recv(child->fd, child->in.data + child->in.len, READ_AT_ONCE, MSG_DONTWAIT);
    if (n > 0) {
        child->in.len += (size_t)n;
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close_socket(child);
    if (!child->reaped && child->kill_at_ns == NEVER) /* it has nothing left to live for */
        child->kill_at_ns = now_ns() + child->grace_ns;
}

static void reap(struct child *child)
{
    int status = -1;
    pid_t r;

    if (child->reaped)
        return;
    r = waitpid(child->pid, &status, WNOHANG);
    if (r == 0 || (r < 0 && errno == EINTR))
        return;
    child->reaped = true;
    child->status = r < 0 ? -1 : status;
    child->kill_at_ns = NEVER;
}

/* "text; it wrote: ..." with as much of the end of stderr as there is room for. */
static void add_tail(const struct child *child, struct child_event *event)
{
    char clean[TAIL + 1];
    size_t used = strlen(event->text), room = sizeof(event->text) - used - 1, len, from;

    wire_clean_text(child->tail, child->tail_len, clean, sizeof(clean));
    len = strlen(clean);
    while (len && clean[len - 1] == ' ')
        clean[--len] = '\0';
    if (len == 0 || room < 40)
        return;
    room -= sizeof("; it wrote: ") - 1;
    from = len > room ? len - room : 0;
    while ((clean[from] & 0xc0) == 0x80) /* not from the middle of a character */
        from++;
    snprintf(event->text + used, sizeof(event->text) - used, "; it wrote: %s", clean + from);
}

static void describe_end(const struct child *child, struct child_event *event)
{
    *event = (struct child_event){.kind = CHILD_ENDED, .phase = CHILD_CLOSING};
    if (child->status >= 0 && WIFSIGNALED(child->status)) {
        int number = WTERMSIG(child->status);

        event->error = child->stopped || child->refused ? -ECANCELED : -ECHILD;
        snprintf(event->text, sizeof(event->text), "its process was ended by signal %d (%s)",
                 number, strsignal(number));
    } else if (child->status >= 0 && WEXITSTATUS(child->status) == 0 && child->closing) {
        snprintf(event->text, sizeof(event->text), "its process ended as told");
        return;
    } else if (child->status >= 0) {
        event->error = -ECHILD;
        snprintf(event->text, sizeof(event->text), "its process ended by itself with code %d",
                 WEXITSTATUS(child->status));
    } else {
        event->error = -ECHILD;
        snprintf(event->text, sizeof(event->text), "its process ended, nobody knows how");
    }
    add_tail(child, event);
}

/* It sent what no rank sends: nothing more is read from it, and it is ended. */
static void refuse(struct child *child, const struct err *why, struct child_event *event)
{
    *event = (struct child_event){.kind = CHILD_FAILED, .phase = CHILD_RUNNING, .error = -EPROTO};
    snprintf(event->text, sizeof(event->text), "its process sent nonsense: %.200s", why->text);
    add_tail(child, event);
    child->refused = true;
    strbuf_clear(&child->in);
    close_socket(child);
    kill_now(child);
}

#define RECORDS_MAX 1000000 /* a rank tells progress ten times a second */

static int take_record(struct child *child, struct child_event *event)
{
    struct err err = ERR_INIT;
    struct wire_record record;
    size_t used = 0;
    int r =
        child->refused ? 0 : wire_next(child->in.data, child->in.len, false, &record, &used, &err);

    if (r == 0)
        return 0;
    if (r > 0)
        r = wire_get_event(&record, event, &err);
    if (r == 0 && ++child->records > RECORDS_MAX)
        r = err_set(&err, -EPROTO, "more than %u records", RECORDS_MAX);
    if (r < 0) {
        refuse(child, &err, event);
        return 1;
    }
    strbuf_consume(&child->in, used);
    if (event->kind == CHILD_FAILED) {
        read_tail(child);
        add_tail(child, event);
    }
    return 1;
}

/* 1: a record; 0: nothing more came for now. */
static int read_record(struct child *child, struct child_event *event)
{
    for (;;) {
        size_t before = child->in.len;

        if (take_record(child, event))
            return 1;
        read_socket(child);
        if (child->in.len == before)
            return 0;
    }
}

int child_next(struct child *child, struct child_event *ret_event)
{
    push(child);
    read_tail(child);
    if (read_record(child, ret_event))
        return 1;
    if (!child->reaped) {
        if (now_ns() >= child->kill_at_ns)
            kill_now(child);
        reap(child);
        if (!child->reaped)
            return 0;
        /* What it said last is told before its end. */
        if (read_record(child, ret_event))
            return 1;
    }
    if (child->told_end)
        return 0;
    close_socket(child);
    read_tail(child);
    describe_end(child, ret_event);
    child->told_end = true;
    return 1;
}

void child_pollfds(const struct child *child, struct pollfd fds[CHILD_POLLFDS])
{
    fds[0] = (struct pollfd){.fd = child->fd,
                             .events = (short)(child->out.len ? POLLIN | POLLOUT : POLLIN)};
    fds[1] = (struct pollfd){.fd = child->reaped ? -1 : child->err_fd, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = child->reaped ? -1 : child->pidfd, .events = POLLIN};
}

uint64_t child_wake_ns(const struct child *child)
{
    return child->reaped ? NEVER : child->kill_at_ns;
}

/* Until it is reaped, or `until_ns`. */
static void wait_for_end(struct child *child, uint64_t until_ns)
{
    while (!child->reaped) {
        struct pollfd fds[2] = {{.fd = child->pidfd, .events = POLLIN},
                                {.fd = child->err_fd, .events = POLLIN}};
        uint64_t now = now_ns();

        reap(child);
        if (child->reaped || now >= until_ns)
            return;
        /*
         * Without a pidfd nothing wakes: look now and then. stderr is drained, or it might wait for
         * that.
         */
        (void)poll(fds, 2, child->pidfd >= 0 ? (int)((until_ns - now) / 1000000u + 1) : 5);
        read_tail(child);
    }
}

void child_free(struct child *child)
{
    if (!child)
        return;
    close_socket(child);
    reap(child);
    if (!child->reaped && !child->stopped && !child->closing)
        child_stop(child);
    if (!child->reaped) {
        uint64_t until =
            child->kill_at_ns == NEVER ? now_ns() + child->grace_ns : child->kill_at_ns;

        wait_for_end(child, until);
        child_kill(child);
        /* One that the kernel cannot end, as it hangs in a driver, is left to it. */
        wait_for_end(child, now_ns() + REAP_NS);
    }
    if (child->err_fd >= 0)
        close(child->err_fd);
    if (child->pidfd >= 0)
        close(child->pidfd);
    strbuf_release(&child->in);
    strbuf_release(&child->out);
    free(child);
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

bool child_ended(const struct child *child)
{
    return child->reaped;
}
