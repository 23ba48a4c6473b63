#include "base/rpc_client_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"

#define QUEUE_MAX 64 /* messages read ahead of the caller; the rest waits at the server */

struct message {
    struct message *next;
    struct rpc_bytes bytes;
};

struct rpc_stream {
    struct rpc__loop_tag tags[RPC__LINK];
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

/* ---- reading; with the lock held ------------------------------------------------------------- */

static bool start(struct rpc_stream *stream, enum rpc__loop_what what, const grpc_op *ops, size_t n)
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
    stream->reading = start(stream, RPC__READ, &op, 1);
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

/* A failed read brings no message, and why is in the status. */
void rpc__stream_event(struct rpc__loop_tag *tag)
{
    static const uint64_t one = 1;
    struct rpc_stream *stream = tag->owner;

    pthread_mutex_lock(&stream->lock);
    stream->pending--;
    if (tag->what == RPC__READ) {
        stream->reading = false;
        if (stream->answer && !stream->broken)
            push(stream);
        else
            stream->no_more = true;
        read_on(stream);
    } else if (tag->what == RPC__STATUS) {
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
    for (unsigned i = 0; i < RPC__LINK; i++)
        stream->tags[i] = (struct rpc__loop_tag){(enum rpc__loop_what)i, stream};
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
    begun = start(stream, RPC__STATUS, &status, 1) && start(stream, RPC__BEGIN, ops, 4);
    if (begun)
        read_on(stream);
    pthread_mutex_unlock(&stream->lock);
    return begun;
}

int rpc_stream_open(struct rpc_channel *channel, const char *method, const void *bytes, size_t len,
                    uint64_t deadline_ns, struct rpc_stream **ret_stream, struct err *err)
{
    struct rpc_stream *stream = stream_new(channel);
    int r = 0;

    if (!stream)
        return err_set(err, -ENOMEM, "no memory for a stream");
    if (stream->fd < 0)
        r = err_set(err, -EMFILE, "no descriptor for a stream");
    if (r == 0)
        r = rpc__outgoing(channel, method, rpc__loop_queue(), deadline_ns, &stream->outgoing, err);
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
