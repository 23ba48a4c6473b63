/* The coordinator: started, stopped and started again; what it was heard to say; and reports that
 * were said before. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rpc.h"
#include "collective/probe_service.h"
#include "tests/probe_faults/probe_faults.h"

#define REPORT "/lockstep.probe.v1.Probe/Report"

struct gang {
    const struct plan *plan;
    const struct places *places;
    struct probe_service *service; /* NULL: down */
    struct rpc_channel *channel;   /* of one that repeats reports; NULL: not needed so far */
    unsigned port;
    uint32_t epoch;
    pthread_mutex_t lock; /* told */
    struct gang_told told;
};

struct gang *gang_new(const struct plan *plan, const struct places *places)
{
    struct gang *gang = calloc(1, sizeof(*gang));

    if (!gang)
        abort();
    gang->plan = plan;
    gang->places = places;
    pthread_mutex_init(&gang->lock, NULL);
    return gang;
}

void gang_free(struct gang *gang)
{
    rpc_channel_free(gang->channel);
    probe_service_stop(gang->service);
    pthread_mutex_destroy(&gang->lock);
    free(gang);
}

static void on_verdict(void *context, const struct coordinator_result *result)
{
    struct gang *gang = context;

    pthread_mutex_lock(&gang->lock);
    if (gang->told.verdicts++ == 0) {
        gang->told.result = *result;
        gang->told.told_ns = now_ns();
    }
    pthread_mutex_unlock(&gang->lock);
}

void gang_told(struct gang *gang, struct gang_told *ret)
{
    pthread_mutex_lock(&gang->lock);
    *ret = gang->told;
    pthread_mutex_unlock(&gang->lock);
}

unsigned gang_port(const struct gang *gang)
{
    return gang->port;
}

void gang_service_start(struct gang *gang)
{
    char listen[32], certificate[160], key[160];
    const struct probe_service_options options = {.listen = listen,
                                                  .cert_file = certificate,
                                                  .key_file = key,
                                                  .secret = SECRET,
                                                  .verdict = on_verdict,
                                                  .context = gang,
                                                  .limits = {.epoch = ++gang->epoch}};
    struct err err = ERR_INIT;
    int r;

    snprintf(listen, sizeof(listen), "127.0.0.1:%u", gang->port);
    snprintf(certificate, sizeof(certificate), "%s/probes-server.crt", gang->places->certificates);
    snprintf(key, sizeof(key), "%s/probes-server.key", gang->places->certificates);
    for (int tries = 0;
         (r = probe_service_start(&options, &gang->service, &err)) == -EADDRINUSE && tries < 50;
         tries++)
        usleep(20000);
    if (r < 0) {
        fprintf(stderr, "the coordinator does not start on %s: %s\n", listen, err.text);
        exit(EXIT_FAILURE);
    }
    gang->port = probe_service_port(gang->service);
}

void gang_service_stop(struct gang *gang)
{
    probe_service_stop(gang->service);
    gang->service = NULL;
}

void gang_expect(struct gang *gang, int64_t deadline_ns)
{
    const struct plan *plan = gang->plan;
    char names[PODS_MAX][3][16];
    struct coordinator_pod pods[PODS_MAX];
    struct gang_told told;
    struct coordinator_gang expected = {.id = {.ns = "team", .name = "train", .generation = 1},
                                        .pods = pods,
                                        .npods = plan->pods,
                                        .gate = plan->gate,
                                        .deadline_ns = deadline_ns,
                                        .run_ns = plan->run_ns,
                                        .hold_ns = HOLD_NS,
                                        .plan = {.op = "all_reduce",
                                                 .bytes_max = plan->bytes_max,
                                                 .check = true,
                                                 .budget_ns = (uint64_t)plan->budget_ns,
                                                 .expected_gb_s = plan->expected_gb_s}};
    struct err err = ERR_INIT;
    uint32_t ranks = 0;

    for (unsigned i = 0; i < plan->pods; i++) {
        snprintf(names[i][0], sizeof(names[i][0]), "train-%u", i);
        snprintf(names[i][1], sizeof(names[i][1]), "uid-%u", i);
        snprintf(names[i][2], sizeof(names[i][2]), "node-%u", i);
        pods[i] = (struct coordinator_pod){names[i][0], names[i][1], names[i][2], ranks,
                                           plan->devices[i]};
        ranks += plan->devices[i];
    }
    gang_told(gang, &told);
    if (told.verdicts > 0) {
        expected.decided = true;
        expected.verdict = told.result.verdict;
        expected.measured_gb_s = told.result.measured_gb_s;
        expected.message = told.result.message;
        expected.hold_left_ns = told.told_ns + HOLD_NS - now_ns();
    }
    if (probe_service_expect(gang->service, &expected, &err) < 0) {
        fprintf(stderr, "the gang is not expected: %s\n", err.text);
        exit(EXIT_FAILURE);
    }
}

/* ---- reports ---------------------------------------------------------------------------- */

static struct rpc_channel *channel_to(struct gang *gang)
{
    char target[32], ca[160];
    const struct rpc_channel_options options = {
        .target = target, .ca_file = ca, .token_file = gang->places->token};
    struct err err = ERR_INIT;

    snprintf(target, sizeof(target), "127.0.0.1:%u", gang->port);
    snprintf(ca, sizeof(ca), "%s/ca.crt", gang->places->certificates);
    if (!gang->channel && rpc_channel_new(&options, &gang->channel, &err) < 0) {
        fprintf(stderr, "no channel: %s\n", err.text);
        exit(EXIT_FAILURE);
    }
    return gang->channel;
}

void gang_report(struct gang *gang, unsigned pod)
{
    static struct probe_report report;
    struct strbuf bytes = STRBUF_INIT(PROBE_REQUEST_MAX);
    struct err err = ERR_INIT;

    report = (struct probe_report){.gang = {.ns = "team", .name = "train", .generation = 1},
                                   .process = 1,
                                   .devices = gang->plan->devices[pod],
                                   .start_id = UINT64_C(1) << 32 | 1,
                                   .round = 1,
                                   .outcome = PROBE_OUTCOME_OK,
                                   .n_rows = 1,
                                   .backend = "tcp",
                                   .busbw_gb_s = 1,
                                   .rows = {{1 << 20, 1e-3, 1, 1, 0, 5}}};
    for (unsigned i = 0; i < pod; i++)
        report.first_rank += gang->plan->devices[i];
    report.rank = report.first_rank;
    snprintf(report.pod, sizeof(report.pod), "train-%u", pod);
    snprintf(report.pod_uid, sizeof(report.pod_uid), "uid-%u", pod);
    snprintf(report.node, sizeof(report.node), "node-%u", pod);
    if (probe_report_encode(&report, &bytes, &err) < 0) {
        fprintf(stderr, "no report: %s\n", err.text);
        exit(EXIT_FAILURE);
    }
    for (int i = 0; i < 3; i++) {
        struct rpc_bytes answer = {0};
        enum rpc_status status = rpc_unary(channel_to(gang), REPORT, bytes.data, bytes.len,
                                           (uint64_t)(now_ns() + SECOND), &answer, &err);

        fprintf(stderr, "report of pod %u said again: %s\n", pod, rpc_status_name(status));
        rpc_bytes_release(&answer);
    }
    strbuf_release(&bytes);
}
