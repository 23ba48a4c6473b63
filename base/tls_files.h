/*
 * tls_files.h - a certificate and key from files, read again when they change (checked at most once
 * a second). Old pairs live until release, as a handshake may still use them. Any thread.
 */
#pragma once

#include <gnutls/abstract.h>
#include <stddef.h>

#include "base/err.h"

struct tls_files;

int tls_files_open(const char *cert_file, const char *key_file, struct tls_files **ret,
                   struct err *err);
void tls_files_close(struct tls_files *files);

/* The newest pair that could be read; owned by files. */
void tls_files_get(struct tls_files *files, gnutls_pcert_st **ret_certs, unsigned *ret_n,
                   gnutls_privkey_t *ret_key);
