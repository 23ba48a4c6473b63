/*
 * probe_wire.h - the messages of probe.proto as plain values, with a bound on everything.
 *
 *   probe_*_decode(bytes)   refuses what is out of bounds: -EINVAL with a message that names the
 *                           field, what was found and what was expected; -E2BIG, -ENOMEM
 *   probe_*_encode(value)   appends to a buffer; -EINVAL on what its decode would refuse
 *
 * Text is UTF-8 without control characters; pods and nodes have Kubernetes names (RFC 1123);
 * numbers are finite, not negative, and below what any machine will do for a while. What a text
 * field is longer than is refused, not cut.
 *
 * A value type each, but for what an order points to; large: keep them off small stacks. One thread
 * per value. Only probe_wire*.c know protobuf-c, which checks neither UTF-8 nor sizes and is let
 * allocate a bounded amount.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "collective/verdict.h"

#define PROBE_UID_MAX 63 /* a UUID has 36 bytes */
#define PROBE_NAMESPACE_MAX 63
#define PROBE_NAME_MAX 253
#define PROBE_REASON_MAX 383 /* of why, for people */
#define PROBE_WORD_MAX 31    /* backend, op, transport */
#define PROBE_INFO_MAX 63    /* library version, device */
#define PROBE_RANKS_MAX 10000
#define PROBE_DEVICES_MAX 64  /* ranks of one pod */
#define PROBE_ADDRESS_MAX 256 /* backend.h's BACKEND_ADDRESS_MAX */
#define PROBE_SIZES_MAX 16
#define PROBE_ROUND_MAX 1000
#define PROBE_PAIRS_RANKS_MAX                                                                      \
    64 /* of a gang whose plan asks for pairs: measure.h's MEASURE_PAIRS_RANKS_MAX */
#define PROBE_PAIRS_MAX (PROBE_PAIRS_RANKS_MAX * PROBE_PAIRS_RANKS_MAX) /* a report's */
#define PROBE_GB_S_MAX 1e6
#define PROBE_SECONDS_MAX 86400
#define PROBE_BYTES_MAX ((uint64_t)1 << 50)
#define PROBE_REQUEST_MAX (64u << 10) /* bytes of a join or report */
#define PROBE_ORDER_MAX (4u << 20)    /* of an order: what gRPC takes by default */

struct probe_gang_id {
    char ns[PROBE_NAMESPACE_MAX + 1], name[PROBE_NAME_MAX + 1]; /* in requests "": the pod's gang */
    char uid[PROBE_UID_MAX + 1];                                /* "": not said */
    uint64_t generation; /* in requests 0: the one that the pod is in */
};

struct probe_address {
    uint16_t len; /* 0: none */
    uint8_t bytes[PROBE_ADDRESS_MAX];
};

struct probe_join {
    struct probe_gang_id gang;
    char pod[PROBE_NAME_MAX + 1], pod_uid[PROBE_UID_MAX + 1], node[PROBE_NAME_MAX + 1];
    int32_t first_rank; /* -1: as the coordinator has it */
    uint32_t devices;
    uint64_t process, attempt; /* both at least 1 */
    uint64_t start_id;         /* of the Start that it follows; 0: fresh */
    uint32_t round;
    bool opening; /* asks which its ranks are: the Waiting that it is sent at once says so; start_id
                     is 0 */
    char backend[PROBE_WORD_MAX + 1], version[PROBE_INFO_MAX + 1], device[PROBE_INFO_MAX + 1];
    struct probe_address addresses[PROBE_DEVICES_MAX]; /* of `devices` */
};

enum probe_outcome {
    PROBE_OUTCOME_OK = 1,
    PROBE_OUTCOME_WRONG_DATA,
    PROBE_OUTCOME_ERROR, /* its own */
    PROBE_OUTCOME_LOST,  /* a peer was lost */
    PROBE_OUTCOME_TIMEOUT,
    PROBE_OUTCOME_SKIPPED,
    PROBE_OUTCOMES
};
const char *probe_outcome_name(enum probe_outcome outcome);

/* Any text made to pass for one of ours: cut between characters, what is not allowed becomes '?'.
 */
void probe_text_set(char *ret, size_t size, const char *text);

struct probe_row {
    uint64_t bytes;
    double seconds, algbw_gb_s, busbw_gb_s;
    uint64_t wrong;
    uint32_t iterations;
};

struct probe_report {
    struct probe_gang_id gang;
    char pod[PROBE_NAME_MAX + 1], pod_uid[PROBE_UID_MAX + 1], node[PROBE_NAME_MAX + 1];
    uint32_t first_rank, devices;
    uint64_t process;
    uint64_t start_id; /* 0: before any Start, only with SKIPPED and ERROR */
    uint32_t round;
    enum probe_outcome outcome; /* the worst of the pod's ranks; rank: which that is */
    uint32_t rank;
    char text[PROBE_REASON_MAX + 1];
    struct probe_row rows[PROBE_SIZES_MAX];
    unsigned n_rows;
    double busbw_gb_s, latency_s;
    bool slopes_agree;
    uint64_t bytes_moved;
    double own_seconds[PROBE_DEVICES_MAX];
    unsigned n_own_seconds; /* 0, or devices */
    double open_s, connect_s, run_s;
    char backend[PROBE_WORD_MAX + 1], version[PROBE_INFO_MAX + 1], device[PROBE_INFO_MAX + 1];
    char transport[PROBE_WORD_MAX + 1];
    float pair_gb_s[PROBE_PAIRS_MAX];
    unsigned n_pairs; /* 0, or devices * ranks */
};

