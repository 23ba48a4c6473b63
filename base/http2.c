/* Connections: one thread polls them, feeds nghttp2 what GnuTLS decrypts and sends what it gives back. */
#include "base/http2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
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
#define SILENCE_NS INT64_C(30000000000) /* of a client in the middle of something */
#define ROUND_MS 1000
#define STOP_MS 2000 /* for answers to leave when the server stops */

void http2_wake(struct http2 *http2)
{
    uint64_t one = 1;

    if (write(http2->wake, &one, sizeof(one)) < 0)
        return; /* full: it wakes anyhow */
}

/* ---- what nghttp2 tells --------------------------------------------------------------------------- */

static int end_stream(struct http2_connection *connection, int32_t stream, uint32_t code)
{
    return nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, stream, code);
}

static ssize_t give_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct http2_call *call = source->ptr;
    size_t n = call->reply.body.len - call->sent;

    (void)session;
    (void)stream;
    (void)context;
    n = n < size ? n : size;
    if (n > 0)
        memcpy(buf, call->reply.body.data + call->sent, n);
    call->sent += n;
    if (call->sent == call->reply.body.len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static int submit_reply(struct http2_connection *connection, struct http2_call *call)
{
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = give_body};
    char status[16], length[24];
    nghttp2_nv headers[3];

    if (call->reply.body.failed) {
        call->reply.status = 500;
        strbuf_clear(&call->reply.body);
    }
    snprintf(status, sizeof(status), "%d", call->reply.status);
    snprintf(length, sizeof(length), "%zu", call->reply.body.len);
    headers[0] = header(":status", status);
    headers[1] = header("content-type", call->reply.type ? call->reply.type : "application/json");
    headers[2] = header("content-length", length);
    return nghttp2_submit_response(connection->session, call->stream, headers, 3, &body) < 0
               ? NGHTTP2_ERR_CALLBACK_FAILURE
               : 0;
}

static struct http2_call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_connection *connection = context;
    struct http2_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call = http2_call_new(connection, frame->hd.stream_id);
    if (!call)
        return end_stream(connection, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *context)
{
    struct http2_call *call = call_of(session, frame->hd.stream_id);

    (void)flags;
    (void)context;
    if (call && call->state == CALL_READING)
        http2_call_header(call, (const char *)name, name_len, (const char *)value, len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t len, void *context)
{
    struct http2_call *call = call_of(session, stream);

    (void)flags;
    return call && http2_call_body(call, bytes, len) ? submit_reply(context, call) : 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_call *call = call_of(session, frame->hd.stream_id);
    int r = 0;

    if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
        http2_call_begun(call))
        r = submit_reply(context, call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        http2_call_ready(call);
    return r;
}

/* An answer that went out before its request was whole: the rest is not wanted. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct http2_call *call = call_of(session, frame->hd.stream_id);

    if (!call || !call->refused || frame->hd.type != NGHTTP2_DATA ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    return end_stream(context, frame->hd.stream_id, NGHTTP2_NO_ERROR);
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    struct http2_call *call = call_of(session, stream);

    (void)code;
    (void)context;
    if (!call)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream, NULL);
    http2_call_gone(call);
    return 0;
}

static int make_callbacks(nghttp2_session_callbacks **ret)
{
    if (nghttp2_session_callbacks_new(ret) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(*ret, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(*ret, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*ret, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(*ret, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(*ret, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(*ret, on_stream_close);
    return 0;
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

    if (fd < 0 || !connection) {
        if (fd >= 0)
            close(fd);
        free(connection);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    *connection = (struct http2_connection){.http2 = http2, .fd = fd, .heard_ns = clock_boot_ns(),
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

    if (nghttp2_session_server_new(&connection->session, http2->callbacks, connection) != 0 ||
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
    if (r == 0 && connection->session && readable)
        r = receive(connection);
    if (r == 0 && connection->session)
        r = send_out(connection);
    connection->dead = r < 0 || (connection->session && !connection->stalled &&
                                 !nghttp2_session_want_read(connection->session) &&
                                 !nghttp2_session_want_write(connection->session));
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static bool too_long(const struct http2_connection *connection, int64_t now_ns)
{
    int64_t silent_ns = now_ns - connection->heard_ns;

    if (!connection->session)
        return silent_ns > HANDSHAKE_NS; /* nothing is counted as heard before its end */
    if (connection->stalled || connection->nreading > 0)
        return silent_ns > SILENCE_NS;
    return !connection->calls &&
           silent_ns > (int64_t)connection->http2->options.idle_s * INT64_C(1000000000);
}

static void drop_dead(struct http2 *http2)
{
    int64_t now_ns = clock_boot_ns();
    unsigned kept = 0;

    for (unsigned i = 0; i < http2->nconnections; i++) {
        struct http2_connection *connection = http2->connections[i];

        if (connection->dead || too_long(connection, now_ns))
            connection_free(connection);
        else
            http2->connections[kept++] = connection;
    }
    http2->nconnections = kept;
}

/* All places are taken: the oldest that has not finished its handshake gives its own up. */
static void make_room(struct http2 *http2)
{
    for (unsigned i = 0; http2->nconnections == HTTP2_CONNECTIONS_MAX && i < http2->nconnections; i++) {
        if (http2->connections[i]->session)
            continue;
        http2->connections[i]->dead = true;
        drop_dead(http2);
    }
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
        if (submit_reply(connection, call) != 0)
            connection->dead = true;
    }
    for (unsigned i = 0; i < http2->nconnections; i++)
        if (http2->connections[i]->session && !http2->connections[i]->dead &&
            nghttp2_session_want_write(http2->connections[i]->session))
            serve(http2->connections[i], false);
}

static bool wants_out(const struct http2_connection *connection)
{
    return connection->stalled ||
           (!connection->session && gnutls_record_get_direction(connection->tls) == 1);
}

/* Bytes that GnuTLS has decrypted already show on no socket. */
static bool has_more(const struct http2 *http2)
{
    for (unsigned i = 0; i < http2->nconnections; i++)
        if (http2->connections[i]->session &&
            gnutls_record_check_pending(http2->connections[i]->tls) > 0)
            return true;
    return false;
}

static void one_round(struct http2 *http2)
{
    struct pollfd fds[HTTP2_CONNECTIONS_MAX + 2];
    unsigned n = http2->nconnections;

    fds[0] = (struct pollfd){.fd = http2->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = http2->listener, .events = POLLIN};
    for (unsigned i = 0; i < n; i++)
        fds[i + 2] = (struct pollfd){
            .fd = http2->connections[i]->fd,
            .events = (short)(POLLIN | (wants_out(http2->connections[i]) ? POLLOUT : 0))};
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
        gnutls_priority_init(&http2->priorities, PRIORITIES, NULL) < 0)
        return -ENOMEM;
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
        r = make_callbacks(&http2->callbacks);
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
