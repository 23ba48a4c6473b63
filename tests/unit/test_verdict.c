/* What was measured against what was expected, in a word and in a sentence: tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "collective/verdict.h"

static void measurements_become_words_and_sentences(void **state)
{
    static const struct {
        struct verdict_facts facts;
        enum verdict verdict;
        const char *text;
    } cases[] = {
        {{"all_reduce", 16, 187.3, 401, 0, 0, -1},
         VERDICT_SLOW,
         "all_reduce of 16 ranks: 187 GB/s, 46.7 % of the 401 GB/s that were expected"},
        {{"all_reduce", 16, 400, 401, 0, 0, -1},
         VERDICT_OK,
         "all_reduce of 16 ranks: 400 GB/s, 99.8 % of the 401 GB/s that were expected"},
        {{"all_gather", 2, 2.5, 1.25, 0, 0, -1}, /* faster than expected is fine */
         VERDICT_OK,
         "all_gather of 2 ranks: 2.50 GB/s, 200.0 % of the 1.25 GB/s that were expected"},
        {{"all_reduce", 8, 98, 100, 0, 0, -1}, VERDICT_OK, NULL}, /* the bounds themselves */
        {{"all_reduce", 8, 97.99, 100, 0, 0, -1}, VERDICT_MARGINAL, NULL},
        {{"all_reduce", 8, 92, 100, 0, 0, -1}, VERDICT_MARGINAL, NULL},
        {{"all_reduce", 8, 91.99, 100, 0, 0, -1}, VERDICT_SLOW, NULL},
        {{"all_reduce", 8, 95.04, 100, 0, 0, -1},
         VERDICT_MARGINAL,
         "all_reduce of 8 ranks: 95.0 GB/s, 95.0 % of the 100 GB/s that were expected"},
        /* Slopes that do not agree: both have to say the same. */
        {{"all_reduce", 16, 187.3, 401, 390, 0, -1},
         VERDICT_UNKNOWN,
         "all_reduce of 16 ranks: 187 GB/s by the largest sizes, 390 GB/s by smaller ones, of the "
         "401 GB/s that were expected: it does not agree with itself"},
        {{"all_reduce", 16, 187.3, 401, INFINITY, 0, -1},
         VERDICT_UNKNOWN,
         "all_reduce of 16 ranks: 187 GB/s by the largest sizes, no bound by smaller ones, of the "
         "401 GB/s that were expected: it does not agree with itself"},
        {{"all_reduce", 16, 187.3, 401, 260, 0, -1},
         VERDICT_SLOW,
         "all_reduce of 16 ranks: 187 GB/s, 46.7 % of the 401 GB/s that were expected"},
        {{"all_reduce", 16, 600, 401, 187, 0, -1}, VERDICT_UNKNOWN, NULL},
        {{"all_reduce", 16, 600, 401, 450, 0, -1}, VERDICT_OK, NULL},
        {{"all_reduce", 16, 400, 401, INFINITY, 0, -1}, VERDICT_OK, NULL},
        {{"all_reduce", 16, 187.3, 0, 390, 0, -1}, VERDICT_UNKNOWN, NULL},
        {{"all_reduce", 16, 187.3, 401, 390, 5, 2}, VERDICT_WRONG_DATA, NULL},
        {{"all_reduce", 4, 12.34, 0, 0, 0, -1},
         VERDICT_UNKNOWN,
         "all_reduce of 4 ranks: 12.3 GB/s, nothing is known to compare it with"},
        {{"all_reduce", 4, 0, 100, 0, 0, -1},
         VERDICT_UNKNOWN,
         "all_reduce of 4 ranks: no bandwidth was measured"},
        {{"all_reduce", 1, 0, 100, 0, 0, -1},
         VERDICT_UNKNOWN,
         "all_reduce of 1 rank: nothing goes between ranks, so there is no bandwidth to measure"},
        {{"all_reduce", 4, 100, 100, 0, 17, 3}, /* fast, but wrong */
         VERDICT_WRONG_DATA,
         "all_reduce of 4 ranks: 17 words of the result are wrong, on rank 3 first"},
        {{"all_reduce", 4, 10, 100, 0, 17, -1},
         VERDICT_WRONG_DATA,
         "all_reduce of 4 ranks: 17 words of the result are wrong"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[VERDICT_TEXT];
        enum verdict verdict = verdict_of(&cases[i].facts);

        verdict_text(&cases[i].facts, text);
        if (verdict != cases[i].verdict)
            fail_msg("case %zu: %s, expected %s", i, verdict_name(verdict),
                     verdict_name(cases[i].verdict));
        if (cases[i].text)
            assert_string_equal(text, cases[i].text);
    }
}

static void names_are_read_as_they_are_written(void **state)
{
    enum verdict verdict;

    (void)state;
    for (enum verdict i = 0; i < VERDICTS; i++) {
        assert_true(verdict_from_name(verdict_name(i), &verdict));
        assert_int_equal(verdict, i);
    }
    assert_string_equal(verdict_name(VERDICT_WRONG_DATA), "wrong-data");
    assert_false(verdict_from_name("fine", &verdict));
    assert_false(verdict_from_name("", &verdict));
}

static void only_bad_measurements_hold_a_gang(void **state)
{
    (void)state;
    for (enum verdict i = 0; i < VERDICTS; i++)
        assert_int_equal(verdict_holds(i), i == VERDICT_SLOW || i == VERDICT_WRONG_DATA);
}

static void the_longest_sentence_is_cut_and_ends(void **state)
{
    char text[VERDICT_TEXT], op[2 * VERDICT_TEXT];

    (void)state;
    memset(op, 'x', sizeof(op) - 1);
    op[sizeof(op) - 1] = '\0';
    verdict_text(&(struct verdict_facts){op, 4, 1, 1, 0, 0, -1}, text);
    assert_int_equal(strlen(text), VERDICT_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measurements_become_words_and_sentences),
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(only_bad_measurements_hold_a_gang),
        cmocka_unit_test(the_longest_sentence_is_cut_and_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
