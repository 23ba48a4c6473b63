#include "base/tls_ephemeral.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#define YEAR_S (365 * 24 * 3600)
#define SERIAL 8

static int fill(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *name)
{
    time_t now = time(NULL);
    unsigned char serial[SERIAL];
    int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

    serial[0] = (serial[0] & 0x3f) | 0x40; /* positive, and of that length */
    if (r == 0)
        r = gnutls_x509_crt_set_version(cert, 3);
    if (r == 0)
        r = gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
    if (r == 0)
        r = gnutls_x509_crt_set_activation_time(cert, now - YEAR_S);
    if (r == 0)
        r = gnutls_x509_crt_set_expiration_time(cert, now + YEAR_S);
    if (r == 0)
        r = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                          (unsigned)strlen(name));
    if (r == 0)
        r = gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name,
                                                 (unsigned)strlen(name), GNUTLS_FSAN_SET);
    if (r == 0)
        r = gnutls_x509_crt_set_basic_constraints(cert, 1, 0);
    if (r == 0)
        r = gnutls_x509_crt_set_key(cert, key);
    if (r == 0)
        r = gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
    return r;
}

static int add(struct strbuf *ret, gnutls_datum_t *from)
{
    int r = strbuf_add(ret, from->data, from->size);

    gnutls_memset(from->data, 0, from->size); /* one of them is the key */
    gnutls_free(from->data);
    *from = (gnutls_datum_t){0};
    return r;
}

static int write_out(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, struct strbuf *cert_pem,
                     struct strbuf *key_pem, struct strbuf *cert_der, struct err *err)
{
    gnutls_datum_t text = {0};
    int failed = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text), r = 0;

    if (failed == 0)
        r = add(cert_pem, &text);
    if (failed == 0 && r == 0 &&
        (failed = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_DER, &text)) == 0)
        r = add(cert_der, &text);
    if (failed == 0 && r == 0 &&
        (failed = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                                    GNUTLS_PKCS_PLAIN, &text)) == 0)
        r = add(key_pem, &text);
    if (failed)
        return err_set(err, -EIO, "a certificate cannot be written: %s", gnutls_strerror(failed));
    return r < 0 ? err_set(err, r, "a certificate cannot be kept: %s", strerror(-r)) : 0;
}

int tls_ephemeral(const char *dns_name, struct strbuf *cert_pem, struct strbuf *key_pem,
                  struct strbuf *cert_der, struct err *err)
{
    gnutls_x509_crt_t cert = NULL;
    gnutls_x509_privkey_t key = NULL;
    int r = gnutls_x509_crt_init(&cert);

    if (r == 0)
        r = gnutls_x509_privkey_init(&key);
    if (r == 0)
        r = gnutls_x509_privkey_generate(
            key, GNUTLS_PK_ECDSA, (unsigned)GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    if (r == 0)
        r = fill(cert, key, dns_name);
    if (r < 0)
        r = err_set(err, -EIO, "a certificate cannot be made: %s", gnutls_strerror(r));
    else
        r = write_out(cert, key, cert_pem, key_pem, cert_der, err);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return r;
}
