/* Unary calls over loopback: limits, refusals, late answers, restarts, health. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/rpc_fixture.h"

static void an_answer_is_the_request_echoed(void **state)
{
    (void)state;
    start_plain();
    assert_true(echoes("hello"));
    assert_true(echoes(""));
    assert_true(service.no_authorization);
    assert_string_equal(service.client, "");
    assert_int_equal(strncmp(service.peer, "127.0.0.1:", 10), 0);
    stop_all();
}

/* ---- limits and refusals --------------------------------------------------------------------- */

/* A method that nobody registered would hang until its deadline if only known ones were asked
 * for. */
static void an_unknown_method_is_refused_at_once(void **state)
{
    static const char *const paths[] = {"/test.Echo/Nope", "/", "/test.Echo", "/test.Echo/Echo/",
                                        "/grpc.health.v1.Health/Watch"};
    uint64_t start = in_ms(0);

    (void)state;
    start_plain();
    for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct rpc_bytes answer = {NULL, 0};
        struct err err = ERR_INIT;

        assert_int_equal(call(paths[i], "x", 1, &answer, &err), RPC_UNIMPLEMENTED);
        assert_string_equal(err.text, "UNIMPLEMENTED: no such method");
    }
    assert_true(seconds_since(start) < 5);
    stop_all();
}

static enum rpc_status echo_bytes(size_t len, struct err *err)
{
    struct rpc_bytes answer = {NULL, 0};
    uint8_t *bytes = calloc(1, len);
    enum rpc_status status;

    assert_non_null(bytes);
    status = call(ECHO, bytes, len, &answer, err);
    if (status == RPC_OK) {
        assert_int_equal(answer.len, len);
        assert_memory_equal(answer.data, bytes, len);
    }
    rpc_bytes_release(&answer);
    free(bytes);
    return status;
}

static void messages_have_a_limit_on_both_sides(void **state)
{
    struct rpc_server_options options = plain();
    struct err err = ERR_INIT;

    (void)state;
    start_plain();
    assert_int_equal(echo_bytes((size_t)4 << 20, &err), RPC_OK);
    assert_int_equal(echo_bytes(((size_t)4 << 20) + 1, &err), RPC_RESOURCE_EXHAUSTED);
    stop_all();
    options.message_max = (size_t)8 << 20;
    start_server(&options);
    open_channel((struct rpc_channel_options){.message_max = 1000});
    assert_int_equal(echo_bytes(1000, &err), RPC_OK);
    assert_int_equal(echo_bytes(1001, &err), RPC_RESOURCE_EXHAUSTED);
    rpc_channel_free(service.channel);
    open_channel((struct rpc_channel_options){.message_max = (size_t)8 << 20});
    assert_int_equal(echo_bytes((size_t)6 << 20, &err), RPC_OK);
    stop_all();
}

static void plaintext_is_for_loopback_only(void **state)
{
    static const char *const listens[] = {"0.0.0.0:0", ":0", "10.0.0.1:0"};
    struct rpc_server_options options = plain();
    struct rpc_channel_options far = {.target = "10.0.0.1:4444"};
    struct err err = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        options.listen = listens[i];
        assert_int_equal(rpc_server_start(&options, &service.server, &err), -EPERM);
        assert_non_null(strstr(err.text, "plaintext is for loopback only; name tls cert"));
    }
    assert_int_equal(rpc_channel_new(&far, &service.channel, &err), -EPERM);
    assert_non_null(strstr(err.text, "plaintext is for loopback only"));
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const texts[] = {"",          "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x",
                                        "[::1]:80",  "127.0.0.1:-1", "local host:80", "localhost:http"};
    struct rpc_server_options options = plain();
    struct rpc_channel_options target = {0};
    struct err err = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        options.listen = target.target = texts[i];
        assert_int_equal(rpc_server_start(&options, &service.server, &err), -EINVAL);
        assert_int_equal(rpc_channel_new(&target, &service.channel, &err), -EINVAL);
        assert_non_null(strstr(err.text, "expected ipv4:port"));
    }
    options.listen = "localhost:80"; /* a server listens at an address; whom a name is of may change */
    assert_int_equal(rpc_server_start(&options, &service.server, &err), -EINVAL);
    target.target = "127.0.0.1:0";
    assert_int_equal(rpc_channel_new(&target, &service.channel, &err), -EINVAL);
}

