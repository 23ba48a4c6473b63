/*
 * What one client of the HTTP/2 server can take from the others: nothing. A raw client, as a well-behaved one
 * cannot be late, greedy or rude.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>
#include <nghttp2/nghttp2.h>

#include "base/clock.h"
#include "base/http_server.h"
#include "tests/unit/certificates.h"

#define CALLS_MAX 8
#define BODY_MAX (1 << 20)
#define MS INT64_C(1000000)

struct fixture {
    struct http_server *server;
    uint64_t tokens[64];
    _Atomic int held;
};

/* One connection, moved on by pump() alone. */
struct client {
    int fd;
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t tls;
    nghttp2_session *session;
    bool closed; /* by the server */
    int answers, refused; /* streams that were reset with REFUSED_STREAM */
    int status; /* of the last answer */
    uint32_t goaway; /* its error code + 1, 0: none came */
    size_t body_left; /* of the request that is being sent */
    bool never_ends; /* the request's body comes to no end */
};

/* ---- the server ------------------------------------------------------------------------------------------ */

static enum http_outcome echo(void *context, const struct http_request *request, struct http_reply *reply)
{
    (void)context;
    strbuf_add(&reply->body, request->body, request->len);
    return HTTP_DONE;
}

static enum http_outcome hold(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct fixture *fixture = context;
    int n = atomic_fetch_add(&fixture->held, 1); /* several workers are here at a time */

    (void)reply;
    if (n < 64)
        fixture->tokens[n] = request->token;
    return HTTP_HELD;
}

static const struct http_route routes[] = {{"POST", "/echo", echo}, {"POST", "/hold", hold}, {0}};

