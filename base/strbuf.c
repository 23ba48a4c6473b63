#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

void strbuf_release(struct strbuf *buf)
{
    if (!buf)
        return;
    free(buf->data);
    *buf = (struct strbuf)STRBUF_INIT(buf->max);
}

void strbuf_wipe(struct strbuf *buf)
{
    if (buf && buf->data)
        explicit_bzero(buf->data, buf->size);
    strbuf_release(buf);
}

void strbuf_clear(struct strbuf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

static int refuse(struct strbuf *buf, int code)
{
    buf->failed = true;
    return code;
}

int strbuf_reserve(struct strbuf *buf, size_t more)
{
    size_t size = buf->size ? buf->size : 64;
    char *data;

    if (more > buf->max || buf->len > buf->max - more)
        return refuse(buf, -E2BIG);
    if (buf->data && buf->len + more < buf->size)
        return 0;
    while (size <= buf->len + more)
        size *= 2;
    data = realloc(buf->data, size);
    if (!data)
        return refuse(buf, -ENOMEM);
    buf->data = data;
    buf->size = size;
    return 0;
}

int strbuf_add(struct strbuf *buf, const void *bytes, size_t len)
{
    int r = strbuf_reserve(buf, len);

    if (r < 0)
        return r;
    if (len)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

int strbuf_adds(struct strbuf *buf, const char *text)
{
    return strbuf_add(buf, text, strlen(text));
}

int strbuf_addc(struct strbuf *buf, char c)
{
    return strbuf_add(buf, &c, 1);
}

int strbuf_addf(struct strbuf *buf, const char *format, ...)
{
    va_list args, again;
    int n, r;

    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    r = n < 0 ? refuse(buf, -EINVAL) : strbuf_reserve(buf, (size_t)n);
    if (r == 0) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, format, again);
        buf->len += (size_t)n;
    }
    va_end(again);
    return r;
}

static int read_all(struct strbuf *buf, int fd)
{
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(buf, -errno);
        if (n == 0)
            return strbuf_add(buf, "", 0);
        r = strbuf_add(buf, chunk, (size_t)n);
        if (r < 0)
            return r;
    }
}

int strbuf_read_file(struct strbuf *buf, const char *path)
{
    CLEANUP_CLOSE int fd = -1;

    if (strcmp(path, "-") == 0)
        return read_all(buf, STDIN_FILENO);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(buf, -errno);
    return read_all(buf, fd);
}

void strbuf_consume(struct strbuf *buf, size_t len)
{
    if (len > buf->len)
        len = buf->len;
    buf->len -= len;
    if (buf->data) {
        memmove(buf->data, buf->data + len, buf->len);
        buf->data[buf->len] = '\0';
    }
}

char *strbuf_take(struct strbuf *buf, size_t *ret_len)
{
    char *data = buf->data;

    if (ret_len)
        *ret_len = buf->len;
    *buf = (struct strbuf)STRBUF_INIT(buf->max);
    return data;
}
