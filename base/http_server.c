#include "base/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/http2.h"
#include "base/http_routes.h"
#include "base/parse.h"
#include "base/tls_files.h"
#include "base/tls_peers.h"

#define BODY_MAX_DEFAULT ((size_t)8 << 20)
#define HEADER_MEMORY ((size_t)64 << 10)
#define IDLE_S 300u /* longer than Go's 90 s, so that the client closes idle connections */
#define PATIENCE_S 30
#define BUCKETS 1024
#define STOP_MS 2000u /* for answers to leave when the server stops */
#define CLIENT_OK ((void *)1)
#define CLIENT_REFUSED ((void *)2)

/* One call; lives from its first byte to MHD's completion callback. */
struct call {
    struct http_server *server;
    struct MHD_Connection *connection;
    const struct http_route *route;
    struct strbuf body;
    struct http_reply reply;
    uint64_t token;
    bool refused, held, suspended, answered;
    struct call *next; /* in the table of held calls */
};

struct http_server {
    struct MHD_Daemon *daemon; /* HTTP/1.1, or */
    struct http2 *http2;
    struct http_server_options options;
    struct tls_peers peers;
    char *trust; /* CA file's text */
    struct tls_files *files;
    pthread_mutex_t lock; /* table of held calls, next token, stopping */
    struct call *held[BUCKETS];
    uint64_t next_token;
    unsigned nheld;
    unsigned ncalls; /* begun and not completed */
    bool stopping;
};

/* ---- who calls ------------------------------------------------------------------------------------ */

/* Verified once per connection: the signature check costs more than most requests. */
static bool client_allowed(struct http_server *server, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info;
    void **mark;
    bool allowed;

    if (!server->trust)
        return true;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    mark = info ? (void **)(uintptr_t)&info->socket_context : NULL;
    if (mark && *mark)
        return *mark == CLIENT_OK;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    allowed = info && tls_peers_allow(&server->peers, info->tls_session);
    if (mark)
        *mark = allowed ? CLIENT_OK : CLIENT_REFUSED;
    return allowed;
}

/* GnuTLS gives its callback no context: a listener's files are found by the port of the connection. */
static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;
#define LISTENERS_MAX 16
static struct {
    unsigned port;
    struct tls_files *files;
} listeners[LISTENERS_MAX];

static unsigned local_port(gnutls_session_t session)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
    } address;
    socklen_t len = sizeof(address);

    memset(&address, 0, sizeof(address));
    if (getsockname(gnutls_transport_get_int(session), &address.any, &len) < 0)
        return 0;
    return ntohs(address.ipv4.sin_port); /* listeners are IPv4 */
}

static int give_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs,
                            const gnutls_pk_algorithm_t *pk_algos, int pk_algos_length,
                            gnutls_pcert_st **pcert, unsigned int *pcert_length,
                            gnutls_privkey_t *privkey)
{
    unsigned port = local_port(session);
    int r = -1;

    (void)req_ca_dn;
    (void)nreqs;
    (void)pk_algos;
    (void)pk_algos_length;
    pthread_mutex_lock(&listeners_lock);
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (!listeners[i].files || listeners[i].port != port)
            continue;
        tls_files_get(listeners[i].files, pcert, pcert_length, privkey);
        r = 0;
    }
    pthread_mutex_unlock(&listeners_lock);
    return r;
}

static void register_listener(unsigned port, struct tls_files *files)
{
    pthread_mutex_lock(&listeners_lock);
    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        if (listeners[i].files)
            continue;
        listeners[i].port = port;
        listeners[i].files = files;
        break;
    }
    pthread_mutex_unlock(&listeners_lock);
}

static void forget_listener(const struct tls_files *files)
{
    pthread_mutex_lock(&listeners_lock);
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (listeners[i].files == files)
            listeners[i].files = NULL;
    pthread_mutex_unlock(&listeners_lock);
}

/* ---- held calls -------------------------------------------------------------------------------------- */

static void table_add(struct http_server *server, struct call *call)
{
    struct call **bucket = &server->held[call->token % BUCKETS];

    call->next = *bucket;
    *bucket = call;
    server->nheld++;
}

/* Takes the call with this token out of the table; NULL: not held. */
static struct call *table_take(struct http_server *server, uint64_t token)
{
    for (struct call **at = &server->held[token % BUCKETS]; *at; at = &(*at)->next) {
        struct call *call = *at;

        if (call->token != token)
            continue;
        *at = call->next;
        server->nheld--;
        return call;
    }
    return NULL;
}

static void answer(struct call *call, int status, const char *body, size_t len)
{
    call->reply.status = status;
    strbuf_clear(&call->reply.body);
    strbuf_add(&call->reply.body, body, len);
    call->answered = true;
    if (call->suspended)
        MHD_resume_connection(call->connection);
}

