#include "base/intern.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing; entries behind a gap move up, as in base/hashmap.c. */
struct entry {
    uint32_t hash, refs;
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry **table;
static size_t size, used; /* size: 0 or a power of two */

static uint32_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* Where the text is, or would go; there is room. */
static size_t place(const char *text, uint32_t hash)
{
    size_t at = hash & (size - 1);

    while (table[at] && (table[at]->hash != hash || strcmp(table[at]->text, text) != 0))
        at = (at + 1) & (size - 1);
    return at;
}

static int resize(size_t new_size)
{
    struct entry **old = table, **fresh = calloc(new_size, sizeof(struct entry *));
    size_t n = size;

    if (!fresh)
        return -1;
    table = fresh;
    size = new_size;
    for (size_t i = 0; i < n; i++)
        if (old[i])
            table[place(old[i]->text, old[i]->hash)] = old[i];
    free(old);
    return 0;
}

static void close_gap(size_t gap)
{
    size_t mask = size - 1;

    for (size_t at = (gap + 1) & mask; table[at]; at = (at + 1) & mask) {
        size_t home = table[at]->hash & mask;

        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        table[gap] = table[at];
        table[at] = NULL;
        gap = at;
    }
}

static char *find_or_add(const char *text, uint32_t hash)
{
    size_t at, len = strlen(text);
    struct entry *entry;

    if (used * 4 >= size * 3 && resize(size ? size * 2 : 256) < 0)
        return NULL;
    at = place(text, hash);
    if (!table[at]) {
        entry = malloc(sizeof(*entry) + len + 1);
        if (!entry)
            return NULL;
        entry->hash = hash;
        entry->refs = 0;
        memcpy(entry->text, text, len + 1);
        table[at] = entry;
        used++;
    }
    table[at]->refs++;
    return table[at]->text;
}

char *intern(const char *text)
{
    uint32_t hash = hash_of(text);
    char *shared;

    pthread_mutex_lock(&lock);
    shared = find_or_add(text, hash);
    pthread_mutex_unlock(&lock);
    return shared;
}

/* true: it was a shared one. */
static bool release(const char *text, uint32_t hash)
{
    size_t at = size ? place(text, hash) : 0;
    struct entry *entry = size ? table[at] : NULL;

    if (!entry || entry->text != text)
        return false;
    if (--entry->refs > 0)
        return true;
    table[at] = NULL;
    used--;
    close_gap(at);
    free(entry);
    return true;
}

void intern_free(char *text)
{
    bool shared;

    if (!text)
        return;
    pthread_mutex_lock(&lock);
    shared = release(text, hash_of(text));
    pthread_mutex_unlock(&lock);
    if (!shared)
        free(text);
}

size_t intern_count(void)
{
    size_t n;

    pthread_mutex_lock(&lock);
    n = used;
    pthread_mutex_unlock(&lock);
    return n;
}
