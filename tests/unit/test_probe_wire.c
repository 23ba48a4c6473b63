/* The probe's messages: what is said is read, and what is out of bounds is refused with its field's
 * name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "probe.pb-c.h"
#include "tests/unit/probe_messages.h"

#define BYTES(out) (const uint8_t *)(out).data, (out).len

static void a_join_is_read_as_it_was_written(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    static struct probe_join join, read;

    (void)state;
    join = good_join();
    assert_int_equal(probe_join_encode(&join, &out, NULL), 0);
    assert_int_equal(probe_join_decode(BYTES(out), &read, NULL), 0);
    assert_memory_equal(&join, &read, sizeof(join));
    print_message("a join of two devices: %zu bytes\n", out.len);

    strbuf_clear(&out);
    join.addresses[0].len = join.addresses[1].len = 0; /* none is needed */
    memset(join.addresses, 0, sizeof(join.addresses));
    join.start_id = UINT64_MAX;
    join.round = PROBE_ROUND_MAX;
    join.first_rank = 9999;
    join.opening = false;
    assert_int_equal(probe_join_encode(&join, &out, NULL), 0);
    assert_int_equal(probe_join_decode(BYTES(out), &read, NULL), 0);
    assert_memory_equal(&join, &read, sizeof(join));
}

static void a_report_is_read_as_it_was_written(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    static struct probe_report report, read;

    (void)state;
    report = good_report();
    assert_int_equal(probe_report_encode(&report, &out, NULL), 0);
    assert_int_equal(probe_report_decode(BYTES(out), &read, NULL), 0);
    assert_memory_equal(&report, &read, sizeof(report));
}

