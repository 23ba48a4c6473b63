/*
 * err.h - the message that goes with a negative errno.
 *
 * A function that can fail takes `struct err *` last and returns 0 or a negative errno. On failure
 * it has written one line: the fault first, lower case, no full stop, naming what was found and what
 * was expected. On success the err is untouched. `err` may be NULL: nobody wants the text.
 * A value type; no allocation, no ownership, one thread at a time.
 */
#pragma once

#define ERR_TEXT_MAX 512

struct err {
    char text[ERR_TEXT_MAX]; /* NUL-terminated; a longer message is cut */
};

#define ERR_INIT {{0}}

/* Writes the message and returns `code` (negative), so that reporting is one line. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message that is already there, and returns `code`. */
int err_prefix(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
