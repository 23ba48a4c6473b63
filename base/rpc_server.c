#include "base/rpc_server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define THREADS_MAX 64
#define SECOND_NS INT64_C(1000000000)

static struct rpc__tag shut_tag; /* only its address counts */

/* ---- threads
 * --------------------------------------------------------------------------------------- */

static void note_shut(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->shut = true;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
}

static void look_around(struct rpc_server *server)
{
    int64_t now = clock_boot_ns(), last = atomic_load(&server->swept_ns);

    /* One thread a second; the others lose the exchange. */
    if (now - last < SECOND_NS || !atomic_compare_exchange_strong(&server->swept_ns, &last, now))
        return;
    rpc__sweep(server, now);
    rpc__accept(server); /* in case memory was short */
}

static void *serve(void *context)
{
    struct rpc_server *server = context;

    for (;;) {
        gpr_timespec wake = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_seconds(1, GPR_TIMESPAN));
        grpc_event event = grpc_completion_queue_next(server->queue, wake, NULL);

        rpc__take();
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE && event.tag == &shut_tag)
            note_shut(server);
        else if (event.type == GRPC_OP_COMPLETE)
            rpc__event(server, event.tag, event.success);
        look_around(server);
    }
}

static int start_threads(struct rpc_server *server, struct err *err)
{
    server->threads = calloc(server->options.threads, sizeof(*server->threads));
    if (!server->threads)
        return -ENOMEM;
    for (; server->n_threads < server->options.threads; server->n_threads++) {
        int r = pthread_create(&server->threads[server->n_threads], NULL, serve, server);

        if (r)
            return err_set(err, -r, "cannot start a thread: %s", strerror(r));
    }
    return 0;
}

/* ---- certificates
 * ---------------------------------------------------------------------------------- */

static int read_certificates(struct rpc_server *server, grpc_ssl_server_certificate_config **ret,
                             struct err *err)
{
    struct strbuf cert = STRBUF_INIT(0), key = STRBUF_INIT(0), ca = STRBUF_INIT(0);
    grpc_ssl_pem_key_cert_pair pair;
    int r = rpc__read_pem(server->cert_file, &cert, err);

    if (r == 0)
        r = rpc__read_pem(server->key_file, &key, err);
    if (r == 0 && server->ca_file)
        r = rpc__read_pem(server->ca_file, &ca, err);
    if (r == 0) {
        pair = (grpc_ssl_pem_key_cert_pair){key.data, cert.data};
        /* Without a CA nobody is asked for a certificate, yet gRPC 1.51 aborts if none is named. */
        *ret = grpc_ssl_server_certificate_config_create(ca.data ? ca.data : cert.data, &pair, 1);
    }
    strbuf_release(&cert);
    strbuf_release(&key);
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
    int r;

    if (!server->cert_file) {
        *ret = grpc_insecure_server_credentials_create();
        return 0;
    }
    r = read_certificates(server, &config, err); /* for its words: gRPC would only log */
    if (r < 0)
        return r;
    grpc_ssl_server_certificate_config_destroy(config);
    options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
        server->ca_file ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                        : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        fetch_certificates, server);
    *ret = grpc_ssl_server_credentials_create_with_options(options);
    return *ret ? 0 : err_set(err, -EINVAL, "gRPC takes no credentials");
}

/* ---- start and stop
 * -------------------------------------------------------------------------------- */

static int copy_text(const char *text, char **ret)
{
    if (rpc__set(text) && !(*ret = strdup(text)))
        return -ENOMEM;
    return 0;
}

static int copy_clients(struct rpc_server *server, const char *const *clients)
{
    size_t n = 0;

    if (!clients)
        return 0;
    while (clients[n])
        n++;
    server->clients = calloc(n + 1, sizeof(*server->clients));
    if (!server->clients)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!(server->clients[i] = strdup(clients[i])))
            return -ENOMEM;
    return 0;
}

static int copy_options(struct rpc_server *server, const struct rpc_server_options *options)
{
    struct rpc_server_options *own = &server->options;

    *own = *options;
    own->threads = !own->threads ? 2 : own->threads < THREADS_MAX ? own->threads : THREADS_MAX;
    own->calls_max = own->calls_max ? own->calls_max : 4096;
    own->message_max = own->message_max ? own->message_max : RPC__MESSAGE_MAX;
    own->memory_max = own->memory_max ? own->memory_max : RPC__MEMORY_MAX;
    own->queue_max = own->queue_max ? own->queue_max : 64;
    own->queue_bytes_max = own->queue_bytes_max ? own->queue_bytes_max : RPC__MESSAGE_MAX;
    own->keepalive_s = own->keepalive_s ? own->keepalive_s : RPC__KEEPALIVE_S;
    own->patience_s = own->patience_s ? own->patience_s : 30;
    if (copy_text(options->cert_file, &server->cert_file) < 0 ||
        copy_text(options->key_file, &server->key_file) < 0 ||
        copy_text(options->ca_file, &server->ca_file) < 0)
        return -ENOMEM;
    return copy_clients(server, options->clients);
}

