#include "base/metrics.h"

#include <string.h>

const int64_t metric_bounds_ns[METRIC_BUCKETS - 1] = {
    50000,    100000,    250000,    500000,     1000000,    5000000,
    20000000, 100000000, 500000000, 5000000000, 50000000000};

void metric_observe(struct metric *metric, int64_t ns)
{
    size_t bucket = 0;

    while (bucket < METRIC_BUCKETS - 1 && ns > metric_bounds_ns[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->sum_ns, ns, memory_order_relaxed);
    metric_add(metric, 1);
}

static void write_histogram(struct strbuf *out, struct metric *metric)
{
    const char *label = metric->label ? metric->label : "", *comma = metric->label ? "," : "";
    int64_t sum = 0;

    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        sum += atomic_load(&metric->buckets[i]);
        strbuf_addf(out, "%s_bucket{%s%sle=\"", metric->name, label, comma);
        if (i < METRIC_BUCKETS - 1)
            strbuf_addf(out, "%g", (double)metric_bounds_ns[i] / 1e9);
        else
            strbuf_adds(out, "+Inf");
        strbuf_addf(out, "\"} %lld\n", (long long)sum);
    }
    strbuf_addf(out, "%s_sum{%s} %.9f\n", metric->name, label,
                (double)atomic_load(&metric->sum_ns) / 1e9);
    strbuf_addf(out, "%s_count{%s} %lld\n", metric->name, label, (long long)sum);
}

void metrics_write(struct strbuf *out, struct metric *const *metrics, size_t n)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    for (size_t i = 0; i < n; i++) {
        struct metric *metric = metrics[i];

        if (i == 0 || strcmp(metrics[i - 1]->name, metric->name) != 0)
            strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                        metric->name, kinds[metric->kind]);
        if (metric->kind == METRIC_HISTOGRAM)
            write_histogram(out, metric);
        else if (metric->label)
            strbuf_addf(out, "%s{%s} %lld\n", metric->name, metric->label,
                        (long long)atomic_load(&metric->value));
        else
            strbuf_addf(out, "%s %lld\n", metric->name, (long long)atomic_load(&metric->value));
    }
}
