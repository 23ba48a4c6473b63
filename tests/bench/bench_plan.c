/*
 * How long plans take on an index that is kept by change, beside a plain scan of the node table (what memory
 * allows) and a greedy best-fit that looks at nodes alone; and how many domains each uses. Figures on stdout, a
 * table on stderr. Every cluster has three levels: racks of 32 nodes of 8 GPUs, blocks of 16 racks, spines of
 * 4 blocks. It is filled by whole nodes (four fifths of the use) and small pods, seeded. "Fastest" is the same
 * question where racks in turn are of three machine types and pods on one node share its NICs (plan_speed.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/plan/plan_speed.h"

#define LEVELS 3
#define RUNS 200
#define GPUS 8

static const uint32_t level_nodes[LEVELS] = {2048, 512, 32};
static const char *const level_names[LEVELS] = {"spine", "block", "rack"};

/* ---- allocations are counted ------------------------------------------------------------------------------- */

static unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    allocations++;
    return __real_realloc(old, size);
}

/* ---- clusters ------------------------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % below);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct table {
    uint32_t n, *free; /* GPUs by node */
    struct plan_node *nodes;
};

static void fill(struct table *table, unsigned percent)
{
    uint64_t wanted = (uint64_t)table->n * GPUS * percent / 100, used = 0;

    for (uint32_t i = 0; i < table->n; i++)
        table->free[i] = GPUS;
    while (used < wanted) {
        uint32_t node = next_random(table->n), take = next_random(5) ? GPUS : 1 + next_random(4);

        if (table->free[node] < take)
            continue;
        table->free[node] -= take;
        used += take;
    }
}

static struct table make_table(uint32_t n, unsigned percent)
{
    struct table table = {n, calloc(n, sizeof(uint32_t)), calloc(n, sizeof(struct plan_node))};

    random_state = 17 + n + percent;
    fill(&table, percent);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t level = 0; level < LEVELS; level++)
            table.nodes[i].domain[level] = 10000 * level + i / level_nodes[level];
    return table;
}

static void set_shape(struct table *table, uint32_t gpus)
{
    for (uint32_t i = 0; i < table->n; i++) {
        table->nodes[i].capacity = table->free[i] / gpus;
        table->nodes[i].free_units = table->free[i];
    }
}

/* ---- rivals ---------------------------------------------------------------------------------------------------- */

/* No planner that looks at each node once is faster. */
static double scan_us(const struct table *table)
{
    double start = now_us();
    volatile uint64_t sink;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < table->n; i++)
        sum += table->nodes[i].capacity;
    sink = sum;
    (void)sink;
    return now_us() - start;
}

/* Pods to the node with least room that takes one, by name: one pass a count of free GPUs. */
static bool best_fit(const struct table *table, uint32_t pods, uint32_t *counts)
{
    memset(counts, 0, table->n * sizeof(*counts));
    for (uint32_t capacity = 1; capacity <= GPUS && pods > 0; capacity++)
        for (uint32_t i = 0; i < table->n && pods > 0; i++) {
            if (table->nodes[i].capacity != capacity)
                continue;
            counts[i] = capacity < pods ? capacity : pods;
            pods -= counts[i];
        }
    return pods == 0;
}

static uint32_t domains_of(const uint32_t *counts, uint32_t n, uint32_t level)
{
    uint32_t used = 0, last = UINT32_MAX;

    for (uint32_t i = 0; i < n; i++) {
        if (counts[i] == 0 || i / level_nodes[level] == last)
            continue;
        last = i / level_nodes[level];
        used++;
    }
    return used;
}

/* ---- one question --------------------------------------------------------------------------------------------------- */

struct shape {
    uint32_t pods, gpus;
};

struct result {
    double median_us, p99_us, scan_us, greedy_us, fastest_us;
    bool fits;
    struct plan plan;
};

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static void measure_rivals(const struct table *table, const struct shape *shape, uint32_t *counts,
                           struct result *result)
{
    double scans[RUNS], greedy[RUNS];

    for (int i = 0; i < RUNS; i++) {
        double start = now_us();

        best_fit(table, shape->pods, counts);
        greedy[i] = now_us() - start;
        scans[i] = scan_us(table);
    }
    result->scan_us = median(scans, RUNS);
    result->greedy_us = median(greedy, RUNS);
}