/* gRPC shares ports by default: two servers, and each would get some of the calls. */
static void a_port_that_is_taken_is_an_error(void **state)
{
    struct rpc_server_options options = plain();
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct rpc_server *second = NULL;
    struct err err = ERR_INIT;
    char text[32];

    (void)state;
    start_plain();
    snprintf(text, sizeof(text), "127.0.0.1:%u", rpc_server_port(service.server));
    options.listen = text;
    assert_int_equal(rpc_server_start(&options, &second, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, text));
    assert_null(second);
    /* Nor may anybody else share it. */
    address.sin_port = htons((uint16_t)rpc_server_port(service.server));
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(fd);
    stop_all();
}

static void no_more_calls_at_once_than_allowed(void **state)
{
    struct rpc_server_options options = plain();
    struct rpc_channel *first;
    struct rpc_stream *streams[3];
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;

    (void)state;
    options.calls_max = 3;
    start_server(&options);
    open_channel((struct rpc_channel_options){0});
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rpc_stream_open(service.channel, WATCH, "", 0, 0, &streams[i], &err), 0);
    assert_true(wait_for(&service.n_held, 3));
    assert_int_equal(rpc_server_calls(service.server), 3);
    /* A connection may not have more; another one is told so. */
    first = service.channel;
    open_channel((struct rpc_channel_options){0});
    assert_int_equal(call(ECHO, "x", 1, &answer, &err), RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(err.text, "RESOURCE_EXHAUSTED: too many calls at once");
    assert_int_equal(call("/grpc.health.v1.Health/Check", "", 0, &answer, &err), RPC_OK);
    rpc_bytes_release(&answer);
    for (unsigned i = 0; i < 3; i++)
        rpc_stream_free(streams[i]);
    rpc_channel_free(first);
    assert_true(wait_for(&service.n_gone, 3));
    assert_true(echoes("again"));
    stop_all();
}

/* The environment's proxy is asked even for an IP address unless told not to. */
static void proxies_are_not_asked(void **state)
{
    static const char *const names[] = {"http_proxy", "grpc_proxy", "https_proxy"};

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        setenv(names[i], "http://127.0.0.1:9", 1);
    start_plain();
    assert_true(echoes("direct"));
    stop_all();
    for (unsigned i = 0; i < 3; i++)
        unsetenv(names[i]);
}

/* ---- late answers, ends ---------------------------------------------------------------------- */

struct caller {
    pthread_t thread;
    const char *method;
    uint64_t deadline_ns;
    enum rpc_status status;
    char answer[32];
    struct err err;
};

static void *call_and_wait(void *context)
{
    struct caller *caller = context;
    struct rpc_bytes answer = {NULL, 0};

    caller->status = rpc_unary(service.channel, caller->method, "x", 1, caller->deadline_ns,
                               &answer, &caller->err);
    if (caller->status == RPC_OK)
        snprintf(caller->answer, sizeof(caller->answer), "%.*s", (int)answer.len,
                 (const char *)answer.data);
    rpc_bytes_release(&answer);
    return NULL;
}

static void begin_calls(struct caller *callers, unsigned n, uint64_t deadline_ns)
{
    for (unsigned i = 0; i < n; i++) {
        callers[i] = (struct caller){.method = HOLD, .deadline_ns = deadline_ns};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_and_wait, &callers[i]), 0);
    }
}

