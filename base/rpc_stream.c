#include "base/rpc_client_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"

#define QUEUE_MAX 64 /* messages read ahead of the caller; the rest waits at the server */

enum what { BEGIN, READ, STATUS, WHATS };

struct tag {
    enum what what;
    struct rpc_stream *stream;
};

struct message {
    struct message *next;
    struct rpc_bytes bytes;
};

struct rpc_stream {
    struct tag tags[WHATS];
    struct rpc__outgoing outgoing;
    int fd;
    size_t message_max;

    /* Filled by gRPC. */
    grpc_byte_buffer *request, *answer;
    grpc_metadata_array greeting, trailer;
    grpc_status_code code;
    grpc_slice details;

    pthread_mutex_t lock; /* the rest */
    pthread_cond_t quiet;
    unsigned pending; /* operations gRPC has not answered yet */
    bool reading, no_more; /* a read is under way; there is nothing more to read */
    bool status_known;
    bool cancelled; /* by us */
    int broken; /* a message that cannot be read: why */
    struct message *first, **end;
    unsigned n;
    size_t bytes;
};

/* ---- the thread ------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    unsigned users;
    grpc_completion_queue *queue;
    pthread_t thread;
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_event(struct tag *tag, bool ok);

static void *run_loop(void *context)
{
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(context, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

        rpc__take();
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE)
            on_event(event.tag, event.success);
    }
}

int rpc__loop_ref(struct err *err)
{
    int r = 0;

    pthread_mutex_lock(&loop.lock);
    if (loop.users == 0) {
        loop.queue = grpc_completion_queue_create_for_next(NULL);
        r = -pthread_create(&loop.thread, NULL, run_loop, loop.queue);
        if (r < 0) {
            grpc_completion_queue_shutdown(loop.queue);
            run_loop(loop.queue);
            grpc_completion_queue_destroy(loop.queue);
            err_set(err, r, "cannot start a thread: %s", strerror(-r));
        }
    }
    if (r == 0)
        loop.users++;
    pthread_mutex_unlock(&loop.lock);
    return r;
}

void rpc__loop_unref(void)
{
    pthread_mutex_lock(&loop.lock);
    if (--loop.users == 0) {
        grpc_completion_queue_shutdown(loop.queue);
        pthread_join(loop.thread, NULL);
        grpc_completion_queue_destroy(loop.queue);
    }
    pthread_mutex_unlock(&loop.lock);
}

/* ---- reading; with the lock held ------------------------------------------------------------- */

static bool start(struct rpc_stream *stream, enum what what, const grpc_op *ops, size_t n)
{
    stream->pending++;
    rpc__give();
    if (grpc_call_start_batch(stream->outgoing.call, ops, n, &stream->tags[what], NULL) ==
        GRPC_CALL_OK)
        return true;
    stream->pending--;
    return false;
}

/* One read at a time, and none while the caller is far behind. */
static void read_on(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    if (stream->reading || stream->no_more || stream->n >= QUEUE_MAX ||
        stream->bytes >= stream->message_max)
        return;
    op.data.recv_message.recv_message = &stream->answer;
    stream->reading = start(stream, READ, &op, 1);
    if (!stream->reading)
        stream->no_more = true;
}

static void push(struct rpc_stream *stream)
{
    struct message *message = calloc(1, sizeof(*message));
    int r = message ? rpc__buffer_read(stream->answer, stream->message_max, &message->bytes)
                    : -ENOMEM;

    grpc_byte_buffer_destroy(stream->answer);
    stream->answer = NULL;
    if (r < 0) { /* a stream with a hole is none */
        free(message);
        stream->broken = r;
        grpc_call_cancel(stream->outgoing.call, NULL);
        return;
    }
    *stream->end = message;
    stream->end = &message->next;
    stream->n++;
    stream->bytes += message->bytes.len;
}

static bool ended(const struct rpc_stream *stream)
{
    return stream->status_known && stream->no_more && !stream->first;
}

static void on_event(struct tag *tag, bool ok)
{
    static const uint64_t one = 1;
    struct rpc_stream *stream = tag->stream;

    (void)ok; /* a failed read brings no message, and why is in the status */
    pthread_mutex_lock(&stream->lock);
    stream->pending--;
    if (tag->what == READ) {
        stream->reading = false;
        if (stream->answer && !stream->broken)
            push(stream);
        else
            stream->no_more = true;
        read_on(stream);
    } else if (tag->what == STATUS) {
        stream->status_known = true;
    }
    if (stream->first || ended(stream))
        if (write(stream->fd, &one, sizeof(one)) < 0)
            stream->broken = -errno; /* cannot be: the counter is 64 bits wide */
    if (!stream->pending)
        pthread_cond_broadcast(&stream->quiet);
    pthread_mutex_unlock(&stream->lock);
}

/* ---- the caller's side ----------------------------------------------------------------------- */

