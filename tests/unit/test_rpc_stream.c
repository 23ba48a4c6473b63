/* Streams, dead and reborn servers, tokens, health and gRPC's log. */
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

#include "tests/unit/rpc_fixture.h"

/* ---- streams --------------------------------------------------------------------------------- */

static struct rpc_stream *watch(uint64_t deadline_ns)
{
    struct rpc_stream *stream = NULL;
    struct err err = ERR_INIT;

    if (rpc_stream_open(service.channel, WATCH, "x", 1, deadline_ns, &stream, &err) < 0)
        fail_msg("%s", err.text);
    return stream;
}

/* What comes next, waiting by poll for at most ten seconds. */
static enum rpc_next next(struct rpc_stream *stream, struct rpc_bytes *ret_message,
                          enum rpc_status *ret_status, struct err *err)
{
    uint64_t until = in_ms(10000);

    for (;;) {
        enum rpc_next what = rpc_stream_next(stream, ret_message, ret_status, err);
        struct pollfd wait = {.fd = rpc_stream_fd(stream), .events = POLLIN};

        if (what != RPC_NEXT_NOTHING || in_ms(0) > until)
            return what;
        poll(&wait, 1, 1000);
    }
}

static void assert_message(struct rpc_stream *stream, const char *text)
{
    struct rpc_bytes message = {NULL, 0};
    struct err err = ERR_INIT;
    enum rpc_status status;

    assert_int_equal(next(stream, &message, &status, &err), RPC_NEXT_MESSAGE);
    assert_int_equal(message.len, strlen(text));
    if (message.len)
        assert_memory_equal(message.data, text, message.len);
    rpc_bytes_release(&message);
}

static void assert_ended(struct rpc_stream *stream, enum rpc_status expected, const char *text)
{
    for (unsigned again = 0; again < 2; again++) {
        struct rpc_bytes message = {NULL, 0};
        struct err err = ERR_INIT;
        enum rpc_status status = RPC_UNKNOWN;

        assert_int_equal(next(stream, &message, &status, &err), RPC_NEXT_ENDED);
        if (status != expected)
            print_message("%s\n", err.text);
        assert_int_equal(status, expected);
        assert_non_null(strstr(err.text, text));
        if (expected == RPC_OK)
            assert_string_equal(err.text, "");
    }
}

static void messages_come_in_order_and_then_the_status(void **state)
{
    struct rpc_stream *stream;
    struct pollfd wait;
    struct rpc_bytes message;
    enum rpc_status status;

    (void)state;
    start_plain();
    stream = watch(0);
    assert_true(wait_for(&service.n_held, 1));
    wait = (struct pollfd){.fd = rpc_stream_fd(stream), .events = POLLIN};
    assert_int_equal(rpc_stream_next(stream, &message, &status, NULL), RPC_NEXT_NOTHING);
    assert_int_equal(poll(&wait, 1, 50), 0);
    assert_int_equal(rpc_call_send(service.held[0], "one", 3), 0);
    assert_int_equal(poll(&wait, 1, 5000), 1);
    assert_message(stream, "one");
    assert_int_equal(rpc_stream_next(stream, &message, &status, NULL), RPC_NEXT_NOTHING);
    assert_int_equal(poll(&wait, 1, 50), 0);
    rpc_call_send(service.held[0], "", 0);
    rpc_call_send(service.held[0], "two", 3);
    assert_int_equal(rpc_call_finish(service.held[0], RPC_OK, NULL, "x", 1), -EINVAL);
    assert_int_equal(rpc_call_finish(service.held[0], RPC_ABORTED, "placed anew", NULL, 0), 0);
    assert_int_equal(rpc_call_send(service.held[0], "three", 5), -EPIPE);
    assert_message(stream, "");
    assert_message(stream, "two");
    assert_ended(stream, RPC_ABORTED, "ABORTED: placed anew");
    assert_true(wait_for(&service.n_gone, 1)); /* though the client still has the stream */
    rpc_stream_free(stream);
    stop_all();
}

