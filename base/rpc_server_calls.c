#include "base/rpc_server_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

#define ACCEPTS 16 /* calls that may come at the same moment; others wait in gRPC */
#define HEALTH_SPARE 16 /* health checks are answered at calls_max too: busy is not broken */
#define SECOND_NS INT64_C(1000000000)

static const char health_path[] = "/grpc.health.v1.Health/Check";

/* ---- life ------------------------------------------------------------------------------------ */

static struct rpc_call *call_new(struct rpc_server *server)
{
    struct rpc_call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    atomic_init(&call->refs, 1);
    call->server = server;
    for (unsigned i = 0; i < RPC__WHATS; i++)
        call->tags[i] = (struct rpc__tag){(enum rpc__what)i, call};
    pthread_mutex_init(&call->lock, NULL);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->headers);
    call->queue_end = &call->queue;
    call->status_text = grpc_empty_slice();
    return call;
}

struct rpc_call *rpc_call_ref(struct rpc_call *call)
{
    atomic_fetch_add(&call->refs, 1);
    return call;
}

void rpc_call_unref(struct rpc_call *call)
{
    if (!call || atomic_fetch_sub(&call->refs, 1) != 1)
        return;
    for (size_t i = 0; i < call->n_metadata; i++) {
        free(call->metadata[i].key);
        free(call->metadata[i].value);
    }
    free(call->metadata);
    free(call->peer);
    free(call->client);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

static void drop_queue(struct rpc_call *call)
{
    while (call->queue) {
        struct rpc__queued *queued = call->queue;

        call->queue = queued->next;
        grpc_byte_buffer_destroy(queued->buffer);
        free(queued);
    }
    call->queue_end = &call->queue;
    call->n_queued = 0;
    call->queued_bytes = 0;
}

/* All that is gRPC's: it must not outlive the server, as a reference may. */
static void release_grpc(struct rpc_call *call)
{
    drop_queue(call);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->headers);
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->answer);
    grpc_slice_unref(call->status_text);
    call->request = call->answer = NULL;
}

/* Takes the lock's holder out of it; the call may be freed. */
static void settle_and_unlock(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    grpc_call *grpc = call->grpc;
    bool gone = call->closed && !call->pending && !call->handling && !call->gone;

    if (gone) {
        call->gone = true;
        call->grpc = NULL;
    }
    pthread_mutex_unlock(&call->lock);
    if (!gone)
        return;
    if (call->handled && call->method->gone)
        call->method->gone(server->options.context, call);
    release_grpc(call);
    grpc_call_unref(grpc);
    pthread_mutex_lock(&server->lock);
    if (call->next)
        call->next->link = call->link;
    *call->link = call->next;
    server->n_calls--;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
    rpc_call_unref(call);
}

/* ---- sending; all with the lock held --------------------------------------------------------- */

static void start(struct rpc_call *call, enum rpc__what what, const grpc_op *ops, size_t n)
{
    call->pending++;
    rpc__give();
    if (grpc_call_start_batch(call->grpc, ops, n, &call->tags[what], NULL) == GRPC_CALL_OK)
        return;
    call->pending--;
    grpc_call_cancel(call->grpc, NULL);
}

static size_t greet(struct rpc_call *call, grpc_op *op)
{
    if (call->greeted)
        return 0;
    call->greeted = true;
    *op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return 1;
}

static void send_first(struct rpc_call *call)
{
    struct rpc__queued *queued = call->queue;
    grpc_op ops[2];
    size_t n = greet(call, ops);

    ops[n] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[n].data.send_message.send_message = queued->buffer;
    n++;
    call->sending = true;
    start(call, RPC__SEND, ops, n);
    call->queue = queued->next;
    if (!call->queue)
        call->queue_end = &call->queue;
    call->n_queued--;
    call->queued_bytes -= queued->len;
    grpc_byte_buffer_destroy(queued->buffer); /* gRPC has its own hold on the bytes */
    free(queued);
}

static void send_status(struct rpc_call *call)
{
    grpc_op ops[3];
    size_t n = greet(call, ops);

    if (call->answer) {
        ops[n] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
        ops[n].data.send_message.send_message = call->answer;
        n++;
    }
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[n].data.send_status_from_server.status = call->status;
    ops[n].data.send_status_from_server.status_details = &call->status_text;
    n++;
    call->sending = true;
    start(call, RPC__FINISH, ops, n);
}

/* gRPC takes one message at a time, and the status behind the last of them. */
static void pump(struct rpc_call *call)
{
    if (call->sending || call->closed)
        return;
    if (call->queue)
        send_first(call);
    else if (call->finishing)
        send_status(call);
}

static void finish(struct rpc_call *call, enum rpc_status status, const char *message)
{
    size_t len = message && status != RPC_OK ? strnlen(message, RPC__STATUS_TEXT_MAX) : 0;

    call->finishing = true;
    call->status = (grpc_status_code)status;
    if (len)
        call->status_text = grpc_slice_from_copied_buffer(message, len);
    atomic_store(&call->due_ns,
                 clock_boot_ns() + (int64_t)call->server->options.patience_s * SECOND_NS);
    pump(call);
}

static void cancel(struct rpc_call *call, enum rpc_status status, const char *why)
{
    call->finishing = true;
    drop_queue(call);
    if (call->grpc)
        grpc_call_cancel_with_status(call->grpc, (grpc_status_code)status, why, NULL);
}

int rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *message,
                    const void *bytes, size_t len)
{
    grpc_byte_buffer *answer = NULL;
    bool unary = call->health || !call->method->streaming;
    int r = 0;

    if (!unary && len)
        return -EINVAL;
    pthread_mutex_lock(&call->lock);
    if (call->closed || call->finishing) {
        r = -EPIPE;
    } else {
        if (unary && status == RPC_OK)
            answer = rpc__buffer(bytes, len);
        call->answer = answer;
        finish(call, status, message);
    }
    pthread_mutex_unlock(&call->lock);
    return r;
}

int rpc_call_send(struct rpc_call *call, const void *bytes, size_t len)
{
    struct rpc__queued *queued = calloc(1, sizeof(*queued));
    const struct rpc_server_options *options;
    int r = 0;

    if (!queued)
        return -ENOMEM;
    queued->len = len;
    pthread_mutex_lock(&call->lock);
    if (call->closed || call->finishing) {
        r = -EPIPE;
    } else if (call->health || !call->method->streaming) {
        r = -EINVAL;
    } else {
        options = &call->server->options;
        if (call->n_queued >= options->queue_max || len > options->queue_bytes_max ||
            call->queued_bytes > options->queue_bytes_max - len) {
            cancel(call, RPC_RESOURCE_EXHAUSTED, "too far behind: the stream's queue is full");
            r = -ENOBUFS;
        }
    }
    if (r == 0) {
        queued->buffer = rpc__buffer(bytes, len);
        *call->queue_end = queued;
        call->queue_end = &queued->next;
        call->n_queued++;
        call->queued_bytes += len;
        queued = NULL;
        pump(call);
    }
    pthread_mutex_unlock(&call->lock);
    free(queued);
    return r;
}
