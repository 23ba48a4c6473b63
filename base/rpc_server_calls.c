#include "base/rpc_server_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
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
        call->tags[i] = (struct rpc__tag){.what = (enum rpc__what)i, .call = call};
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
    int r = 0;

    if (call->streaming && len)
        return -EINVAL;
    pthread_mutex_lock(&call->lock);
    if (call->closed || call->finishing) {
        r = -EPIPE;
    } else {
        if (!call->streaming && status == RPC_OK)
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
    } else if (!call->streaming) {
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

/* ---- what is known of a call ----------------------------------------------------------------- */

const char *rpc_call_metadata(const struct rpc_call *call, const char *key)
{
    for (size_t i = 0; i < call->n_metadata; i++)
        if (strcmp(call->metadata[i].key, key) == 0)
            return call->metadata[i].value;
    return NULL;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return call->peer;
}

const char *rpc_call_client(const struct rpc_call *call)
{
    return call->client ? call->client : "";
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
    call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
    return call->data;
}

static bool is_binary(const char *key)
{
    size_t len = strlen(key);

    return len >= 4 && strcmp(key + len - 4, "-bin") == 0;
}

/* gRPC limits the whole of it to 8 KiB. Keys "...-bin" hold bytes rather than text, and nobody
 * here uses them. */
static int copy_metadata(struct rpc_call *call)
{
    call->metadata = calloc(call->headers.count + 1, sizeof(*call->metadata));
    if (!call->metadata)
        return -ENOMEM;
    for (size_t i = 0; i < call->headers.count; i++) {
        struct rpc__text *text = &call->metadata[call->n_metadata];

        text->key = rpc__slice_text(call->headers.metadata[i].key);
        text->value = rpc__slice_text(call->headers.metadata[i].value);
        call->n_metadata++;
        if (!text->key || !text->value)
            return -ENOMEM;
        if (is_binary(text->key)) {
            free(text->key);
            free(text->value);
            *text = (struct rpc__text){NULL, NULL};
            call->n_metadata--;
        }
    }
    return 0;
}

static int copy_peer(struct rpc_call *call)
{
    char *peer = grpc_call_get_peer(call->grpc);
    const char *text = strncmp(peer, "ipv4:", 5) == 0 ? peer + 5 : peer;

    call->peer = strdup(text);
    gpr_free(peer);
    return call->peer ? 0 : -ENOMEM;
}

static bool in_list(char *const *names, const grpc_auth_property *property)
{
    for (; *names; names++)
        if (strlen(*names) == property->value_length &&
            memcmp(*names, property->value, property->value_length) == 0)
            return true;
    return false;
}

/* Notes the certificate's common name. Is the caller one of the server's clients? */
static bool judge_client(struct rpc_call *call)
{
    static const char *const kinds[] = {GRPC_X509_CN_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME};
    char *const *names = call->server->clients;
    grpc_auth_context *context = grpc_call_auth_context(call->grpc);
    bool allowed = !names;

    for (unsigned i = 0; context && i < 2; i++) {
        grpc_auth_property_iterator all =
            grpc_auth_context_find_properties_by_name(context, kinds[i]);
        const grpc_auth_property *property;

        while ((property = grpc_auth_property_iterator_next(&all))) {
            if (i == 0 && !call->client)
                call->client = strndup(property->value, property->value_length);
            if (names && in_list(names, property))
                allowed = true;
        }
    }
    grpc_auth_context_release(context);
    return allowed;
}

static const struct rpc_method *find_method(const struct rpc_server *server, grpc_slice path)
{
    const struct rpc_method *method = server->options.methods;

    for (; method && method->path; method++)
        if (rpc__slice_is(path, method->path))
            return method;
    return NULL;
}

/* ---- health: grpc/doc/health-checking.md; its two messages are smaller than code for them
 * would be */

/* The request's one field, `string service = 1`. -EINVAL: it is something else. */
static int health_service(const uint8_t *bytes, size_t len, const char **ret, size_t *ret_len)
{
    *ret = "";
    *ret_len = 0;
    if (len == 0)
        return 0;
    if (len < 2 || bytes[0] != 0x0a || bytes[1] > 0x7f || (size_t)bytes[1] + 2 != len)
        return -EINVAL;
    *ret = (const char *)bytes + 2;
    *ret_len = bytes[1];
    return 0;
}

/* "": the server as a whole. */
static bool has_service(const struct rpc_server *server, const char *name, size_t len)
{
    const struct rpc_method *method = server->options.methods;

    if (len == 0)
        return true;
    for (; method && method->path; method++) {
        const char *end = strrchr(method->path, '/');

        if ((size_t)(end - method->path) == len + 1 && memcmp(method->path + 1, name, len) == 0)
            return true;
    }
    return false;
}

static void answer_health(struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    /* `ServingStatus status = 1`: SERVING, NOT_SERVING. */
    uint8_t answer[] = {0x08, atomic_load(&call->server->serving) ? 1 : 2};
    const char *name;
    size_t name_len;

    if (health_service(bytes, len, &name, &name_len) < 0)
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "not a HealthCheckRequest", NULL, 0);
    else if (!has_service(call->server, name, name_len))
        rpc_call_finish(call, RPC_NOT_FOUND, "no such service", NULL, 0);
    else
        rpc_call_finish(call, RPC_OK, NULL, answer, sizeof(answer));
}

/* ---- events ---------------------------------------------------------------------------------- */