static void the_largest_messages_fit(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    static struct probe_report report, read;
    static struct probe_join join, read_join;

    (void)state;
    report = good_report();
    report.devices = report.n_own_seconds = PROBE_DEVICES_MAX;
    report.n_pairs = PROBE_PAIRS_MAX;
    report.n_rows = PROBE_SIZES_MAX;
    for (unsigned i = 0; i < PROBE_SIZES_MAX; i++)
        report.rows[i] = (struct probe_row){PROBE_BYTES_MAX, 1, 1, 1, PROBE_BYTES_MAX, 1000000};
    for (unsigned i = 0; i < PROBE_PAIRS_MAX; i++)
        report.pair_gb_s[i] = 1;
    memset(report.text, 'x', PROBE_REASON_MAX);
    assert_int_equal(probe_report_encode(&report, &out, NULL), 0);
    assert_int_equal(probe_report_decode(BYTES(out), &read, NULL), 0);
    assert_memory_equal(&report, &read, sizeof(report));
    print_message("the largest report: %zu bytes of %u\n", out.len, PROBE_REQUEST_MAX);

    strbuf_clear(&out);
    join = good_join();
    join.devices = PROBE_DEVICES_MAX;
    for (unsigned i = 0; i < PROBE_DEVICES_MAX; i++)
        join.addresses[i].len = PROBE_ADDRESS_MAX;
    assert_int_equal(probe_join_encode(&join, &out, NULL), 0);
    assert_int_equal(probe_join_decode(BYTES(out), &read_join, NULL), 0);
    print_message("the largest join: %zu bytes\n", out.len);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* One thing at a time is changed in a good join; `says` is in the message. */
#define REFUSED_JOIN(change, says)                                                                 \
    do {                                                                                           \
        join = good_join();                                                                        \
        change;                                                                                    \
        err.text[0] = '\0';                                                                        \
        assert_int_equal(probe_join_encode(&join, &out, &err), -EINVAL);                           \
        if (!strstr(err.text, says))                                                               \
            fail_msg("'%s', expected '%s'", err.text, says);                                       \
    } while (0)

static void a_join_that_cannot_be_is_refused_by_field(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    static struct probe_join join;
    struct err err = ERR_INIT;

    (void)state;
    REFUSED_JOIN(join.devices = 0, "field `devices`: found 0, expected 1 to 64");
    REFUSED_JOIN(join.devices = 65, "field `devices`: found 65, expected 1 to 64");
    REFUSED_JOIN(join.first_rank = -2, "field `first_rank`: found -2, expected -1 to 9999");
    REFUSED_JOIN(join.first_rank = 10000, "`first_rank`");
    REFUSED_JOIN(join.pod[0] = '\0', "field `pod`: found '', expected a Kubernetes name");
    REFUSED_JOIN(join.pod[0] = 'T', "field `pod`: found 'Train-1', expected a Kubernetes name");
    REFUSED_JOIN(join.pod[0] = '\xff', "field `pod`: found '?rain-1'");
    REFUSED_JOIN(join.node[4] = '/', "`node`");
    REFUSED_JOIN(join.pod_uid[0] = ' ', "field `pod_uid`: found ' c1b");
    REFUSED_JOIN(join.pod_uid[0] = '\0', "`pod_uid`");
    REFUSED_JOIN(memcpy(join.gang.ns, "a.b", 4), "`gang.namespace`");
    REFUSED_JOIN(join.gang.ns[0] = '\0', "`gang.namespace`");
    REFUSED_JOIN(join.gang.name[0] = '\0', "`gang.name`");
    REFUSED_JOIN(join.gang.uid[0] = '\n', "`gang.uid`");
    REFUSED_JOIN(join.gang.generation = UINT64_MAX, "`gang.generation`");
    REFUSED_JOIN(join.process = 0, "`process`");
    REFUSED_JOIN(join.attempt = 0, "`attempt`");
    REFUSED_JOIN(join.round = 1, "field `round`: found 1, expected 0 to 0");
    REFUSED_JOIN(join.start_id = 1, "field `round`: found 0, expected 1 to 1000");
    REFUSED_JOIN((join.start_id = join.round = 1, join.opening = true), "field `opening`");
    REFUSED_JOIN(join.backend[0] = '\0', "`backend`");
    REFUSED_JOIN(join.backend[1] = 'C', "`backend`");
    REFUSED_JOIN(join.version[1] = '\n', "field `version`: found the control character 0x0a");
    REFUSED_JOIN(join.device[0] = '\xc3', "field `device`: found bytes that are not UTF-8");
    REFUSED_JOIN(join.addresses[1].len = 257, "field `addresses`: found 257");
    assert_int_equal(out.len, 0); /* nothing of them was written */
}

#define REFUSED_REPORT(change, says)                                                               \
    do {                                                                                           \
        report = good_report();                                                                    \
        change;                                                                                    \
        err.text[0] = '\0';                                                                        \
        assert_int_equal(probe_report_encode(&report, &out, &err), -EINVAL);                       \
        if (!strstr(err.text, says))                                                               \
            fail_msg("'%s', expected '%s'", err.text, says);                                       \
    } while (0)

static void a_report_that_cannot_be_is_refused_by_field(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_REQUEST_MAX);
    static struct probe_report report;
    struct err err = ERR_INIT;

    (void)state;
    REFUSED_REPORT(report.busbw_gb_s = NAN, "field `busbw_gb_s`: found nan, expected 0 to 1e+06");
    REFUSED_REPORT(report.busbw_gb_s = INFINITY, "field `busbw_gb_s`: found inf");
    REFUSED_REPORT(report.busbw_gb_s = -1, "field `busbw_gb_s`: found -1");
    REFUSED_REPORT(report.busbw_gb_s = 2e6, "field `busbw_gb_s`: found 2e+06");
    REFUSED_REPORT(report.latency_s = -1e-9, "`latency_s`");
    REFUSED_REPORT(report.rows[1].seconds = NAN, "field `rows[1].seconds`: found nan");
    REFUSED_REPORT(report.rows[0].algbw_gb_s = -INFINITY, "field `rows[0].algbw_gb_s`");
    REFUSED_REPORT(report.rows[0].busbw_gb_s = 1e7, "field `rows[0].busbw_gb_s`");
    REFUSED_REPORT(report.rows[0].bytes = 0, "field `rows[0].bytes`");
    REFUSED_REPORT(report.rows[1].bytes = UINT64_MAX, "field `rows[1].bytes`");
    REFUSED_REPORT(report.rows[1].iterations = UINT32_MAX, "field `rows[1].iterations`");
    REFUSED_REPORT(report.n_rows = 17, "field `rows`: found 17, expected 0 to 16");
    REFUSED_REPORT(report.first_rank = 10000, "`first_rank`");
    REFUSED_REPORT(report.rank = 4, "field `rank`: found 4, expected 2 to 3");
    REFUSED_REPORT(report.rank = 1, "field `rank`: found 1, expected 2 to 3");
    REFUSED_REPORT(report.outcome = (enum probe_outcome)0,
                   "field `outcome`: found 0, expected 1 to 6");
    REFUSED_REPORT(report.outcome = (enum probe_outcome)7, "`outcome`");
    REFUSED_REPORT((report.start_id = 0, report.round = 0), "field `outcome`: found 1 of no round");
    REFUSED_REPORT(report.start_id = 0, "`round`");
    REFUSED_REPORT(report.round = 0, "`round`");
    REFUSED_REPORT(report.n_own_seconds = 1, "field `own_seconds`: found 1, expected 2 to 2");
    REFUSED_REPORT(report.own_seconds[1] = NAN, "`own_seconds`");
    REFUSED_REPORT(report.n_pairs = 7, "field `pair_gb_s`: found 7 of them");
    REFUSED_REPORT(report.pair_gb_s[7] = -1, "`pair_gb_s`");
    REFUSED_REPORT(report.run_s = 1e9, "`run_s`");
    REFUSED_REPORT(report.text[0] = '\x80', "field `text`: found bytes that are not UTF-8");
    REFUSED_REPORT(report.transport[0] = '\x7f', "`transport`");
}

