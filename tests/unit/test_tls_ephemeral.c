/* A certificate of one run: what is in it, and that gRPC talks by it to who was given it, and to
 * nobody else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <gnutls/x509.h>
#include <time.h>

#include "base/tls_ephemeral.h"
#include "tests/unit/rpc_fixture.h"

#define NAME "lockstep-probe"

struct made {
    struct strbuf cert, key, der;
};

static void make(struct made *made)
{
    struct err err = ERR_INIT;

    *made = (struct made){STRBUF_INIT(TLS_EPHEMERAL_MAX), STRBUF_INIT(TLS_EPHEMERAL_MAX),
                          STRBUF_INIT(TLS_EPHEMERAL_MAX)};
    if (tls_ephemeral(NAME, &made->cert, &made->key, &made->der, &err) < 0)
        fail_msg("%s", err.text);
}

static void release(struct made *made)
{
    strbuf_release(&made->cert);
    strbuf_release(&made->key);
    strbuf_release(&made->der);
}

static void it_is_for_its_name_and_small(void **state)
{
    struct made made;
    gnutls_datum_t der;
    gnutls_x509_crt_t cert;

    (void)state;
    make(&made);
    der = (gnutls_datum_t){(unsigned char *)made.der.data, (unsigned)made.der.len};
    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_import(cert, &der, GNUTLS_X509_FMT_DER), 0);
    assert_true(gnutls_x509_crt_check_hostname(cert, NAME));
    assert_false(gnutls_x509_crt_check_hostname(cert, "lockstep-prob"));
    assert_true(gnutls_x509_crt_get_activation_time(cert) < time(NULL) - 86400);
    assert_true(gnutls_x509_crt_get_expiration_time(cert) > time(NULL) + 86400);
    print_message("%zu bytes\n", made.der.len);
    assert_true(made.der.len < 450);
    gnutls_x509_crt_deinit(cert);
    release(&made);
}

static void no_two_have_one_key(void **state)
{
    struct made one, other;

    (void)state;
    make(&one);
    make(&other);
    assert_string_not_equal(one.key.data, other.key.data);
    assert_string_not_equal(one.cert.data, other.cert.data);
    release(&one);
    release(&other);
}

static void what_does_not_fit_is_an_error(void **state)
{
    struct made made = {STRBUF_INIT(TLS_EPHEMERAL_MAX), STRBUF_INIT(10),
                        STRBUF_INIT(TLS_EPHEMERAL_MAX)};
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(tls_ephemeral(NAME, &made.cert, &made.key, &made.der, &err), -E2BIG);
    assert_true(err.text[0]);
    release(&made);
}

static enum rpc_status echo_with(const char *ca_pem, const char *token)
{
    struct rpc_bytes answer = {NULL, 0};
    struct err err = ERR_INIT;
    enum rpc_status status;

    open_channel(
        (struct rpc_channel_options){.ca_pem = ca_pem, .server_name = NAME, .token = token});
    status = call(ECHO, "x", 1, &answer, &err);
    rpc_bytes_release(&answer);
    rpc_channel_free(service.channel);
    service.channel = NULL;
    return status;
}

static void grpc_takes_it_from_memory(void **state)
{
    struct rpc_server_options options = plain();
    struct made made, stranger;

    (void)state;
    make(&made);
    make(&stranger);
    options.cert_pem = made.cert.data;
    options.key_pem = made.key.data;
    start_server(&options);
    assert_int_equal(echo_with(made.cert.data, "a-secret"), RPC_OK);
    assert_string_equal(service.authorization, "Bearer a-secret");
    assert_int_equal(echo_with(made.cert.data, NULL), RPC_OK);
    assert_true(service.no_authorization);
    assert_int_equal(echo_with(stranger.cert.data, "a-secret"), RPC_UNAVAILABLE);
    assert_int_equal(echo_with(NULL, "a-secret"), RPC_UNAVAILABLE); /* plaintext */
    stop_all();
    options.key_pem = stranger.key.data; /* not its own */
    assert_true(rpc_server_start(&options, &service.server, NULL) < 0);
    options.key_pem = NULL;
    assert_int_equal(rpc_server_start(&options, &service.server, NULL), -EINVAL);
    options.cert_pem = NULL;
    options.cert_file = "/nowhere/server.crt";
    assert_int_equal(rpc_server_start(&options, &service.server, NULL), -EINVAL);
    release(&made);
    release(&stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_for_its_name_and_small),
        cmocka_unit_test(no_two_have_one_key),
        cmocka_unit_test(what_does_not_fit_is_an_error),
        cmocka_unit_test(grpc_takes_it_from_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
