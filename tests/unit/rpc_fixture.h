/* rpc_fixture.h - a server with three methods and a channel to it, for the tests of base/rpc.h. */
#pragma once

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rpc.h"

#define ECHO "/test.Echo/Echo" /* answers what it got */
#define HOLD "/test.Echo/Hold" /* the test answers: held[] */
#define WATCH "/test.Echo/Watch" /* a stream, the same */
#define HELD_MAX 4096

static struct {
    struct rpc_server *server;
    struct rpc_channel *channel;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct rpc_call *held[HELD_MAX]; /* with a reference */
    unsigned n_held, n_gone, gone_twice, gone_unknown;
    char authorization[256], client[64], peer[64]; /* of the last echo */
    bool no_authorization;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline uint64_t in_ms(uint64_t ms)
{
    return (uint64_t)clock_read(CLOCK_MONOTONIC) + ms * 1000000;
}

static inline double seconds_since(uint64_t start_ns)
{
    return (double)(in_ms(0) - start_ns) * 1e-9;
}

static inline void nap_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void on_echo(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    const char *authorization = rpc_call_metadata(call, "authorization");

    (void)context;
    pthread_mutex_lock(&service.lock);
    service.no_authorization = !authorization;
    snprintf(service.authorization, sizeof(service.authorization), "%s",
             authorization ? authorization : "");
    snprintf(service.client, sizeof(service.client), "%s", rpc_call_client(call));
    snprintf(service.peer, sizeof(service.peer), "%s", rpc_call_peer(call));
    pthread_mutex_unlock(&service.lock);
    rpc_call_finish(call, RPC_OK, NULL, bytes, len);
}

static void on_hold(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    (void)len;
    pthread_mutex_lock(&service.lock);
    if (service.n_held < HELD_MAX) {
        service.held[service.n_held] = rpc_call_ref(call);
        rpc_call_set_data(call, &service.held[service.n_held]);
        service.n_held++;
    }
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
}

static void on_gone(void *context, struct rpc_call *call)
{
    static char gone[HELD_MAX];
    struct rpc_call **place = rpc_call_data(call);

    pthread_mutex_lock(&service.lock);
    if (context != &service || !place || *place != call) {
        service.gone_unknown++;
    } else {
        char *was = &gone[place - service.held];

        if (service.n_gone == 0)
            memset(gone, 0, sizeof(gone));
        service.gone_twice += *was != 0;
        *was = 1;
    }
    service.n_gone++;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.lock);
}

static const struct rpc_method methods[] = {{.path = ECHO, .handler = on_echo},
                                            {.path = HOLD, .handler = on_hold, .gone = on_gone},
                                            {.path = WATCH,
                                             .handler = on_hold,
                                             .gone = on_gone,
                                             .streaming = true},
                                            {0}};

/* Options of a plain server on any port; tests change what they are about. */
static inline struct rpc_server_options plain(void)
{
    return (struct rpc_server_options){
        .listen = "127.0.0.1:0", .methods = methods, .context = &service};
}

static inline void start_server(const struct rpc_server_options *options)
{
    struct err err = ERR_INIT;

    service.n_held = service.n_gone = service.gone_twice = service.gone_unknown = 0;
    if (rpc_server_start(options, &service.server, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void open_channel(struct rpc_channel_options options)
{
    struct err err = ERR_INIT;
    char target[32];

    snprintf(target, sizeof(target), "127.0.0.1:%u", rpc_server_port(service.server));
    options.target = target;
    if (rpc_channel_new(&options, &service.channel, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void start_plain(void)
{
    struct rpc_server_options options = plain();

    start_server(&options);
    open_channel((struct rpc_channel_options){0});
}

/* Every call that was held is gone, once; references are given back last, when the server is no
 * more. */
static inline void stop_all(void)
{
    rpc_channel_free(service.channel);
    rpc_server_stop(service.server);
    service.channel = NULL;
    service.server = NULL;
    for (unsigned i = 0; i < service.n_held; i++) {
        assert_int_equal(rpc_call_finish(service.held[i], RPC_OK, NULL, NULL, 0), -EPIPE);
        rpc_call_unref(service.held[i]);
    }
    assert_int_equal(service.n_gone, service.n_held);
    assert_int_equal(service.gone_twice, 0);
    assert_int_equal(service.gone_unknown, 0);
}

/* Until n calls are held, or gone; false after ten seconds. */
static inline bool wait_for(const unsigned *counter, unsigned n)
{
    struct timespec until;
    int r = 0;
    bool there;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&service.lock);
    while (*counter < n && r == 0)
        r = pthread_cond_timedwait(&service.changed, &service.lock, &until);
    there = *counter >= n;
    pthread_mutex_unlock(&service.lock);
    return there;
}

static inline enum rpc_status call(const char *method, const void *bytes, size_t len,
                                   struct rpc_bytes *ret, struct err *err)
{
    return rpc_unary(service.channel, method, bytes, len, in_ms(20000), ret, err);
}

/* Whether an echo comes back as it was. */
static inline bool echoes(const char *text)
{
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    enum rpc_status status = call(ECHO, text, strlen(text), &answer, &err);
    bool same = status == RPC_OK && answer.len == strlen(text) &&
                (answer.len == 0 || memcmp(answer.data, text, answer.len) == 0);

    if (status != RPC_OK)
        print_message("%s\n", err.text);
    rpc_bytes_release(&answer);
    return same;
}