/* Twenty thousand messages through a reader that dawdles: nothing is lost. */
static void a_slow_reader_gets_all_of_them(void **state)
{
    enum { N = 20000 };
    struct rpc_server_options options = plain();
    struct rpc_stream *stream;

    (void)state;
    options.queue_max = N;
    start_server(&options);
    open_channel((struct rpc_channel_options){0});
    stream = watch(0);
    assert_true(wait_for(&service.n_held, 1));
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(rpc_call_send(service.held[0], &i, sizeof(i)), 0);
    rpc_call_finish(service.held[0], RPC_OK, NULL, NULL, 0);
    nap_ms(300);
    for (uint32_t i = 0; i < N; i++) {
        struct rpc_bytes message = {NULL, 0};
        enum rpc_status status;

        assert_int_equal(next(stream, &message, &status, NULL), RPC_NEXT_MESSAGE);
        assert_int_equal(message.len, sizeof(i));
        assert_memory_equal(message.data, &i, sizeof(i));
        rpc_bytes_release(&message);
    }
    assert_ended(stream, RPC_OK, "");
    rpc_stream_free(stream);
    stop_all();
}

/* The queue is the server's memory: who does not read is cut off. */
static void a_reader_too_far_behind_is_cut_off(void **state)
{
    static char big[100000];
    struct rpc_stream *stream;
    struct rpc_bytes message = {NULL, 0};
    enum rpc_status status = RPC_OK;
    struct err err = ERR_INIT;
    int r = 0;

    (void)state;
    start_plain();
    stream = watch(0);
    assert_true(wait_for(&service.n_held, 1));
    for (unsigned i = 0; i < 10000 && r == 0; i++)
        r = rpc_call_send(service.held[0], big, sizeof(big));
    assert_int_equal(r, -ENOBUFS);
    assert_int_equal(rpc_call_send(service.held[0], big, 1), -EPIPE);
    assert_int_equal(rpc_call_finish(service.held[0], RPC_OK, NULL, NULL, 0), -EPIPE);
    assert_true(wait_for(&service.n_gone, 1));
    while (next(stream, &message, &status, &err) == RPC_NEXT_MESSAGE)
        rpc_bytes_release(&message);
    assert_int_equal(status, RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(err.text, "RESOURCE_EXHAUSTED: too far behind: the stream's queue is full");
    rpc_stream_free(stream);
    stop_all();
}

static void the_server_learns_that_a_client_left(void **state)
{
    struct rpc_stream *streams[3];

    (void)state;
    start_plain();
    streams[0] = watch(0);
    streams[1] = watch(0);
    streams[2] = watch(in_ms(300));
    assert_true(wait_for(&service.n_held, 3));
    rpc_stream_cancel(streams[0]);
    assert_ended(streams[0], RPC_CANCELLED, "CANCELLED");
    assert_ended(streams[2], RPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    assert_true(wait_for(&service.n_gone, 2));
    rpc_stream_free(streams[1]);
    assert_true(wait_for(&service.n_gone, 3));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rpc_call_send(service.held[i], "late", 4), -EPIPE);
    rpc_stream_free(streams[0]);
    rpc_stream_free(streams[2]);
    stop_all();
}

static void stopping_ends_streams(void **state)
{
    struct rpc_stream *streams[50];

    (void)state;
    start_plain();
    for (unsigned i = 0; i < 50; i++)
        streams[i] = watch(0);
    assert_true(wait_for(&service.n_held, 50));
    for (unsigned i = 0; i < 50; i++)
        rpc_call_send(service.held[i], "hello", 5);
    rpc_server_stop(service.server);
    service.server = NULL;
    assert_int_equal(service.n_gone, 50);
    for (unsigned i = 0; i < 50; i++) {
        struct rpc_bytes message = {NULL, 0};
        enum rpc_status status = RPC_OK;

        while (next(streams[i], &message, &status, NULL) == RPC_NEXT_MESSAGE)
            rpc_bytes_release(&message);
        assert_int_equal(status, RPC_UNAVAILABLE);
        rpc_stream_free(streams[i]);
    }
    stop_all();
}

static void *send_until_gone(void *context)
{
    struct rpc_call *held = context;

    while (rpc_call_send(held, "tick", 4) == 0)
        nap_ms(1);
    return NULL;
}

/* Answers from other threads race with the peer's end and the server's. */
static void sends_race_with_ends(void **state)
{
    pthread_t threads[8];
    struct rpc_stream *streams[8];

    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        start_plain();
        for (unsigned i = 0; i < 8; i++)
            streams[i] = watch(0);
        assert_true(wait_for(&service.n_held, 8));
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, send_until_gone, service.held[i]), 0);
        nap_ms(20);
        for (unsigned i = 0; i < 4; i++)
            rpc_stream_free(streams[i]);
        rpc_server_stop(service.server);
        service.server = NULL;
        for (unsigned i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 4; i < 8; i++)
            rpc_stream_free(streams[i]);
        stop_all();
    }
}

