#include "tests/bench/collective/copy.h"

#include <errno.h>

#include "collective/tcp_internal.h"

const struct copy_kind copy_kinds[COPIES] = {
    {"memory to memory, 64 KiB sends", 64u << 10, 0},
    {"memory to memory, 256 KiB sends", 256u << 10, 0},
    {"memory to memory, 1 MiB sends", 1u << 20, 0},
    {"within the cache, 128 KiB sends", 128u << 10, 128u << 10}};

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

int copy_once(const struct copy_way *way, const struct copy_kind *kind)
{
    size_t buffer = kind->buffer ? kind->buffer : way->bytes, sent = 0, got = 0;

    while (sent < way->total || got < way->total) {
        size_t at_out = sent % buffer, at_in = got % buffer;
        size_t out_len = least(kind->chunk, buffer - at_out, way->total - sent);
        size_t in_len = least(kind->chunk, buffer - at_in, way->total - got);
        ssize_t n = 0, m = 0;

        if (out_len && (n = send(way->out, way->from + at_out, out_len, MSG_NOSIGNAL)) > 0)
            sent += (size_t)n;
        if (in_len && (m = recv(way->in, way->into + at_in, in_len, 0)) > 0)
            got += (size_t)m;
        if ((n < 0 || m < 0) && errno != EAGAIN)
            return -errno;
        if (in_len && m == 0)
            return -ECONNRESET;
        if (n <= 0 && m <= 0) {
            struct pollfd fds[] = {{.fd = sent < way->total ? way->out : -1, .events = POLLOUT},
                                   {.fd = got < way->total ? way->in : -1, .events = POLLIN}};

            if (tcp_wait(fds, 2, way->deadline_ns) < 0)
                return -ETIMEDOUT;
        }
    }
    return 0;
}
