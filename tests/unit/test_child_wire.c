/*
 * Records between parent and child: what is put is got back; what is cut, too long or out of range
 * is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "collective/child_wire.h"

static struct strbuf buffer = STRBUF_INIT(WIRE_RECORD_MAX);
static struct child_event event, got;

static struct wire_record only_record(bool to_child)
{
    struct wire_record record = {0};
    size_t used = 0;

    assert_int_equal(wire_next(buffer.data, buffer.len, to_child, &record, &used, NULL), 1);
    assert_int_equal(used, buffer.len);
    for (size_t len = 0; len < buffer.len; len += 1 + len / 16)
        assert_int_equal(wire_next(buffer.data, len, to_child, &record, &used, NULL), 0);
    return record;
}

static void orders_are_read_back(void **state)
{
    struct backend_options options = {.rank = 3,
                                      .ranks = 5,
                                      .device = 2,
                                      .host = "fd00::1",
                                      .streams = 4,
                                      .library = "/usr/lib/libnccl.so.2",
                                      .bytes_max = (uint64_t)3 << 30};
    struct backend_address addresses[5] = {
        {.len = 3, .bytes = "abc"}, {.len = 0}, {.len = BACKEND_ADDRESS_MAX}};
    struct backend_address back[5];
    static struct wire_open open;
    struct wire_record record;
    uint64_t deadline_ns = 0;

    (void)state;
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_open(&buffer, "nccl", &options), 0);
    record = only_record(true);
    assert_int_equal(wire_get_open(&record, &open, NULL), 0);
    assert_string_equal(open.backend, "nccl");
    assert_string_equal(open.options.host, "fd00::1");
    assert_string_equal(open.options.library, "/usr/lib/libnccl.so.2");
    assert_int_equal(open.options.rank, 3);
    assert_int_equal(open.options.ranks, 5);
    assert_int_equal(open.options.device, 2);
    assert_int_equal(open.options.streams, 4);
    assert_true(open.options.bytes_max == (uint64_t)3 << 30);

    strbuf_clear(&buffer);
    assert_int_equal(wire_put_connect(&buffer, addresses, 5, 77), 0);
    record = only_record(true);
    assert_int_equal(wire_get_connect(&record, 5, back, &deadline_ns, NULL), 0);
    assert_int_equal(deadline_ns, 77);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(back[i].len, addresses[i].len);
        assert_memory_equal(back[i].bytes, addresses[i].bytes, addresses[i].len);
    }
    assert_int_equal(wire_get_connect(&record, 4, back, &deadline_ns, NULL), -EPROTO);
}

static void plans_are_read_back(void **state)
{
    struct measure_plan plan = {.op = OP_ALL_TO_ALL,
                                .bytes_min = 9,
                                .bytes_max = 99,
                                .sizes = {4, 8, 16},
                                .n_sizes = 3,
                                .sweep = true,
                                .expected_gb_s = 123.5,
                                .iterations_max = 33,
                                .budget_ns = 44,
                                .check = true};
    uint32_t peers[3] = {1, MEASURE_NO_PEER, 0};
    struct measure_pairs pairs = {.peers = peers, .n_rounds = 3, .bytes = 400, .iterations = 5},
                         back = {0};
    struct measure_plan found;
    struct wire_record record;
    uint64_t deadline_ns = 0;

    (void)state;
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_run(&buffer, &plan, 88), 0);
    record = only_record(true);
    assert_int_equal(wire_get_run(&record, 4, &found, &deadline_ns, NULL), 0);
    assert_int_equal(deadline_ns, 88);
    assert_int_equal(found.op, plan.op);
    assert_int_equal(found.n_sizes, 3);
    assert_memory_equal(found.sizes, plan.sizes, sizeof(plan.sizes));
    assert_true(found.sweep && found.check && found.expected_gb_s == 123.5);
    assert_true(found.bytes_min == 9 && found.bytes_max == 99 && found.iterations_max == 33 &&
                found.budget_ns == 44);

    strbuf_clear(&buffer);
    assert_int_equal(wire_put_pairs(&buffer, &pairs, 99), 0);
    record = only_record(true);
    assert_int_equal(wire_get_pairs(&record, 2, &back, &deadline_ns, NULL), 0);
    assert_int_equal(back.n_rounds, 3);
    assert_memory_equal(back.peers, peers, sizeof(peers));
    free(back.peers);
    /* There is no rank 1. */
    assert_int_equal(wire_get_pairs(&record, 1, &back, &deadline_ns, NULL), -EPROTO);

    strbuf_clear(&buffer);
    assert_int_equal(wire_put_close(&buffer), 0);
    assert_int_equal(only_record(true).type, WIRE_CLOSE);
}

/* The plan's own bounds hold on the wire too. */
static void a_plan_out_of_bounds_is_refused(void **state)
{
    struct measure_plan plan = {.sizes = {16, 8}, .n_sizes = 2}, found;
    struct wire_record record;
    struct err err = ERR_INIT;
    uint64_t deadline_ns;

    (void)state;
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_run(&buffer, &plan, 0), 0);
    record = only_record(true);
    assert_int_equal(wire_get_run(&record, 4, &found, &deadline_ns, &err), -EPROTO);
    assert_non_null(strstr(err.text, "ascending"));
}

static void back_and_forth(void)
{
    struct wire_record record;

    strbuf_clear(&buffer);
    assert_int_equal(wire_put_event(&buffer, &event), 0);
    record = only_record(false);
    assert_int_equal(wire_get_event(&record, &got, NULL), 0);
    assert_int_equal(got.kind, event.kind);
}

