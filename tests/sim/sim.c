/* Runs seeds: random life for a while, then calm, in which a gang that fits must be placed. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scheduler/model/objects.h"

#define SECOND INT64_C(1000000000)
#define GANGS 12

void sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "seed %llu step %llu: ", (unsigned long long)sim->seed,
            (unsigned long long)sim->step);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nreplay: sim --seed %llu --runs 1\n", (unsigned long long)sim->seed);
    exit(1);
}

unsigned sim_random(struct sim *sim, unsigned below)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (unsigned)(sim->random >> 11) % below;
}

void sim_check(struct sim *sim)
{
    struct err err = ERR_INIT;

    if (core_check(sim->core, &err) < 0)
        sim_fail(sim, "%s", err.text);
    for (int node = 0; node < SIM_NODES; node++)
        if (sim_node_use(sim, node, false) > SIM_GPUS)
            sim_fail(sim, "I2: node n%d has %d GPUs in use", node, sim_node_use(sim, node, false));
}

/* ---- what happens ------------------------------------------------------------------------------------ */

static int gang_pods(const struct sim *sim, const char *gang, int *ret_size, int *ret_gpus)
{
    int n = 0;

    for (int i = 0; i < SIM_PODS; i++) {
        const struct sim_pod *pod = &sim->pods[i];

        if (!pod->used || strcmp(pod->gang, gang) != 0)
            continue;
        n++;
        *ret_size = pod->size;
        *ret_gpus = pod->gpus;
    }
    return n;
}

/* A new gang, or a member that an old one lacks. */
static void more_members(struct sim *sim)
{
    char gang[16];
    int size = 1 + (int)sim_random(sim, 7), gpus = sim_random(sim, 2) ? 8 : 4, n;

    snprintf(gang, sizeof(gang), "g%u", sim_random(sim, GANGS));
    n = gang_pods(sim, gang, &size, &gpus);
    if (n >= size)
        return;
    for (int i = sim_random(sim, 3) ? size - n : 1; i > 0; i--)
        sim_new_pod(sim, gang, size, gpus);
}

static void delete_gang(struct sim *sim, const char *gang)
{
    for (int i = 0; i < SIM_PODS; i++)
        if (sim->pods[i].used && strcmp(sim->pods[i].gang, gang) == 0)
            sim_delete_pod(sim, &sim->pods[i]);
}

static void delete_something(struct sim *sim)
{
    struct sim_pod *pod = &sim->pods[sim_random(sim, SIM_PODS)];

    if (!pod->used)
        return;
    if (pod->gang[0] && sim_random(sim, 3))
        delete_gang(sim, pod->gang);
    else
        sim_delete_pod(sim, pod);
}

static void change_node(struct sim *sim)
{
    int node = (int)sim_random(sim, SIM_NODES);

    if (sim_random(sim, 4))
        sim->tainted[node] = !sim->tainted[node];
    else if (sim_node_use(sim, node, false) == 0)
        sim->present[node] = !sim->present[node];
    sim->node_unseen[node] = true;
}

static void pass_time(struct sim *sim, int64_t ns)
{
    sim->now_ns += ns;
    sim_expire_votes(sim);
    sim_deliver(sim, (struct event){.kind = EV_TICK});
}

static void random_step(struct sim *sim)
{
    unsigned dice = sim_random(sim, 1000);

    if (dice < 300)
        sim_attempt(sim);
    else if (dice < 550)
        sim_finish_write(sim);
    else if (dice < 800)
        sim_deliver_some(sim);
    else if (dice < 880)
        sim_kubelet(sim);
    else if (dice < 920)
        more_members(sim);
    else if (dice < 930)
        sim_new_pod(sim, "", 0, 1 + (int)sim_random(sim, 8));
    else if (dice < 950)
        delete_something(sim);
    else if (dice < 955)
        change_node(sim);
    else if (dice < 998)
        pass_time(sim, (int64_t)sim_random(sim, 3000) * 1000000);
    else {
        sim_start_core(sim);
        sim->restarts++;
    }
}