static int check_address(struct rpc_server *server, struct sockaddr_in *ret, struct err *err)
{
    const char *where = server->options.listen;
    CLEANUP_CLOSE int fd = -1;
    int one = 1, r = rpc__address(where, ret, err);

    if (r < 0)
        return r;
    if (!server->cert_file && !rpc__loopback(ret))
        return err_set(err, -EPERM,
                       "listen %s: plaintext is for loopback only; name tls cert and key files",
                       where);
    /* gRPC says only that it could not: ask for the reason first. */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (struct sockaddr *)ret, sizeof(*ret)) < 0 || listen(fd, 1) < 0)
        return err_set(err, -errno, "cannot listen on %s: %s", where, strerror(errno));
    return 0;
}

static int open_listener(struct rpc_server *server, const struct sockaddr_in *address,
                         struct err *err)
{
    const struct rpc_server_options *options = &server->options;
    grpc_server_credentials *credentials = NULL;
    struct rpc__args args = {.n = 0};
    grpc_channel_args list;
    char host[INET_ADDRSTRLEN] = "", text[64];
    int port, r = make_credentials(server, &credentials, err);

    if (r < 0)
        return r;
    rpc__args_common(&args, options->message_max, options->memory_max, options->keepalive_s);
    /* On by default, and then a second server shares the first one's port without a word. */
    rpc__args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    rpc__args_int(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, options->calls_max);
    rpc__args_int(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, (int64_t)options->patience_s * 1000);
    rpc__args_int(&args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    list = (grpc_channel_args){args.n, args.args};
    rpc__give();
    server->grpc = grpc_server_create(&list, NULL);
    rpc__args_release(&args);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->grpc, server->queue, NULL);
    r = start_threads(server, err); /* first, as the way down needs them too */
    if (r < 0) {
        grpc_server_credentials_release(credentials);
        return r;
    }
    inet_ntop(AF_INET, &address->sin_addr, host, sizeof(host));
    snprintf(text, sizeof(text), "%s:%u", host, ntohs(address->sin_port));
    port = grpc_server_add_http2_port(server->grpc, text, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0)
        return err_set(err, server->cert_file ? -EINVAL : -EADDRINUSE, "gRPC cannot listen on %s%s",
                       text, server->cert_file ? ": do certificate and key belong together?" : "");
    server->port = (unsigned)port;
    grpc_server_start(server->grpc);
    return 0;
}

int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **ret_server,
                     struct err *err)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    struct sockaddr_in address;
    int r;

    if (!server)
        return err_set(err, -ENOMEM, "no memory for a server");
    rpc__library_ref();
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->tls_lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    atomic_store(&server->serving, true);
    r = copy_options(server, options);
    if (r < 0)
        err_set(err, r, "no memory for a server");
    if (r == 0)
        r = check_address(server, &address, err);
    if (r == 0)
        r = open_listener(server, &address, err);
    if (r == 0)
        rpc__accept(server);
    if (r < 0)
        rpc_server_stop(server);
    else
        *ret_server = server;
    return r;
}

/* Each step waits for the one before: gRPC aborts the process when its queue ends under a call,
 * or a started * server is destroyed without having been shut. */
static void stop_grpc(struct rpc_server *server)
{
    if (server->n_threads) { /* else it was never opened */
        rpc__give();
        grpc_server_shutdown_and_notify(server->grpc, server->queue, &shut_tag);
        grpc_server_cancel_all_calls(server->grpc);
        pthread_mutex_lock(&server->lock);
        while (!server->shut || server->n_calls || server->n_accepts)
            pthread_cond_wait(&server->idle, &server->lock);
        pthread_mutex_unlock(&server->lock);
    }
    grpc_completion_queue_shutdown(server->queue);
    for (unsigned i = 0; i < server->n_threads; i++)
        pthread_join(server->threads[i], NULL);
    if (!server->n_threads)
        serve(server);
    grpc_server_destroy(server->grpc);
    grpc_completion_queue_destroy(server->queue);
}

void rpc_server_stop(struct rpc_server *server)
{
    if (!server)
        return;
    atomic_store(&server->stopping, true);
    if (server->grpc)
        stop_grpc(server);
    for (size_t i = 0; server->clients && server->clients[i]; i++)
        free(server->clients[i]);
    free(server->clients);
    free(server->cert_file);
    free(server->key_file);
    free(server->ca_file);
    free(server->threads);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->tls_lock);
    pthread_mutex_destroy(&server->lock);
    free(server);
    rpc__library_unref();
}

unsigned rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

unsigned rpc_server_calls(struct rpc_server *server)
{
    unsigned n;

    pthread_mutex_lock(&server->lock);
    n = server->n_calls;
    pthread_mutex_unlock(&server->lock);
    return n;
}

void rpc_server_set_health(struct rpc_server *server, bool serving)
{
    atomic_store(&server->serving, serving);
}
