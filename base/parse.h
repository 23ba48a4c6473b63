/*
 * parse.h - text from outside to values. Each takes (pointer, length), reads all of it, and returns
 * 0, -EINVAL (not of that form) or -ERANGE (beyond the stated bounds); outputs only on success.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int parse_u64(const char *text, size_t len, uint64_t max, uint64_t *ret);
int parse_i64(const char *text, size_t len, int64_t min, int64_t max, int64_t *ret);

/* "50s", "10m", "1h30m", "500ms" to nanoseconds; whole numbers with units ns us ms s m h only. */
int parse_duration(const char *text, size_t len, int64_t *ret_ns);

/*
 * Kubernetes resource.Quantity: decimal number, then m, k M G T P E, Ki Mi Gi Ti Pi Ei or e<int>.
 * Rounded up; milli = thousandths (cpu). Source: apimachinery pkg/api/resource, "Quantity" grammar.
 */
int parse_quantity(const char *text, size_t len, int64_t *ret_units);
int parse_quantity_milli(const char *text, size_t len, int64_t *ret_milli);

/* RFC 3339 in UTC ("2026-01-02T03:04:05Z", fraction allowed and dropped) to seconds since 1970. */
int parse_time(const char *text, size_t len, int64_t *ret_seconds);

bool utf8_valid(const char *text, size_t len);
bool is_dns_subdomain(const char *text, size_t len); /* RFC 1123, at most 253 bytes */
