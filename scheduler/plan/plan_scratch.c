/* Memory of one plan after the other: an arena that ends as one piece, large enough for every question. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/plan/plan_internal.h"

#define CHUNK_BYTES ((size_t)1 << 18)

struct chunk {
    struct chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

struct plan_scratch {
    struct chunk *chunks;
    struct plan_index *own; /* for questions that bring their nodes along */
};

static void free_chunks(struct plan_scratch *scratch)
{
    while (scratch->chunks) {
        struct chunk *next = scratch->chunks->next;

        free(scratch->chunks);
        scratch->chunks = next;
    }
}

struct plan_scratch *plan_scratch_new(void)
{
    struct plan_scratch *scratch = calloc(1, sizeof(struct plan_scratch));

    if (scratch)
        scratch->own = plan_index_new();
    if (scratch && !scratch->own) {
        free(scratch);
        scratch = NULL;
    }
    return scratch;
}

void plan_scratch_free(struct plan_scratch *scratch)
{
    if (!scratch)
        return;
    plan_index_free(scratch->own);
    free_chunks(scratch);
    free(scratch);
}

struct plan_index *plan__own_index(struct plan_scratch *scratch)
{
    return scratch->own;
}

static struct chunk *add_chunk(struct plan_scratch *scratch, size_t room)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + room);

    if (!chunk)
        return NULL;
    *chunk = (struct chunk){.next = scratch->chunks, .size = room};
    scratch->chunks = chunk;
    return chunk;
}

/* What came in several pieces comes in one from now on. */
void plan__scratch_reset(struct plan_scratch *scratch)
{
    size_t total = 0;

    for (struct chunk *chunk = scratch->chunks; chunk; chunk = chunk->next)
        total += chunk->size;
    if (scratch->chunks && scratch->chunks->next) {
        free_chunks(scratch);
        add_chunk(scratch, total);
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
        chunk = add_chunk(scratch, bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES);
        if (!chunk)
            return NULL;
    }
    memory = (char *)chunk->bytes + chunk->used;
    chunk->used += bytes;
    return memory;
}

void *plan__zalloc(struct plan_scratch *scratch, size_t n, size_t size)
{
    void *memory = plan__alloc(scratch, n, size);

    if (memory)
        memset(memory, 0, n * size);
    return memory;
}