/* ---- servers that come back, and such that are dead ------------------------------------------ */

static void a_restarted_server_is_found_again_soon(void **state)
{
    struct rpc_server_options options = plain();
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    char text[32];
    uint64_t start;

    (void)state;
    start_server(&options);
    open_channel((struct rpc_channel_options){.backoff_max_ms = 300});
    assert_true(echoes("before"));
    snprintf(text, sizeof(text), "127.0.0.1:%u", rpc_server_port(service.server));
    rpc_server_stop(service.server);
    service.server = NULL;
    /* Long enough for a backoff without a limit to grow to seconds. */
    for (start = in_ms(0); seconds_since(start) < 4; nap_ms(50))
        assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_UNAVAILABLE);
    options.listen = text;
    start_server(&options);
    start = in_ms(0);
    while (call(ECHO, "x", 1, &answer, &err) != RPC_OK && seconds_since(start) < 10)
        nap_ms(10);
    rpc_bytes_release(&answer);
    print_message("found again after %.3f s\n", seconds_since(start));
    assert_true(seconds_since(start) < 1); /* 300 ms, a fifth of jitter, and a connection */
    stop_all();
}

static int listen_raw(struct sockaddr_in *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*ret);

    *ret = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
    return fd;
}

/* gRPC polls an idle channel's sockets every five seconds only, unless somebody waits for them. */
static void attempts_to_connect_go_on_and_are_spaced(void **state)
{
    struct sockaddr_in address;
    int listener = listen_raw(&address);
    struct rpc_channel_options options = {.backoff_max_ms = 300};
    struct rpc_stream *stream;
    struct err err = ERR_INIT;
    unsigned attempts = 0;
    uint64_t start = in_ms(0);
    char target[32];

    (void)state;
    snprintf(target, sizeof(target), "127.0.0.1:%u", ntohs(address.sin_port));
    options.target = target;
    assert_int_equal(rpc_channel_new(&options, &service.channel, &err), 0);
    stream = watch(0);
    while (seconds_since(start) < 3) {
        struct pollfd wait = {.fd = listener, .events = POLLIN};

        if (poll(&wait, 1, 20) == 1) {
            close(accept(listener, NULL, NULL));
            attempts++;
        }
    }
    assert_ended(stream, RPC_UNAVAILABLE, "UNAVAILABLE");
    rpc_stream_free(stream);
    print_message("%u attempts in 3 s\n", attempts);
    assert_in_range(attempts, 5, 16); /* one each 0.2 to 0.36 s, were the machine idle */
    rpc_channel_free(service.channel);
    service.channel = NULL;
    close(listener);
}

/* A server that greets and then says nothing more: only keepalive finds out. */
static void a_dead_server_is_noticed(void **state)
{
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    struct sockaddr_in address;
    int listener = listen_raw(&address), peer;
    struct rpc_channel_options options = {.keepalive_s = 1};
    struct rpc_stream *stream;
    struct err err = ERR_INIT;
    uint64_t start = in_ms(0);
    char target[32];

    (void)state;
    snprintf(target, sizeof(target), "127.0.0.1:%u", ntohs(address.sin_port));
    options.target = target;
    assert_int_equal(rpc_channel_new(&options, &service.channel, &err), 0);
    stream = watch(0);
    peer = accept(listener, NULL, NULL);
    assert_int_equal(write(peer, settings, sizeof(settings)), sizeof(settings));
    assert_ended(stream, RPC_UNAVAILABLE, "UNAVAILABLE");
    print_message("noticed after %.1f s\n", seconds_since(start));
    assert_true(seconds_since(start) < 8);
    rpc_stream_free(stream);
    rpc_channel_free(service.channel);
    service.channel = NULL;
    close(peer);
    close(listener);
}

