#include <stdlib.h>

#include "scheduler/plan/plan_internal.h"

#define CHUNK_BYTES ((size_t)1 << 20)

struct chunk {
    struct chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

struct plan_scratch {
    struct chunk *chunks;
};

struct plan_scratch *plan_scratch_new(void)
{
    return calloc(1, sizeof(struct plan_scratch));
}

void plan_scratch_free(struct plan_scratch *scratch)
{
    if (!scratch)
        return;
    plan__scratch_reset(scratch);
    free(scratch->chunks);
    free(scratch);
}

/* Keeps one chunk, so that small plans after the first allocate nothing. */
void plan__scratch_reset(struct plan_scratch *scratch)
{
    while (scratch->chunks && scratch->chunks->next) {
        struct chunk *next = scratch->chunks->next;

        free(scratch->chunks);
        scratch->chunks = next;
    }
    if (scratch->chunks)
        scratch->chunks->used = 0;
}

void *plan__alloc(struct plan_scratch *scratch, size_t n, size_t size)
{
    struct chunk *chunk = scratch->chunks;
    size_t bytes;
    char *memory;

    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

        chunk = malloc(sizeof(*chunk) + room);
        if (!chunk)
            return NULL;
        *chunk = (struct chunk){.next = scratch->chunks, .size = room};
        scratch->chunks = chunk;
    }
    memory = (char *)chunk->bytes + chunk->used;
    chunk->used += bytes;
    for (size_t i = 0; i < bytes; i++)
        memory[i] = 0;
    return memory;
}