static void join_calls(struct caller *callers, unsigned n, enum rpc_status expected)
{
    for (unsigned i = 0; i < n; i++) {
        pthread_join(callers[i].thread, NULL);
        if (callers[i].status != expected)
            print_message("%s\n", callers[i].err.text);
        assert_int_equal(callers[i].status, expected);
    }
}

/* A handler that waited would stop the one thread; here the answers come later, from another. */
static void held_calls_cost_no_thread_and_are_answered_later(void **state)
{
    struct rpc_server_options options = plain();
    struct caller callers[20];

    (void)state;
    options.threads = 1;
    start_server(&options);
    open_channel((struct rpc_channel_options){0});
    begin_calls(callers, 20, in_ms(20000));
    assert_true(wait_for(&service.n_held, 20));
    for (unsigned i = 0; i < 50; i++)
        assert_true(echoes("meanwhile"));
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(rpc_call_finish(service.held[i], RPC_OK, NULL, "late", 4), 0);
    join_calls(callers, 20, RPC_OK);
    for (unsigned i = 0; i < 20; i++) {
        assert_string_equal(callers[i].answer, "late");
        assert_int_equal(rpc_call_finish(service.held[i], RPC_OK, NULL, "twice", 5), -EPIPE);
    }
    stop_all();
}

static void a_refusal_carries_its_message(void **state)
{
    struct caller caller;
    char text[3000];

    (void)state;
    start_plain();
    memset(text, 'm', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    begin_calls(&caller, 1, in_ms(20000));
    assert_true(wait_for(&service.n_held, 1));
    assert_int_equal(rpc_call_send(service.held[0], "x", 1), -EINVAL);
    rpc_call_finish(service.held[0], RPC_NOT_FOUND, "no gang ns/caf\xc3\xa9, 100 %", "ignored", 7);
    join_calls(&caller, 1, RPC_NOT_FOUND);
    assert_string_equal(caller.err.text, "NOT_FOUND: no gang ns/caf\xc3\xa9, 100 %");
    begin_calls(&caller, 1, in_ms(20000));
    assert_true(wait_for(&service.n_held, 2));
    rpc_call_finish(service.held[1], RPC_ABORTED, text, NULL, 0);
    join_calls(&caller, 1, RPC_ABORTED);
    stop_all();
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
    struct caller callers[5];
    uint64_t start;

    (void)state;
    start_plain();
    assert_true(echoes("connected")); /* all of the time is for the calls to come */
    start = in_ms(0);
    begin_calls(callers, 5, in_ms(1000));
    join_calls(callers, 5, RPC_DEADLINE_EXCEEDED);
    assert_true(seconds_since(start) < 5);
    assert_true(wait_for(&service.n_gone, 5));
    begin_calls(callers, 1, 0); /* is past */
    join_calls(callers, 1, RPC_DEADLINE_EXCEEDED);
    stop_all();
}

/* gRPC aborts the process when its parts end in the wrong order. */
static void stopping_ends_calls_in_flight(void **state)
{
    struct caller callers[30];
    uint64_t start;

    (void)state;
    start_plain();
    begin_calls(callers, 30, in_ms(20000));
    assert_true(wait_for(&service.n_held, 30));
    start = in_ms(0);
    rpc_server_stop(service.server);
    service.server = NULL;
    assert_true(seconds_since(start) < 5);
    join_calls(callers, 30, RPC_UNAVAILABLE);
    assert_int_equal(service.n_gone, 30);
    stop_all();
}

static void *echo_until_told(void *context)
{
    atomic_bool *stop = context;
    unsigned long strange = 0;

    while (!atomic_load(stop)) {
        struct rpc_bytes answer = {NULL, 0};
        struct err err = ERR_INIT;
        enum rpc_status status = call(ECHO, "x", 1, &answer, &err);

        if (status != RPC_OK && status != RPC_UNAVAILABLE) {
            print_message("%s\n", err.text);
            strange++;
        }
        rpc_bytes_release(&answer);
    }
    return (void *)strange;
}

static void stopping_amid_traffic_is_clean(void **state)
{
    pthread_t threads[6];
    atomic_bool stop = false;
    unsigned long total = 0;
    struct rpc_server_options options = plain();
    char text[32];

    (void)state;
    start_plain();
    snprintf(text, sizeof(text), "127.0.0.1:%u", rpc_server_port(service.server));
    options.listen = text;
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, echo_until_told, &stop), 0);
    for (unsigned i = 0; i < 10; i++) {
        nap_ms(50);
        rpc_server_stop(service.server);
        start_server(&options);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 6; i++) {
        void *strange = NULL;

        pthread_join(threads[i], &strange);
        total += (unsigned long)strange;
    }
    assert_int_equal(total, 0);
    stop_all();
}

