/* Connections: one thread polls them, feeds nghttp2 what GnuTLS decrypts and sends what it gives back. */
#include "base/http2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http2_internal.h"

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define CHUNK 16384 /* a TLS record */
#define READS_MAX 16 /* records a round, so that no connection keeps the others waiting */
#define OUT_MAX ((size_t)1 << 20)
#define STREAM_WINDOW (1 << 20) /* bytes of a request on their way: 15,000 node names are 300 KB */
#define CONNECTION_WINDOW (8 << 20)
#define HEADERS_MAX 16384
#define HANDSHAKE_NS INT64_C(10000000000)
#define ROUND_MS 1000
#define NS_PER_S INT64_C(1000000000)
#define CHECK_NS NS_PER_S /* between looks at who is too late */
#define STOP_MS 2000 /* for answers to leave when the server stops */

void http2_wake(struct http2 *http2)
{
    uint64_t one = 1;

    if (write(http2->wake, &one, sizeof(one)) < 0)
        return; /* full: it wakes anyhow */
}

/* ---- a connection ------------------------------------------------------------------------------------ */

static int give_certificate(gnutls_session_t session, const gnutls_datum_t *req_ca_dn, int nreqs,
                            const gnutls_pk_algorithm_t *pk_algos, int pk_algos_length,
                            gnutls_pcert_st **pcert, unsigned int *pcert_length,
                            gnutls_privkey_t *privkey)
{
    const struct http2_connection *connection = gnutls_session_get_ptr(session);

    (void)req_ca_dn;
    (void)nreqs;
    (void)pk_algos;
    (void)pk_algos_length;
    tls_files_get(connection->http2->tls.files, pcert, pcert_length, privkey);
    return 0;
}

static int begin_tls(struct http2_connection *connection)
{
    struct http2 *http2 = connection->http2;
    gnutls_datum_t h2 = {(unsigned char *)(uintptr_t) "h2", 2};

    if (gnutls_init(&connection->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
        return -ENOMEM;
    gnutls_session_set_ptr(connection->tls, connection);
    gnutls_transport_set_int(connection->tls, connection->fd);
    if (gnutls_priority_set(connection->tls, http2->priorities) < 0 ||
        gnutls_credentials_set(connection->tls, GNUTLS_CRD_CERTIFICATE, http2->credentials) < 0 ||
        gnutls_alpn_set_protocols(connection->tls, &h2, 1, 0) < 0)
        return -ENOMEM;
    if (http2->tls.trust)
        gnutls_certificate_server_set_request(connection->tls, GNUTLS_CERT_REQUEST);
    return 0;
}

static void connection_free(struct http2_connection *connection)
{
    while (connection->calls) /* nghttp2 does not tell that streams end with their session */
        http2_call_gone(connection->calls);
    nghttp2_session_del(connection->session);
    if (connection->tls)
        gnutls_deinit(connection->tls);
    close(connection->fd);
    strbuf_release(&connection->out);
    free(connection);
}

static void accept_connection(struct http2 *http2)
{
    struct http2_connection *connection = calloc(1, sizeof(*connection));
    int fd = accept4(http2->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), yes = 1;

    if (fd < 0 || !connection) { /* no files or memory are left: not again at once */
        http2->accept_ns = clock_boot_ns() + CHECK_NS;
        if (fd >= 0)
            close(fd);
        free(connection);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    *connection = (struct http2_connection){.http2 = http2, .fd = fd, .began_ns = clock_boot_ns(),
                                            .heard_ns = clock_boot_ns(),
                                            .out = STRBUF_INIT(OUT_MAX)};
    if (begin_tls(connection) < 0)
        connection_free(connection);
    else
        http2->connections[http2->nconnections++] = connection;
}

static int begin_session(struct http2_connection *connection)
{
    struct http2 *http2 = connection->http2;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, http2->options.connections_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX}};

    if (nghttp2_session_server_new2(&connection->session, http2->callbacks, connection,
                                    http2->session_options) != 0 ||
        nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
        nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0,
                                              CONNECTION_WINDOW) != 0)
        return -ENOMEM;
    connection->allowed = !http2->tls.trust || tls_peers_allow(http2->tls.peers, connection->tls);
    return 0;
}