static struct result measure(struct table *table, const struct shape *shape, struct plan_index *index,
                             struct plan_scratch *scratch, uint32_t *counts)
{
    struct plan_request request = {.pods = shape->pods, .required_level = -1, .preferred_level = -1};
    struct result result = {0};
    struct plan_shortage shortage;
    unsigned long before = 0;
    double took[RUNS];

    set_shape(table, shape->gpus);
    plan_index_build(index, LEVELS, table->nodes, table->n);
    measure_rivals(table, shape, counts, &result);
    for (int i = -2; i < RUNS; i++) { /* two to let the scratch grow */
        double start = now_us();

        before = i == 0 ? allocations : before;
        result.fits = plan_on_index(index, &request, scratch, &result.plan, &shortage) == 0;
        if (i >= 0)
            took[i] = now_us() - start;
    }
    if (allocations != before) {
        fprintf(stderr, "bench_plan: %lu allocations while planning\n", allocations - before);
        exit(1);
    }
    result.median_us = median(took, RUNS);
    result.p99_us = took[RUNS * 99 / 100];
    return result;
}

#define TYPES 3

/* With 1 to 8 pods on a node: what is within is fast, what goes out is shared. */
static struct plan_speed make_speed(const struct table *table, uint16_t *class)
{
    static const float within[TYPES] = {120, 240, 360}, out[TYPES] = {12, 25, 50};
    static float gb_s[TYPES * GPUS];

    for (uint32_t i = 0; i < table->n; i++)
        class[i] = (uint16_t)(i / level_nodes[LEVELS - 1] % TYPES);
    for (unsigned t = 0; t < TYPES; t++)
        for (unsigned pods = 1; pods <= GPUS; pods++) {
            float shared = out[t] * GPUS / (float)pods;

            gb_s[t * GPUS + pods - 1] = shared < within[t] ? shared : within[t];
        }
    return (struct plan_speed){TYPES, GPUS, class, gb_s};
}

/* The index is the shape's already. */
static double measure_fastest(const struct table *table, const struct shape *shape,
                              const struct plan_index *index, struct plan_scratch *scratch,
                              struct plan_race *race, uint16_t *class)
{
    struct plan_request request = {.pods = shape->pods, .required_level = -1, .preferred_level = -1};
    struct plan_speed speed = make_speed(table, class);
    struct plan_shortage shortage;
    struct plan_speed_use use;
    struct plan plan;
    unsigned long before = 0;
    double took[RUNS];

    for (int i = -2; i < RUNS; i++) {
        double start = now_us();

        before = i == 0 ? allocations : before;
        plan_fastest(index, &request, &speed, race, scratch, &plan, &use, &shortage);
        if (i >= 0)
            took[i] = now_us() - start;
    }
    if (allocations != before) {
        fprintf(stderr, "bench_plan: %lu allocations while planning for speed\n", allocations - before);
        exit(1);
    }
    return median(took, RUNS);
}

static void print_row(const struct table *table, const struct shape *shape, unsigned percent,
                      const struct result *result, const uint32_t *counts)
{
    char name[32], domains[64] = "does not fit", proven[8] = "";

    snprintf(name, sizeof(name), "%ux%u", shape->pods, shape->gpus);
    if (result->fits)
        snprintf(domains, sizeof(domains), "%u/%u %u/%u %u/%u", result->plan.use[0].used,
                 domains_of(counts, table->n, 0), result->plan.use[1].used, domains_of(counts, table->n, 1),
                 result->plan.use[2].used, domains_of(counts, table->n, 2));
    if (result->fits)
        snprintf(proven, sizeof(proven), "%s", result->plan.even ? "all" : "part");
    fprintf(stderr, "%6u %4u%% %8s %9.1f %9.1f %9.1f %9.1f %9.1f   %-20s %s\n", table->n, percent, name,
            result->median_us, result->p99_us, result->fastest_us, result->greedy_us, result->scan_us,
            domains, proven);
}

/* ---- node events ------------------------------------------------------------------------------------------------------ */

