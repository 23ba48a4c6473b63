/* Shared texts: one copy while somebody has it, none afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/intern.h"

static void equal_texts_are_one(void **state)
{
    char *first = intern("zone-a"), *second = intern("zone-a"), *other = intern("");

    (void)state;
    assert_ptr_equal(first, second);
    assert_string_equal(first, "zone-a");
    assert_string_equal(other, "");
    assert_int_equal(intern_count(), 2);
    intern_free(first);
    assert_string_equal(second, "zone-a");
    intern_free(second);
    intern_free(other);
    assert_int_equal(intern_count(), 0);
}

/* An owner does not know how its text was made; an equal shared one stays. */
static void other_texts_are_freed_too(void **state)
{
    char *shared = intern("x");

    (void)state;
    intern_free(strdup("x"));
    intern_free(strdup("never shared"));
    intern_free(NULL);
    assert_int_equal(intern_count(), 1);
    intern_free(shared);
    assert_int_equal(intern_count(), 0);
}

/* Removal moves entries up: the others are still found, in whatever order they go. */
static void many_texts_come_and_go(void **state)
{
    enum { N = 5000 };
    static char *texts[N];
    char text[32];

    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text), "text-%d", i);
        texts[i] = intern(text);
    }
    for (int i = 0; i < N; i += 3)
        intern_free(texts[i]);
    assert_int_equal(intern_count(), N - (N + 2) / 3);
    for (int i = 0; i < N; i++) {
        char *again;

        snprintf(text, sizeof(text), "text-%d", i);
        again = intern(text);
        assert_string_equal(again, text);
        if (i % 3 != 0) {
            assert_ptr_equal(again, texts[i]);
            intern_free(texts[i]);
        }
        intern_free(again);
    }
    assert_int_equal(intern_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_are_one),
        cmocka_unit_test(other_texts_are_freed_too),
        cmocka_unit_test(many_texts_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
