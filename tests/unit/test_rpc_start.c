/* A server that takes long to start, as on a machine with much else to do: it listens once, and can
 * be stopped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/rpc_fixture.h"

#define SLOW_MS 2500 /* threads of a server look after its listener each second */

int __real_grpc_server_add_http2_port(void *server, const char *address, void *credentials);
int __wrap_grpc_server_add_http2_port(void *server, const char *address, void *credentials);

static atomic_uint listeners;

int __wrap_grpc_server_add_http2_port(void *server, const char *address, void *credentials)
{
    atomic_fetch_add(&listeners, 1);
    nap_ms(SLOW_MS);
    return __real_grpc_server_add_http2_port(server, address, credentials);
}

static void one_that_starts_slowly_has_one_listener(void **state)
{
    (void)state;
    start_plain();
    assert_int_equal(atomic_load(&listeners), 1);
    assert_true(echoes("hello"));
    stop_all(); /* with a second one it would wait for ever */
    assert_int_equal(atomic_load(&listeners), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_starts_slowly_has_one_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