/* What an honest encoder would not write: the decoder does not rely on it. */
static void what_others_may_write_is_refused_too(void **state)
{
    static struct probe_join join;
    static struct probe_report report;
    struct err err = ERR_INIT;
    Lockstep__Probe__V1__JoinRequest pb_join = LOCKSTEP__PROBE__V1__JOIN_REQUEST__INIT;
    Lockstep__Probe__V1__ReportRequest pb_report = LOCKSTEP__PROBE__V1__REPORT_REQUEST__INIT;
    CLEANUP_FREE uint8_t *bytes = malloc(1 << 20);
    CLEANUP_FREE char *longest = malloc(PROBE_NAME_MAX + 2);
    size_t len;

    (void)state;
    memset(longest, 'a', PROBE_NAME_MAX + 1);
    longest[PROBE_NAME_MAX + 1] = '\0';
    pb_join.pod = longest;
    len = lockstep__probe__v1__join_request__pack(&pb_join, bytes);
    assert_int_equal(probe_join_decode(bytes, len, &join, &err), -EINVAL);
    assert_string_equal(err.text, "field `pod`: found 254 bytes, expected at most 253");

    memset(bytes, 0xff, 64);
    assert_int_equal(probe_join_decode(bytes, 64, &join, &err), -EINVAL);
    assert_string_equal(err.text, "64 bytes, expected a well-formed JoinRequest");
    assert_int_equal(probe_join_decode(bytes, PROBE_REQUEST_MAX + 1, &join, &err), -E2BIG);
    assert_int_equal(probe_join_decode(NULL, 0, &join, &err), -EINVAL); /* all fields are missing */

    for (size_t i = 0; i < PROBE_REQUEST_MAX / 2;
         i++) { /* empty addresses, or fields that nobody knows */
        bytes[2 * i] = 14 << 3 | 2;
        bytes[2 * i + 1] = 0;
    }
    assert_true(probe_join_decode(bytes, PROBE_REQUEST_MAX, &join, &err) < 0);
    assert_int_equal(probe_report_decode(bytes, PROBE_REQUEST_MAX, &report, &err), -E2BIG);
    assert_string_equal(err.text, "ReportRequest of 65536 bytes: more fields than there can be");

    pb_report.pod = pb_report.node = (char *)"a";
    pb_report.pod_uid = (char *)"u";
    pb_report.backend = (char *)"tcp";
    pb_report.devices = 1;
    pb_report.process = 1;
    pb_report.outcome = (Lockstep__Probe__V1__Outcome)-1;
    len = lockstep__probe__v1__report_request__pack(&pb_report, bytes);
    assert_int_equal(probe_report_decode(bytes, len, &report, &err), -EINVAL);
    assert_non_null(strstr(err.text, "`outcome`"));
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void orders_are_read_as_they_were_written(void **state)
{
    struct probe_order orders[] = {
        {.gang = {.ns = "a", .name = "b", .uid = "c", .generation = 7},
         .kind = PROBE_WAITING,
         .waiting = {3, 4, "rank 3 (pod b-3 on n: pulling image)"}},
        {.kind = PROBE_VERDICT,
         .verdict = {VERDICT_SLOW, 187.3, 401, "all_reduce of 16 ranks: ...", true, 600000}},
        {.kind = PROBE_VERDICT, .verdict = {.word = VERDICT_OK, .measured_gb_s = 1}},
        {.kind = PROBE_ABORT, .abort = {"rank 3 began anew", true}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);
        struct probe_order read;
        struct err err = ERR_INIT;
        uint32_t first_rank = 0;

        if (probe_order_encode(&orders[i], 12, 2, &out, &err) < 0 ||
            probe_order_decode(BYTES(out), &read, &first_rank, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(first_rank, 12);
        assert_memory_equal(&orders[i], &read, sizeof(read));
    }
}

static void a_start_brings_all_addresses_to_few(void **state)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);
    struct probe_order order = good_start(16, 24), read;
    uint32_t first_rank;

    (void)state;
    order.start.addresses->streams = 16;
    assert_int_equal(probe_order_encode(&order, 14, 2, &out, NULL), 0);
    assert_int_equal(probe_order_decode(BYTES(out), &read, &first_rank, NULL), 0);
    assert_int_equal(read.start.start_id, 42);
    assert_memory_equal(&read.start.plan, &order.start.plan, sizeof(read.start.plan));
    for (uint32_t rank = 0; rank < 16; rank++) {
        size_t len, wanted;
        const uint8_t *bytes = probe_addresses_of(read.start.addresses, rank, &len);

        assert_memory_equal(bytes, probe_addresses_of(order.start.addresses, rank, &wanted), 24);
        assert_int_equal(len, 24);
    }
    probe_order_release(&read);
    probe_order_release(&order);
}

static size_t start_bytes(const struct probe_order *order, uint32_t rank, unsigned *ret_addresses)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(PROBE_ORDER_MAX);
    struct probe_order read;
    struct err err = ERR_INIT;
    uint32_t first_rank;

    if (probe_order_encode(order, rank, 1, &out, &err) < 0 ||
        probe_order_decode(BYTES(out), &read, &first_rank, &err) < 0)
        fail_msg("%s", err.text);
    *ret_addresses = 0;
    for (uint32_t i = 0; i < order->start.ranks; i++) {
        size_t len;

        probe_addresses_of(read.start.addresses, i, &len);
        *ret_addresses += len > 0;
    }
    probe_order_release(&read);
    return out.len;
}

