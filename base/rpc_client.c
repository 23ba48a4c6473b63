#include "base/rpc_client_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"

#define TOKEN_MAX 6000 /* gRPC takes 8 KiB of metadata */
#define CHECK_EVERY_NS INT64_C(1000000000)

/* ---- channel --------------------------------------------------------------------------------- */

static int make_credentials(const struct rpc_channel *channel, grpc_channel_credentials **ret,
                            struct err *err)
{
    struct strbuf ca = STRBUF_INIT(0), cert = STRBUF_INIT(0), key = STRBUF_INIT(0);
    grpc_ssl_pem_key_cert_pair pair;
    int r;

    if (!channel->ca_file && !channel->ca_pem) {
        *ret = grpc_insecure_credentials_create();
        return 0;
    }
    r = rpc__get_pem(channel->ca_pem, channel->ca_file, &ca, err);
    if (r == 0 && channel->cert_file)
        r = rpc__get_pem(NULL, channel->cert_file, &cert, err);
    if (r == 0 && channel->cert_file)
        r = rpc__get_pem(NULL, channel->key_file, &key, err);
    if (r == 0) {
        pair = (grpc_ssl_pem_key_cert_pair){key.data, cert.data};
        *ret = grpc_ssl_credentials_create(ca.data, channel->cert_file ? &pair : NULL, NULL, NULL);
        if (!*ret)
            r = err_set(err, -EINVAL, "gRPC takes no credentials");
    }
    strbuf_release(&ca);
    strbuf_release(&cert);
    strbuf_wipe(&key);
    return r;
}

/* "name:port", which c-ares looks up, within gRPC: a static program finds it too. */
static bool is_name(const char *target)
{
    const char *colon = strrchr(target, ':');
    uint64_t port;

    return colon && strspn(target, "0123456789.:") != strlen(target) &&
           is_dns_subdomain(target, (size_t)(colon - target)) &&
           parse_u64(colon + 1, strlen(colon + 1), 65535, &port) == 0 && port > 0;
}

