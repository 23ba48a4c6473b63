/* Unary calls over loopback: limits, refusals, late answers, restarts, health. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/rpc_fixture.h"

static void an_answer_is_the_request_echoed(void **state)
{
    (void)state;
    start_plain();
    assert_true(echoes("hello"));
    assert_true(echoes(""));
    assert_true(service.no_authorization);
    assert_string_equal(service.client, "");
    assert_int_equal(strncmp(service.peer, "127.0.0.1:", 10), 0);
    stop_all();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_request_echoed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
