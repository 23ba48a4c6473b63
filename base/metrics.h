/*
 * metrics.h - Prometheus text from C11 atomics: fixed tables, no allocation after start.
 *
 * A metric is a static struct; metrics_write() prints those it is given. Any thread may add.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_BUCKETS 12
struct metric {
    const char *name, *help;
    const char *label; /* `verb="filter"` or NULL: printed inside braces as it is */
    enum metric_kind kind;
    _Atomic int64_t value; /* counter, gauge; histogram: count */
    _Atomic int64_t sum_ns; /* histogram */
    _Atomic int64_t buckets[METRIC_BUCKETS]; /* of metric_bounds_ns, not cumulated */
};

extern const int64_t metric_bounds_ns[METRIC_BUCKETS - 1]; /* the last bucket is +Inf */

static inline void metric_add(struct metric *metric, int64_t n)
{
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *metric, int64_t n)
{
    atomic_store_explicit(&metric->value, n, memory_order_relaxed);
}
void metric_observe(struct metric *metric, int64_t ns);

/* Metrics of one name stand together; HELP and TYPE are printed once for them. */
void metrics_write(struct strbuf *out, struct metric *const *metrics, size_t n);
