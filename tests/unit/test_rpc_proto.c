/* Messages that protoc-c's code packs (lockstep_proto() of cmake/protobuf_c.cmake), over a call. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc_test.pb-c.h"
#include "tests/unit/rpc_fixture.h"

static void a_message_comes_back_whole(void **state)
{
    uint8_t address[] = {0, 1, 2, 255};
    Test__Row row = TEST__ROW__INIT, start = TEST__ROW__INIT, *rows[] = {&row};
    ProtobufCBinaryData addresses[] = {{sizeof(address), address}, {0, NULL}};
    Test__Order order = TEST__ORDER__INIT, *back;
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    size_t len;
    uint8_t *bytes;

    (void)state;
    row.bytes = UINT64_MAX;
    row.busbw_gb_s = 381.25;
    start.bytes = 7;
    order.gang = (char *)(uintptr_t) "ns/train";
    order.n_addresses = 2;
    order.addresses = addresses;
    order.n_rows = 1;
    order.rows = rows;
    order.kind_case = TEST__ORDER__KIND_START;
    order.start = &start;
    len = test__order__get_packed_size(&order);
    bytes = malloc(len);
    assert_non_null(bytes);
    assert_int_equal(test__order__pack(&order, bytes), len);
    start_plain();
    assert_int_equal(call(ECHO, bytes, len, &answer, &err), RPC_OK);
    back = test__order__unpack(NULL, answer.len, answer.data);
    assert_non_null(back);
    assert_string_equal(back->gang, "ns/train");
    assert_int_equal(back->n_addresses, 2);
    assert_memory_equal(back->addresses[0].data, address, sizeof(address));
    assert_true(back->rows[0]->bytes == UINT64_MAX && back->rows[0]->busbw_gb_s >= 381.25);
    assert_int_equal(back->kind_case, TEST__ORDER__KIND_START);
    assert_int_equal(back->start->bytes, 7);
    test__order__free_unpacked(back, NULL);
    rpc_bytes_release(&answer);
    free(bytes);
    stop_all();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_back_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