static int start_server(void **state)
{
    static const char *const clients[] = {"lockstep-kube-scheduler", NULL};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct http_server_options options = {.listen = "127.0.0.1:0",
                                          .cert_file = file("verbs-server.crt"),
                                          .key_file = file("verbs-server.key"),
                                          .ca_file = file("ca.crt"),
                                          .clients = clients,
                                          .routes = routes,
                                          .context = fixture,
                                          .http2 = true,
                                          .body_max = BODY_MAX,
                                          .connections_max = CALLS_MAX,
                                          .patience_s = 1};
    struct err err = ERR_INIT;

    *state = fixture;
    if (http_server_start(&options, &fixture->server, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int stop_server(void **state)
{
    struct fixture *fixture = *state;

    http_server_stop(fixture->server);
    free(fixture);
    return 0;
}

/* ---- the client ------------------------------------------------------------------------------------------ */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t len, uint8_t flags, void *context)
{
    struct client *client = context;

    (void)session;
    (void)frame;
    (void)flags;
    (void)len;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        client->status = (int)strtol((const char *)value, NULL, 10);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct client *client = context;

    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->goaway = frame->goaway.error_code + 1;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    struct client *client = context;

    (void)session;
    (void)stream;
    client->answers += code == NGHTTP2_NO_ERROR;
    client->refused += code == NGHTTP2_REFUSED_STREAM;
    return 0;
}

static void begin_session(struct client *client, bool takes_answers)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, !takes_answers);
    assert_int_equal(nghttp2_session_client_new2(&client->session, callbacks, client, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static int dial(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)http_server_port(fixture->server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void open_client(const struct fixture *fixture, struct client *client, const char *who, bool takes_answers)
{
    gnutls_datum_t h2 = {(unsigned char *)(uintptr_t) "h2", 2};
    char cert[64], key[64];
    int r;

    *client = (struct client){.fd = dial(fixture)};
    snprintf(cert, sizeof(cert), "%s.crt", who);
    snprintf(key, sizeof(key), "%s.key", who);
    assert_int_equal(gnutls_certificate_allocate_credentials(&client->credentials), 0);
    assert_int_equal(gnutls_certificate_set_x509_key_file(client->credentials, file(cert), file(key),
                                                          GNUTLS_X509_FMT_PEM), 0);
    assert_int_equal(gnutls_init(&client->tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), 0);
    assert_int_equal(gnutls_set_default_priority(client->tls), 0);
    gnutls_credentials_set(client->tls, GNUTLS_CRD_CERTIFICATE, client->credentials);
    gnutls_alpn_set_protocols(client->tls, &h2, 1, 0);
    gnutls_transport_set_int(client->tls, client->fd);
    do
        r = gnutls_handshake(client->tls);
    while (r < 0 && !gnutls_error_is_fatal(r));
    assert_int_equal(r, 0);
    begin_session(client, takes_answers);
}

static void close_client(struct client *client)
{
    nghttp2_session_del(client->session);
    gnutls_deinit(client->tls);
    gnutls_certificate_free_credentials(client->credentials);
    close(client->fd);
}

static ssize_t give_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *context)
{
    struct client *client = context;
    size_t n = client->body_left < size ? client->body_left : size;

    (void)session;
    (void)stream;
    (void)source;
    if (n == 0 && client->never_ends)
        return NGHTTP2_ERR_DEFERRED;
    memset(buf, 'x', n);
    client->body_left -= n;
    if (client->body_left == 0 && !client->never_ends)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

/* body: its size; what goes over the wire waits for pump(). */
static int32_t ask(struct client *client, const char *path, size_t body, bool never_ends)
{
    nghttp2_nv headers[] = {header(":method", "POST"), header(":scheme", "https"),
                            header(":authority", "lockstep"), header(":path", path)};
    nghttp2_data_provider provider = {.read_callback = give_body};
    int32_t stream;

    client->body_left = body;
    client->never_ends = never_ends;
    stream = nghttp2_submit_request(client->session, NULL, headers, 4, &provider, NULL);
    assert_true(stream > 0);
    return stream;
}

static void send_all(struct client *client)
{
    const uint8_t *bytes;
    ssize_t n;

    while (!client->closed && (n = nghttp2_session_mem_send(client->session, &bytes)) > 0)
        for (ssize_t sent = 0, r; sent < n && !client->closed; sent += r > 0 ? r : 0) {
            r = gnutls_record_send(client->tls, bytes + sent, (size_t)(n - sent));
            client->closed = r < 0 && gnutls_error_is_fatal((int)r);
        }
}

static void take(struct client *client)
{
    uint8_t chunk[16384];
    ssize_t n = gnutls_record_recv(client->tls, chunk, sizeof(chunk));

    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
        return;
    client->closed = n <= 0 || nghttp2_session_mem_recv(client->session, chunk, (size_t)n) < 0;
}

/* Sends and takes for so long, or until the server has closed or `*counter` has come to n. */
static void pump(struct client *client, int ms, const int *counter, int n)
{
    int64_t end = clock_read(CLOCK_MONOTONIC) + ms * MS, left;

    while (!client->closed && !(counter && *counter >= n) &&
           (left = (end - clock_read(CLOCK_MONOTONIC)) / MS) > 0) {
        struct pollfd fd = {.fd = client->fd, .events = POLLIN};

        send_all(client);
        if (gnutls_record_check_pending(client->tls) > 0 || poll(&fd, 1, left < 50 ? (int)left : 50) > 0)
            take(client);
    }
}

static void assert_served(const struct fixture *fixture)
{
    struct client client;

    open_client(fixture, &client, "scheduler-client", true);
    ask(&client, "/echo", 10, false);
    pump(&client, 10000, &client.answers, 1);
    assert_int_equal(client.answers, 1);
    assert_int_equal(client.status, 200);
    close_client(&client);
}

static void wait_for_held(const struct fixture *fixture, unsigned n)
{
    for (int i = 0; i < 1000 && http_server_held(fixture->server) != n; i++)
        usleep(10000);
    assert_int_equal(http_server_held(fixture->server), n);
}

/* ---- tests --------------------------------------------------------------------------------------------------- */

static void a_request_that_does_not_come_to_its_end_ends_its_connection(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = clock_read(CLOCK_MONOTONIC);
    struct client client;

    open_client(fixture, &client, "scheduler-client", true);
    ask(&client, "/echo", 10, true);
    pump(&client, 500, NULL, 0);
    assert_false(client.closed); /* it has its time */
    assert_served(fixture);
    pump(&client, 10000, NULL, 0);
    assert_true(client.closed);
    assert_true(clock_read(CLOCK_MONOTONIC) - start > 900 * MS);
    close_client(&client);
}

static void an_answer_that_is_not_taken_ends_its_connection(void **state)
{
    struct fixture *fixture = *state;
    struct client client;

    open_client(fixture, &client, "scheduler-client", false); /* takes 64 KiB, its first window, and no more */
    ask(&client, "/echo", 500000, false);
    pump(&client, 10000, NULL, 0);
    assert_true(client.closed);
    assert_int_equal(client.answers, 0);
    assert_served(fixture);
    close_client(&client);
}

static void a_client_that_does_not_read_ends_its_connection(void **state)
{
    struct fixture *fixture = *state;
    struct client client;
    int small = 4096;

    open_client(fixture, &client, "scheduler-client", true);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    nghttp2_session_set_local_window_size(client.session, NGHTTP2_FLAG_NONE, 0, 1 << 30);
    for (int i = 0; i < 4; i++) {
        ask(&client, "/echo", 900000, false);
        for (int k = 0; k < 100 && client.body_left > 0; k++)
            send_all(&client), usleep(1000); /* the server's windows are large: it has taken all */
    }
    usleep(200000);
    assert_served(fixture);
    for (int i = 0; i < 100 && !client.closed; i++) { /* a ping, to hear of the end without reading */
        nghttp2_submit_ping(client.session, NGHTTP2_FLAG_NONE, NULL);
        send_all(&client);
        usleep(50000);
    }
    assert_true(client.closed);
    close_client(&client);
}

static void calls_beyond_the_limit_are_refused_and_later_ones_served(void **state)
{
    struct fixture *fixture = *state;
    struct client first, second;

    open_client(fixture, &first, "scheduler-client", true);
    open_client(fixture, &second, "scheduler-client", true);
    for (int i = 0; i < CALLS_MAX; i++) {
        ask(&first, "/hold", 0, false);
        pump(&first, 20, NULL, 0);
    }
    wait_for_held(fixture, CALLS_MAX);
    ask(&second, "/echo", 10, false);
    pump(&second, 10000, &second.refused, 1);
    assert_int_equal(second.refused, 1);
    assert_int_equal(second.answers, 0);
    http_server_reply(fixture->server, fixture->tokens[0], 200, "{}", 2);
    pump(&first, 10000, &first.answers, 1);
    assert_int_equal(first.answers, 1);
    ask(&second, "/echo", 10, false);
    pump(&second, 10000, &second.answers, 1);
    assert_int_equal(second.answers, 1);
    assert_int_equal(http_server_held(fixture->server), CALLS_MAX - 1); /* held ones have all the time */
    close_client(&first);
    close_client(&second);
}

static void who_resets_call_after_call_is_sent_away(void **state)
{
    struct fixture *fixture = *state;
    struct client client, other;

    open_client(fixture, &other, "scheduler-client", true);
    ask(&other, "/hold", 0, false);
    pump(&other, 100, NULL, 0);
    wait_for_held(fixture, 1);
    open_client(fixture, &client, "scheduler-client", true);
    for (int i = 0; i < 200 && !client.closed && !client.goaway; i++) {
        int32_t stream = ask(&client, "/hold", 0, false);

        send_all(&client);
        nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
        pump(&client, 5, NULL, 0);
    }
    pump(&client, 2000, NULL, 0);
    assert_true(client.closed);
    assert_int_equal(http_server_held(fixture->server), 1); /* the other's */
    http_server_reply(fixture->server, fixture->tokens[0], 200, "{}", 2);
    pump(&other, 10000, &other.answers, 1);
    assert_int_equal(other.answers, 1);
    close_client(&client);
    close_client(&other);
}

static void who_may_not_call_has_one_call_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct client client;

    open_client(fixture, &client, "agents-server", true);
    ask(&client, "/hold", 10, true); /* it has not come to its end, so its refusal waits */
    pump(&client, 100, NULL, 0);
    ask(&client, "/hold", 0, false);
    pump(&client, 10000, &client.refused, 1);
    assert_int_equal(client.refused, 1);
    assert_int_equal(http_server_held(fixture->server), 0);
    close_client(&client);
}

/* More than there are places for connections: those that have said nothing give way, a held call does not. */
static void silent_connections_keep_nobody_out(void **state)
{
    struct fixture *fixture = *state;
    struct client client;
    int fds[300];

    open_client(fixture, &client, "scheduler-client", true);
    ask(&client, "/hold", 0, false);
    pump(&client, 100, NULL, 0);
    wait_for_held(fixture, 1);
    for (size_t i = 0; i < 300; i++)
        fds[i] = dial(fixture);
    assert_served(fixture);
    assert_int_equal(http_server_held(fixture->server), 1);
    http_server_reply(fixture->server, fixture->tokens[0], 200, "{}", 2);
    pump(&client, 10000, &client.answers, 1);
    assert_int_equal(client.answers, 1);
    for (size_t i = 0; i < 300; i++)
        close(fds[i]);
    close_client(&client);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start_server, stop_server)
    const struct CMUnitTest tests[] = {
        CASE(a_request_that_does_not_come_to_its_end_ends_its_connection),
        CASE(an_answer_that_is_not_taken_ends_its_connection),
        CASE(a_client_that_does_not_read_ends_its_connection),
        CASE(calls_beyond_the_limit_are_refused_and_later_ones_served),
        CASE(who_resets_call_after_call_is_sent_away),
        CASE(who_may_not_call_has_one_call_at_a_time),
        CASE(silent_connections_keep_nobody_out),
    };

    return cmocka_run_group_tests_name("http2_limits", tests, make_directory, remove_directory);
}
