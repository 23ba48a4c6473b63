#include "collective/memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define FILE_MAX 4096

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

uint64_t memory_available_bytes(void)
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
