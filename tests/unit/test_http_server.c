/* The server with real TLS over loopback: who may call, held calls, certificates that change. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "base/http_server.h"
#include "tests/unit/certificates.h"

#ifdef __SANITIZE_THREAD__
#define HELD 50 /* handshakes at once: there each takes ten times as long, and a connect may take 5 s */
#else
#define HELD 200
#endif

static bool http2; /* which server this run is about */

struct fixture {
    struct http_server *server;
    bool client_http2;
    uint64_t tokens[HELD];
    _Atomic int claimed, held, answered, last_status;
};

static enum http_outcome echo(void *context, const struct http_request *request,
                              struct http_reply *reply)
{
    (void)context;
    strbuf_add(&reply->body, request->body, request->len);
    return HTTP_DONE;
}

static enum http_outcome hold(void *context, const struct http_request *request,
                              struct http_reply *reply)
{
    struct fixture *fixture = context;
    int n = atomic_fetch_add(&fixture->claimed, 1);

    (void)reply;
    if (n < HELD)
        fixture->tokens[n] = request->token;
    atomic_fetch_add(&fixture->held, 1); /* the token is there */
    return HTTP_HELD;
}

static const struct http_route routes[] = {{"POST", "/echo", echo}, {"POST", "/hold", hold}, {0}};

static void start(struct fixture *fixture, const char *const *clients)
{
    struct http_server_options options = {.listen = "127.0.0.1:0",
                                          .cert_file = file("verbs-server.crt"),
                                          .key_file = file("verbs-server.key"),
                                          .ca_file = file("ca.crt"),
                                          .clients = clients,
                                          .routes = routes,
                                          .context = fixture,
                                          .http2 = http2,
                                          .body_max = 1000};
    struct err err = ERR_INIT;

    *fixture = (struct fixture){.client_http2 = http2};
    if (http_server_start(&options, &fixture->server, &err) < 0)
        fail_msg("%s", err.text);
}

static struct http_client *connect_as(const struct fixture *fixture, const char *who, const char *ca)
{
    char url[64], cert[64], key[64];
    struct http_endpoint endpoint = {.url = url, .ca_file = ca, .http2 = fixture->client_http2};
    struct http_client *client;

    snprintf(url, sizeof(url), "https://127.0.0.1:%u", http_server_port(fixture->server));
    snprintf(cert, sizeof(cert), "%s.crt", who);
    snprintf(key, sizeof(key), "%s.key", who);
    if (*who) {
        endpoint.cert_file = file(cert);
        endpoint.key_file = file(key);
    }
    assert_int_equal(http_client_start(&endpoint, HELD, &client, NULL), 0);
    return client;
}

static void on_done(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct fixture *fixture = context;

    (void)body;
    (void)len;
    (void)retry_after_s;
    atomic_store(&fixture->last_status, status);
    atomic_fetch_add(&fixture->answered, 1);
}

static void send_call(struct http_client *client, struct fixture *fixture, const char *path,
                 const char *body)
{
    struct http_call call = {.method = "POST", .path = path, .body = body, .timeout_s = 20,
                             .answer_max = 65536, .context = fixture, .on_done = on_done};

    assert_int_equal(http_client_send(client, &call), 0);
}

static void wait_for(_Atomic int *counter, int n)
{
    for (int i = 0; i < 2000 && atomic_load(counter) < n; i++)
        usleep(10000);
    assert_int_equal(atomic_load(counter), n);
}

static int status_as(struct fixture *fixture, const char *who, const char *body)
{
    struct http_client *client = connect_as(fixture, who, file("ca.crt"));
    int before = atomic_load(&fixture->answered);

    send_call(client, fixture, "/echo", body);
    wait_for(&fixture->answered, before + 1);
    http_client_stop(client);
    return atomic_load(&fixture->last_status);
}

