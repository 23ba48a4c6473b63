/* A gRPC server and peers that do not keep to the protocol, or take forever: HTTP/2 by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/rpc_fixture.h"

struct peer {
    nghttp2_session *session;
    int fd;
    const char *body;
    size_t left;
    bool never_ends; /* the body */
    int status; /* grpc-status; -1: none came */
    bool closed, lost; /* the stream; the connection */
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags,
                     void *context)
{
    struct peer *peer = context;

    (void)session;
    (void)frame;
    (void)flags;
    (void)len;
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
        peer->status = (int)strtol((const char *)value, NULL, 10);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    struct peer *peer = context;

    (void)session;
    (void)stream;
    (void)code;
    peer->closed = true;
    return 0;
}

static void dial(struct peer *peer, bool takes_answers)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)rpc_server_port(service.server))};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    *peer = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .status = -1};
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, !takes_answers);
    assert_int_equal(nghttp2_session_client_new2(&peer->session, callbacks, peer, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void hang_up(struct peer *peer)
{
    nghttp2_session_del(peer->session);
    close(peer->fd);
}

static ssize_t give_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct peer *peer = context;
    size_t n = peer->left < size ? peer->left : size;

    (void)session;
    (void)stream;
    (void)source;
    if (n == 0 && peer->never_ends)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(buf, peer->body, n);
    peer->body += n;
    peer->left -= n;
    if (peer->left == 0 && !peer->never_ends)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void ask(struct peer *peer, const char *path, const char *extra_name, const char *extra)
{
    nghttp2_nv headers[] = {header(":method", "POST"),
                            header(":scheme", "http"),
                            header(":path", path),
                            header(":authority", "lockstep"),
                            header("te", "trailers"),
                            header("content-type", "application/grpc"),
                            header(extra_name, extra)};
    nghttp2_data_provider provider = {.read_callback = give_body};

    assert_true(nghttp2_submit_request(peer->session, NULL, headers, 7, &provider, NULL) > 0);
}

/* Speaks until the stream is closed, the connection lost, or the time is over. */
static void pump(struct peer *peer, uint64_t until)
{
    while (!peer->closed && !peer->lost && in_ms(0) < until) {
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        const uint8_t *out;
        uint8_t in[16384];
        ssize_t n;

        while ((n = nghttp2_session_mem_send(peer->session, &out)) > 0)
            if (send(peer->fd, out, (size_t)n, MSG_NOSIGNAL) != n)
                peer->lost = true;
        if (poll(&wait, 1, 50) <= 0)
            continue;
        n = recv(peer->fd, in, sizeof(in), 0);
        if (n <= 0 || nghttp2_session_mem_recv(peer->session, in, (size_t)n) < 0)
            peer->lost = true;
    }
}

static void start_impatient(void)
{
    struct rpc_server_options options = plain();

    options.patience_s = 1;
    options.keepalive_s = 1;
    start_server(&options);
    open_channel((struct rpc_channel_options){0});
}

static bool no_calls_left(void)
{
    for (unsigned i = 0; i < 500 && rpc_server_calls(service.server); i++)
        nap_ms(10);
    return rpc_server_calls(service.server) == 0;
}

/* ---- requests that are none ------------------------------------------------------------------ */

static const struct {
    const char *what, *body;
    size_t len;
    const char *extra_name, *extra;
    int status; /* -1: any but 0, or the stream is reset */
} bodies[] = {
    {"nothing", "", 0, "x", "y", RPC_UNIMPLEMENTED},
    {"a message", "\0\0\0\0\3abc", 8, "x", "y", RPC_OK},
    {"an empty message", "\0\0\0\0\0", 5, "x", "y", RPC_OK},
    {"half a prefix", "\0\0\0", 3, "x", "y", -1},
    {"half a message", "\0\0\0\0\5abc", 8, "x", "y", -1},
    {"four GiB announced", "\0\xff\xff\xff\xff" "abc", 8, "x", "y", -1},
    {"a flag there is not", "\7\0\0\0\3abc", 8, "x", "y", RPC_OK}, /* gRPC overlooks it */
    {"compressed", "\1\0\0\0\3abc", 8, "grpc-encoding", "gzip", RPC_UNIMPLEMENTED},
    {"compressed, not how", "\1\0\0\0\3abc", 8, "x", "y", RPC_OK}, /* taken as it is */
    {"compressed, strangely", "\1\0\0\0\3abc", 8, "grpc-encoding", "lzma", RPC_OK},
    {"a strange time-out", "\0\0\0\0\3abc", 8, "grpc-timeout", "soon", RPC_OK},
    {"a time-out of nothing", "\0\0\0\0\3abc", 8, "grpc-timeout", "0n", RPC_DEADLINE_EXCEEDED},
};

static void requests_that_are_none_are_refused(void **state)
{
    (void)state;
    start_impatient();
    for (unsigned i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        struct peer peer;
        bool refused;

        dial(&peer, true);
        peer.body = bodies[i].body;
        peer.left = bodies[i].len;
        ask(&peer, ECHO, bodies[i].extra_name, bodies[i].extra);
        pump(&peer, in_ms(5000));
        refused = peer.closed && (bodies[i].status < 0 ? peer.status != 0
                                                       : peer.status == bodies[i].status);
        if (!refused)
            fail_msg("%s: status %d%s", bodies[i].what, peer.status, peer.closed ? "" : ", open");
        hang_up(&peer);
    }
    assert_true(no_calls_left());
    assert_true(echoes("the others"));
    stop_all();
}

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *in = fopen("/proc/self/statm", "r");

    assert_non_null(in);
    assert_int_equal(fscanf(in, "%*u %lu", &pages), 1);
    fclose(in);
    return pages * 4096;
}

/* gRPC looks at a message's size when it has all of it: announcing it must not fill memory. */
static void what_is_announced_is_not_gathered(void **state)
{
    enum { SENT = 200 << 20, ALLOWED = 32 << 20 };
    struct rpc_server_options options = plain();
    char *body = calloc(1, SENT);
    size_t before, taken;
    struct peer peer;

    (void)state;
    assert_non_null(body);
    memset(body + 5, 'x', SENT - 5);
    body[1] = 0x7f; /* two GiB */
    options.memory_max = ALLOWED;
    start_server(&options);
    open_channel((struct rpc_channel_options){0});
    assert_true(echoes("x"));
    before = resident_bytes();
    dial(&peer, true);
    peer.body = body;
    peer.left = SENT;
    peer.never_ends = true;
    ask(&peer, ECHO, "x", "y");
    pump(&peer, in_ms(10000));
    taken = resident_bytes() - before;
    print_message("reset after %zu MiB, %zu MiB resident\n", (SENT - peer.left) >> 20, taken >> 20);
    assert_true(peer.closed || peer.lost);
    assert_true(peer.left > 0);
    hang_up(&peer);
    assert_true(no_calls_left());
    assert_true(echoes("the others"));
    stop_all();
    free(body);
}

static void metadata_has_a_limit(void **state)
{
    char *big = malloc(100001);
    struct peer peer;

    (void)state;
    memset(big, 'a', 100000);
    big[12000] = '\0';
    start_impatient();
    dial(&peer, true);
    peer.body = "";
    ask(&peer, ECHO, "authorization", big);
    pump(&peer, in_ms(5000));
    assert_true(peer.closed || peer.lost);
    assert_int_not_equal(peer.status, 0);
    hang_up(&peer);
    free(big);
    assert_true(no_calls_left());
    assert_true(echoes("the others"));
    stop_all();
}

static void garbage_ends_its_connection_and_nothing_else(void **state)
{
    static const char *const beginnings[] = {"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                             "GET / HTTP/1.1\r\nHost: x\r\n\r\n"};
    uint8_t bytes[4096];
    uint32_t seed = 7;

    (void)state;
    start_impatient();
    for (unsigned i = 0; i < 60; i++) {
        const char *beginning = beginnings[i % 3];
        struct pollfd wait = {.events = POLLIN};
        struct peer peer;

        for (size_t k = 0; k < sizeof(bytes); k++) {
            seed = seed * 1664525 + 1013904223;
            bytes[k] = (uint8_t)(seed >> 24);
        }
        dial(&peer, true);
        send(peer.fd, beginning, strlen(beginning), MSG_NOSIGNAL);
        send(peer.fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        shutdown(peer.fd, SHUT_WR);
        wait.fd = peer.fd;
        while (poll(&wait, 1, 5000) == 1 && recv(peer.fd, bytes, sizeof(bytes), 0) > 0)
            ;
        hang_up(&peer);
    }
    assert_true(no_calls_left());
    assert_true(echoes("the others"));
    stop_all();
}

/* ---- peers that take forever ----------------------------------------------------------------- */

static void a_request_that_does_not_come_is_not_waited_for(void **state)
{
    struct peer peer;

    (void)state;
    start_impatient();
    dial(&peer, true);
    peer.body = "\0\0\0\0\3a";
    peer.left = 6;
    peer.never_ends = true;
    ask(&peer, HOLD, "x", "y");
    pump(&peer, in_ms(8000));
    assert_true(peer.closed);
    assert_int_equal(peer.status, RPC_DEADLINE_EXCEEDED);
    hang_up(&peer);
    assert_true(no_calls_left());
    assert_int_equal(service.n_held, 0);
    stop_all();
}

static void an_answer_that_is_not_taken_is_given_up(void **state)
{
    static char big[1 << 20];
    struct peer peer;
    uint64_t start;

    (void)state;
    start_impatient();
    dial(&peer, false);
    peer.body = "\0\0\0\0\3abc";
    peer.left = 8;
    ask(&peer, HOLD, "x", "y");
    pump(&peer, in_ms(300));
    assert_true(wait_for(&service.n_held, 1));
    start = in_ms(0);
    assert_int_equal(rpc_call_finish(service.held[0], RPC_OK, NULL, big, sizeof(big)), 0);
    pump(&peer, in_ms(6000)); /* its pings are answered: only the answer is not taken */
    assert_true(wait_for(&service.n_gone, 1));
    assert_true(seconds_since(start) < 5);
    assert_int_not_equal(peer.status, 0);
    hang_up(&peer);
    stop_all();
}

static void a_client_that_vanished_is_noticed(void **state)
{
    struct peer peer;
    uint64_t start;

    (void)state;
    start_impatient();
    dial(&peer, true);
    peer.body = "\0\0\0\0\3abc";
    peer.left = 8;
    ask(&peer, WATCH, "x", "y");
    pump(&peer, in_ms(300));
    assert_true(wait_for(&service.n_held, 1));
    start = in_ms(0); /* from here on it answers no ping */
    assert_true(wait_for(&service.n_gone, 1));
    print_message("noticed after %.1f s\n", seconds_since(start));
    assert_true(seconds_since(start) < 8);
    hang_up(&peer);
    stop_all();
}

static bool descriptor_left(void)
{
    int fd = dup(0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* As many connections as there are descriptors for; none is left for the server. */
static unsigned take_all_descriptors(struct peer *peers, unsigned max)
{
    unsigned n = 0;

    while (n < max && descriptor_left())
        dial(&peers[n++], true);
    return n;
}

/* gRPC stops listening for good when accept() fails: another listener is to take over, and what
 * was connected * goes on. */
static void running_out_of_descriptors_is_survived(void **state)
{
    static struct peer peers[100];
    struct rlimit before, few;
    struct rpc_bytes message = {NULL, 0};
    struct rpc_channel *first;
    struct rpc_stream *stream;
    struct err err = ERR_INIT;
    enum rpc_status status;
    unsigned n;
    uint64_t start;
    bool echoed = false;

    (void)state;
    start_impatient();
    assert_int_equal(rpc_stream_open(service.channel, WATCH, "", 0, 0, &stream, &err), 0);
    assert_true(wait_for(&service.n_held, 1));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    n = take_all_descriptors(peers, 100);
    assert_true(n > 10 && n < 100);
    nap_ms(1500); /* the listener that replaces the first one finds no descriptor either */
    while (n)
        hang_up(&peers[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    first = service.channel;
    open_channel((struct rpc_channel_options){0});
    for (start = in_ms(0); !echoed && seconds_since(start) < 10;)
        echoed = echoes("after");
    print_message("served again after %.1f s\n", seconds_since(start));
    assert_true(echoed);
    assert_int_equal(rpc_call_send(service.held[0], "still here", 10), 0);
    for (start = in_ms(0); seconds_since(start) < 5; nap_ms(10))
        if (rpc_stream_next(stream, &message, &status, &err) != RPC_NEXT_NOTHING)
            break;
    assert_int_equal(message.len, 10);
    rpc_bytes_release(&message);
    rpc_stream_free(stream);
    rpc_channel_free(first);
    stop_all();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_are_none_are_refused),
        cmocka_unit_test(what_is_announced_is_not_gathered),
        cmocka_unit_test(metadata_has_a_limit),
        cmocka_unit_test(garbage_ends_its_connection_and_nothing_else),
        cmocka_unit_test(a_request_that_does_not_come_is_not_waited_for),
        cmocka_unit_test(an_answer_that_is_not_taken_is_given_up),
        cmocka_unit_test(a_client_that_vanished_is_noticed),
        cmocka_unit_test(running_out_of_descriptors_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
