/*
 * strbuf.h - a growing byte buffer that is born with a maximum.
 *
 * data is NUL-terminated after each successful call once something was added (len does not count
 * the NUL); before that it is NULL. A call that would pass `max` changes nothing, returns -E2BIG and
 * marks the buffer `failed`, so that a chain of additions needs one check at its end. The owner
 * calls strbuf_release(); strbuf_take() moves the bytes out. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *data;
    size_t len; /* bytes in use */
    size_t size; /* bytes allocated */
    size_t max; /* bytes len may reach */
    bool failed; /* an addition was refused: the content is incomplete */
};

#define STRBUF_INIT(max_bytes) {.max = (max_bytes)}

void strbuf_release(struct strbuf *buf); /* frees; the buffer may be used again, same max */
void strbuf_wipe(struct strbuf *buf); /* as release, of a secret: overwritten first; what it outgrew is not */
void strbuf_clear(struct strbuf *buf); /* len = 0, failed = false; keeps the memory */
int strbuf_reserve(struct strbuf *buf, size_t more);
int strbuf_add(struct strbuf *buf, const void *bytes, size_t len);
int strbuf_adds(struct strbuf *buf, const char *text);
int strbuf_addc(struct strbuf *buf, char c);
int strbuf_addf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
int strbuf_read_file(struct strbuf *buf, const char *path); /* appends; "-" is standard input */
void strbuf_consume(struct strbuf *buf, size_t len); /* drops the first len bytes */
char *strbuf_take(struct strbuf *buf, size_t *ret_len); /* caller frees; ret_len may be NULL */