void http_server_reply(struct http_server *server, uint64_t token, int status, const char *body,
                       size_t len)
{
    struct call *call;

    if (server->http2) {
        http2_reply(server->http2, token, status, body, len);
        return;
    }
    pthread_mutex_lock(&server->lock);
    call = table_take(server, token);
    if (call)
        answer(call, status, body, len);
    pthread_mutex_unlock(&server->lock);
}

unsigned http_server_held(struct http_server *server)
{
    unsigned n;

    if (server->http2)
        return http2_held(server->http2);
    pthread_mutex_lock(&server->lock);
    n = server->nheld;
    pthread_mutex_unlock(&server->lock);
    return n;
}

/* ---- calls -------------------------------------------------------------------------------------------- */

static enum MHD_Result send_reply(struct call *call)
{
    struct http_reply *reply = &call->reply;
    struct MHD_Response *response;
    enum MHD_Result result;

    if (reply->body.failed)
        http_set_text(reply, 500, "the answer is too large");
    response = MHD_create_response_from_buffer(reply->body.len, reply->body.data,
                                               MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type",
                            reply->type ? reply->type : "application/json");
    if (call->refused)
        MHD_add_response_header(response, "Connection", "close");
    result = MHD_queue_response(call->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(struct call *call, int status)
{
    call->refused = true;
    http_set_text(&call->reply, status, NULL);
    return send_reply(call);
}

static enum MHD_Result begin(struct http_server *server, struct MHD_Connection *connection,
                             const char *method, const char *path, struct call **ret_call)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    struct call *call = calloc(1, sizeof(*call));
    uint64_t announced = 0;
    int status;

    if (!call)
        return MHD_NO;
    *ret_call = call;
    pthread_mutex_lock(&server->lock);
    server->ncalls++;
    pthread_mutex_unlock(&server->lock);
    call->server = server;
    call->connection = connection;
    call->body.max = server->options.body_max;
    call->reply.status = 200;
    call->reply.body.max = HTTP_REPLY_MAX;
    call->route = http_find_route(server->options.routes, method, path, &status);
    if (!client_allowed(server, connection))
        return refuse(call, 403);
    if (!call->route)
        return refuse(call, status);
    if (length && (parse_u64(length, strlen(length), UINT64_MAX, &announced) < 0 ||
                   announced > server->options.body_max))
        return refuse(call, 413);
    return MHD_YES;
}

static enum MHD_Result dispatch(struct call *call, const char *method, const char *path)
{
    struct http_server *server = call->server;
    struct http_request request = {method, path, call->body.data ? call->body.data : "",
                                   call->body.len, 0};
    enum http_outcome outcome;
    bool wait;

    /* In the table before the handler runs: the answer may come before it returns. */
    pthread_mutex_lock(&server->lock);
    call->token = request.token = ++server->next_token;
    call->held = true;
    table_add(server, call);
    pthread_mutex_unlock(&server->lock);
    outcome = call->route->handler(server->options.context, &request, &call->reply);
    pthread_mutex_lock(&server->lock);
    wait = outcome == HTTP_HELD && !call->answered && !server->stopping;
    if (wait) {
        call->suspended = true;
        MHD_suspend_connection(call->connection);
    } else if (table_take(server, request.token) && outcome == HTTP_HELD) {
        http_set_text(&call->reply, 503, "stopping");
    }
    pthread_mutex_unlock(&server->lock);
    return wait ? MHD_YES : send_reply(call);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **state)
{
    struct call *call = *state;

    (void)version;
    if (!call) {
        struct call *fresh = NULL;
        enum MHD_Result result = begin(context, connection, method, path, &fresh);

        *state = fresh;
        return result;
    }
    if (call->answered)
        return send_reply(call);
    if (call->refused) {
        *data_size = 0;
        return MHD_YES;
    }
    if (*data_size > 0) {
        if (strbuf_add(&call->body, data, *data_size) < 0)
            return MHD_NO; /* longer than announced or unannounced: the connection ends */
        *data_size = 0;
        return MHD_YES;
    }
    return dispatch(call, method, path);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *server = context;
    struct call *call = *state;

    (void)connection;
    (void)code;
    if (!call)
        return;
    pthread_mutex_lock(&server->lock);
    if (call->held)
        table_take(server, call->token);
    server->ncalls--;
    pthread_mutex_unlock(&server->lock);
    strbuf_release(&call->body);
    strbuf_release(&call->reply.body);
    free(call);
    *state = NULL;
}

/* ---- start and stop ------------------------------------------------------------------------------------- */

static int parse_listen(const char *listen, struct sockaddr_in *ret, struct err *err)
{
    const char *colon = strrchr(listen, ':');
    char host[64] = "0.0.0.0";
    uint64_t port;

    *ret = (struct sockaddr_in){.sin_family = AF_INET};
    if (colon && colon > listen)
        snprintf(host, sizeof(host), "%.*s", (int)(colon - listen), listen);
    if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0 ||
        inet_pton(AF_INET, host, &ret->sin_addr) != 1)
        return err_set(err, -EINVAL, "listen address '%s': expected ipv4:port", listen);
    ret->sin_port = htons((uint16_t)port);
    return 0;
}

