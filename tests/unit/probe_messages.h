/* probe_messages.h - messages that are in order, for tests to change one thing in. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "collective/probe_wire.h"

static inline struct probe_join good_join(void)
{
    struct probe_join join = {
        .gang = {.ns = "team-a", .name = "train", .uid = "g-1", .generation = 3},
        .pod = "train-1",
        .pod_uid = "4c1b7b1e-0000-4000-8000-000000000001",
        .node = "node-7.example",
        .first_rank = -1,
        .devices = 2,
        .process = 17,
        .attempt = 1,
        .backend = "tcp",
        .version = "2.27.3",
        .device = "NVIDIA H100",
        .addresses = {{.len = 3, .bytes = {1, 2, 3}}, {.len = 1, .bytes = {9}}}};

    return join;
}

static inline struct probe_report good_report(void)
{
    struct probe_report report = {
        .gang = {.ns = "team-a", .name = "train", .uid = "g-1", .generation = 3},
        .pod = "train-1",
        .pod_uid = "4c1b7b1e-0000-4000-8000-000000000001",
        .node = "node-7.example",
        .first_rank = 2,
        .devices = 2,
        .process = 17,
        .start_id = 42,
        .round = 1,
        .outcome = PROBE_OUTCOME_OK,
        .rank = 2,
        .rows = {{1 << 20, 0.001, 1, 1.5, 0, 20}, {2 << 20, 0.002, 1, 1.6, 0, 20}},
        .n_rows = 2,
        .busbw_gb_s = 1.61,
        .latency_s = 1e-5,
        .slopes_agree = true,
        .bytes_moved = 1 << 30,
        .own_seconds = {0.002, 0.0021},
        .n_own_seconds = 2,
        .open_s = 0.1,
        .connect_s = 0.2,
        .run_s = 0.3,
        .backend = "nccl",
        .version = "2.27.3",
        .device = "NVIDIA H100",
        .transport = "P2P/CUMEM",
        .pair_gb_s = {0, 1, 2, 3, 4, 5, 6, 7},
        .n_pairs = 8};

    return report;
}

static inline struct probe_order good_start(uint32_t ranks, size_t address_bytes)
{
    struct probe_order order = {.gang = {.ns = "team-a", .name = "train", .generation = 3},
                                .kind = PROBE_START};
    uint8_t bytes[PROBE_ADDRESS_MAX] = {0};

    order.start.start_id = 42;
    order.start.round = 1;
    order.start.ranks = ranks;
    order.start.deadline_ms = 45000;
    snprintf(order.start.plan.op, sizeof(order.start.plan.op), "all_reduce");
    order.start.plan.sizes[0] = 1 << 20;
    order.start.plan.sizes[1] = 2 << 20;
    order.start.plan.n_sizes = 2;
    order.start.plan.expected_gb_s = 342;
    order.start.addresses = probe_addresses_new(ranks, ranks * address_bytes);
    for (uint32_t rank = 0; order.start.addresses && rank < ranks; rank++) {
        memcpy(bytes, &rank, address_bytes < sizeof(rank) ? address_bytes : sizeof(rank));
        probe_addresses_add(order.start.addresses, rank, bytes, address_bytes);
    }
    return order;
}
