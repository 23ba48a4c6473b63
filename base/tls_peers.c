#include "base/tls_peers.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ALLOWED_NS INT64_C(60000000000)

int tls_peers_init(struct tls_peers *peers, const char *const *names)
{
    size_t n = 0;

    *peers = (struct tls_peers){0};
    pthread_mutex_init(&peers->lock, NULL);
    if (!names)
        return 0;
    while (names[n])
        n++;
    peers->names = calloc(n + 1, sizeof(char *));
    for (size_t i = 0; peers->names && i < n; i++) {
        peers->names[i] = strdup(names[i]);
        if (!peers->names[i])
            return -ENOMEM;
    }
    return peers->names ? 0 : -ENOMEM;
}

void tls_peers_release(struct tls_peers *peers)
{
    for (char **name = peers->names; name && *name; name++)
        free(*name);
    free(peers->names);
    free(peers->allowed.data);
    pthread_mutex_destroy(&peers->lock);
}

static bool name_allowed(const struct tls_peers *peers, const char *name)
{
    for (char **allowed = peers->names; allowed && *allowed; allowed++)
        if (strcmp(*allowed, name) == 0)
            return true;
    return peers->names == NULL;
}

static bool cert_allowed(const struct tls_peers *peers, gnutls_x509_crt_t cert)
{
    char name[256];
    size_t size = sizeof(name);

    if (gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size) == 0 &&
        name_allowed(peers, name))
        return true;
    for (unsigned i = 0;; i++) {
        int r;

        size = sizeof(name) - 1;
        r = gnutls_x509_crt_get_subject_alt_name(cert, i, name, &size, NULL);
        if (r < 0)
            return false;
        name[size] = '\0';
        if (r == GNUTLS_SAN_DNSNAME && name_allowed(peers, name))
            return true;
    }
}

static bool judge(const struct tls_peers *peers, gnutls_session_t session, const gnutls_datum_t *leaf)
{
    gnutls_x509_crt_t cert;
    unsigned status = 0;
    bool allowed;

    if (gnutls_certificate_verify_peers2(session, &status) < 0 || status != 0 ||
        gnutls_x509_crt_init(&cert) < 0)
        return false;
    allowed = gnutls_x509_crt_import(cert, leaf, GNUTLS_X509_FMT_DER) == 0 &&
              cert_allowed(peers, cert);
    gnutls_x509_crt_deinit(cert);
    return allowed;
}

static bool is_known(struct tls_peers *peers, const gnutls_datum_t *leaf)
{
    bool known;

    pthread_mutex_lock(&peers->lock);
    known = peers->allowed_until_ns > clock_boot_ns() && peers->allowed.size == leaf->size &&
            memcmp(peers->allowed.data, leaf->data, leaf->size) == 0;
    pthread_mutex_unlock(&peers->lock);
    return known;
}

static void remember(struct tls_peers *peers, const gnutls_datum_t *leaf)
{
    unsigned char *copy = malloc(leaf->size);

    if (!copy)
        return;
    memcpy(copy, leaf->data, leaf->size);
    pthread_mutex_lock(&peers->lock);
    free(peers->allowed.data);
    peers->allowed = (gnutls_datum_t){copy, leaf->size};
    peers->allowed_until_ns = clock_boot_ns() + ALLOWED_NS;
    pthread_mutex_unlock(&peers->lock);
}

bool tls_peers_allow(struct tls_peers *peers, gnutls_session_t session)
{
    unsigned n = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &n);

    if (!chain || n == 0)
        return false;
    if (is_known(peers, &chain[0]))
        return true;
    if (!judge(peers, session, &chain[0]))
        return false;
    remember(peers, &chain[0]);
    return true;
}