static bool set(const char *text)
{
    return text && *text;
}

static int load_tls(struct http_server *server, struct err *err)
{
    struct strbuf trust = STRBUF_INIT((size_t)1 << 20);
    int r = tls_files_open(server->options.cert_file, server->options.key_file, &server->files, err);

    if (r < 0 || !set(server->options.ca_file))
        return r;
    r = strbuf_read_file(&trust, server->options.ca_file);
    if (r < 0) {
        strbuf_release(&trust);
        return err_set(err, r, "cannot read '%s': %s", server->options.ca_file, strerror(-r));
    }
    server->trust = strbuf_take(&trust, NULL);
    return 0;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)context;
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *socket_context = NULL;
}

static int start_http2(struct http_server *server, const struct sockaddr_in *address, struct err *err)
{
    struct http2_tls tls = {server->files, &server->peers, server->trust};

    if (!server->files)
        return err_set(err, -EINVAL, "listen %s: HTTP/2 needs tls cert and key files",
                       server->options.listen);
    return http2_start(&server->options, address, &tls, &server->http2, err);
}

static int start_daemon(struct http_server *server, const struct sockaddr_in *address,
                        struct err *err)
{
    const struct http_server_options *options = &server->options;
    bool tls = server->files != NULL;
    /* Not epoll: there libmicrohttpd goes round and round while a handshake waits for its client. Held calls
     * are not polled, so that few connections are. */
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     (tls ? MHD_USE_TLS : 0u);
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)give_certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {server->trust ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, server->trust},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR,
        (const struct sockaddr *)address, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_LIMIT,
        options->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        options->idle_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEADER_MEMORY, MHD_OPTION_THREAD_POOL_SIZE,
        options->threads, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_ARRAY,
        tls ? tls_options : none, MHD_OPTION_END);
    if (!server->daemon)
        return err_set(err, -EADDRINUSE, "cannot listen on %s: %s", options->listen,
                       strerror(errno));
    if (tls)
        register_listener(http_server_port(server), server->files);
    return 0;
}

int http_server_start(const struct http_server_options *options, struct http_server **ret_server,
                      struct err *err)
{
    struct http_server *server = calloc(1, sizeof(*server));
    struct sockaddr_in address;
    int r;

    if (!server)
        return -ENOMEM;
    server->options = *options;
    server->options.body_max = options->body_max ? options->body_max : BODY_MAX_DEFAULT;
    server->options.connections_max = options->connections_max ? options->connections_max : 4096;
    server->options.threads = options->threads > 1 ? options->threads : 2;
    server->options.idle_s = options->idle_s ? options->idle_s : IDLE_S;
    server->options.patience_s = options->patience_s ? options->patience_s : PATIENCE_S;
    pthread_mutex_init(&server->lock, NULL);
    r = parse_listen(options->listen, &address, err);
    if (r == 0 && !set(options->cert_file) && ntohl(address.sin_addr.s_addr) >> 24 != 127)
        r = err_set(err, -EPERM,
                    "listen %s: plaintext is for loopback only; name tls cert and key files",
                    options->listen);
    if (r == 0)
        r = tls_peers_init(&server->peers, options->clients);
    if (r == 0 && set(options->cert_file))
        r = load_tls(server, err);
    if (r == 0)
        r = options->http2 ? start_http2(server, &address, err) : start_daemon(server, &address, err);
    if (r < 0)
        http_server_stop(server);
    else
        *ret_server = server;
    return r;
}

static void release_held(struct http_server *server)
{
    static const char text[] = "stopping\n";

    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    for (size_t i = 0; i < BUCKETS; i++)
        while (server->held[i])
            answer(table_take(server, server->held[i]->token), 503, text, sizeof(text) - 1);
    pthread_mutex_unlock(&server->lock);
}

/* Answers are on their way: MHD would close their connections first. */
static void wait_for_calls(struct http_server *server)
{
    for (unsigned i = 0; i < STOP_MS / 10; i++) {
        unsigned n;

        pthread_mutex_lock(&server->lock);
        n = server->ncalls;
        pthread_mutex_unlock(&server->lock);
        if (n == 0)
            return;
        usleep(10000);
    }
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    if (server->daemon) {
        release_held(server);
        wait_for_calls(server);
        forget_listener(server->files);
        MHD_stop_daemon(server->daemon);
    }
    http2_stop(server->http2);
    tls_files_close(server->files);
    tls_peers_release(&server->peers);
    free(server->trust);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    const union MHD_DaemonInfo *info;

    if (server->http2)
        return http2_port(server->http2);
    info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}
