/*
 * The listener of a server: its certificates, and its second life. gRPC 1.51 stops listening for
 * good, and only logs it, when accept() fails once, say for want of a descriptor. So the log is
 * watched, and another gRPC server takes over the port while the first sees its calls to their end.
 */
#include "base/rpc_server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define SECOND_NS INT64_C(1000000000)

/* ---- certificates
 * ---------------------------------------------------------------------------------- */

bool rpc__has_tls(const struct rpc_server *server)
{
    return server->cert_file || server->cert_pem;
}

static int read_certificates(struct rpc_server *server, grpc_ssl_server_certificate_config **ret,
                             struct err *err)
{
    struct strbuf cert = STRBUF_INIT(0), key = STRBUF_INIT(0), ca = STRBUF_INIT(0);
    grpc_ssl_pem_key_cert_pair pair;
    int r = rpc__get_pem(server->cert_pem, server->cert_file, &cert, err);

    if (r == 0)
        r = rpc__get_pem(server->key_pem, server->key_file, &key, err);
    if (r == 0 && server->ca_file)
        r = rpc__get_pem(NULL, server->ca_file, &ca, err);
    if (r == 0) {
        pair = (grpc_ssl_pem_key_cert_pair){key.data, cert.data};
        /* Without a CA nobody is asked for a certificate, yet gRPC 1.51 aborts if none is named. */
        *ret = grpc_ssl_server_certificate_config_create(ca.data ? ca.data : cert.data, &pair, 1);
    }
    strbuf_release(&cert);
    strbuf_wipe(&key);
    strbuf_release(&ca);
    return r;
}

static bool files_changed(struct rpc_server *server)
{
    int64_t cert = rpc__changed_ns(server->cert_file), key = rpc__changed_ns(server->key_file);
    int64_t ca = server->ca_file ? rpc__changed_ns(server->ca_file) : 0, now = clock_boot_ns();
    bool changed;

    pthread_mutex_lock(&server->tls_lock);
    changed = cert != server->cert_changed_ns || key != server->key_changed_ns ||
              ca != server->ca_changed_ns;
    if (changed && now - server->tls_checked_ns < SECOND_NS)
        changed = false; /* a broken file is not read for each of a thousand handshakes */
    if (changed) {
        server->tls_checked_ns = now;
        server->cert_changed_ns = cert;
        server->key_changed_ns = key;
        server->ca_changed_ns = ca;
    }
    pthread_mutex_unlock(&server->tls_lock);
    return changed;
}

/*
 * gRPC takes no listener whose first look at them finds nothing new. Should a handshake of the
 * listener before it look first, that look is spent; then the new one is not taken, and the next
 * look after it, a second later, opens another.
 */
static void forget_certificates(struct rpc_server *server)
{
    pthread_mutex_lock(&server->tls_lock);
    server->cert_changed_ns = -1;
    server->tls_checked_ns = 0;
    pthread_mutex_unlock(&server->tls_lock);
}

/* gRPC asks before each handshake. What cannot be read, or does not fit together, leaves the old
 * in use. */
