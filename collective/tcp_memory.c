/* Buffers as large as the largest op, and whether there is room for them: a rank must not be killed for memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "collective/tcp_internal.h"

#define FILE_MAX 4096
#define MIB (1u << 20)

static bool read_text(const char *path, char ret[FILE_MAX])
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, FILE_MAX - 1);

    if (n < 0)
        return false;
    ret[n] = '\0';
    return true;
}

/* A file of one number, as cgroups have; "max" and no file are no number. */
static bool read_number(const char *path, uint64_t *ret)
{
    char text[FILE_MAX];

    return read_text(path, text) && parse_u64(text, strcspn(text, "\n"), UINT64_MAX, ret) == 0;
}

static uint64_t available_bytes(void)
{
    uint64_t available = UINT64_MAX, kib, limit, used;
    char text[FILE_MAX];
    const char *line;

    if (read_text("/proc/meminfo", text) && (line = strstr(text, "MemAvailable:")) != NULL) {
        line += strlen("MemAvailable:");
        line += strspn(line, " ");
        if (parse_u64(line, strspn(line, "0123456789"), UINT64_MAX >> 10, &kib) == 0)
            available = kib << 10;
    }
    /* In a container this is its own group (cgroup v2, Documentation/admin-guide/cgroup-v2.rst). */
    if (read_number("/sys/fs/cgroup/memory.max", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", &used)) {
        uint64_t left = limit > used ? limit - used : 0;

        available = left < available ? left : available;
    }
    return available;
}

static uint64_t mapped(uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) / page * page;
}

int tcp_buffer(uint64_t bytes, uint32_t **ret_words, struct err *err)
{
    uint64_t available = available_bytes();
    void *words;

    if (mapped(bytes) > available)
        return err_set(err, -ENOMEM, "memory is short: %" PRIu64 " MiB available, %" PRIu64 " MiB needed",
                       available / MIB, mapped(bytes) / MIB);
    words = mmap(NULL, mapped(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED)
        return err_set(err, -ENOMEM, "no %" PRIu64 " MiB of memory: %s", mapped(bytes) / MIB, strerror(errno));
    (void)madvise(words, mapped(bytes), MADV_HUGEPAGE); /* a hint */
    *ret_words = words;
    return 0;
}

void tcp_buffer_free(uint32_t *words, uint64_t bytes)
{
    if (words)
        munmap(words, mapped(bytes));
}
