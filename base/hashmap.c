#include "base/hashmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a with a final mix: short keys, no hostile flooding beyond what object counts allow. */
static uint64_t hash_of(const char *key, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)key[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

void hashmap_release(struct hashmap *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->size; i++)
        free(map->entries[i].key);
    free(map->entries);
    *map = (struct hashmap){0};
}

/* The entry of the key, or the empty one where it would go; the map has room. */
static struct hashmap_entry *find(const struct hashmap *map, const char *key, size_t len,
                                  uint64_t hash)
{
    size_t at = hash & (map->size - 1);

    for (;; at = (at + 1) & (map->size - 1)) {
        struct hashmap_entry *entry = &map->entries[at];

        if (!entry->key || (entry->hash == hash && strncmp(entry->key, key, len) == 0 &&
                            entry->key[len] == '\0'))
            return entry;
    }
}

void *hashmap_get_n(const struct hashmap *map, const char *key, size_t len)
{
    return map->size ? find(map, key, len, hash_of(key, len))->value : NULL;
}

void *hashmap_get(const struct hashmap *map, const char *key)
{
    return hashmap_get_n(map, key, strlen(key));
}

static int grow(struct hashmap *map)
{
    struct hashmap bigger = {.size = map->size ? map->size * 2 : 16, .n = map->n};

    bigger.entries = calloc(bigger.size, sizeof(*bigger.entries));
    if (!bigger.entries)
        return -ENOMEM;
    for (size_t i = 0; i < map->size; i++) {
        const struct hashmap_entry *entry = &map->entries[i];

        if (entry->key)
            *find(&bigger, entry->key, strlen(entry->key), entry->hash) = *entry;
    }
    free(map->entries);
    *map = bigger;
    return 0;
}

int hashmap_set(struct hashmap *map, const char *key, void *value)
{
    uint64_t hash = hash_of(key, strlen(key));
    struct hashmap_entry *entry;

    if (map->n * 4 >= map->size * 3 && grow(map) < 0)
        return -ENOMEM;
    entry = find(map, key, strlen(key), hash);
    if (!entry->key) {
        entry->key = strdup(key);
        if (!entry->key)
            return -ENOMEM;
        entry->hash = hash;
        map->n++;
    }
    entry->value = value;
    return 0;
}

/* Entries behind the gap move up, so that no tombstones are needed. */
static void close_gap(struct hashmap *map, size_t gap)
{
    size_t mask = map->size - 1;

    for (size_t at = (gap + 1) & mask; map->entries[at].key; at = (at + 1) & mask) {
        size_t home = map->entries[at].hash & mask;

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        map->entries[gap] = map->entries[at];
        map->entries[at] = (struct hashmap_entry){0};
        gap = at;
    }
}

void *hashmap_remove(struct hashmap *map, const char *key)
{
    struct hashmap_entry *entry;
    void *value;

    if (!map->size)
        return NULL;
    entry = find(map, key, strlen(key), hash_of(key, strlen(key)));
    if (!entry->key)
        return NULL;
    value = entry->value;
    free(entry->key);
    *entry = (struct hashmap_entry){0};
    map->n--;
    close_gap(map, (size_t)(entry - map->entries));
    return value;
}

bool hashmap_next(const struct hashmap *map, struct hashmap_iter *iter, const char **ret_key,
                  void **ret_value)
{
    for (; iter->at < map->size; iter->at++) {
        if (!map->entries[iter->at].key)
            continue;
        *ret_key = map->entries[iter->at].key;
        *ret_value = map->entries[iter->at].value;
        iter->at++;
        return true;
    }
    return false;
}