/* ---- does it come to rest ------------------------------------------------------------------------------ */

static int bound_of(const struct sim *sim, const char *gang)
{
    int n = 0;

    for (int i = 0; i < SIM_PODS; i++)
        n += sim->pods[i].used && strcmp(sim->pods[i].gang, gang) == 0 && sim->pods[i].node >= 0;
    return n;
}

/* I9: on an emptied cluster a gang of the whole size is placed within bounded time. */
static void calm_down(struct sim *sim)
{
    struct core_counts counts;

    sim->calm = true;
    for (int i = 0; i < SIM_PODS; i++)
        if (sim->pods[i].used)
            sim_delete_pod(sim, &sim->pods[i]);
    for (int node = 0; node < SIM_NODES; node++) {
        sim->present[node] = sim->node_unseen[node] = true;
        sim->tainted[node] = false;
    }
    for (int i = 0; i < SIM_NODES; i++)
        sim_new_pod(sim, "last", SIM_NODES, SIM_GPUS);
    for (int i = 0; i < 6000 && bound_of(sim, "last") < SIM_NODES; i++) {
        sim->step++;
        sim_deliver_all(sim);
        sim_attempt(sim);
        sim_finish_write(sim);
        if (i % 10 == 0)
            pass_time(sim, SECOND / 5);
    }
    if (bound_of(sim, "last") < SIM_NODES)
        sim_fail(sim, "I9: %d of %d pods of the last gang are bound on an empty cluster",
                 bound_of(sim, "last"), SIM_NODES);
    for (int i = 0; i < 100; i++) {
        sim_deliver_all(sim);
        sim_finish_write(sim);
    }
    core_counts(sim->core, &counts);
    if (counts.holds != 0)
        sim_fail(sim, "I4: %zu holds are left when all is bound", counts.holds);
}

static void run_seed(struct sim *sim, uint64_t seed, uint64_t steps, bool trace)
{
    *sim = (struct sim){.seed = seed, .trace = trace, .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                        .now_ns = SECOND};
    if (config_init(&sim->config) < 0)
        sim_fail(sim, "no memory");
    sim->config.lease[0] = '\0';
    for (int node = 0; node < SIM_NODES; node++)
        sim->present[node] = true;
    sim_start_core(sim);
    for (sim->step = 1; sim->step <= steps; sim->step++)
        random_step(sim);
    calm_down(sim);
    core_free(sim->core);
    config_release(&sim->config);
    actions_release(&sim->actions);
    for (int i = 0; i < SIM_WRITES; i++)
        free(sim->writes[i].body);
    for (size_t i = 0; i < sizeof(sim->records) / sizeof(sim->records[0]); i++)
        free(sim->records[i].body);
}

int main(int argc, char **argv)
{
    static struct sim sim;
    uint64_t seed = 1, runs = 200, steps = 2000, total = 0, bound = 0, restarts = 0, lost = 0;
    bool trace = false;
    clock_t start = clock();

    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--seed") == 0)
            seed = value;
        else if (strcmp(argv[i], "--runs") == 0)
            runs = value;
        else if (strcmp(argv[i], "--steps") == 0)
            steps = value;
        else if (strcmp(argv[i], "--trace") == 0)
            trace = value;
    }
    for (uint64_t i = 0; i < runs; i++) {
        run_seed(&sim, seed + i, steps, trace);
        total += sim.step;
        bound += sim.bound;
        restarts += sim.restarts;
        lost += sim.lost;
    }
    printf("%llu seeds, %llu steps, %llu bindings, %llu restarts, %llu answers lost: no violation; "
           "%.0f steps/s\n",
           (unsigned long long)runs, (unsigned long long)total, (unsigned long long)bound,
           (unsigned long long)restarts, (unsigned long long)lost,
           (double)total / ((double)(clock() - start) / CLOCKS_PER_SEC));
    return 0;
}
