/* coordinator_world.h - a coordinator, a clock, and what it said since one last looked; for
 * test_coordinator*.c. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "collective/coordinator.h"

#define SECOND INT64_C(1000000000)
#define WORLD_PODS 16
#define HOLD_NS (60 * SECOND)

struct world {
    struct coordinator *coordinator;
    struct coordinator_actions actions; /* of the last step */
    int64_t now_ns;
    uint64_t next; /* stream or call */
    uint32_t epoch;
    struct coordinator_gang gang; /* as it was expected last */
    struct coordinator_pod pods[WORLD_PODS];
    char texts[WORLD_PODS][3][64];
    uint64_t streams[WORLD_PODS]; /* of each pod's last join */
    uint64_t attempts[WORLD_PODS];
};

static inline void step(struct world *world, struct coordinator_event event)
{
    struct err err = ERR_INIT;

    coordinator_actions_clear(&world->actions);
    if (coordinator_step(world->coordinator, &event, world->now_ns, &world->actions, &err) < 0)
        fail_msg("%s", err.text);
    if (coordinator_check(world->coordinator, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void pass(struct world *world, int64_t ns)
{
    world->now_ns += ns;
    step(world, (struct coordinator_event){.kind = COORD_TICK});
}

static inline void world_restart(struct world *world)
{
    coordinator_free(world->coordinator);
    world->coordinator = coordinator_new(&(struct coordinator_limits){.epoch = ++world->epoch});
    assert_non_null(world->coordinator);
}

/* Pods p0, p1, ... on n0, n1, ... with `devices` ranks each, expected at 100 GB/s within 300 s. */
static inline void world_plan(struct world *world, unsigned npods, unsigned devices)
{
    world->gang = (struct coordinator_gang){
        .id = {.ns = "team", .name = "train", .uid = "g", .generation = 3},
        .pods = world->pods,
        .npods = npods,
        .plan = {.op = "all_reduce", .expected_gb_s = 100},
        .deadline_ns = world->now_ns + 300 * SECOND,
        .hold_ns = HOLD_NS};
    for (unsigned i = 0; i < npods; i++) {
        snprintf(world->texts[i][0], sizeof(world->texts[i][0]), "p%u", i);
        snprintf(world->texts[i][1], sizeof(world->texts[i][1]), "uid-%u", i);
        snprintf(world->texts[i][2], sizeof(world->texts[i][2]), "n%u", i);
        world->pods[i] = (struct coordinator_pod){world->texts[i][0], world->texts[i][1],
                                                  world->texts[i][2], i * devices, devices};
    }
}

static inline void expect(struct world *world)
{
    step(world, (struct coordinator_event){.kind = COORD_EXPECT, .gang = &world->gang});
}

static inline void world_new(struct world *world, unsigned npods, unsigned devices)
{
    *world = (struct world){.now_ns = 1000 * SECOND, .next = 1, .epoch = 7};
    world_restart(world);
    world_plan(world, npods, devices);
    expect(world);
}

static inline void world_free(struct world *world)
{
    coordinator_actions_release(&world->actions);
    coordinator_free(world->coordinator);
}

static inline struct probe_join join_of(struct world *world, unsigned pod)
{
    const struct coordinator_pod *expected = &world->pods[pod];
    struct probe_join join = {.first_rank = -1,
                              .devices = expected->devices,
                              .process = 1,
                              .attempt = ++world->attempts[pod],
                              .backend = "tcp",
                              .version = "1"};

    snprintf(join.pod, sizeof(join.pod), "%s", expected->pod);
    snprintf(join.pod_uid, sizeof(join.pod_uid), "%s", expected->uid);
    snprintf(join.node, sizeof(join.node), "%s", expected->node);
    for (uint32_t i = 0; i < expected->devices; i++) {
        join.addresses[i].len = 2;
        join.addresses[i].bytes[0] = (uint8_t)(expected->first_rank + i);
        join.addresses[i].bytes[1] = (uint8_t)join.attempt;
    }
    return join;
}

/* The stream on which it came. */
static inline uint64_t send_join(struct world *world, const struct probe_join *join,
                                 const char *token)
{
    uint64_t stream = world->next++;

    step(world, (struct coordinator_event){
                    .kind = COORD_JOIN, .stream = stream, .pod_uid = token, .join = join});
    return stream;
}

static inline uint64_t join(struct world *world, unsigned pod)
{
    struct probe_join message = join_of(world, pod);

    return world->streams[pod] = send_join(world, &message, world->pods[pod].uid);
}

/* ... which says that it is in a round. */
static inline uint64_t join_in(struct world *world, unsigned pod, uint64_t start_id)
{
    struct probe_join message = join_of(world, pod);

    message.start_id = start_id;
    message.round = 1;
    return world->streams[pod] = send_join(world, &message, world->pods[pod].uid);
}

static inline struct probe_report report_of(struct world *world, unsigned pod, uint64_t start_id,
                                            enum probe_outcome outcome)
{
    const struct coordinator_pod *expected = &world->pods[pod];
    struct probe_report report = {.first_rank = expected->first_rank,
                                  .devices = expected->devices,
                                  .process = 1,
                                  .start_id = start_id,
                                  .round = start_id ? 1 : 0,
                                  .outcome = outcome,
                                  .rank = expected->first_rank,
                                  .bytes_moved = 1000,
                                  .backend = "tcp",
                                  .version = "1"};

    snprintf(report.pod, sizeof(report.pod), "%s", expected->pod);
    snprintf(report.pod_uid, sizeof(report.pod_uid), "%s", expected->uid);
    snprintf(report.node, sizeof(report.node), "%s", expected->node);
    if (outcome == PROBE_OUTCOME_OK)
        report.busbw_gb_s = 99;
    else
        snprintf(report.text, sizeof(report.text), "it says why");
    return report;
}

static inline uint64_t send_report(struct world *world, const struct probe_report *report,
                                   const char *token)
{
    uint64_t call = world->next++;

    step(world, (struct coordinator_event){
                    .kind = COORD_REPORT, .stream = call, .pod_uid = token, .report = report});
    return call;
}

static inline uint64_t report(struct world *world, unsigned pod, uint64_t start_id,
                              enum probe_outcome outcome)
{
    struct probe_report message = report_of(world, pod, start_id, outcome);

    return send_report(world, &message, world->pods[pod].uid);
}

/* ---- what it said in the last step ----------------------------------------------------------- */

static inline const struct coordinator_action *
said(const struct world *world, enum coordinator_action_kind kind, uint64_t stream)
{
    for (size_t i = 0; i < world->actions.n; i++)
        if (world->actions.items[i].kind == kind &&
            (stream == 0 || world->actions.items[i].stream == stream))
            return &world->actions.items[i];
    return NULL;
}

static inline const struct probe_order *order_to(const struct world *world, uint64_t stream)
{
    const struct coordinator_action *action = said(world, COORD_SEND, stream);

    return action ? &action->send.order->order : NULL;
}

static inline unsigned orders(const struct world *world, enum probe_order_kind kind)
{
    unsigned n = 0;

    for (size_t i = 0; i < world->actions.n; i++)
        n += world->actions.items[i].kind == COORD_SEND &&
             world->actions.items[i].send.order->order.kind == kind;
    return n;
}

static inline void assert_refused(const struct world *world, uint64_t call,
                                  enum coordinator_refusal refusal)
{
    const struct coordinator_action *action = said(world, COORD_REFUSE, call);

    assert_non_null(action);
    if (action->refuse.refusal != refusal)
        fail_msg("%s: %s", coordinator_refusal_name(action->refuse.refusal), action->refuse.text);
    assert_true(action->refuse.text[0]);
    assert_int_equal(world->actions.n, 1);
}

/* The id of the start that all pods were sent. */
static inline uint64_t started(const struct world *world)
{
    uint64_t start_id = 0;

    assert_int_equal(orders(world, PROBE_START), world->gang.npods);
    for (size_t i = 0; i < world->gang.npods; i++) {
        const struct probe_order *order = order_to(world, world->streams[i]);

        assert_non_null(order);
        assert_int_equal(order->kind, PROBE_START);
        start_id = order->start.start_id;
    }
    return start_id;
}

static inline uint64_t start_all(struct world *world)
{
    for (unsigned i = 0; i < world->gang.npods; i++)
        join(world, i);
    return started(world);
}

static inline const struct coordinator_result *verdict(const struct world *world)
{
    const struct coordinator_action *action = said(world, COORD_VERDICT, 0);

    return action ? action->result : NULL;
}
