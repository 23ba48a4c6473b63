/*
 * tls_ephemeral.h - a certificate for one run of a program: its own authority, P-256, for one DNS name. The key is made
 * here, never written anywhere, and gone with the buffers. Who is to trust it is given the certificate.
 *
 * Valid for a year to both sides of now, as the clocks of machines that are set up are not to be relied on; what ends the
 * trust is the end of the program. One thread.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

#define TLS_EPHEMERAL_MAX 4096 /* bytes of each text; the DER form is some 300 */

/* Appends to all three. -EIO: GnuTLS refused, and err says why; -E2BIG, -ENOMEM. */
int tls_ephemeral(const char *dns_name, struct strbuf *cert_pem, struct strbuf *key_pem, struct strbuf *cert_der,
                  struct err *err);
