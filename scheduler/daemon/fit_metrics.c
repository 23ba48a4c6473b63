/* How large a gang would fit now, for dashboards: counted at most every few seconds, O(nodes) under the read lock. */
#include "base/clock.h"
#include "scheduler/daemon/daemon.h"
#include "scheduler/model/fit.h"

#define FRESH_NS INT64_C(5000000000)
#define TEXT_MAX ((size_t)64 << 10)

static const int64_t shapes[] = {1, 2, 4, 8};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the two below */
static struct strbuf text = STRBUF_INIT(TEXT_MAX);
static int64_t counted_ns;

/* Level names are label keys: nothing in them needs a quote. */
static void write_table(struct strbuf *out, const struct fit_table *table)
{
    strbuf_adds(out, "# HELP lockstep_largest_gang_pods Pods of the largest gang that fits now in one "
                     "domain of the level.\n# TYPE lockstep_largest_gang_pods gauge\n");
    for (size_t level = 0; level < table->nlevels; level++)
        for (size_t shape = 0; shape < table->nshapes; shape++)
            strbuf_addf(out, "lockstep_largest_gang_pods{level=\"%s\",pod_gpus=\"%lld\"} %llu\n",
                        table->levels[level].name, (long long)table->shapes[shape],
                        (unsigned long long)table->levels[level].cells[shape].pods);
    strbuf_adds(out, "# HELP lockstep_fragmentation_ratio 1 - the most accelerators that are free in one "
                     "domain of the level / all that are free.\n"
                     "# TYPE lockstep_fragmentation_ratio gauge\n");
    for (size_t level = 0; level < table->nlevels; level++)
        strbuf_addf(out, "lockstep_fragmentation_ratio{level=\"%s\"} %.4f\n",
                    table->levels[level].name, fit_level_fragmentation(table, level));
}

/* Of the first accelerator resource: clusters with several kinds ask lockstep fit --resource. */
static void count(struct daemon *daemon)
{
    struct fit_table table;
    int r = -1;

    strbuf_clear(&text);
    pthread_rwlock_rdlock(&daemon->core_lock);
    if (daemon->config.naccelerators > 0)
        r = core_fit(daemon->core, daemon->config.accelerators[0], shapes, SHAPES, &table);
    if (r == 0)
        write_table(&text, &table); /* it names the core's strings */
    pthread_rwlock_unlock(&daemon->core_lock);
}

void fit_metrics(struct daemon *daemon, struct strbuf *out)
{
    int64_t now_ns = clock_boot_ns();

    pthread_mutex_lock(&lock);
    if (counted_ns == 0 || now_ns - counted_ns >= FRESH_NS) {
        count(daemon);
        counted_ns = now_ns;
    }
    if (text.len > 0)
        strbuf_add(out, text.data, text.len);
    pthread_mutex_unlock(&lock);
}