static void a_start_brings_neighbours_to_many(void **state)
{
    static const uint32_t sizes[] = {2, 64, 500, 1000, 10000};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct probe_order order = good_start(sizes[i], 24);
        unsigned some, all;
        size_t bytes, most;

        order.start.addresses->streams = sizes[i];
        bytes = start_bytes(&order, sizes[i] / 3, &some);
        order.start.addresses->all = true;
        most = start_bytes(&order, sizes[i] / 3, &all);
        print_message("%u pods of one rank: %u addresses, %zu bytes to each, %.1f MB together; all "
                      "to all %.1f MB\n",
                      sizes[i], some, bytes, (double)bytes * sizes[i] / 1e6,
                      (double)most * sizes[i] / 1e6);
        assert_int_equal(all, sizes[i]);
        assert_true(bytes * sizes[i] < 24u << 20);
        assert_true(some == all || some < 48);
        probe_order_release(&order);
    }
}

/* Ring, agree and tree of all ranks: who connects to whom has been told of it. */
static void neighbours_know_each_other(void **state)
{
    (void)state;
    for (uint32_t ranks = 1; ranks < 140; ranks++)
        for (uint32_t rank = 0; rank < ranks; rank++) {
            uint32_t list[PROBE_NEIGHBOURS_MAX], back[PROBE_NEIGHBOURS_MAX];
            unsigned n = probe_neighbours(rank, ranks, list);

            for (unsigned i = 0; i < n; i++) {
                unsigned m = probe_neighbours(list[i], ranks, back), found = 0;

                assert_true(list[i] < ranks && (i == 0 || list[i] > list[i - 1]));
                for (unsigned k = 0; k < m; k++)
                    found += back[k] == rank;
                if (found != 1)
                    fail_msg("%u of %u ranks knows %u, which does not know it", rank, ranks,
                             list[i]);
            }
            for (uint32_t away = 1; away < ranks; away <<= 1) {
                unsigned found = 0;

                for (unsigned k = 0; k < n; k++)
                    found += list[k] == (rank + away) % ranks;
                assert_int_equal(found, 1);
            }
        }
}

