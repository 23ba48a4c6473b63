/*
 * tls_peers.h - who may call: clients with a certificate of the listener's CA and an allowed name.
 *
 * kube-scheduler opens a connection for each bind call that is held, all with one certificate, and to judge
 * it anew each time was 40 % of a handshake. What was let in last is believed for a minute; that the caller
 * has the certificate's key TLS has shown by then. Any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <gnutls/gnutls.h>

struct tls_peers {
    char **names; /* NULL: any client of the CA */
    pthread_mutex_t lock; /* the rest */
    gnutls_datum_t allowed; /* the certificate (DER) that was let in last, until: */
    int64_t allowed_until_ns;
};

int tls_peers_init(struct tls_peers *peers, const char *const *names); /* NULL-terminated or NULL */
void tls_peers_release(struct tls_peers *peers); /* after a failed init too */
bool tls_peers_allow(struct tls_peers *peers, gnutls_session_t session);