static double node_event_ns(struct table *table, struct plan_index *index)
{
    uint32_t n = 1000000;
    double start;

    set_shape(table, 1);
    plan_index_build(index, LEVELS, table->nodes, table->n);
    start = now_us();
    for (uint32_t i = 0; i < n; i++)
        plan_index_set(index, (uint32_t)((uint64_t)i * 2654435761u % table->n), i % (GPUS + 1), i % 9);
    return (now_us() - start) * 1e3 / n;
}

/* ---- all ----------------------------------------------------------------------------------------------------------------- */

struct figures {
    double us_1000_5k, us_4000_15k, us_one_domain, scans_1000_5k; /* the slowest median over all uses */
    double fastest_1000_5k, fastest_4000_15k, fastest_one_domain;
};

static void raise(double *figure, double value)
{
    *figure = value > *figure ? value : *figure;
}

static void note(const struct table *table, const struct shape *shape, const struct result *result,
                 struct figures *figures)
{
    if (!result->fits)
        return;
    if (shape->pods == 1000 && table->n == 5000) {
        raise(&figures->us_1000_5k, result->median_us);
        raise(&figures->scans_1000_5k, result->median_us / result->scan_us);
        raise(&figures->fastest_1000_5k, result->fastest_us);
    }
    if (shape->pods == 4000 && table->n == 15000) {
        raise(&figures->us_4000_15k, result->median_us);
        raise(&figures->fastest_4000_15k, result->fastest_us);
    }
    if (result->plan.use[LEVELS - 1].used == 1) {
        raise(&figures->us_one_domain, result->median_us);
        raise(&figures->fastest_one_domain, result->fastest_us);
    }
}

int main(void)
{
    static const uint32_t sizes[] = {1000, 5000, 15000};
    static const unsigned uses[] = {0, 50, 80, 92};
    static const struct shape shapes[] = {{64, 8}, {1000, 8}, {4000, 8}, {16, 4}, {512, 1}};
    struct plan_scratch *scratch = plan_scratch_new();
    struct plan_index *index = plan_index_new();
    struct plan_race *race = plan_race_new();
    struct figures figures = {0};
    double event_ns = 0;

    fprintf(stderr, "%6s %5s %8s %9s %9s %9s %9s %9s   %s, %s, %s: ours/best-fit, proven\n", "nodes", "use", "gang",
            "median us", "p99 us", "fastest", "best-fit", "scan", level_names[0], level_names[1], level_names[2]);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (size_t u = 0; u < sizeof(uses) / sizeof(uses[0]); u++) {
            struct table table = make_table(sizes[s], uses[u]);
            uint32_t *counts = calloc(sizes[s], sizeof(*counts));
            uint16_t *class = calloc(sizes[s], sizeof(*class));

            for (size_t g = 0; g < sizeof(shapes) / sizeof(shapes[0]); g++) {
                struct result result = measure(&table, &shapes[g], index, scratch, counts);

                result.fastest_us = measure_fastest(&table, &shapes[g], index, scratch, race, class);
                best_fit(&table, shapes[g].pods, counts);
                print_row(&table, &shapes[g], uses[u], &result, counts);
                note(&table, &shapes[g], &result, &figures);
            }
            event_ns = node_event_ns(&table, index);
            free(table.free);
            free(table.nodes);
            free(counts);
            free(class);
        }
    printf("plan.1000x8_5k_us: %.1f us\n", figures.us_1000_5k);
    printf("plan.4000x8_15k_us: %.1f us\n", figures.us_4000_15k);
    printf("plan.one_domain_us: %.1f us\n", figures.us_one_domain);
    printf("plan.vs_scan_1000x8_5k: %.1f ratio\n", figures.scans_1000_5k);
    printf("plan.node_event_ns: %.1f ns\n", event_ns);
    printf("plan.fastest_1000x8_5k_us: %.1f us\n", figures.fastest_1000_5k);
    printf("plan.fastest_4000x8_15k_us: %.1f us\n", figures.fastest_4000_15k);
    printf("plan.fastest_one_domain_us: %.1f us\n", figures.fastest_one_domain);
    plan_race_free(race);
    plan_index_free(index);
    plan_scratch_free(scratch);
    return 0;
}
