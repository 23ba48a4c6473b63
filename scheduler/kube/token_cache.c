#include "scheduler/kube/token_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hashmap.h"

struct entry {
    char digest[SHA256_HEX]; /* "": never used, or not in the map */
    int64_t until_ns;
    struct kube_identity who;
};

struct token_cache {
    pthread_mutex_t lock;
    struct hashmap by_digest;
    struct entry *ring; /* in the order in which they came */
    size_t max, next;
};

struct token_cache *token_cache_new(size_t max)
{
    struct token_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return NULL;
    cache->max = max;
    cache->ring = calloc(max, sizeof(*cache->ring)); /* pages come when they are used */
    if (!cache->ring) {
        free(cache);
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    hashmap_release(&cache->by_digest);
    pthread_mutex_destroy(&cache->lock);
    free(cache->ring);
    free(cache);
}

bool token_cache_get(struct token_cache *cache, const char digest[SHA256_HEX], int64_t now_ns,
                     struct kube_identity *ret)
{
    const struct entry *entry;
    bool found;

    if (!cache)
        return false;
    pthread_mutex_lock(&cache->lock);
    entry = hashmap_get(&cache->by_digest, digest);
    found = entry && now_ns < entry->until_ns;
    if (found)
        *ret = entry->who;
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void token_cache_put(struct token_cache *cache, const char digest[SHA256_HEX], int64_t asked_ns,
                     const struct kube_identity *who)
{
    struct entry *entry;

    if (!cache)
        return;
    pthread_mutex_lock(&cache->lock);
    entry = hashmap_get(&cache->by_digest, digest);
    if (!entry) {
        entry = &cache->ring[cache->next];
        cache->next = (cache->next + 1) % cache->max;
        if (entry->digest[0])
            hashmap_remove(&cache->by_digest, entry->digest);
        entry->digest[0] = '\0';
        if (hashmap_set(&cache->by_digest, digest, entry) == 0)
            memcpy(entry->digest, digest, SHA256_HEX);
    }
    entry->who = *who;
    entry->until_ns = asked_ns + TOKEN_CACHE_NS;
    pthread_mutex_unlock(&cache->lock);
}
