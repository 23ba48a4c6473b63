/*
 * token_cache.h - whose token it was a moment ago: a pod's probe makes some calls in a row, and
 * each shows its token.
 *
 * Holds answers that named somebody, and of tokens only their SHA-256. A token that is revoked
 * meanwhile is good for TOKEN_CACHE_NS longer. When it is full the oldest answer goes. Any thread;
 * now_ns is of a clock that does not go back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "scheduler/kube/kube_token.h"

#define TOKEN_CACHE_NS INT64_C(30000000000)
#define TOKEN_CACHE_MAX 8192 /* answers, some 400 bytes each: pods that are measured at a time */

struct token_cache;
struct token_cache *token_cache_new(size_t max); /* NULL: no memory */
/* Takes NULL, as the others do: then nothing is found. */
void token_cache_free(struct token_cache *cache);

/* digest: sha256_hex() of the token. */
bool token_cache_get(struct token_cache *cache, const char digest[SHA256_HEX], int64_t now_ns,
                     struct kube_identity *ret);
/* asked_ns: when the question was sent, as the answer is not newer than that. */
void token_cache_put(struct token_cache *cache, const char digest[SHA256_HEX], int64_t asked_ns,
                     const struct kube_identity *who);
