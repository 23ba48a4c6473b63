/* What lockstep probe reads, and how it judges: sizes, earlier results, verdicts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "scheduler/cli/probe_show.h"

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

static const struct {
    const char *text;
    unsigned n;
    uint64_t first, last;
} good[] = {{"1M:256M", 9, MIB, 256 * MIB}, {"1M:1G:4", 6, MIB, GIB},
            {"64K,1M", 2, 64 * KIB, MIB},   {"4", 1, 4, 4},
            {"3M:3M", 1, 3 * MIB, 3 * MIB}, {"1M:3M", 2, MIB, 2 * MIB},
            {"1K:1M:1024", 2, KIB, MIB},    {"1T", 1, 1ull << 40, 1ull << 40}};

static void sizes_are_lists_and_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct measure_plan plan = {.op = OP_ALL_GATHER};

        if (probe_sizes_parse(good[i].text, strlen(good[i].text), &plan, NULL) < 0)
            fail_msg("'%s' is refused", good[i].text);
        assert_int_equal(plan.n_sizes, good[i].n);
        assert_true(plan.sizes[0] == good[i].first && plan.sizes[plan.n_sizes - 1] == good[i].last);
        assert_true(plan.sweep && plan.op == OP_ALL_GATHER);
    }
}

static const char *const bad[] = {"",
                                  ",",
                                  "1M,",
                                  "1M:",
                                  ":1M",
                                  "1M:2M:1",
                                  "1M:2M:",
                                  "2M:1M",
                                  "1M,1M",
                                  "0",
                                  "2T",
                                  "1Q",
                                  "M",
                                  "-1",
                                  "1M:2M:4:5",
                                  "1:1T",
                                  "1 M",
                                  "1.5M",
                                  "99999999999999999999",
                                  "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};

static void other_sizes_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct measure_plan plan = {.n_sizes = 77};
        struct err err = ERR_INIT;

        if (probe_sizes_parse(bad[i], strlen(bad[i]), &plan, &err) != -EINVAL)
            fail_msg("'%s' is taken", bad[i]);
        assert_non_null(strstr(err.text, "--sizes"));
        assert_int_equal(plan.n_sizes, 77);
    }
}

static const struct local_options four = {.backend = "tcp", .ranks = 4};

static int earlier_of(const char *text, struct probe_earlier *ret, struct err *err)
{
    return probe_earlier_parse("before.json", text, strlen(text), &four, ret, err);
}

static void earlier_results_are_read(void **state)
{
    struct probe_earlier earlier = {0};

    (void)state;
    assert_int_equal(
        earlier_of("{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":4,\"busbw_gb_s\":2.5,"
                   "\"rows\":[{\"bytes\":16,\"busbw_gb_s\":1}],\"more\":null}",
                   &earlier, NULL),
        0);
    assert_string_equal(earlier.path, "before.json");
    assert_true(earlier.busbw_gb_s == 2.5 && earlier.n_rows == 1 && earlier.bytes[0] == 16 &&
                earlier.row_gb_s[0] == 1);
}

static const struct {
    const char *text, *says;
} refused[] = {
    {"", "before.json:"},
    {"[]", "expected what `lockstep probe -o json` prints"},
    {"{\"op\":\"all_gather\",\"backend\":\"tcp\",\"ranks\":4}",
     "found all_gather over tcp of 4 ranks"},
    {"{\"op\":\"all_reduce\",\"backend\":\"nccl\",\"ranks\":4}",
     "expected all_reduce over tcp of 4"},
    {"{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":5}", "of 5 ranks"},
    {"{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":4}", "busbw_gb_s"},
    {"{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":4,\"busbw_gb_s\":0}", "above 0"},
    {"{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":4,\"busbw_gb_s\":1,\"rows\":[{}]}",
     "rows[0]"},
    {"{\"op\":\"all_reduce\",\"backend\":\"tcp\",\"ranks\":4,\"busbw_gb_s\":1,\"rows\":[{\"bytes\":"
     "-1,\"busbw_gb_s\":1}]}",
     "rows[0]"},
};

static void others_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct probe_earlier earlier = {.n_rows = 77};
        struct err err = ERR_INIT;

        assert_int_equal(earlier_of(refused[i].text, &earlier, &err), -EINVAL);
        if (!strstr(err.text, refused[i].says))
            fail_msg("case %zu: '%s'", i, err.text);
        assert_int_equal(earlier.n_rows, 77);
    }
}

static const struct {
    double earlier, now, tolerance;
    uint64_t wrong;
    const char *verdict;
} verdicts[] = {{0, 5, 0.1, 0, "unknown"},    {10, 9.1, 0.1, 0, "ok"},
                {10, 8.9, 0.1, 0, "slow"},    {10, 8.9, 0.2, 0, "ok"},
                {10, 20, 0.1, 0, "ok"},       {10, 9.99, 0, 0, "slow"},
                {0, 5, 0.1, 1, "wrong-data"}, {10, 20, 0.1, 3, "wrong-data"}};

static void verdicts_are_by_tolerance_and_data(void **state)
{
    static struct local_result result;

    (void)state;
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        struct probe_earlier earlier = {.path = verdicts[i].earlier > 0 ? "before.json" : NULL,
                                        .busbw_gb_s = verdicts[i].earlier};
        struct probe_answer answer = {&four, NULL, &result, &earlier, verdicts[i].tolerance};

        result.measured = (struct measure_result){.n_rows = 2, .busbw_gb_s = verdicts[i].now};
        result.measured.rows[1].wrong = verdicts[i].wrong;
        assert_string_equal(probe_verdict(&answer), verdicts[i].verdict);
    }
}

/* The keys that product contracts name; what is printed can be read as an earlier result. */
static void json_is_what_is_promised(void **state)
{
    static struct local_result result;
    struct probe_earlier none = {0}, back = {0};
    struct probe_answer answer = {&four, NULL, &result, &none, 0.1};
    char *text;
    json_t *root;

    (void)state;
    result.measured = (struct measure_result){.n_rows = 1, .busbw_gb_s = 3};
    result.measured.rows[0] =
        (struct measure_row){.bytes = 64, .seconds = 2, .algbw_gb_s = 1, .busbw_gb_s = 1.5};
    root = probe_json(&answer);
    assert_string_equal(json_string_value(json_object_get(root, "op")), "all_reduce");
    assert_string_equal(json_string_value(json_object_get(root, "backend")), "tcp");
    assert_int_equal(json_integer_value(json_object_get(root, "ranks")), 4);
    assert_string_equal(json_string_value(json_object_get(root, "verdict")), "unknown");
    text = json_dumps(root, 0);
    assert_non_null(strstr(
        text,
        "{\"bytes\": 64, \"time_s\": 2.0, \"algbw_gb_s\": 1.0, \"busbw_gb_s\": 1.5, \"wrong\": 0"));
    assert_int_equal(earlier_of(text, &back, NULL), 0);
    assert_true(back.busbw_gb_s == 3 && back.bytes[0] == 64);
    free(text);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_lists_and_ranges),
        cmocka_unit_test(other_sizes_are_refused),
        cmocka_unit_test(earlier_results_are_read),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(verdicts_are_by_tolerance_and_data),
        cmocka_unit_test(json_is_what_is_promised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