void rpc__accept(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->listener && server->n_accepts < ACCEPTS) {
        struct rpc_call *call = call_new(server);

        if (!call)
            break; /* rpc_server.c tries again in a second */
        rpc__give();
        if (grpc_server_request_call(server->listener->grpc, &call->grpc, &call->details,
                                     &call->headers, server->queue, server->queue,
                                     &call->tags[RPC__ACCEPT]) != GRPC_CALL_OK) {
            release_grpc(call);
            rpc_call_unref(call);
            break;
        }
        server->n_accepts++;
    }
    pthread_mutex_unlock(&server->lock);
}

/* RPC_OK: the call is one for a handler, and its method is set. */
static enum rpc_status judge(struct rpc_call *call, unsigned n_calls, const char **ret_why)
{
    struct rpc_server *server = call->server;

    call->health = rpc__slice_is(call->details.method, health_path);
    *ret_why = "out of memory";
    if (copy_peer(call) < 0 || copy_metadata(call) < 0)
        return RPC_RESOURCE_EXHAUSTED;
    *ret_why = "too many calls at once";
    if (n_calls > server->options.calls_max + (call->health ? HEALTH_SPARE : 0))
        return RPC_RESOURCE_EXHAUSTED;
    *ret_why = "the certificate is of none of the allowed clients";
    if (!judge_client(call))
        return RPC_PERMISSION_DENIED;
    *ret_why = "no such method";
    call->method = call->health ? NULL : find_method(server, call->details.method);
    if (!call->method && !call->health)
        return RPC_UNIMPLEMENTED;
    call->streaming = call->method && call->method->streaming;
    return RPC_OK;
}

/* Waits for the request, or refuses. Each call's end is asked for, or gRPC would never give it
 * up. */
static void begin(struct rpc_call *call, unsigned n_calls)
{
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};
    const char *why;
    enum rpc_status status = judge(call, n_calls, &why);

    close.data.recv_close_on_server.cancelled = &call->cancelled;
    receive.data.recv_message.recv_message = &call->request;
    pthread_mutex_lock(&call->lock);
    start(call, RPC__CLOSE, &close, 1);
    atomic_store(&call->due_ns,
                 clock_boot_ns() + (int64_t)call->server->options.patience_s * SECOND_NS);
    if (status == RPC_OK)
        start(call, RPC__RECEIVE, &receive, 1);
    else
        finish(call, status, why);
    pthread_mutex_unlock(&call->lock);
}

static void on_accept(struct rpc_server *server, struct rpc_call *call, bool ok)
{
    unsigned n_calls = 0;

    pthread_mutex_lock(&server->lock);
    server->n_accepts--;
    if (ok) {
        n_calls = ++server->n_calls;
        call->link = &server->calls;
        call->next = server->calls;
        if (call->next)
            call->next->link = &call->next;
        server->calls = call;
    }
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
    if (ok) {
        rpc__accept(server);
        begin(call, n_calls);
    } else {
        release_grpc(call);
        rpc_call_unref(call);
    }
}

/* The lock is held, and let go while the handler runs. */
static void handle(struct rpc_call *call)
{
    CLEANUP(rpc_bytes_release) struct rpc_bytes request = {NULL, 0};
    int r;

    atomic_store(&call->due_ns, 0);
    if (call->closed)
        return;
    if (!call->request) {
        finish(call, RPC_UNIMPLEMENTED, "the call came without a request");
        return;
    }
    r = rpc__buffer_read(call->request, call->server->options.message_max, &request);
    grpc_byte_buffer_destroy(call->request);
    call->request = NULL;
    if (r < 0) {
        finish(call, r == -EPROTO ? RPC_UNIMPLEMENTED : RPC_RESOURCE_EXHAUSTED,
               r == -EPROTO ? "compressed messages are not taken" : "no room for the request");
        return;
    }
    call->handling = true;
    call->handled = !call->health;
    pthread_mutex_unlock(&call->lock);
    if (call->health)
        answer_health(call, request.data, request.len);
    else
        call->method->handler(call->server->options.context, call, request.data, request.len);
    pthread_mutex_lock(&call->lock);
    call->handling = false;
}

void rpc__event(struct rpc_server *server, struct rpc__tag *tag, bool ok)
{
    struct rpc_call *call = tag->call;

    if (tag->what == RPC__SHUT) {
        rpc__listener_shut(server, tag->listener);
        return;
    }
    if (tag->what == RPC__ACCEPT) {
        on_accept(server, call, ok);
        return;
    }
    pthread_mutex_lock(&call->lock);
    if (tag->what == RPC__CLOSE) {
        call->closed = true;
        drop_queue(call);
    } else if (tag->what == RPC__RECEIVE) {
        handle(call);
    } else if (tag->what == RPC__SEND) {
        call->sending = false;
        if (ok)
            pump(call);
    }
    call->pending--; /* last: the call's end waits for its events to be dealt with */
    settle_and_unlock(call);
}

void rpc__sweep(struct rpc_server *server, int64_t now_ns)
{
    pthread_mutex_lock(&server->lock);
    for (struct rpc_call *call = server->calls; call; call = call->next) {
        int64_t due_ns = atomic_load(&call->due_ns);

        if (!due_ns || due_ns > now_ns)
            continue;
        pthread_mutex_lock(&call->lock);
        cancel(call, RPC_DEADLINE_EXCEEDED, "the peer is too slow");
        atomic_store(&call->due_ns, 0);
        pthread_mutex_unlock(&call->lock);
    }
    pthread_mutex_unlock(&server->lock);
}
