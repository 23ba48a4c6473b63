#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "scheduler/extender/unseen.h"

static void the_last_ones_are_remembered_each_once(void **state)
{
    struct unseen unseen = UNSEEN_INIT;
    char uid[UNSEEN_UID_TEXT];

    (void)state;
    assert_false(unseen_has(&unseen, "u0"));
    for (unsigned i = 0; i < UNSEEN_MAX; i++)
        for (unsigned k = 0; k < 2; k++) {
            snprintf(uid, sizeof(uid), "u%u", i);
            unseen_add(&unseen, uid);
        }
    assert_true(unseen_has(&unseen, "u0"));
    unseen_add(&unseen, "one more");
    assert_false(unseen_has(&unseen, "u0"));
    assert_true(unseen_has(&unseen, "u1"));
    assert_true(unseen_has(&unseen, "one more"));
}

static void what_is_no_uid_is_never_remembered(void **state)
{
    struct unseen unseen = UNSEEN_INIT;
    char uid[UNSEEN_UID_TEXT + 1];

    (void)state;
    for (unsigned i = 0; i < UNSEEN_UID_TEXT; i++)
        uid[i] = 'u';
    uid[UNSEEN_UID_TEXT] = '\0';
    unseen_add(&unseen, uid);
    assert_false(unseen_has(&unseen, uid));
    unseen_add(&unseen, "");
    assert_false(unseen_has(&unseen, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_ones_are_remembered_each_once),
        cmocka_unit_test(what_is_no_uid_is_never_remembered),
    };

    return cmocka_run_group_tests_name("unseen", tests, NULL, NULL);
}
