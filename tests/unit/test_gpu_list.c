#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "scheduler/cli/gpu_list.h"

static struct gpu_place places[GPU_PLACES_MAX];

static void lists(void **state)
{
    static const struct {
        const char *text;
        uint32_t mask; /* 0: refused, with these words */
        const char *says;
    } cases[] = {
        {"0-3,6", 0x4f, ""},        {"31", 0x80000000, ""},    {"0-31", 0xffffffff, ""},
        {"2,0", 0x5, ""},           {"", 0, "found ''"},       {"0,", 0, "found ''"},
        {"32", 0, "0 to 31"},       {"3-1", 0, "low to high"}, {"1-", 0, "0 to 31"},
        {"0-3,2", 0, "found '2'"},  {"0 ", 0, "found '0 '"},   {"-1", 0, "found '-1'"},
        {"0-99999999999999999999", 0, "0 to 31"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        uint32_t mask = 0;
        int r = gpu_list_parse("--free", cases[i].text, strlen(cases[i].text), &mask, &err);

        print_message("'%s': %s\n", cases[i].text, err.text);
        assert_int_equal(r, cases[i].mask ? 0 : -EINVAL);
        assert_int_equal(mask, cases[i].mask);
        if (r < 0) {
            assert_non_null(strstr(err.text, "--free"));
            assert_non_null(strstr(err.text, cases[i].says));
        }
    }
}

static void places_on_nodes(void **state)
{
    static const char *const wrong[] = {"", "0-3", "n1", "n1:", "n1:0,n1:1", "N_1:0", ":0", "n1:0,,n2:0", "n1:0,0"};
    struct err err = ERR_INIT;
    size_t n = 0;

    (void)state;
    assert_int_equal(gpu_places_parse("--gpus", "n1:0-3,5,n2.a:7", 15, places, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_string_equal(places[0].node, "n1");
    assert_int_equal(places[0].mask, 0x2f);
    assert_string_equal(places[1].node, "n2.a");
    assert_int_equal(places[1].mask, 0x80);
    assert_int_equal(places[1].host, 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(gpu_places_parse("--gpus", wrong[i], strlen(wrong[i]), places, &n, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--gpus"));
    }
}

static void shapes(void **state)
{
    static const char *const wrong[] = {"", "8,", "+8", "0", "33", "8;8", "4++4", "8,-1"};
    struct err err = ERR_INIT;
    size_t n = 0;

    (void)state;
    assert_int_equal(gpu_shape_parse("--shape", "4+4,8", 5, places, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(places[1].count, 4);
    assert_int_equal(places[1].host, 0);
    assert_int_equal(places[2].count, 8);
    assert_int_equal(places[2].host, 1);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(gpu_shape_parse("--shape", wrong[i], strlen(wrong[i]), places, &n, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--shape"));
    }
}

static void more_than_the_limits_is_refused(void **state)
{
    static char text[GPU_LIST_BYTES_MAX + 2];
    struct err err = ERR_INIT;
    size_t n = 0;
    uint32_t mask;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? ',' : '8';
    assert_int_equal(gpu_shape_parse("--shape", text, 2 * GPU_PLACES_MAX - 1, places, &n, &err), 0);
    assert_int_equal(n, GPU_PLACES_MAX);
    assert_int_equal(gpu_shape_parse("--shape", text, 2 * GPU_PLACES_MAX + 1, places, &n, &err), -EINVAL);
    assert_non_null(strstr(err.text, "more than 1024"));
    assert_int_equal(gpu_list_parse("--gpus", text, sizeof(text), &mask, &err), -EINVAL);
    assert_non_null(strstr(err.text, "longer than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(places_on_nodes),
        cmocka_unit_test(shapes),
        cmocka_unit_test(more_than_the_limits_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
