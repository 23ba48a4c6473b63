/* gRPC over TLS: who may call, certificates that change on both sides, names, handshakes that
 * fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rpc_server_internal.h"
#include "tests/unit/certificates.h"
#include "tests/unit/rpc_fixture.h"

#define SERVER "probes-server"

static struct rpc_server_options tls(void)
{
    struct rpc_server_options options = plain();

    options.cert_file = file(SERVER ".crt");
    options.key_file = file(SERVER ".key");
    return options;
}

static struct rpc_server_options mutual_tls(void)
{
    struct rpc_server_options options = tls();

    options.ca_file = file("ca.crt");
    return options;
}

static struct rpc_channel_options client(void)
{
    return (struct rpc_channel_options){.ca_file = file("ca.crt"),
                                        .cert_file = file("scheduler-client.crt"),
                                        .key_file = file("scheduler-client.key")};
}

/* The outcome of one echo over a connection of its own. */
static enum rpc_status status_of(struct rpc_channel_options options)
{
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    enum rpc_status status;

    open_channel(options);
    status = call(ECHO, "x", 1, &answer, &err);
    if (status != RPC_OK)
        print_message("%.100s\n", err.text);
    rpc_bytes_release(&answer);
    rpc_channel_free(service.channel);
    service.channel = NULL;
    return status;
}

static void replace(const char *from, const char *name)
{
    char target[128];

    snprintf(target, sizeof(target), "%s/%s.new", directory, name);
    assert_int_equal(run("cp", file(from), target, NULL), 0);
    assert_int_equal(rename(target, file(name)), 0);
}

/* ---- who may call ---------------------------------------------------------------------------- */

static void only_certificates_of_the_ca_may_connect(void **state)
{
    struct rpc_server_options options = mutual_tls();
    struct rpc_channel_options nobody = {.ca_file = file("ca.crt")}, rogue = client(),
                               server = client(), unencrypted = {0};
    char other[80];

    (void)state;
    snprintf(other, sizeof(other), "%s/rogue", directory);
    make_certificates(other);
    rogue.cert_file = file("rogue/scheduler-client.crt");
    rogue.key_file = file("rogue/scheduler-client.key");
    server.cert_file = file("agents-server.crt"); /* of the CA, but for servers */
    server.key_file = file("agents-server.key");
    start_server(&options);
    assert_int_equal(status_of(client()), RPC_OK);
    assert_string_equal(service.client, "lockstep-kube-scheduler");
    assert_int_equal(status_of(nobody), RPC_UNAVAILABLE);
    assert_int_equal(status_of(rogue), RPC_UNAVAILABLE);
    assert_int_equal(status_of(server), RPC_UNAVAILABLE);
    assert_int_equal(status_of(unencrypted), RPC_UNAVAILABLE);
    assert_int_equal(status_of(client()), RPC_OK);
    stop_all();
}

static void only_named_clients_may_call(void **state)
{
    static const char *const others[] = {"somebody", "lockstep-kube-schedule", NULL};
    static const char *const named[] = {"somebody", "lockstep-kube-scheduler", NULL};
    struct rpc_server_options options = mutual_tls();

    (void)state;
    options.clients = others;
    start_server(&options);
    assert_int_equal(status_of(client()), RPC_PERMISSION_DENIED);
    open_channel(client());
    assert_int_equal(call("/grpc.health.v1.Health/Check", "", 0, NULL, NULL),
                     RPC_PERMISSION_DENIED);
    stop_all();
    options.clients = named;
    start_server(&options);
    assert_int_equal(status_of(client()), RPC_OK);
    stop_all();
}

static void without_a_ca_the_token_says_who_calls(void **state)
{
    char path[] = "/tmp/lockstep-token-XXXXXX";
    int fd = mkstemp(path);
    struct rpc_server_options options = tls();
    struct rpc_channel_options token = {.ca_file = file("ca.crt"), .token_file = path};

    (void)state;
    assert_int_equal(write(fd, "pod-token\n", 10), 10);
    close(fd);
    start_server(&options);
    assert_int_equal(status_of(token), RPC_OK);
    assert_string_equal(service.authorization, "Bearer pod-token");
    assert_string_equal(service.client, "");
    unlink(path);
    stop_all();
}

