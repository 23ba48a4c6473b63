/* A pod's part under a coordinator that does not do its own: a server of this test's, which answers
 * what it is told to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collective/pod_probe.h"

#define SECOND UINT64_C(1000000000)

/* ---- fake coordinator ------------------------------------------------------------------- */

static void on_join(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    struct probe_order order = {.kind = PROBE_WAITING,
                                .gang = {.ns = "team", .name = "train", .generation = 1},
                                .waiting = {.ranks = 1}};
    struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);

    (void)context;
    (void)bytes;
    (void)len;
    if (probe_order_encode(&order, 0, 1, &out, NULL) == 0)
        rpc_call_send(call, out.data, out.len);
    strbuf_release(&out);
}

static void on_report(void *context, struct rpc_call *call, const uint8_t *bytes, size_t len)
{
    unsigned *reports = context;

    (void)call; /* never answered */
    (void)bytes;
    (void)len;
    ++*reports;
}

static const struct rpc_method methods[] = {
    {.path = "/lockstep.probe.v1.Probe/Join", .handler = on_join, .streaming = true},
    {.path = "/lockstep.probe.v1.Probe/Report", .handler = on_report},
    {0},
};

/* ---- tests ------------------------------------------------------------------------------ */

static void a_report_that_nobody_answers_does_not_outlast_the_limit(void **state)
{
    static const char *const program[] = {"/bin/false", NULL}; /* its rank fails at once */
    /* It has to come to a report within the limit; a report alone would take 5 s. */
    const uint64_t limit_ns = (getenv("LOCKSTEP_VALGRIND") ? 12 : 4) * SECOND;
    unsigned reports = 0;
    struct rpc_server_options options = {
        .listen = "127.0.0.1:0", .methods = methods, .context = &reports};
    struct rpc_server *server = NULL;
    char target[32];
    struct pod_options pod = {.coordinator = {.target = target},
                              .ns = "team",
                              .pod = "train-0",
                              .uid = "uid-0",
                              .node = "node-a",
                              .host = "127.0.0.1",
                              .backend = "tcp",
                              .argv = program,
                              .devices = 1,
                              .limit_ns = limit_ns};
    enum verdict verdict;
    struct err err = ERR_INIT;
    uint64_t began_ns;

    (void)state;
    if (rpc_server_start(&options, &server, &err) < 0)
        fail_msg("%s", err.text);
    snprintf(target, sizeof(target), "127.0.0.1:%u", rpc_server_port(server));
    began_ns = (uint64_t)clock_read(CLOCK_MONOTONIC);
    assert_int_equal(pod_probe_run(&pod, &verdict, &err), -ETIMEDOUT);
    assert_true((uint64_t)clock_read(CLOCK_MONOTONIC) - began_ns < limit_ns + SECOND);
    rpc_server_stop(server);
    assert_true(reports > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_that_nobody_answers_does_not_outlast_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
