/*
 * hashmap.h - text keys to pointers: open addressing, keys copied, values borrowed.
 *
 * An all-zero map is empty and ready. The order of iteration depends on the hash alone, so output
 * that must be deterministic sorts. A map may not be changed while it is iterated. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap_entry {
    char *key; /* NULL: empty */
    void *value;
    uint64_t hash;
};
struct hashmap {
    struct hashmap_entry *entries;
    size_t n, size; /* size is 0 or a power of two */
};
struct hashmap_iter {
    size_t at;
};

void hashmap_release(struct hashmap *map); /* frees keys, not values */
void *hashmap_get(const struct hashmap *map, const char *key); /* NULL: absent */
void *hashmap_get_n(const struct hashmap *map, const char *key, size_t len);
int hashmap_set(struct hashmap *map, const char *key, void *value); /* -ENOMEM */
void *hashmap_remove(struct hashmap *map, const char *key); /* the value it had, or NULL */
/* Start with a zero iter; false at the end. key and value may not be NULL. */
bool hashmap_next(const struct hashmap *map, struct hashmap_iter *iter, const char **ret_key,
                  void **ret_value);
