#include "base/sha256.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

void sha256_hex(const void *bytes, size_t len, char ret_hex[SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[32];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, len, digest) < 0)
        abort(); /* only a broken library refuses SHA-256 */
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[64] = '\0';
}
