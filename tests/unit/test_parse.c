#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/hashmap.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "base/strbuf.h"

struct number_case {
    const char *text;
    int r;
    int64_t units, milli;
};

static void quantities_are_read_as_kubernetes_does(void **state)
{
    static const struct number_case cases[] = {
        {"8", 0, 8, 8000},
        {"500m", 0, 1, 500},
        {"0.1", 0, 1, 100},
        {"1.5Gi", 0, 1610612736, 1610612736000},
        {"64k", 0, 64000, 64000000},
        {"1e3", 0, 1000, 1000000},
        {"2E", 0, 2000000000000000000, -1},
        {"1n", 0, 1, 1},
        {".5", 0, 1, 500},
        {"", -EINVAL, 0, 0},
        {"8GiB", -EINVAL, 0, 0},
        {"-1", -EINVAL, 0, 0},
        {"1.2.3", -EINVAL, 0, 0},
        {"9Ei9", -EINVAL, 0, 0},
        {"9000E", -ERANGE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].text);
        int64_t value = -7;

        print_message("%s\n", cases[i].text);
        assert_int_equal(parse_quantity(cases[i].text, len, &value), cases[i].r);
        assert_int_equal(value, cases[i].r < 0 ? -7 : cases[i].units);
        if (cases[i].milli < 0) {
            assert_int_equal(parse_quantity_milli(cases[i].text, len, &value), -ERANGE);
            continue;
        }
        assert_int_equal(parse_quantity_milli(cases[i].text, len, &value), cases[i].r);
        if (cases[i].r == 0)
            assert_int_equal(value, cases[i].milli);
    }
}

static void durations_times_and_names(void **state)
{
    int64_t value;

    (void)state;
    assert_int_equal(parse_duration("1h30m", 5, &value), 0);
    assert_int_equal(value, INT64_C(5400000000000));
    assert_int_equal(parse_duration("500ms", 5, &value), 0);
    assert_int_equal(value, 500000000);
    assert_int_equal(parse_duration("5", 1, &value), -EINVAL);
    assert_int_equal(parse_duration("", 0, &value), -EINVAL);
    assert_int_equal(parse_duration("99999999999h", 12, &value), -ERANGE);
    assert_int_equal(parse_time("2026-01-02T03:04:05Z", 20, &value), 0);
    assert_int_equal(value, 1767323045);
    assert_int_equal(parse_time("2026-01-02T03:04:05.678901Z", 27, &value), 0);
    assert_int_equal(parse_time("2026-01-02 03:04:05", 19, &value), -EINVAL);
    assert_true(is_dns_subdomain("node-1.example.com", 18));
    assert_false(is_dns_subdomain("-a", 2));
    assert_false(is_dns_subdomain("a..b", 4));
    assert_false(is_dns_subdomain("A", 1));
    assert_false(is_dns_subdomain("", 0));
}

static void integers_stop_at_their_bounds(void **state)
{
    uint64_t value;
    int64_t number;

    (void)state;
    assert_int_equal(parse_u64("18446744073709551615", 20, UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(parse_u64("18446744073709551616", 20, UINT64_MAX, &value), -ERANGE);
    assert_int_equal(parse_u64("7", 1, 6, &value), -ERANGE);
    assert_int_equal(parse_u64("0x7", 3, 100, &value), -EINVAL);
    assert_int_equal(parse_i64("-9223372036854775808", 20, INT64_MIN, INT64_MAX, &number), 0);
    assert_true(number == INT64_MIN);
    assert_int_equal(parse_i64("-", 1, INT64_MIN, INT64_MAX, &number), -EINVAL);
}

static void only_well_formed_utf8_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_valid("n\xc3\xa9\xf0\x9f\x98\x80", 7));
    assert_false(utf8_valid("\xc0\x80", 2)); /* overlong */
    assert_false(utf8_valid("\xed\xa0\x80", 3)); /* surrogate */
    assert_false(utf8_valid("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_false(utf8_valid("\xc3", 1));
}

static void a_map_keeps_what_a_list_keeps(void **state)
{
    struct hashmap map = {0};
    static char present[500];
    char key[16];

    (void)state;
    srand(7);
    for (int i = 0; i < 20000; i++) {
        int n = rand() % 500;

        snprintf(key, sizeof(key), "k%d", n);
        assert_ptr_equal(hashmap_get(&map, key), present[n] ? &present[n] : NULL);
        if (rand() % 2) {
            assert_int_equal(hashmap_set(&map, key, &present[n]), 0);
            present[n] = 1;
        } else {
            assert_ptr_equal(hashmap_remove(&map, key), present[n] ? &present[n] : NULL);
            present[n] = 0;
        }
    }
    hashmap_release(&map);
}

static void a_buffer_refuses_to_pass_its_maximum(void **state)
{
    struct strbuf buf = STRBUF_INIT(8);

    (void)state;
    assert_int_equal(strbuf_adds(&buf, "12345678"), 0);
    assert_int_equal(strbuf_addc(&buf, '9'), -E2BIG);
    assert_true(buf.failed);
    assert_string_equal(buf.data, "12345678");
    strbuf_consume(&buf, 6);
    assert_string_equal(buf.data, "78");
    strbuf_release(&buf);
}

static void the_nearest_name_is_found_or_none(void **state)
{
    static const char *const names[] = {"levels", "listen", "tls"};

    (void)state;
    assert_string_equal(nearest_name("levls", names, 3), "levels");
    assert_null(nearest_name("wholly-different", names, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantities_are_read_as_kubernetes_does),
        cmocka_unit_test(durations_times_and_names),
        cmocka_unit_test(integers_stop_at_their_bounds),
        cmocka_unit_test(only_well_formed_utf8_is_valid),
        cmocka_unit_test(a_map_keeps_what_a_list_keeps),
        cmocka_unit_test(a_buffer_refuses_to_pass_its_maximum),
        cmocka_unit_test(the_nearest_name_is_found_or_none),
    };

    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