static void only_named_certificates_of_the_ca_may_call(void **state)
{
    static const char *const clients[] = {"lockstep-kube-scheduler", NULL};
    struct fixture fixture;
    char rogue[80], path[128];

    (void)state;
    start(&fixture, clients);
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 200);
    assert_int_not_equal(status_as(&fixture, "", "{}"), 200);
    assert_int_equal(status_as(&fixture, "agents-server", "{}"), 403); /* same CA, another name */
    snprintf(rogue, sizeof(rogue), "%s/rogue", directory);
    make_certificates(rogue);
    snprintf(path, sizeof(path), "rogue/scheduler-client"); /* another CA, the right name */
    assert_int_not_equal(status_as(&fixture, path, "{}"), 200);
    http_server_stop(fixture.server);
}

static void too_long_a_body_is_refused_and_the_next_call_served(void **state)
{
    struct fixture fixture;
    char body[2000];

    (void)state;
    memset(body, 'x', sizeof(body));
    body[sizeof(body) - 1] = '\0';
    start(&fixture, NULL);
    assert_int_equal(status_as(&fixture, "scheduler-client", body), 413);
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 200);
    http_server_stop(fixture.server);
}

static void held_calls_are_answered_from_another_thread(void **state)
{
    struct fixture fixture;
    struct http_client *client;

    (void)state;
    start(&fixture, NULL);
    client = connect_as(&fixture, "scheduler-client", file("ca.crt"));
    for (int i = 0; i < HELD; i++)
        send_call(client, &fixture, "/hold", "{}");
    wait_for(&fixture.held, HELD);
    assert_int_equal(http_server_held(fixture.server), HELD);
    assert_int_equal(atomic_load(&fixture.answered), 0);
    for (int i = 0; i < HELD; i++)
        http_server_reply(fixture.server, fixture.tokens[i], 200, "{}", 2);
    wait_for(&fixture.answered, HELD);
    assert_int_equal(atomic_load(&fixture.last_status), 200);
    assert_int_equal(http_server_held(fixture.server), 0);
    http_server_reply(fixture.server, fixture.tokens[0], 200, "{}", 2); /* not held any more */
    http_client_stop(client);
    http_server_stop(fixture.server);
}

static void stopping_answers_what_is_held(void **state)
{
    struct fixture fixture;
    struct http_client *client;

    (void)state;
    start(&fixture, NULL);
    client = connect_as(&fixture, "scheduler-client", file("ca.crt"));
    send_call(client, &fixture, "/hold", "{}");
    wait_for(&fixture.held, 1);
    http_server_stop(fixture.server);
    wait_for(&fixture.answered, 1);
    assert_int_equal(atomic_load(&fixture.last_status), 503);
    http_client_stop(client);
}

/* The certificate of another CA replaces the old one while the server runs. */
static void a_changed_certificate_is_served_without_a_restart(void **state)
{
    struct fixture fixture;
    struct http_client *client;
    char other[80];

    (void)state;
    start(&fixture, NULL);
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 200);
    snprintf(other, sizeof(other), "%s/other", directory);
    make_certificates(other);
    assert_int_equal(run("cp", file("other/verbs-server.key"), directory, NULL), 0);
    assert_int_equal(run("cp", file("other/verbs-server.crt"), directory, NULL), 0);
    usleep(1200000); /* files are looked at once a second */
    client = connect_as(&fixture, "scheduler-client", file("other/ca.crt"));
    send_call(client, &fixture, "/echo", "{}");
    wait_for(&fixture.answered, 2);
    assert_int_equal(atomic_load(&fixture.last_status), 200);
    http_client_stop(client);
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), -ECONNREFUSED); /* the old CA */
    http_server_stop(fixture.server);
}

/* kube-scheduler may take long to go on with a handshake: waiting for it must not take a core. */
static void half_a_handshake_costs_no_cpu_time(void **state)
{
    static const unsigned char beginning[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct fixture fixture;
    int64_t before_ns, spent_ns;
    int fd;

    (void)state;
    start(&fixture, NULL);
    address.sin_port = htons((uint16_t)http_server_port(fixture.server));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, beginning, sizeof(beginning)), sizeof(beginning));
    usleep(20000);
    before_ns = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    usleep(400000);
    spent_ns = clock_read(CLOCK_PROCESS_CPUTIME_ID) - before_ns;
    if (spent_ns > 50000000)
        fail_msg("%lld ms of CPU time in 400 ms of waiting", (long long)spent_ns / 1000000);
    close(fd);
    http_server_stop(fixture.server);
}

