/*
 * log.h - one line per event on standard error; for mains, never for libraries.
 *
 *   2026-01-02T03:04:05.678Z info core gang planned gang=ns/train nodes=32
 *
 * Control characters in the text are shown as '?', so that nobody forges a line. Any thread.
 */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level); /* before threads start; default LOG_INFO */
int log_parse_level(const char *name, enum log_level *ret); /* -EINVAL */
void log_line(enum log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
