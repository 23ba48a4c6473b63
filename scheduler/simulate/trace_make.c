#include "scheduler/simulate/trace_make.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define DURATION_MEDIAN_S 1200.0
#define DURATION_SIGMA 1.2
#define DURATION_MIN_S 60.0
#define DURATION_MAX_S 86400.0
#define PI 3.14159265358979323846

static const struct {
    uint32_t pods, percent;
} sizes[] = {{1, 30}, {2, 18}, {4, 18}, {8, 14}, {16, 8}, {32, 6}, {64, 4}, {128, 2}};

struct drawn {
    uint32_t pods, gpus;
    double duration_s, gap; /* gap: in means */
};

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) /* in (0, 1) */
{
    return ((double)(next(state) >> 11) + 0.5) / 9007199254740992.0;
}

static uint32_t draw_pods(uint64_t *state)
{
    uint32_t at = (uint32_t)(next(state) % 100), i = 0;

    while (at >= sizes[i].percent)
        at -= sizes[i++].percent;
    return sizes[i].pods;
}

static double draw_duration(uint64_t *state)
{
    double radius = sqrt(-2 * log(uniform(state))), angle = 2 * PI * uniform(state);
    double seconds = round(DURATION_MEDIAN_S * exp(DURATION_SIGMA * radius * cos(angle)));

    return fmin(fmax(seconds, DURATION_MIN_S), DURATION_MAX_S);
}

static struct drawn draw(uint64_t *state, uint32_t node_gpus, uint64_t room)
{
    struct drawn drawn = {.gpus = node_gpus};

    do {
        drawn.pods = draw_pods(state);
    } while (drawn.pods > 1 && (uint64_t)drawn.pods * node_gpus > room / 2);
    if (drawn.pods == 1 && next(state) % 2 == 0) {
        uint32_t part = 1U << next(state) % 3;

        drawn.gpus = part < node_gpus ? part : node_gpus;
    }
    drawn.duration_s = draw_duration(state);
    drawn.gap = -log(uniform(state));
    return drawn;
}

/* What most nodes of the pool have; of equals the larger. */
static uint32_t usual_node(const struct sim_cluster *cluster)
{
    uint32_t counts[TRACE_GPUS_MAX + 1] = {0}, best = 1;

    for (uint32_t i = 0; i < cluster->nnodes; i++)
        if (cluster->nodes[i].room > 0 && cluster->nodes[i].total <= TRACE_GPUS_MAX)
            counts[cluster->nodes[i].total]++;
    for (uint32_t gpus = 1; gpus <= TRACE_GPUS_MAX; gpus++)
        if (counts[gpus] >= counts[best])
            best = gpus;
    return best;
}

static void write_csv(const struct drawn *drawn, size_t gangs, double mean_s, struct strbuf *out)
{
    double at_s = 0;

    strbuf_adds(out, "name,submit_s,duration_s,pods,gpus\n");
    for (size_t i = 0; i < gangs; i++) {
        at_s += drawn[i].gap * mean_s;
        strbuf_addf(out, "g%06zu,%.0f,%.0f,%u,%u\n", i, floor(at_s), drawn[i].duration_s,
                    drawn[i].pods, drawn[i].gpus);
    }
}

int trace_make(uint64_t seed, size_t gangs, double load, const struct sim_cluster *cluster,
               struct strbuf *out)
{
    struct drawn *drawn = calloc(gangs, sizeof(*drawn));
    uint32_t node_gpus = usual_node(cluster);
    double work = 0, gaps = 0;

    if (!drawn)
        return -ENOMEM;
    for (size_t i = 0; i < gangs; i++) {
        drawn[i] = draw(&seed, node_gpus, cluster->room);
        work += (double)drawn[i].pods * drawn[i].gpus * drawn[i].duration_s;
        gaps += drawn[i].gap;
    }
    write_csv(drawn, gangs, work / ((double)cluster->room * load) / gaps, out);
    free(drawn);
    return out->failed ? -E2BIG : 0;
}
