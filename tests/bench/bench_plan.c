/* How long a plan takes, beside a plain scan of the node table: figures on stdout, a table on stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scheduler/plan/plan.h"

#define RUNS 5

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Racks of 32 nodes, 16 racks a block, half of the nodes in use. */
static struct plan_node *make_nodes(uint32_t n)
{
    struct plan_node *nodes = calloc(n, sizeof(*nodes));

    for (uint32_t i = 0; nodes && i < n; i++) {
        nodes[i].domain[0] = i / 512;
        nodes[i].domain[1] = 100000 + i / 32;
        nodes[i].capacity = i * 2654435761u >> 31;
        nodes[i].free_units = nodes[i].capacity * 8;
    }
    return nodes;
}

static double scan_us(const struct plan_node *nodes, uint32_t n)
{
    double start = now_us();
    volatile uint32_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += nodes[i].capacity;
    (void)sum;
    return now_us() - start;
}

static void bench(const char *name, uint32_t n, uint32_t pods)
{
    struct plan_scratch *scratch = plan_scratch_new();
    struct plan_node *nodes = make_nodes(n);
    struct plan_request request = {.nlevels = 2, .nnodes = n, .nodes = nodes, .pods = pods,
                                   .required_level = -1, .preferred_level = -1};
    double best = 1e18, scan = 1e18;

    for (int i = 0; i < RUNS; i++) {
        struct plan plan = {0};
        struct plan_shortage shortage;
        double start = now_us(), took;
        int r = plan_gang(&request, scratch, &plan, &shortage);

        took = now_us() - start;
        best = took < best ? took : best;
        took = scan_us(nodes, n);
        scan = took < scan ? took : scan;
        if (r < 0)
            fprintf(stderr, "%s: does not fit\n", name);
    }
    fprintf(stderr, "%-16s %8.0f us, %8.0f times a scan of the nodes\n", name, best, best / scan);
    printf("plan.%s_us: %.0f us\n", name, best);
    free(nodes);
    plan_scratch_free(scratch);
}

int main(void)
{
    bench("32x8_1k", 1000, 32);
    bench("1000x8_5k", 5000, 1000);
    bench("4000x8_15k", 15000, 4000);
    return 0;
}