static void a_start_that_cannot_be_is_refused(void **state)
{
    Lockstep__Probe__V1__Order order = LOCKSTEP__PROBE__V1__ORDER__INIT;
    Lockstep__Probe__V1__Start start = LOCKSTEP__PROBE__V1__START__INIT;
    Lockstep__Probe__V1__Plan plan = LOCKSTEP__PROBE__V1__PLAN__INIT;
    uint32_t ranks[2] = {1, 0}, first_rank;
    uint64_t sizes[2] = {2, 1};
    ProtobufCBinaryData addresses[2] = {{0}};
    uint8_t bytes[1024];
    struct probe_order read;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(probe_order_decode(NULL, 0, &read, &first_rank, &err), -EINVAL);
    assert_non_null(strstr(err.text, "field `what`: found none"));
    order.what_case = LOCKSTEP__PROBE__V1__ORDER__WHAT_START;
    order.start = &start;
    start.ranks = 2;
    start.round = 1;
    start.start_id = 1;
    start.deadline_ms = 1;
    start.plan = &plan;
    plan.op = (char *)"all_reduce";
    start.n_address_ranks = start.n_addresses = 2;
    start.address_ranks = ranks;
    start.addresses = addresses;
    assert_int_equal(probe_order_decode(bytes, lockstep__probe__v1__order__pack(&order, bytes),
                                        &read, &first_rank, &err),
                     -EINVAL);
    assert_string_equal(
        err.text, "field `start.address_ranks`: found 0, expected 2 to 1"); /* not ascending */
    ranks[1] = 2;
    assert_int_equal(probe_order_decode(bytes, lockstep__probe__v1__order__pack(&order, bytes),
                                        &read, &first_rank, &err),
                     -EINVAL);
    start.n_address_ranks = 1;
    assert_int_equal(probe_order_decode(bytes, lockstep__probe__v1__order__pack(&order, bytes),
                                        &read, &first_rank, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "field `start.addresses`: found 2 of them for 1 ranks"));
    start.n_addresses = 1;
    plan.n_sizes = 2;
    plan.sizes = sizes;
    assert_int_equal(probe_order_decode(bytes, lockstep__probe__v1__order__pack(&order, bytes),
                                        &read, &first_rank, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "field `plan.sizes`: found 1, expected 3 to"));
    start.ranks = 20000;
    assert_int_equal(probe_order_decode(bytes, lockstep__probe__v1__order__pack(&order, bytes),
                                        &read, &first_rank, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "field `start.ranks`: found 20000, expected 1 to 10000"));
}

static void any_text_can_be_made_to_pass(void **state)
{
    static const struct {
        const char *text, *made;
        size_t size;
    } cases[] = {
        {"plain", "plain", 16},
        {"a\nb\x7f", "a?b?", 16},
        {"\xff\xc3\xa4", "?\xc3\xa4", 16},
        {"abcdef", "abc", 4},
        {"ab\xc3\xa4", "ab", 4},
        {"ab\xc3\xa4", "ab\xc3\xa4", 5},
        {"\xe2\x82", "\?\?", 16},
        {"", "", 1},
        {"x", "", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char made[16];

        probe_text_set(made, cases[i].size, cases[i].text);
        assert_string_equal(made, cases[i].made);
    }
}

static void replies_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(16);
        bool counted = !i;

        assert_int_equal(probe_reply_encode(i, &out), 0);
        assert_int_equal(probe_reply_decode(BYTES(out), &counted, NULL), 0);
        assert_int_equal(counted, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_join_is_read_as_it_was_written),
        cmocka_unit_test(a_report_is_read_as_it_was_written),
        cmocka_unit_test(the_largest_messages_fit),
        cmocka_unit_test(a_join_that_cannot_be_is_refused_by_field),
        cmocka_unit_test(a_report_that_cannot_be_is_refused_by_field),
        cmocka_unit_test(what_others_may_write_is_refused_too),
        cmocka_unit_test(orders_are_read_as_they_were_written),
        cmocka_unit_test(a_start_brings_all_addresses_to_few),
        cmocka_unit_test(a_start_brings_neighbours_to_many),
        cmocka_unit_test(neighbours_know_each_other),
        cmocka_unit_test(a_start_that_cannot_be_is_refused),
        cmocka_unit_test(any_text_can_be_made_to_pass),
        cmocka_unit_test(replies_are_read_as_they_were_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