static void who_speaks_no_http2_is_told_so(void **state)
{
    struct fixture fixture;

    (void)state;
    start(&fixture, NULL);
    fixture.client_http2 = false;
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 505);
    fixture.client_http2 = true;
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 200);
    http_server_stop(fixture.server);
}

/* A call that its client gives up is not held any more, nor is one whose client is gone. */
static void what_nobody_waits_for_is_let_go(void **state)
{
    struct fixture fixture;
    struct http_client *client;

    (void)state;
    start(&fixture, NULL);
    client = connect_as(&fixture, "scheduler-client", file("ca.crt"));
    for (int i = 0; i < 20; i++)
        send_call(client, &fixture, "/hold", "{}");
    wait_for(&fixture.held, 20);
    assert_true(http_server_held(fixture.server) <= 20);
    http_client_stop(client);
    for (int i = 0; i < 500 && http_server_held(fixture.server) > 0; i++)
        usleep(10000);
    assert_int_equal(http_server_held(fixture.server), 0);
    http_server_reply(fixture.server, fixture.tokens[0], 200, "{}", 2);
    assert_int_equal(status_as(&fixture, "scheduler-client", "{}"), 200);
    http_server_stop(fixture.server);
}

/* Random bytes in place of frames end their connection and nothing else. */
static void garbage_inside_tls_harms_nobody_else(void **state)
{
    static const char script[] = "head -c 20000 /dev/urandom | timeout 5 openssl s_client -quiet -alpn h2 -connect "
                                 "127.0.0.1:%u -CAfile %s/ca.crt -cert %s/scheduler-client.crt "
                                 "-key %s/scheduler-client.key >%s/garbage 2>&1";
    char command[800];
    struct fixture fixture;
    struct http_client *client;

    (void)state;
    start(&fixture, NULL);
    client = connect_as(&fixture, "scheduler-client", file("ca.crt"));
    send_call(client, &fixture, "/hold", "{}");
    wait_for(&fixture.held, 1);
    snprintf(command, sizeof(command), script, http_server_port(fixture.server), directory, directory,
             directory, directory);
    run("bash", "-c", command, NULL);
    http_server_reply(fixture.server, fixture.tokens[0], 200, "{}", 2);
    wait_for(&fixture.answered, 1);
    assert_int_equal(atomic_load(&fixture.last_status), 200);
    http_client_stop(client);
    http_server_stop(fixture.server);
}

static void plaintext_stays_on_loopback(void **state)
{
    struct http_server_options options = {.listen = "0.0.0.0:0", .routes = routes};
    struct http_server *server;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(http_server_start(&options, &server, &err), -EPERM);
    assert_non_null(strstr(err.text, "loopback only"));
}

static int make_directory_http2(void **state)
{
    http2 = true;
    return make_directory(state);
}

#define BOTH                                                                                       \
    cmocka_unit_test(only_named_certificates_of_the_ca_may_call),                                  \
        cmocka_unit_test(too_long_a_body_is_refused_and_the_next_call_served),                     \
        cmocka_unit_test(held_calls_are_answered_from_another_thread),                             \
        cmocka_unit_test(stopping_answers_what_is_held),                                           \
        cmocka_unit_test(half_a_handshake_costs_no_cpu_time)

int main(void)
{
    const struct CMUnitTest http1_tests[] = {
        BOTH, cmocka_unit_test(plaintext_stays_on_loopback),
        cmocka_unit_test(a_changed_certificate_is_served_without_a_restart)};
    const struct CMUnitTest http2_tests[] = {BOTH, cmocka_unit_test(who_speaks_no_http2_is_told_so),
                                             cmocka_unit_test(what_nobody_waits_for_is_let_go),
                                             cmocka_unit_test(garbage_inside_tls_harms_nobody_else),
                                             cmocka_unit_test(
                                                 a_changed_certificate_is_served_without_a_restart)};

    return cmocka_run_group_tests_name("http_server", http1_tests, make_directory, remove_directory) +
           cmocka_run_group_tests_name("http_server_http2", http2_tests, make_directory_http2,
                                       remove_directory);
}
