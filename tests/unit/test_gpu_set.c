/* Sets of accelerators as text, and several pods on one machine. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "topology/gpu_set.h"
#include "topology/split.h"

static void sets_are_written_as_they_are_read(void **state)
{
    static const struct {
        uint32_t set;
        const char *text;
    } cases[] = {{1, "0"}, {0xf, "0-3"}, {0x51, "0,4,6"}, {0xc3, "0-1,6-7"}, {UINT32_MAX, "0-31"},
                 {0x80000000, "31"}, {0x55555555, "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[GPU_SET_TEXT];
        uint32_t set = 0;

        gpu_set_text(cases[i].set, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(gpu_set_parse(text, strlen(text), 32, &set), 0);
        assert_int_equal(set, cases[i].set);
    }
}

static void refuses_what_is_no_set(void **state)
{
    static const struct {
        const char *text;
        uint32_t n;
        int result;
    } cases[] = {{"", 8, -EINVAL},   {"0,", 8, -EINVAL},  {",0", 8, -EINVAL}, {"3-1", 8, -EINVAL},
                 {"0,0", 8, -EINVAL}, {"0-3,2", 8, -EINVAL}, {"8", 8, -ERANGE}, {"0-8", 8, -ERANGE},
                 {"-1", 8, -EINVAL}, {"a", 8, -EINVAL},   {"0", 0, -ERANGE},  {"0", 33, -ERANGE}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t set = 77;

        assert_int_equal(gpu_set_parse(cases[i].text, strlen(cases[i].text), cases[i].n, &set),
                         cases[i].result);
        assert_int_equal(set, 77);
    }
}

/* A set is as fast as its bits and the seed say. */
struct speeds {
    uint32_t seed;
};

static float speed_of(void *context, uint32_t set)
{
    const struct speeds *speeds = context;

    return (float)(1 + (set * 2654435761u ^ speeds->seed * 40503u) % 97);
}

/* The best of the slowest, by trying all: each free one is of one of the pods or of none. */
static float best_by_all(struct speeds *speeds, uint32_t free, uint32_t gpus, uint32_t left)
{
    float best = 0;

    if (left == 0)
        return 1000;
    for (uint32_t set = free; set; set = (set - 1) & free) {
        float own, others;

        if ((uint32_t)__builtin_popcount(set) != gpus)
            continue;
        own = speed_of(speeds, set);
        others = best_by_all(speeds, free & ~set, gpus, left - 1);
        if (others > 0 && (own < others ? own : others) > best)
            best = own < others ? own : others;
    }
    return best;
}

static void the_slowest_pod_is_as_fast_as_can_be(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 200; seed++) {
        struct speeds speeds = {seed};
        uint32_t free = 0xff & ~(seed % 7 ? 1U << seed % 8 : 0), gpus = 1 + seed % 3;
        uint32_t pods = 1 + seed % ((uint32_t)__builtin_popcount(free) / gpus), sets[32], taken = 0;
        float slowest = 1000, found;

        if (pods > 3)
            pods = 3;
        found = split_machine(free, gpus, pods, 1000, speed_of, &speeds, sets);
        for (uint32_t i = 0; i < pods; i++) {
            assert_int_equal(__builtin_popcount(sets[i]), gpus);
            assert_int_equal(sets[i] & (taken | ~free), 0);
            taken |= sets[i];
            if (speed_of(&speeds, sets[i]) < slowest)
                slowest = speed_of(&speeds, sets[i]);
        }
        assert_true(found == slowest && found == best_by_all(&speeds, free, gpus, pods));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_written_as_they_are_read),
        cmocka_unit_test(refuses_what_is_no_set),
        cmocka_unit_test(the_slowest_pod_is_as_fast_as_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