static void stream_destroy(struct rpc_stream *stream)
{
    while (stream->first) {
        struct message *message = stream->first;

        stream->first = message->next;
        rpc_bytes_release(&message->bytes);
        free(message);
    }
    grpc_byte_buffer_destroy(stream->request);
    grpc_byte_buffer_destroy(stream->answer);
    grpc_metadata_array_destroy(&stream->greeting);
    grpc_metadata_array_destroy(&stream->trailer);
    grpc_slice_unref(stream->details);
    if (stream->outgoing.call)
        rpc__outgoing_release(&stream->outgoing);
    if (stream->fd >= 0)
        close(stream->fd);
    pthread_cond_destroy(&stream->quiet);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static struct rpc_stream *stream_new(const struct rpc_channel *channel)
{
    struct rpc_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    for (unsigned i = 0; i < WHATS; i++)
        stream->tags[i] = (struct tag){(enum what)i, stream};
    stream->message_max = channel->message_max;
    stream->end = &stream->first;
    stream->details = grpc_empty_slice();
    grpc_metadata_array_init(&stream->greeting);
    grpc_metadata_array_init(&stream->trailer);
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->quiet, NULL);
    stream->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return stream;
}

static int need_loop(struct rpc_channel *channel, struct err *err)
{
    int r = 0;

    pthread_mutex_lock(&channel->lock);
    if (!channel->has_loop)
        r = rpc__loop_ref(err);
    if (r == 0)
        channel->has_loop = true;
    pthread_mutex_unlock(&channel->lock);
    return r;
}

static bool begin(struct rpc_stream *stream)
{
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    bool begun;

    status.data.recv_status_on_client.trailing_metadata = &stream->trailer;
    status.data.recv_status_on_client.status = &stream->code;
    status.data.recv_status_on_client.status_details = &stream->details;
    ops[0].data.send_initial_metadata.count = stream->outgoing.n_metadata;
    ops[0].data.send_initial_metadata.metadata = &stream->outgoing.token;
    ops[1].data.send_message.send_message = stream->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &stream->greeting;
    pthread_mutex_lock(&stream->lock);
    begun = start(stream, STATUS, &status, 1) && start(stream, BEGIN, ops, 4);
    if (begun)
        read_on(stream);
    pthread_mutex_unlock(&stream->lock);
    return begun;
}

int rpc_stream_open(struct rpc_channel *channel, const char *method, const void *bytes, size_t len,
                    uint64_t deadline_ns, struct rpc_stream **ret_stream, struct err *err)
{
    struct rpc_stream *stream;
    int r = need_loop(channel, err);

    if (r < 0)
        return r;
    stream = stream_new(channel);
    if (!stream)
        return err_set(err, -ENOMEM, "no memory for a stream");
    if (stream->fd < 0)
        r = err_set(err, -EMFILE, "no descriptor for a stream");
    if (r == 0)
        r = rpc__outgoing(channel, method, loop.queue, deadline_ns, &stream->outgoing, err);
    if (r < 0) {
        stream_destroy(stream);
        return r;
    }
    stream->request = rpc__buffer(bytes, len);
    if (!begin(stream)) {
        rpc_stream_free(stream);
        return err_set(err, -EINVAL, "gRPC does not take the call");
    }
    *ret_stream = stream;
    return 0;
}

int rpc_stream_fd(const struct rpc_stream *stream)
{
    return stream->fd;
}

static void pop(struct rpc_stream *stream, struct rpc_bytes *ret)
{
    struct message *message = stream->first;

    stream->first = message->next;
    if (!stream->first)
        stream->end = &stream->first;
    stream->n--;
    stream->bytes -= message->bytes.len;
    *ret = message->bytes;
    free(message);
}

enum rpc_next rpc_stream_next(struct rpc_stream *stream, struct rpc_bytes *ret_message,
                              enum rpc_status *ret_status, struct err *err)
{
    enum rpc_next next = RPC_NEXT_NOTHING;
    uint64_t count;

    pthread_mutex_lock(&stream->lock);
    if (stream->first) {
        pop(stream, ret_message);
        read_on(stream);
        next = RPC_NEXT_MESSAGE;
    } else if (ended(stream) && stream->broken) {
        err_set(err, stream->broken, "INTERNAL: a message cannot be read: %s",
                strerror(-stream->broken));
        *ret_status = RPC_INTERNAL;
        next = RPC_NEXT_ENDED;
    } else if (ended(stream)) {
        *ret_status = rpc__outcome(stream->code, stream->details, stream->cancelled, err);
        next = RPC_NEXT_ENDED;
    } else if (read(stream->fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        stream->broken = -errno; /* cannot be: the descriptor is ours */
    }
    pthread_mutex_unlock(&stream->lock);
    return next;
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->cancelled = true;
    grpc_call_cancel(stream->outgoing.call, NULL);
    pthread_mutex_unlock(&stream->lock);
}

void rpc_stream_free(struct rpc_stream *stream)
{
    if (!stream)
        return;
    rpc_stream_cancel(stream);
    pthread_mutex_lock(&stream->lock);
    stream->no_more = true; /* no other read is begun */
    while (stream->pending)
        pthread_cond_wait(&stream->quiet, &stream->lock);
    pthread_mutex_unlock(&stream->lock);
    stream_destroy(stream);
}