/* Who does not speak HTTP/2 hears so in what it speaks. */
static int turn_away(struct http2_connection *connection)
{
    static const char text[] = "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 70\r\nConnection: close\r\n\r\n"
                               "this port speaks HTTP/2 only: do not set DISABLE_HTTP2 for its client\n";

    gnutls_record_send(connection->tls, text, sizeof(text) - 1);
    gnutls_bye(connection->tls, GNUTLS_SHUT_WR);
    return -EPROTO;
}

static bool try_again(ssize_t r)
{
    return r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
}

static int shake_hands(struct http2_connection *connection)
{
    gnutls_datum_t protocol;
    int r = gnutls_handshake(connection->tls);

    if (r < 0)
        return try_again(r) || !gnutls_error_is_fatal(r) ? 0 : -EPROTO;
    if (gnutls_alpn_get_selected_protocol(connection->tls, &protocol) < 0)
        return turn_away(connection);
    return begin_session(connection);
}

static int receive(struct http2_connection *connection)
{
    uint8_t chunk[CHUNK];

    for (unsigned i = 0; i < READS_MAX; i++) {
        ssize_t n = gnutls_record_recv(connection->tls, chunk, sizeof(chunk));

        if (n == GNUTLS_E_REHANDSHAKE || try_again(n))
            return 0;
        if (n <= 0)
            return -ECONNRESET;
        connection->heard_ns = clock_boot_ns();
        if (nghttp2_session_mem_recv(connection->session, chunk, (size_t)n) < 0)
            return -EPROTO;
    }
    return 0;
}

static int fill_out(struct http2_connection *connection)
{
    const uint8_t *bytes;
    ssize_t n = 1;

    strbuf_clear(&connection->out);
    connection->out_at = 0;
    while (connection->out.len < CHUNK) {
        n = nghttp2_session_mem_send(connection->session, &bytes);
        if (n <= 0)
            break;
        if (strbuf_add(&connection->out, bytes, (size_t)n) < 0)
            return -ENOMEM;
    }
    return n < 0 ? -EPROTO : 0;
}

static int send_out(struct http2_connection *connection)
{
    for (;;) {
        ssize_t n;

        if (connection->out_at == connection->out.len && fill_out(connection) < 0)
            return -EPROTO;
        connection->stalled = false;
        if (connection->out.len == 0)
            return 0;
        n = gnutls_record_send(connection->tls, connection->out.data + connection->out_at,
                               connection->out.len - connection->out_at);
        connection->stalled = try_again(n);
        if (connection->stalled)
            return 0;
        if (n < 0)
            return -ECONNRESET;
        connection->out_at += (size_t)n;
        connection->heard_ns = clock_boot_ns();
    }
}