static int make_channel(const struct rpc_channel *channel, grpc_channel **ret, struct err *err)
{
    grpc_channel_credentials *credentials = NULL;
    struct rpc__args args = {.n = 0};
    grpc_channel_args list;
    char target[300];
    int r = make_credentials(channel, &credentials, err);

    if (r < 0)
        return r;
    rpc__args_common(&args, channel->message_max, RPC__MEMORY_MAX, channel->keepalive_s);
    rpc__args_int(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                  channel->backoff_max_ms < 200 ? channel->backoff_max_ms : 200);
    rpc__args_int(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000); /* an attempt's time, too */
    rpc__args_int(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, channel->backoff_max_ms);
    rpc__args_int(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    rpc__args_int(&args, GRPC_ARG_ENABLE_RETRIES, 0); /* callers know what may be said twice */
    rpc__args_int(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (channel->server_name)
        rpc__args_text(&args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, channel->server_name);
    list = (grpc_channel_args){args.n, args.args};
    snprintf(target, sizeof(target), "%s:%s", is_name(channel->target) ? "dns" : "ipv4", channel->target);
    *ret = grpc_channel_create(target, credentials, &list);
    rpc__args_release(&args);
    grpc_channel_credentials_release(credentials);
    return *ret ? 0 : err_set(err, -EINVAL, "gRPC takes no channel to %s", channel->target);
}

/* The lock is held. Changed certificates mean another channel; calls under way keep the old one. */
static int refresh(struct rpc_channel *channel, struct err *err)
{
    const char *const files[] = {channel->ca_file, channel->cert_file, channel->key_file};
    int64_t now = clock_boot_ns(), changed_ns[3] = {0};
    struct rpc__link *link;
    grpc_channel *fresh;
    int r;

    if (channel->link && (!channel->ca_file || now - channel->checked_ns < CHECK_EVERY_NS))
        return 0;
    channel->checked_ns = now;
    for (unsigned i = 0; i < 3; i++)
        changed_ns[i] = files[i] ? rpc__changed_ns(files[i]) : 0;
    if (channel->link && memcmp(changed_ns, channel->changed_ns, sizeof(changed_ns)) == 0)
        return 0;
    r = make_channel(channel, &fresh, err);
    if (r < 0)
        return channel->link ? 0 : r; /* half replaced: the old one until the next look */
    link = rpc__link_new(fresh);
    if (!link)
        return err_set(err, -ENOMEM, "no memory for a channel");
    rpc__link_close(channel->link);
    channel->link = link;
    memcpy(channel->changed_ns, changed_ns, sizeof(changed_ns));
    return 0;
}

static int copy_text(const char *text, char **ret)
{
    if (rpc__set(text) && !(*ret = strdup(text)))
        return -ENOMEM;
    return 0;
}

static int copy_options(struct rpc_channel *channel, const struct rpc_channel_options *options)
{
    channel->message_max = options->message_max ? options->message_max : RPC__MESSAGE_MAX;
    channel->backoff_max_ms = options->backoff_max_ms ? options->backoff_max_ms : 2000;
    channel->keepalive_s = options->keepalive_s ? options->keepalive_s : RPC__KEEPALIVE_S;
    if (copy_text(options->target, &channel->target) < 0 ||
        copy_text(options->ca_file, &channel->ca_file) < 0 ||
        copy_text(options->ca_pem, &channel->ca_pem) < 0 ||
        copy_text(options->cert_file, &channel->cert_file) < 0 ||
        copy_text(options->key_file, &channel->key_file) < 0 ||
        copy_text(options->server_name, &channel->server_name) < 0 ||
        copy_text(options->token_file, &channel->token_file) < 0 ||
        copy_text(options->token, &channel->token) < 0)
        return -ENOMEM;
    return 0;
}

static int check_options(const struct rpc_channel_options *options, struct err *err)
{
    const char *target = rpc__set(options->target) ? options->target : "";
    struct sockaddr_in address = {0};
    bool named = is_name(target), tls = rpc__set(options->ca_file) || rpc__set(options->ca_pem);
    int r = named ? 0 : rpc__address(target, &address, err);

    if (r < 0)
        return r;
    if (named && !tls)
        return err_set(err, -EPERM, "target %s: plaintext is for loopback addresses only; name a CA file", target);
    if (named)
        return rpc__set(options->cert_file) == rpc__set(options->key_file)
                   ? 0
                   : err_set(err, -EINVAL, "a client certificate and its key come together");
    if (options->target[0] == ':' || address.sin_port == 0)
        return err_set(err, -EINVAL, "target '%.60s': expected ipv4:port", options->target);
    if (!tls && !rpc__loopback(&address))
        return err_set(err, -EPERM, "target %s: plaintext is for loopback only; name a CA file",
                       options->target);
    if (rpc__set(options->cert_file) != rpc__set(options->key_file))
        return err_set(err, -EINVAL, "a client certificate and its key come together");
    return 0;
}

int rpc_channel_new(const struct rpc_channel_options *options, struct rpc_channel **ret_channel,
                    struct err *err)
{
    struct rpc_channel *channel;
    int r = check_options(options, err);

    if (r < 0)
        return r;
    channel = calloc(1, sizeof(*channel));
    if (!channel)
        return err_set(err, -ENOMEM, "no memory for a channel");
    rpc__library_ref();
    r = rpc__loop_ref(err);
    if (r < 0) {
        rpc__library_unref();
        free(channel);
        return r;
    }
    pthread_mutex_init(&channel->lock, NULL);
    if (copy_options(channel, options) < 0)
        r = err_set(err, -ENOMEM, "no memory for a channel");
    else
        r = refresh(channel, err);
    if (r < 0)
        rpc_channel_free(channel);
    else
        *ret_channel = channel;
    return r;
}

void rpc_channel_free(struct rpc_channel *channel)
{
    if (!channel)
        return;
    rpc__link_close(channel->link);
    rpc__loop_unref();
    pthread_mutex_destroy(&channel->lock);
    free(channel->target);
    free(channel->ca_file);
    free(channel->ca_pem);
    free(channel->cert_file);
    free(channel->key_file);
    free(channel->server_name);
    free(channel->token_file);
    free_secret(channel->token);
    free(channel);
    rpc__library_unref();
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Tokens of pods are replaced each hour: read with each call. "" when there is none to send. */
static int read_token(const struct rpc_channel *channel, struct strbuf *ret, struct err *err)
{
    int r;

    if (!channel->token_file && !channel->token)
        return 0;
    r = strbuf_adds(ret, "Bearer ");
    if (r == 0 && channel->token)
        return strbuf_adds(ret, channel->token);
    if (r == 0)
        r = strbuf_read_file(ret, channel->token_file);
    if (r < 0)
        return err_set(err, r, "cannot read token file '%s': %s", channel->token_file,
                       strerror(-r));
    while (ret->len && strchr("\r\n\t ", ret->data[ret->len - 1]))
        ret->data[--ret->len] = '\0';
    for (size_t i = 0; i < ret->len; i++)
        if (ret->data[i] < 0x20 || ret->data[i] > 0x7e)
            return err_set(err, -EINVAL, "token file '%s' is not one line of text",
                           channel->token_file);
    return 0;
}

static gpr_timespec deadline_of(uint64_t deadline_ns)
{
    if (!deadline_ns || deadline_ns > INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){.tv_sec = (int64_t)(deadline_ns / 1000000000),
                          .tv_nsec = (int32_t)(deadline_ns % 1000000000),
                          .clock_type = GPR_CLOCK_MONOTONIC};
}

int rpc__outgoing(struct rpc_channel *channel, const char *method, grpc_completion_queue *queue,
                  uint64_t deadline_ns, struct rpc__outgoing *ret, struct err *err)
{
    CLEANUP(strbuf_wipe) struct strbuf token = STRBUF_INIT(TOKEN_MAX);
    grpc_slice path;
    int r = read_token(channel, &token, err);

    if (r < 0)
        return r;
    pthread_mutex_lock(&channel->lock);
    r = refresh(channel, err);
    if (r == 0) {
        path = grpc_slice_from_copied_string(method);
        ret->call = grpc_channel_create_call(rpc__link_grpc(channel->link), NULL,
                                             GRPC_PROPAGATE_DEFAULTS, queue, path, NULL,
                                             deadline_of(deadline_ns), NULL);
        grpc_slice_unref(path);
    }
    pthread_mutex_unlock(&channel->lock);
    if (r < 0)
        return r;
    ret->n_metadata = token.len ? 1 : 0;
    ret->token.key = grpc_slice_from_static_string("authorization");
    ret->token.value = token.len ? grpc_slice_from_copied_buffer(token.data, token.len)
                                 : grpc_empty_slice();
    return 0;
}

void rpc__outgoing_release(struct rpc__outgoing *outgoing)
{
    grpc_slice_unref(outgoing->token.value);
    grpc_call_unref(outgoing->call);
}

enum rpc_status rpc__outcome(grpc_status_code code, grpc_slice details, bool cancelled,
                             struct err *err)
{
    enum rpc_status status = code <= GRPC_STATUS_UNAUTHENTICATED ? (enum rpc_status)code
                                                                 : RPC_UNKNOWN;
    size_t len = GRPC_SLICE_LENGTH(details);

    if (status == RPC_CANCELLED && !cancelled) {
        err_set(err, -EPROTO, "UNAVAILABLE: the server gave the call up");
        return RPC_UNAVAILABLE;
    }
    if (status != RPC_OK)
        err_set(err, -EPROTO, "%s: %.*s", rpc_status_name(status), len > 400 ? 400 : (int)len,
                (const char *)GRPC_SLICE_START_PTR(details));
    return status;
}

struct unary {
    struct rpc__outgoing outgoing;
    grpc_byte_buffer *request, *answer;
    grpc_metadata_array greeting, trailer;
    grpc_status_code code;
    grpc_slice details;
};

/* All at once; done when the status is there, which the deadline sees to. */
static bool exchange(struct unary *unary, grpc_completion_queue *queue)
{
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};

    ops[0].data.send_initial_metadata.count = unary->outgoing.n_metadata;
    ops[0].data.send_initial_metadata.metadata = &unary->outgoing.token;
    ops[1].data.send_message.send_message = unary->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &unary->greeting;
    ops[4].data.recv_message.recv_message = &unary->answer;
    ops[5].data.recv_status_on_client.trailing_metadata = &unary->trailer;
    ops[5].data.recv_status_on_client.status = &unary->code;
    ops[5].data.recv_status_on_client.status_details = &unary->details;
    rpc__give();
    if (grpc_call_start_batch(unary->outgoing.call, ops, 6, unary, NULL) != GRPC_CALL_OK)
        return false;
    grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    rpc__take();
    return true;
}

static enum rpc_status take_answer(const struct rpc_channel *channel, struct unary *unary,
                                   struct rpc_bytes *ret, struct err *err)
{
    enum rpc_status status = rpc__outcome(unary->code, unary->details, false, err);
    int r;

    if (status != RPC_OK)
        return status;
    r = unary->answer ? rpc__buffer_read(unary->answer, channel->message_max, ret) : -ENODATA;
    if (r == 0)
        return RPC_OK;
    err_set(err, r, "INTERNAL: the answer cannot be read: %s", strerror(-r));
    return RPC_INTERNAL;
}

enum rpc_status rpc_unary(struct rpc_channel *channel, const char *method, const void *bytes,
                          size_t len, uint64_t deadline_ns, struct rpc_bytes *ret_answer,
                          struct err *err)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    struct unary unary = {.details = grpc_empty_slice()};
    enum rpc_status status = RPC_INTERNAL;
    int r = rpc__outgoing(channel, method, queue, deadline_ns ? deadline_ns : 1, &unary.outgoing,
                          err);

    if (r == 0) {
        unary.request = rpc__buffer(bytes, len);
        grpc_metadata_array_init(&unary.greeting);
        grpc_metadata_array_init(&unary.trailer);
        if (exchange(&unary, queue))
            status = take_answer(channel, &unary, ret_answer, err);
        else
            err_set(err, -EINVAL, "INTERNAL: gRPC does not take the call");
        grpc_byte_buffer_destroy(unary.request);
        grpc_byte_buffer_destroy(unary.answer);
        grpc_metadata_array_destroy(&unary.greeting);
        grpc_metadata_array_destroy(&unary.trailer);
        grpc_slice_unref(unary.details);
        rpc__outgoing_release(&unary.outgoing);
    } else {
        err_prefix(err, r, "UNAUTHENTICATED");
        status = RPC_UNAUTHENTICATED;
    }
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    return status;
}
