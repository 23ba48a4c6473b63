/* sha256.h - SHA-256 of a byte range as 64 hex digits (GnuTLS computes it). Any thread. */
#pragma once

#include <stddef.h>

#define SHA256_HEX 65

void sha256_hex(const void *bytes, size_t len, char ret_hex[SHA256_HEX]);