struct probe_plan {
    char op[PROBE_WORD_MAX + 1];
    uint64_t sizes[PROBE_SIZES_MAX]; /* ascending */
    unsigned n_sizes;
    uint64_t bytes_min, bytes_max;
    bool sweep, check, pairs;
    double expected_gb_s; /* 0: not known */
    uint32_t iterations_max;
    uint64_t budget_ns;
};

/*
 * The addresses of all ranks, in their order; immutable but for its making. Shared by all orders
 * that carry it: any thread may take and drop references.
 */
struct probe_addresses {
    atomic_uint refs;
    uint32_t ranks;
    bool all;         /* everybody needs all of them: all-to-all, pairs */
    uint32_t streams; /* that it will be sent to */
    size_t bytes;
    uint32_t *ends; /* [ranks]: where the address of each ends in data */
    uint8_t *data;
};
struct probe_addresses *probe_addresses_new(uint32_t ranks, size_t bytes_max); /* NULL: no memory */
struct probe_addresses *probe_addresses_ref(struct probe_addresses *addresses);
void probe_addresses_unref(struct probe_addresses *addresses); /* takes NULL */
/* For ranks in their order, each once. */
void probe_addresses_add(struct probe_addresses *addresses, uint32_t rank, const uint8_t *bytes,
                         size_t len);
const uint8_t *probe_addresses_of(const struct probe_addresses *addresses, uint32_t rank,
                                  size_t *ret_len);

/*
 * What a Start weighs (test_probe_wire.c prints it; 24 bytes an address of tcp, 28 with what is
 * around it). All to all, of pods with one rank each: 14 KB to each of 500, 7 MB together; 28 MB
 * for 1,000, 2.8 GB for 10,000. Neighbours: 21 addresses, 0.7 KB to each of 1,000, 0.7 MB together;
 * 32, 1 KB and 9.7 MB for 10,000. So all go to all while that is at most this much together, as
 * with nccl always, which has one address; and neighbours' beyond.
 */
#define PROBE_START_BYTES_MAX ((uint64_t)8 << 20)

/*
 * Whom `rank` may have to connect to, itself left out, ascending: 2^k away on both sides (ring and
 * agree), and its partners of recursive doubling with the ranks beyond a power of two folded in
 * (tree), as tcp does.
 */
#define PROBE_NEIGHBOURS_MAX 48
unsigned probe_neighbours(uint32_t rank, uint32_t ranks, uint32_t ret[PROBE_NEIGHBOURS_MAX]);

enum probe_order_kind { PROBE_WAITING, PROBE_START, PROBE_VERDICT, PROBE_ABORT };

struct probe_order {
    struct probe_gang_id gang;
    enum probe_order_kind kind;
    union {
        struct {
            uint32_t joined, ranks;
            char missing[PROBE_REASON_MAX + 1];
        } waiting;
        struct {
            uint64_t start_id;
            uint32_t round, ranks, deadline_ms;
            struct probe_addresses *addresses; /* owned: one reference */
            struct probe_plan plan;
        } start;
        struct {
            enum verdict word;
            double measured_gb_s, expected_gb_s;
            char message[VERDICT_TEXT];
            bool hold;
            uint32_t hold_ms;
        } verdict;
        struct {
            char reason[PROBE_REASON_MAX + 1];
            bool again;
        } abort;
    };
};
void probe_order_release(struct probe_order *order); /* drops the addresses; takes all-zero */

/* -EINVAL: it could not be sent. What a pod is called, and its node: as a join has to say it. */
int probe_plan_check(const struct probe_plan *plan, struct err *err);
int probe_gang_id_check(const struct probe_gang_id *gang, struct err *err);
int probe_names_check(const char *pod, const char *uid, const char *node, struct err *err);

int probe_join_decode(const uint8_t *bytes, size_t len, struct probe_join *ret, struct err *err);
int probe_join_encode(const struct probe_join *join, struct strbuf *out, struct err *err);
int probe_report_decode(const uint8_t *bytes, size_t len, struct probe_report *ret,
                        struct err *err);
int probe_report_encode(const struct probe_report *report, struct strbuf *out, struct err *err);
int probe_reply_decode(const uint8_t *bytes, size_t len, bool *ret_counted, struct err *err);
int probe_reply_encode(bool counted, struct strbuf *out);

/* first_rank, devices: of the pod that it goes to; what it is sent depends on them. */
int probe_order_encode(const struct probe_order *order, uint32_t first_rank, uint32_t devices,
                       struct strbuf *out, struct err *err);
/* ret_order is released by the caller. Addresses that were not sent have length 0. */
int probe_order_decode(const uint8_t *bytes, size_t len, struct probe_order *ret_order,
                       uint32_t *ret_first_rank, struct err *err);