static void serve(struct http2_connection *connection, bool readable)
{
    int r = 0;

    if (!connection->session)
        r = shake_hands(connection);
    if (r == 0 && connection->session && readable && !connection->stalled)
        r = receive(connection);
    if (r == 0 && connection->session)
        r = send_out(connection);
    connection->dead = r < 0 || (connection->session && !connection->stalled &&
                                 !nghttp2_session_want_read(connection->session) &&
                                 !nghttp2_session_want_write(connection->session));
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

/* A call that is coming in, or whose answer the client does not take. */
static bool has_late_call(const struct http2_connection *connection, int64_t now_ns, int64_t patience_ns)
{
    for (const struct http2_call *call = connection->calls; call; call = call->sibling)
        if (call->since_ns && now_ns - call->since_ns > patience_ns)
            return true;
    return false;
}

static bool too_long(const struct http2_connection *connection, int64_t now_ns)
{
    const struct http_server_options *options = &connection->http2->options;
    int64_t silent_ns = now_ns - connection->heard_ns, patience_ns = (int64_t)options->patience_s * NS_PER_S;

    if (!connection->session || !connection->allowed)
        return now_ns - connection->began_ns > HANDSHAKE_NS;
    if ((connection->stalled && silent_ns > patience_ns) || has_late_call(connection, now_ns, patience_ns))
        return true;
    return !connection->calls && silent_ns > (int64_t)options->idle_s * NS_PER_S;
}

static void drop_dead(struct http2 *http2)
{
    int64_t now_ns = clock_boot_ns();
    bool check = now_ns >= http2->check_ns;
    unsigned kept = 0;

    if (check)
        http2->check_ns = now_ns + CHECK_NS;
    for (unsigned i = 0; i < http2->nconnections; i++) {
        struct http2_connection *connection = http2->connections[i];

        if (connection->dead || (check && too_long(connection, now_ns)))
            connection_free(connection);
        else
            http2->connections[kept++] = connection;
    }
    http2->nconnections = kept;
}

/* Who gives its place up when all are taken: the oldest that may not call (yet), else one that is idle. */
static struct http2_connection *dispensable(const struct http2 *http2)
{
    struct http2_connection *idle = NULL;

    for (unsigned i = 0; i < http2->nconnections; i++) {
        struct http2_connection *connection = http2->connections[i];

        if (!connection->session || !connection->allowed)
            return connection;
        if (!connection->calls && (!idle || connection->heard_ns < idle->heard_ns))
            idle = connection;
    }
    return idle;
}

static bool may_accept(const struct http2 *http2)
{
    return clock_boot_ns() >= http2->accept_ns &&
           (http2->nconnections < HTTP2_CONNECTIONS_MAX || dispensable(http2));
}

static void make_room(struct http2 *http2)
{
    struct http2_connection *goes = http2->nconnections == HTTP2_CONNECTIONS_MAX ? dispensable(http2) : NULL;

    if (!goes)
        return;
    goes->dead = true;
    drop_dead(http2);
}

static void submit_done(struct http2 *http2)
{
    uint64_t count;
    struct http2_call *next;

    if (read(http2->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    for (struct http2_call *call = http2_take_done(http2); call; call = next) {
        struct http2_connection *connection = call->connection;

        next = call->next;
        if (http2_submit_reply(connection, call) != 0)
            connection->dead = true;
    }
    for (unsigned i = 0; i < http2->nconnections; i++)
        if (http2->connections[i]->session && !http2->connections[i]->dead &&
            nghttp2_session_want_write(http2->connections[i]->session))
            serve(http2->connections[i], false);
}

/* Who does not take its answers is not read either: what it asks for would pile up. */
static short events_of(const struct http2_connection *connection)
{
    bool out = !connection->session && gnutls_record_get_direction(connection->tls) == 1;

    return connection->stalled || out ? POLLOUT : POLLIN;
}

/* Bytes that GnuTLS has decrypted already show on no socket. */
static bool has_more(const struct http2 *http2)
{
    for (unsigned i = 0; i < http2->nconnections; i++)
        if (http2->connections[i]->session && !http2->connections[i]->stalled &&
            gnutls_record_check_pending(http2->connections[i]->tls) > 0)
            return true;
    return false;
}

static void one_round(struct http2 *http2)
{
    struct pollfd fds[HTTP2_CONNECTIONS_MAX + 2];
    unsigned n = http2->nconnections;

    fds[0] = (struct pollfd){.fd = http2->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = may_accept(http2) ? http2->listener : -1, .events = POLLIN};
    for (unsigned i = 0; i < n; i++)
        fds[i + 2] = (struct pollfd){
            .fd = http2->connections[i]->fd,
            .events = events_of(http2->connections[i])};
    if (poll(fds, n + 2, has_more(http2) ? 0 : ROUND_MS) < 0 && errno != EINTR)
        return;
    for (unsigned i = 0; i < n; i++)
        if (fds[i + 2].revents || (http2->connections[i]->session &&
                                   gnutls_record_check_pending(http2->connections[i]->tls) > 0))
            serve(http2->connections[i], true);
    submit_done(http2);
    drop_dead(http2);
    if (fds[1].revents) {
        make_room(http2);
        if (http2->nconnections < HTTP2_CONNECTIONS_MAX)
            accept_connection(http2);
    }
}

static void *loop(void *context)
{
    struct http2 *http2 = context;
    bool ending = false;

    while (!ending) {
        one_round(http2);
        pthread_mutex_lock(&http2->lock);
        ending = http2->ending;
        pthread_mutex_unlock(&http2->lock);
    }
    return NULL;
}

/* ---- start and stop ------------------------------------------------------------------------------------- */

static int make_credentials(struct http2 *http2)
{
    gnutls_datum_t trust = {(unsigned char *)(uintptr_t)http2->tls.trust,
                            http2->tls.trust ? (unsigned)strlen(http2->tls.trust) : 0};

    if (gnutls_certificate_allocate_credentials(&http2->credentials) < 0 ||
        gnutls_priority_init(&http2->priorities, PRIORITIES, NULL) < 0 ||
        nghttp2_option_new(&http2->session_options) != 0)
        return -ENOMEM;
    /* A gang's calls may all end at once: that is no attack, and the connection is shared. */
    nghttp2_option_set_stream_reset_rate_limit(http2->session_options, http2->options.connections_max,
                                               http2->options.connections_max / 10 + 1);
    nghttp2_option_set_no_closed_streams(http2->session_options, 1);
    gnutls_certificate_set_retrieve_function2(http2->credentials, give_certificate);
    if (http2->tls.trust &&
        gnutls_certificate_set_x509_trust_mem(http2->credentials, &trust, GNUTLS_X509_FMT_PEM) < 1)
        return -EINVAL;
    return 0;
}

static int listen_on(struct http2 *http2, const struct sockaddr_in *address)
{
    int yes = 1;

    http2->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    http2->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (http2->wake < 0 || http2->listener < 0)
        return -errno;
    setsockopt(http2->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(http2->listener, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        listen(http2->listener, SOMAXCONN) < 0)
        return -errno;
    return 0;
}

int http2_start(const struct http_server_options *options, const struct sockaddr_in *address,
                const struct http2_tls *tls, struct http2 **ret_http2, struct err *err)
{
    struct http2 *http2 = calloc(1, sizeof(*http2));
    int r;

    if (!http2)
        return -ENOMEM;
    http2->options = *options;
    http2->tls = *tls;
    http2->wake = http2->listener = -1;
    pthread_mutex_init(&http2->lock, NULL);
    pthread_cond_init(&http2->work, NULL);
    r = make_credentials(http2);
    if (r < 0)
        err_set(err, r, "%s: no certificate of a CA in PEM form", options->ca_file);
    if (r == 0)
        r = http2_make_callbacks(&http2->callbacks);
    if (r == 0) {
        r = listen_on(http2, address);
        if (r < 0)
            err_set(err, r, "cannot listen on %s: %s", options->listen, strerror(-r));
    }
    if (r == 0)
        r = http2_workers_start(http2);
    if (r == 0) {
        http2->looping = pthread_create(&http2->loop, NULL, loop, http2) == 0;
        r = http2->looping ? 0 : -EAGAIN;
    }
    if (r < 0)
        http2_stop(http2);
    else
        *ret_http2 = http2;
    return r;
}

/* Answers are on their way: the connections would be closed before they leave. */
static void wait_for_calls(struct http2 *http2)
{
    for (unsigned i = 0; i < STOP_MS / 10; i++) {
        unsigned n;

        pthread_mutex_lock(&http2->lock);
        n = http2->ncalls;
        pthread_mutex_unlock(&http2->lock);
        if (n == 0)
            return;
        usleep(10000);
    }
}

void http2_stop(struct http2 *http2)
{
    if (!http2)
        return;
    if (http2->looping) {
        http2_release_held(http2);
        wait_for_calls(http2);
    }
    http2_workers_join(http2);
    if (http2->looping) {
        http2_wake(http2);
        pthread_join(http2->loop, NULL);
    }
    for (unsigned i = 0; i < http2->nconnections; i++)
        connection_free(http2->connections[i]);
    http2_calls_release(http2);
    if (http2->listener >= 0)
        close(http2->listener);
    if (http2->wake >= 0)
        close(http2->wake);
    nghttp2_session_callbacks_del(http2->callbacks);
    nghttp2_option_del(http2->session_options);
    if (http2->priorities)
        gnutls_priority_deinit(http2->priorities);
    if (http2->credentials)
        gnutls_certificate_free_credentials(http2->credentials);
    pthread_cond_destroy(&http2->work);
    pthread_mutex_destroy(&http2->lock);
    free(http2);
}

unsigned http2_port(const struct http2 *http2)
{
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);

    if (getsockname(http2->listener, (struct sockaddr *)&address, &len) < 0)
        return 0;
    return ntohs(address.sin_port);
}
