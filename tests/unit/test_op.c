/* Names, factors and sizes of operations; the pattern that tells right from wrong words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "collective/op.h"
#include "collective/pattern.h"

static void names_are_read_back(void **state)
{
    enum collective_op found;

    (void)state;
    for (enum collective_op op = 0; op < OP_COUNT; op++) {
        assert_true(op_from_name(op_name(op), &found));
        assert_int_equal(found, op);
    }
    assert_false(op_from_name("allreduce", &found));
    assert_false(op_from_name("", &found));
}

/* nccl-tests, doc/PERFORMANCE.md: 2(n-1)/n, and (n-1)/n. */
static void factors_are_those_of_nccl_tests(void **state)
{
    static const struct {
        enum collective_op op;
        unsigned ranks;
        double factor;
    } cases[] = {{OP_ALL_REDUCE, 2, 1},       {OP_ALL_REDUCE, 8, 1.75}, {OP_ALL_GATHER, 8, 0.875},
                 {OP_REDUCE_SCATTER, 4, .75}, {OP_ALL_TO_ALL, 2, 0.5},  {OP_ALL_REDUCE, 1, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(op_bus_factor(cases[i].op, cases[i].ranks) == cases[i].factor);
}

static void sizes_are_multiples_of_a_word_per_rank(void **state)
{
    (void)state;
    assert_int_equal(op_round_bytes(1000, 3), 996);
    assert_int_equal(op_round_bytes(996, 3), 996);
    assert_int_equal(op_round_bytes(0, 3), 12);
    assert_int_equal(op_round_bytes(11, 3), 12);
    assert_int_equal(op_round_bytes(7, 1), 4);
}

#define WORDS 1000
#define FIRST 4294966796u /* the index passes 2^32 on the way */

static void the_sum_is_right_in_any_order(void **state)
{
    uint32_t sum[WORDS] = {0}, part[WORDS];

    (void)state;
    for (unsigned k = 0; k < 7; k++) {
        pattern_fill(part, WORDS, FIRST, k * 3 % 7);
        for (size_t i = 0; i < WORDS; i++)
            sum[i] += part[i];
    }
    assert_int_equal(pattern_wrong_sum(sum, WORDS, FIRST, 7), 0);
    assert_int_equal(pattern_wrong_sum(sum, WORDS, FIRST, 6), WORDS);
}

static void each_wrong_word_is_counted(void **state)
{
    uint32_t words[WORDS];

    (void)state;
    pattern_fill(words, WORDS, FIRST, 4);
    assert_int_equal(pattern_wrong_of(words, WORDS, FIRST, 4), 0);
    assert_int_equal(pattern_wrong_of(words, WORDS, FIRST, 5), WORDS);
    assert_int_equal(pattern_wrong_of(words, WORDS, FIRST, 6), WORDS);
    for (unsigned bit = 0; bit < 32; bit++) {
        words[bit * 7] ^= 1u << bit;
        assert_int_equal(pattern_wrong_of(words, WORDS, FIRST, 4), bit + 1);
    }
}

/* A block that landed one word, or one block of 2^k words, further on. */
static void data_in_the_wrong_place_shows(void **state)
{
    uint32_t words[WORDS];

    (void)state;
    pattern_fill(words, WORDS, 0, 0);
    for (uint64_t away = 1; away <= (uint64_t)1 << 33; away *= 2)
        assert_true(pattern_wrong_of(words, WORDS, away, 0) > WORDS * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test(factors_are_those_of_nccl_tests),
        cmocka_unit_test(sizes_are_multiples_of_a_word_per_rank),
        cmocka_unit_test(the_sum_is_right_in_any_order),
        cmocka_unit_test(each_wrong_word_is_counted),
        cmocka_unit_test(data_in_the_wrong_place_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