/* ---- tokens, health, log --------------------------------------------------------------------- */

static void write_token(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void the_token_is_read_with_each_call(void **state)
{
    char path[] = "/tmp/lockstep-token-XXXXXX";
    int fd = mkstemp(path);
    struct rpc_server_options options = plain();
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    char *big = calloc(1, 10001);

    (void)state;
    close(fd);
    start_server(&options);
    open_channel((struct rpc_channel_options){.token_file = path});
    write_token(path, "abc.def\n");
    assert_true(echoes("x"));
    assert_string_equal(service.authorization, "Bearer abc.def");
    write_token(path, "ghi\r\n");
    assert_true(echoes("x"));
    assert_string_equal(service.authorization, "Bearer ghi");
    write_token(path, "two\nlines");
    assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "is not one line of text"));
    memset(big, 'a', 10000);
    write_token(path, big);
    assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_UNAUTHENTICATED);
    unlink(path);
    assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, path));
    free(big);
    stop_all();
}

static void health_is_told_by_service(void **state)
{
    static const struct {
        const char *request;
        size_t len;
        enum rpc_status status;
    } cases[] = {
        {"", 0, RPC_OK},
        {"\x0a\x00", 2, RPC_OK},
        {"\x0a\x09test.Echo", 11, RPC_OK},
        {"\x0a\x08test.Ech", 10, RPC_NOT_FOUND},
        {"\x0a\x0etest.Echo/Echo", 16, RPC_NOT_FOUND},
        {"\x0a\x0atest.Echo\x00", 12, RPC_NOT_FOUND},
        {"\x0a\x0atest.Echo", 11, RPC_INVALID_ARGUMENT},
        {"\x0a", 1, RPC_INVALID_ARGUMENT},
        {"\xff\xff\xff", 3, RPC_INVALID_ARGUMENT},
    };

    (void)state;
    start_plain();
    for (unsigned serving = 0; serving < 2; serving++) {
        rpc_server_set_health(service.server, serving);
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            struct rpc_bytes answer = {NULL, 0};
            struct err err = ERR_INIT;

            assert_int_equal(call("/grpc.health.v1.Health/Check", cases[i].request, cases[i].len,
                                  &answer, &err),
                             cases[i].status);
            if (cases[i].status == RPC_OK) {
                assert_int_equal(answer.len, 2);
                assert_int_equal(answer.data[0], 0x08);
                assert_int_equal(answer.data[1], serving ? 1 : 2);
            }
            rpc_bytes_release(&answer);
        }
    }
    stop_all();
}

static void status_names_are_grpcs(void **state)
{
    (void)state;
    assert_string_equal(rpc_status_name(RPC_OK), "OK");
    assert_string_equal(rpc_status_name(RPC_DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED");
    assert_string_equal(rpc_status_name(RPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(rpc_status_name((enum rpc_status)17), "UNKNOWN");
    assert_string_equal(rpc_status_name((enum rpc_status)-1), "UNKNOWN");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order_and_then_the_status),
        cmocka_unit_test(a_slow_reader_gets_all_of_them),
        cmocka_unit_test(a_reader_too_far_behind_is_cut_off),
        cmocka_unit_test(the_server_learns_that_a_client_left),
        cmocka_unit_test(stopping_ends_streams),
        cmocka_unit_test(sends_race_with_ends),
        cmocka_unit_test(a_restarted_server_is_found_again_soon),
        cmocka_unit_test(attempts_to_connect_go_on_and_are_spaced),
        cmocka_unit_test(a_dead_server_is_noticed),
        cmocka_unit_test(the_token_is_read_with_each_call),
        cmocka_unit_test(health_is_told_by_service),
        cmocka_unit_test(status_names_are_grpcs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