static unsigned count_entries(const char *path)
{
    DIR *directory = opendir(path);
    unsigned n = 0;

    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static void nothing_is_left_after_many_lives(void **state)
{
    unsigned threads, descriptors;

    (void)state;
    start_plain();
    assert_true(echoes("first"));
    stop_all();
    nap_ms(200);
    threads = count_entries("/proc/self/task");
    descriptors = count_entries("/proc/self/fd");
    for (unsigned i = 0; i < 20; i++) {
        start_plain();
        assert_true(echoes("again"));
        stop_all();
    }
    nap_ms(200);
    assert_true(count_entries("/proc/self/task") <= threads);
    assert_true(count_entries("/proc/self/fd") <= descriptors);
}

/* Calls whose end was not asked for would stay in gRPC for good. */
static void calls_leave_no_trace(void **state)
{
    (void)state;
    start_plain();
    for (unsigned i = 0; i < 500; i++)
        assert_true(echoes("x"));
    for (unsigned i = 0; i < 100 && rpc_server_calls(service.server); i++)
        nap_ms(20);
    assert_int_equal(rpc_server_calls(service.server), 0);
    stop_all();
}

/* After a fork without exec both sides hang; posix_spawn is what the product does. */
static void children_are_spawned_amid_calls(void **state)
{
    char *const argv[] = {"sh", "-c", "ls -l /proc/self/fd | grep -c socket: ; exit 7", NULL};
    pthread_t thread;
    atomic_bool stop = false;
    void *strange = NULL;

    (void)state;
    start_plain();
    assert_int_equal(pthread_create(&thread, NULL, echo_until_told, &stop), 0);
    for (unsigned i = 0; i < 20; i++) {
        posix_spawn_file_actions_t actions;
        int ends[2], status = -1;
        char text[8] = "";
        pid_t child;

        assert_int_equal(pipe(ends), 0);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        assert_int_equal(posix_spawnp(&child, "sh", &actions, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&actions);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
        assert_int_equal(text[0], '0'); /* no socket of ours is the child's */
        close(ends[0]);
        close(ends[1]);
        assert_true(echoes("the parent goes on"));
    }
    atomic_store(&stop, true);
    pthread_join(thread, &strange);
    assert_null(strange);
    stop_all();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_request_echoed),
        cmocka_unit_test(an_unknown_method_is_refused_at_once),
        cmocka_unit_test(messages_have_a_limit_on_both_sides),
        cmocka_unit_test(plaintext_is_for_loopback_only),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(a_port_that_is_taken_is_an_error),
        cmocka_unit_test(no_more_calls_at_once_than_allowed),
        cmocka_unit_test(proxies_are_not_asked),
        cmocka_unit_test(held_calls_cost_no_thread_and_are_answered_later),
        cmocka_unit_test(a_refusal_carries_its_message),
        cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
        cmocka_unit_test(stopping_ends_calls_in_flight),
        cmocka_unit_test(stopping_amid_traffic_is_clean),
        cmocka_unit_test(nothing_is_left_after_many_lives),
        cmocka_unit_test(calls_leave_no_trace),
        cmocka_unit_test(children_are_spawned_amid_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