static void a_server_must_be_who_it_should(void **state)
{
    struct rpc_server_options options = tls();
    struct rpc_channel_options known = {.ca_file = file("ca.crt")}, right = known, wrong = known,
                               stranger = known;
    char other[80];

    (void)state;
    snprintf(other, sizeof(other), "%s/stranger", directory);
    make_certificates(other);
    right.server_name = "lockstep-probes.lockstep-system.svc";
    wrong.server_name = "lockstep-agents.lockstep-system.svc";
    stranger.ca_file = file("stranger/ca.crt");
    start_server(&options);
    assert_int_equal(status_of(known), RPC_OK); /* by its address */
    assert_int_equal(status_of(right), RPC_OK);
    assert_int_equal(status_of(wrong), RPC_UNAVAILABLE);
    assert_int_equal(status_of(stranger), RPC_UNAVAILABLE);
    stop_all();
}

/* A static program has no other way to a Service. */
static void a_server_is_found_by_its_name(void **state)
{
    struct rpc_server_options options = tls();
    struct rpc_channel_options by_name = {.ca_file = file("ca.crt")};
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    char target[32];

    (void)state;
    start_server(&options);
    snprintf(target, sizeof(target), "localhost:%u", rpc_server_port(service.server));
    by_name.target = target;
    if (rpc_channel_new(&by_name, &service.channel, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_OK); /* the certificate has that name */
    rpc_bytes_release(&answer);
    rpc_channel_free(service.channel);
    service.channel = NULL;
    by_name.ca_file = NULL;
    assert_int_equal(rpc_channel_new(&by_name, &service.channel, &err), -EPERM); /* nothing plain by name */
    stop_all();
}

/* ---- files ----------------------------------------------------------------------------------- */

static void certificates_that_do_not_fit_are_refused_at_start(void **state)
{
    struct rpc_server_options options = tls();
    struct err err = ERR_INIT;

    (void)state;
    options.key_file = file("agents-server.key");
    assert_int_equal(rpc_server_start(&options, &service.server, &err), -EINVAL);
    assert_non_null(strstr(err.text, "do certificate and key belong together"));
    options.key_file = file("none.key");
    assert_int_equal(rpc_server_start(&options, &service.server, &err), -ENOENT);
    assert_non_null(strstr(err.text, "none.key"));
    options = mutual_tls();
    options.ca_file = file("none.crt");
    assert_int_equal(rpc_server_start(&options, &service.server, &err), -ENOENT);
    assert_int_equal(
        rpc_channel_new(&(struct rpc_channel_options){.target = "127.0.0.1:1",
                                                      .ca_file = file("none.crt")},
                        &service.channel, &err),
        -ENOENT);
    assert_int_equal(
        rpc_channel_new(&(struct rpc_channel_options){.target = "127.0.0.1:1",
                                                      .ca_file = file("ca.crt"),
                                                      .cert_file = file("ca.crt")},
                        &service.channel, &err),
        -EINVAL);
}

/* Each side looks at its files once a second, on a busy machine later; until both have, they disagree. */
static bool echoes_in_the_end(const char *text)
{
    uint64_t start = in_ms(0);

    nap_ms(1100);
    while (!echoes(text)) {
        if (seconds_since(start) > 20)
            return false;
        nap_ms(100);
    }
    return true;
}

/* As when accept() failed: gRPC wants the certificates of a new listener, though they are what they were. */
static void a_listener_that_is_replaced_speaks_tls_too(void **state)
{
    struct rpc_server_options options = mutual_tls();

    (void)state;
    start_server(&options);
    assert_int_equal(status_of(client()), RPC_OK);
    rpc__listener_retire(service.server);
    open_channel(client());
    assert_true(echoes_in_the_end("again"));
    stop_all();
}

/* The whole identity moves to another CA, on both sides, while a stream stays open. */
static void changed_certificates_are_taken_without_a_restart(void **state)
{
    struct rpc_server_options options = mutual_tls();
    struct rpc_channel *own;
    struct rpc_bytes message = {NULL, 0};
    struct rpc_stream *stream;
    struct err err = ERR_INIT;
    enum rpc_status status;
    char other[80];

    (void)state;
    start_server(&options);
    open_channel(client());
    assert_true(echoes("before"));
    assert_int_equal(rpc_stream_open(service.channel, WATCH, "", 0, 0, &stream, &err), 0);
    assert_true(wait_for(&service.n_held, 1));
    snprintf(other, sizeof(other), "%s/other", directory);
    make_certificates(other);
    nap_ms(1100); /* files are looked at once a second */
    replace("other/" SERVER ".key", SERVER ".key"); /* for now it does not fit the certificate */
    own = service.channel;
    assert_int_equal(status_of(client()), RPC_OK); /* a new handshake gets the old pair */
    service.channel = own;
    assert_true(echoes("half way"));
    replace("other/" SERVER ".crt", SERVER ".crt");
    replace("other/ca.crt", "ca.crt");
    replace("other/scheduler-client.crt", "scheduler-client.crt");
    replace("other/scheduler-client.key", "scheduler-client.key");
    assert_true(echoes_in_the_end("after"));
    assert_true(echoes("after"));
    rpc_call_send(service.held[0], "still here", 10);
    for (unsigned i = 0; i < 500; i++) {
        if (rpc_stream_next(stream, &message, &status, &err) != RPC_NEXT_NOTHING)
            break;
        nap_ms(10);
    }
    assert_int_equal(message.len, 10);
    rpc_bytes_release(&message);
    rpc_stream_free(stream);
    stop_all();
}

/* ---- handshakes that fail -------------------------------------------------------------------- */

static int connect_raw(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)rpc_server_port(service.server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void half_a_handshake_is_ended(void **state)
{
    static const unsigned char beginning[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01};
    struct rpc_server_options options = mutual_tls();
    struct pollfd wait = {.events = POLLIN};
    char byte;

    (void)state;
    options.patience_s = 1;
    start_server(&options);
    wait.fd = connect_raw();
    assert_int_equal(write(wait.fd, beginning, sizeof(beginning)), sizeof(beginning));
    assert_int_equal(poll(&wait, 1, 5000), 1);
    assert_true(read(wait.fd, &byte, 1) <= 0);
    close(wait.fd);
    assert_int_equal(status_of(client()), RPC_OK);
    stop_all();
}

static void old_versions_of_tls_are_refused(void **state)
{
    static const char script[] = "openssl s_client -connect 127.0.0.1:%u -%s -alpn h2 "
                                 "-cipher DEFAULT@SECLEVEL=0 -CAfile %s/ca.crt </dev/null 2>&1 | "
                                 "grep -q 'Cipher is ECDHE-'";
    struct rpc_server_options options = tls();
    char command[400];

    (void)state;
    start_server(&options);
    snprintf(command, sizeof(command), script, rpc_server_port(service.server), "tls1_2",
             directory);
    assert_int_equal(run("bash", "-c", command, NULL), 0);
    snprintf(command, sizeof(command), script, rpc_server_port(service.server), "tls1_1",
             directory);
    assert_int_not_equal(run("bash", "-c", command, NULL), 0);
    open_channel((struct rpc_channel_options){.ca_file = file("ca.crt")});
    assert_true(echoes("x"));
    stop_all();
}

/* What gRPC says goes to our log, and a stranger cannot fill the disk with it. */
static void failed_handshakes_are_logged_but_not_each(void **state)
{
    struct rpc_server_options options = mutual_tls();
    char path[] = "/tmp/lockstep-log-XXXXXX", line[2048];
    int fd = mkstemp(path), saved = dup(STDERR_FILENO);
    unsigned lines = 0, ours = 0;
    FILE *in;

    (void)state;
    start_server(&options);
    dup2(fd, STDERR_FILENO);
    for (unsigned i = 0; i < 100; i++) {
        int raw = connect_raw();

        if (write(raw, "GET / HTTP/1.1\r\n\r\n", 18) == 18)
            while (read(raw, line, sizeof(line)) > 0)
                ;
        close(raw);
    }
    stop_all();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof(line), in)) {
        lines++;
        ours += strstr(line, " warn grpc ") != NULL;
    }
    fclose(in);
    unlink(path);
    assert_true(ours >= 1);
    assert_int_equal(ours, lines);
    assert_true(lines <= 22); /* ten in ten seconds, which may have ended once */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        /* First, as the limit is the process's. */
        cmocka_unit_test_setup_teardown(failed_handshakes_are_logged_but_not_each, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(only_certificates_of_the_ca_may_connect, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(only_named_clients_may_call, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(without_a_ca_the_token_says_who_calls, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_server_must_be_who_it_should, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_server_is_found_by_its_name, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(certificates_that_do_not_fit_are_refused_at_start,
                                        make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(changed_certificates_are_taken_without_a_restart,
                                        make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(half_a_handshake_is_ended, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(old_versions_of_tls_are_refused, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_listener_that_is_replaced_speaks_tls_too, make_directory,
                                        remove_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