static void events_are_read_back(void **state)
{
    (void)state;
    event = (struct child_event){.kind = CHILD_OPENED,
                                 .info = {"tcp", "Linux", "", "socket"},
                                 .address = {.len = 5, .bytes = "12345"}};
    back_and_forth();
    assert_memory_equal(&got.info, &event.info, sizeof(got.info));
    assert_int_equal(got.address.len, 5);

    event = (struct child_event){.kind = CHILD_CONNECTED};
    back_and_forth();

    event = (struct child_event){.kind = CHILD_RESULT, .result = {.n_rows = MEASURE_SIZES_MAX}};
    for (unsigned i = 0; i < MEASURE_SIZES_MAX; i++)
        event.result.rows[i] = (struct measure_row){i, 2.0 + i, 3, 4, 5, 6};
    event.result.busbw_gb_s = 7;
    event.result.test = MEASURE_TEST_SLOW;
    event.result.slopes_agree = true;
    event.result.total_s = 8;
    back_and_forth();
    assert_memory_equal(got.result.rows, event.result.rows, sizeof(got.result.rows));
    assert_true(got.result.busbw_gb_s == 7 && got.result.test == MEASURE_TEST_SLOW &&
                got.result.total_s == 8);

    event = (struct child_event){.kind = CHILD_PAIRS, .n_seconds = MEASURE_ROUNDS_MAX};
    event.seconds[MEASURE_ROUNDS_MAX - 1] = 0.5;
    back_and_forth();
    assert_true(got.n_seconds == MEASURE_ROUNDS_MAX && got.seconds[MEASURE_ROUNDS_MAX - 1] == 0.5);

    event = (struct child_event){
        .kind = CHILD_PROGRESS, .phase = CHILD_RUNNING, .bytes = 3, .iterations = 4};
    back_and_forth();
    assert_true(got.phase == CHILD_RUNNING && got.bytes == 3 && got.iterations == 4);

    event =
        (struct child_event){.kind = CHILD_FAILED, .phase = CHILD_CONNECTING, .error = -ETIMEDOUT};
    snprintf(event.text, sizeof(event.text), "rank 1 \xe2\x82\xac \x80 \x1b[31m");
    back_and_forth();
    assert_int_equal(got.error, -ETIMEDOUT);
    assert_string_equal(got.text, "rank 1 \xe2\x82\xac ? ?[31m");
}

/*
 * Each byte of each record changed in some ways, and each cut: refused, or values within their
 * bounds.
 */
static void check_bounds(const struct child_event *found)
{
    assert_true(found->kind < CHILD_EVENT_KINDS && found->phase < CHILD_PHASES);
    assert_true(found->address.len <= BACKEND_ADDRESS_MAX &&
                found->n_seconds <= MEASURE_ROUNDS_MAX);
    assert_true(found->result.n_rows <= MEASURE_SIZES_MAX &&
                found->result.test < MEASURE_TEST_COUNT);
    assert_true(utf8_valid(found->text, strlen(found->text)));
    for (unsigned i = 0; i < found->result.n_rows; i++)
        assert_true(isfinite(found->result.rows[i].seconds) && found->result.rows[i].seconds >= 0);
}

static void broken_records_are_refused(void **state)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    unsigned refused = 0;

    (void)state;
    event = (struct child_event){.kind = CHILD_RESULT, .result = {.n_rows = 2, .busbw_gb_s = 3}};
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_event(&buffer, &event), 0);
    for (size_t i = 0; i < buffer.len; i++)
        for (size_t k = 0; k < sizeof(changes); k++) {
            struct wire_record record;
            size_t used;
            int r;

            buffer.data[i] ^= (char)changes[k];
            r = wire_next(buffer.data, buffer.len, false, &record, &used, NULL);
            if (r == 1)
                r = wire_get_event(&record, &got, NULL);
            if (r == 0)
                check_bounds(&got);
            refused += r < 0;
            buffer.data[i] ^= (char)changes[k];
        }
    assert_true(refused > 20);
}

static void records_of_the_other_side_are_refused(void **state)
{
    struct wire_record record;
    struct err err = ERR_INIT;
    size_t used;

    (void)state;
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_close(&buffer), 0);
    assert_int_equal(wire_next(buffer.data, buffer.len, false, &record, &used, &err), -EPROTO);
    assert_non_null(strstr(err.text, "type 5"));
    memset(buffer.data + 4, 0xff, 4); /* a length beyond all bounds: at once, not after 4 GiB */
    assert_int_equal(wire_next(buffer.data, buffer.len, true, &record, &used, &err), -EPROTO);
}

static void texts_that_are_too_long_are_not_sent(void **state)
{
    struct backend_options options = {.ranks = 1};
    char *path = malloc(70001);

    (void)state;
    assert_non_null(path);
    memset(path, 'x', 70000);
    path[70000] = '\0';
    options.library = path;
    strbuf_clear(&buffer);
    assert_int_equal(wire_put_open(&buffer, "tcp", &options), -E2BIG);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_are_read_back),
        cmocka_unit_test(plans_are_read_back),
        cmocka_unit_test(a_plan_out_of_bounds_is_refused),
        cmocka_unit_test(events_are_read_back),
        cmocka_unit_test(broken_records_are_refused),
        cmocka_unit_test(records_of_the_other_side_are_refused),
        cmocka_unit_test(texts_that_are_too_long_are_not_sent),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    strbuf_release(&buffer);
    return failed;
}
