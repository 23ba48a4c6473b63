#include "base/rpc_server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define THREADS_MAX 64
#define SECOND_NS INT64_C(1000000000)

/* ---- threads
 * --------------------------------------------------------------------------------------- */

/* Once a second, on one of the threads. */
static void look_around(struct rpc_server *server)
{
    int64_t now = clock_boot_ns();
    bool mine;

    if (now - atomic_load(&server->looked_ns) < SECOND_NS)
        return;
    pthread_mutex_lock(&server->lock);
    mine = !server->looking && !atomic_load(&server->stopping);
    if (mine)
        server->looking = true;
    pthread_mutex_unlock(&server->lock);
    if (!mine)
        return;
    atomic_store(&server->looked_ns, now);
    rpc__sweep(server, now);
    rpc__listener_check(server);
    rpc__accept(server); /* in case memory was short */
    pthread_mutex_lock(&server->lock);
    server->looking = false;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
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
        if (event.type == GRPC_OP_COMPLETE)
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
        copy_text(options->cert_pem, &server->cert_pem) < 0 ||
        copy_text(options->key_pem, &server->key_pem) < 0 ||
        copy_text(options->ca_file, &server->ca_file) < 0)
        return -ENOMEM;
    return copy_clients(server, options->clients);
}

static int check_tls(const struct rpc_server_options *options, struct err *err)
{
    if (rpc__set(options->cert_pem) == rpc__set(options->key_pem) &&
        (rpc__set(options->cert_pem) || rpc__set(options->cert_file) == rpc__set(options->key_file)))
        return 0;
    return err_set(err, -EINVAL, "a server's certificate and its key come together");
}

static int check_address(struct rpc_server *server, struct sockaddr_in *ret, struct err *err)
{
    const char *where = server->options.listen;
    CLEANUP_CLOSE int fd = -1;
    int one = 1, r = rpc__address(where, ret, err);

    if (r < 0)
        return r;
    if (!rpc__has_tls(server) && !rpc__loopback(ret))
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

int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **ret_server,
                     struct err *err)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    int r;

    if (!server)
        return err_set(err, -ENOMEM, "no memory for a server");
    rpc__library_ref();
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->tls_lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    atomic_store(&server->serving, true);
    server->failures_seen = rpc__accept_failures();
    server->looking = true; /* who looks around would miss a listener, and open one too */
    server->queue = grpc_completion_queue_create_for_next(NULL);
    r = check_tls(options, err);
    if (r == 0 && copy_options(server, options) < 0)
        r = err_set(err, -ENOMEM, "no memory for a server");
    if (r == 0)
        r = check_address(server, &server->address, err);
    if (r == 0)
        r = start_threads(server, err); /* first, as the way down needs them */
    if (r == 0)
        r = rpc__listener_open(server, err);
    pthread_mutex_lock(&server->lock);
    server->looking = false;
    pthread_mutex_unlock(&server->lock);
    if (r == 0)
        rpc__accept(server);
    if (r < 0)
        rpc_server_stop(server);
    else
        *ret_server = server;
    return r;
}

/* Each step waits for the one before: gRPC aborts the process when its queue ends under a call,
 * or a * started server is destroyed without having been shut. */
static void stop_grpc(struct rpc_server *server)
{
    rpc__listener_retire(server);
    pthread_mutex_lock(&server->lock);
    for (struct rpc__listener *listener = server->listeners; listener; listener = listener->next)
        grpc_server_cancel_all_calls(listener->grpc);
    while (server->listeners || server->n_calls || server->n_accepts || server->looking)
        pthread_cond_wait(&server->idle, &server->lock);
    pthread_mutex_unlock(&server->lock);
    grpc_completion_queue_shutdown(server->queue);
    for (unsigned i = 0; i < server->n_threads; i++)
        pthread_join(server->threads[i], NULL);
    if (!server->n_threads)
        serve(server);
    grpc_completion_queue_destroy(server->queue);
}

void rpc_server_stop(struct rpc_server *server)
{
    if (!server)
        return;
    atomic_store(&server->stopping, true);
    stop_grpc(server);
    for (size_t i = 0; server->clients && server->clients[i]; i++)
        free(server->clients[i]);
    free(server->clients);
    free(server->cert_file);
    free(server->key_file);
    free(server->cert_pem);
    free_secret(server->key_pem);
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
    return ntohs(server->address.sin_port);
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
