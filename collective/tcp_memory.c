/*
 * Buffers as large as the largest op, and whether there is room for them: a rank must not be killed
 * for memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collective/memory.h"
#include "collective/tcp_internal.h"

#define MIB (1u << 20)

static uint64_t mapped(uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) / page * page;
}

int tcp_buffer(uint64_t bytes, uint32_t **ret_words, struct err *err)
{
    uint64_t available = memory_available_bytes();
    void *words;

    if (mapped(bytes) > available)
        return err_set(err, -ENOMEM,
                       "memory is short: %" PRIu64 " MiB available, %" PRIu64 " MiB needed",
                       available / MIB, mapped(bytes) / MIB);
    words = mmap(NULL, mapped(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return err_set(err, -ENOMEM, "no %" PRIu64 " MiB of memory: %s", mapped(bytes) / MIB,
                       strerror(errno));
    (void)madvise(words, mapped(bytes), MADV_HUGEPAGE); /* a hint */
    *ret_words = words;
    return 0;
}

void tcp_buffer_free(uint32_t *words, uint64_t bytes)
{
    if (words)
        munmap(words, mapped(bytes));
}