static grpc_ssl_certificate_config_reload_status
fetch_certificates(void *context, grpc_ssl_server_certificate_config **ret)
{
    struct rpc_server *server = context;
    int r;

    rpc__take();
    if (!files_changed(server))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    r = read_certificates(server, ret, NULL);
    if (r < 0) {
        pthread_mutex_lock(&server->tls_lock);
        server->cert_changed_ns = -1; /* half replaced: look again */
        pthread_mutex_unlock(&server->tls_lock);
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static int make_credentials(struct rpc_server *server, grpc_server_credentials **ret,
                            struct err *err)
{
    grpc_ssl_server_certificate_config *config = NULL;
    grpc_ssl_server_credentials_options *options;
    grpc_ssl_client_certificate_request_type asked =
        server->ca_file ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                        : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    int r;

    if (!rpc__has_tls(server)) {
        *ret = grpc_insecure_server_credentials_create();
        return 0;
    }
    r = read_certificates(server, &config, err); /* for its words: gRPC would only log */
    if (r < 0)
        return r;
    if (server->cert_pem) { /* that will not change; the options take it */
        options = grpc_ssl_server_credentials_create_options_using_config(asked, config);
    } else {
        forget_certificates(server);
        grpc_ssl_server_certificate_config_destroy(config);
        options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
            asked, fetch_certificates, server);
    }
    *ret = grpc_ssl_server_credentials_create_with_options(options);
    return *ret ? 0 : err_set(err, -EINVAL, "gRPC takes no credentials");
}

/* ---- listeners
 * --------------------------------------------------------------------------------- */

static grpc_server *create(struct rpc_server *server)
{
    const struct rpc_server_options *options = &server->options;
    struct rpc__args args = {.n = 0};
    grpc_channel_args list;
    grpc_server *grpc;

    rpc__args_common(&args, options->message_max, options->memory_max, options->keepalive_s);
    /* On by default, and then a second server shares the first one's port without a word. */
    rpc__args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    rpc__args_int(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, options->calls_max);
    rpc__args_int(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, (int64_t)options->patience_s * 1000);
    rpc__args_int(&args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    list = (grpc_channel_args){args.n, args.args};
    rpc__give();
    grpc = grpc_server_create(&list, NULL);
    rpc__args_release(&args);
    grpc_server_register_completion_queue(grpc, server->queue, NULL);
    return grpc;
}

static int add_port(struct rpc_server *server, grpc_server *grpc, struct err *err)
{
    grpc_server_credentials *credentials = NULL;
    char host[INET_ADDRSTRLEN] = "", text[64];
    int port, r = make_credentials(server, &credentials, err);

    if (r < 0)
        return r;
    inet_ntop(AF_INET, &server->address.sin_addr, host, sizeof(host));
    snprintf(text, sizeof(text), "%s:%u", host, ntohs(server->address.sin_port));
    port = grpc_server_add_http2_port(grpc, text, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0)
        return err_set(err, rpc__has_tls(server) ? -EINVAL : -EADDRINUSE,
                       "gRPC cannot listen on %s%s", text,
                       rpc__has_tls(server) ? ": do certificate and key belong together?" : "");
    if (server->address.sin_port == 0)
        server->address.sin_port = htons((uint16_t)port);
    return 0;
}

int rpc__listener_open(struct rpc_server *server, struct err *err)
{
    struct rpc__listener *listener = calloc(1, sizeof(*listener));
    int r;

    if (!listener)
        return err_set(err, -ENOMEM, "no memory for a listener");
    listener->tag = (struct rpc__tag){.what = RPC__SHUT, .listener = listener};
    listener->grpc = create(server);
    r = add_port(server, listener->grpc, err);
    if (r < 0) {
        grpc_server_destroy(listener->grpc);
        free(listener);
        return r;
    }
    grpc_server_start(listener->grpc);
    pthread_mutex_lock(&server->lock);
    listener->next = server->listeners;
    server->listeners = server->listener = listener;
    pthread_mutex_unlock(&server->lock);
    if (atomic_load(&server->stopping))
        rpc__listener_retire(server);
    return 0;
}

void rpc__listener_retire(struct rpc_server *server)
{
    struct rpc__listener *listener;

    pthread_mutex_lock(&server->lock);
    listener = server->listener;
    server->listener = NULL;
    pthread_mutex_unlock(&server->lock);
    rpc__give();
    if (listener)
        grpc_server_shutdown_and_notify(listener->grpc, server->queue, &listener->tag);
}

void rpc__listener_shut(struct rpc_server *server, struct rpc__listener *listener)
{
    struct rpc__listener **link = &server->listeners;

    pthread_mutex_lock(&server->lock);
    while (*link != listener)
        link = &(*link)->next;
    *link = listener->next;
    grpc_server_destroy(listener->grpc);
    free(listener);
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

/* Whose accept() failed the log does not say: each server of the process moves. When that fails
 * too, as there is * still no descriptor, the next look tries again. */
void rpc__listener_check(struct rpc_server *server)
{
    unsigned failures = rpc__accept_failures();
    bool none;

    if (failures != server->failures_seen) {
        server->failures_seen = failures;
        rpc__listener_retire(server);
    }
    pthread_mutex_lock(&server->lock);
    none = !server->listener;
    pthread_mutex_unlock(&server->lock);
    if (none)
        rpc__listener_open(server, NULL);
}
