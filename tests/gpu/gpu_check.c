/*
 * gpu_check - the nccl backend on real GPUs (tests/gpu/run.sh): ranks in child processes as the
 * probe starts them, with faults that need no fake: a rank that is killed, one that never comes.
 * Prints result lines and figures.
 *
 *   gpu_check list              GPUs: index, name, free memory; exit 77 and the reason when there is none to be used
 *   gpu_check MODE RANKS [shared|apart]
 *
 * MODE: ops (all ops, with data; pairs), killed (a rank, in an op), frozen (the same, but it stays),
 * missing (a rank never comes). shared: all ranks on GPU 0; apart: also each as if on a host of its
 * own. Where NCCL refuses that, it is skipped. Exit code: 0, 1: failed, 77: skipped.
 * LOCKSTEP_GPU_LABEL is what result lines begin with, LOCKSTEP_GPU_MIB the largest op.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collective/cuda_api.h"
#include "collective/nvml_api.h"
#include "tests/gpu/lead.h"

#define MIB (1ull << 20)
#define GPUS_MAX 64
#define SETTLED_MIB 64 /* that free memory may differ by after a run */
#define SKIPPED 77
#define CONNECT_NS (60 * LEAD_S)

struct gpus {
    unsigned n;
    char uuids[GPUS_MAX][CUDA_API_UUID_TEXT], names[GPUS_MAX][64];
};

static struct gpus gpus;
static struct lead_result led;

/* ---- GPUs ----------------------------------------------------------------------------------------------- */

/* Without a context, so that this process takes no GPU memory. */
static int find_gpus(struct err *err)
{
    struct cuda_api cuda;
    int n = 0, r = cuda_api_load(&cuda, err);
    enum cuda_api_result result;

    if (r < 0)
        return r;
    result = cuda.init(0);
    if (result == CUDA_API_OK)
        result = cuda.device_get_count(&n);
    if (result != CUDA_API_OK || n == 0)
        return err_set(err, -ENODEV, "the CUDA driver shows no GPU (%s)", cuda_api_error_name(&cuda, result));
    for (int i = 0; i < n && i < GPUS_MAX; i++) {
        struct cuda_uuid uuid;
        cuda_device device;

        if (cuda.device_get(&device, i) != CUDA_API_OK || cuda.device_get_uuid(&uuid, device) != CUDA_API_OK ||
            cuda.device_get_name(gpus.names[i], sizeof(gpus.names[i]), device) != CUDA_API_OK)
            return err_set(err, -ENODEV, "GPU %d cannot be looked at", i);
        cuda_api_uuid_text(&uuid, gpus.uuids[i]);
        gpus.n++;
    }
    return 0;
}

static unsigned long long used_mib(unsigned gpu)
{
    struct nvml_state state;

    return nvml_state_read(gpus.uuids[gpu], &state, NULL) < 0 ? 0 : state.memory.used / MIB;
}

static int list_gpus(void)
{
    for (unsigned i = 0; i < gpus.n; i++) {
        struct nvml_state state;
        struct err err = ERR_INIT;

        if (nvml_state_read(gpus.uuids[i], &state, &err) < 0)
            printf("%u %s %s (%s)\n", i, gpus.uuids[i], gpus.names[i], err.text);
        else
            printf("%u %s %s: %llu of %llu MiB used, %u processes, clocks held down by 0x%llx%s\n", i,
                   gpus.uuids[i], gpus.names[i], state.memory.used / MIB, state.memory.total / MIB,
                   state.n_processes, state.clock_reasons,
                   state.clock_reasons & NVML_API_SLOWED ? ": they are slowed" : "");
    }
    return 0;
}

/* ---- checks --------------------------------------------------------------------------------------------- */

static const char *label(void)
{
    const char *text = getenv("LOCKSTEP_GPU_LABEL");

    return text ? text : "gpu";
}

static int result_line(bool ok, const char *name, const char *why)
{
    printf("%s %s.%s%s%s\n", ok ? "ok" : "not ok", label(), name, ok || !*why ? "" : ": ", ok ? "" : why);
    return ok ? 0 : 1;
}

/* When a rank could not use its GPU (busy, short of memory, no library), or NCCL refuses two on one. */
static bool skips(const char *name, const struct lead_options *options)
{
    for (unsigned i = 0; i < options->ranks; i++) {
        const struct lead_rank *rank = &led.ranks[i];
        bool unusable = rank->phase == CHILD_OPENING &&
                        (rank->error == -ENODEV || rank->error == -ENOMEM || rank->error == -EBUSY);

        if (!unusable && !(options->one_gpu && options->ranks > 1 && rank->error &&
                           rank->phase == CHILD_CONNECTING && options->absent == LEAD_NOBODY))
            continue;
        printf("skip %s.%s: rank %u: %s\n", label(), name, i, rank->text);
        return true;
    }
    return false;
}

static void print_rows(const char *name, const struct lead_options *options)
{
    const struct measure_result *result = &led.ranks[0].result;

    for (unsigned i = 0; i < result->n_rows; i++)
        printf("# %s %s %u ranks %12llu bytes %10.1f us  algbw %8.2f  busbw %8.2f GB/s  wrong %llu  (%u ops)\n",
               name, op_name(options->plan.op), options->ranks, (unsigned long long)result->rows[i].bytes,
               result->rows[i].seconds * 1e6, result->rows[i].algbw_gb_s, result->rows[i].busbw_gb_s,
               (unsigned long long)result->rows[i].wrong, result->rows[i].iterations);
}

static void print_times(const char *name)
{
    printf("# %s NCCL %s on %s: open %.2f s, connect %.2f s, run %.2f s, pairs %.2f s, close %.2f s, all %.2f s\n",
           name, led.ranks[0].info.version, led.ranks[0].info.device, (double)led.stage_ns[LEAD_OPEN] * 1e-9,
           (double)led.stage_ns[LEAD_CONNECT] * 1e-9, (double)led.stage_ns[LEAD_RUN] * 1e-9,
           (double)led.stage_ns[LEAD_PAIRS] * 1e-9, (double)led.stage_ns[LEAD_CLOSE] * 1e-9,
           (double)led.total_ns * 1e-9);
}

static int memory_line(const char *name, const unsigned long long *before, unsigned used_gpus)
{
    char line[96], why[96] = "";

    for (unsigned i = 0; i < used_gpus; i++) {
        unsigned long long after = used_mib(i);

        for (unsigned wait = 0; after > before[i] + SETTLED_MIB && wait < 50; wait++) {
            usleep(100000); /* a driver frees a dead process' memory in its own time */
            after = used_mib(i);
        }
        if (after > before[i] + SETTLED_MIB)
            snprintf(why, sizeof(why), "GPU %u has %llu MiB used, %llu before", i, after, before[i]);
    }
    snprintf(line, sizeof(line), "%s.memory_is_freed", name);
    return result_line(!why[0], line, why);
}

/* All ranks through all ops, with data. */
static int check_ops(const char *name, struct lead_options *options)
{
    int bad = 0;

    for (enum collective_op op = 0; op < OP_COUNT; op++) {
        char line[96], why[CHILD_TEXT_MAX + 64] = "";
        struct err err = ERR_INIT;

        options->plan.op = op;
        if (lead(options, &led, &err) < 0)
            snprintf(why, sizeof(why), "%s", err.text);
        else if (op == 0 && skips(name, options))
            return SKIPPED;
        for (unsigned i = 0; i < options->ranks && !why[0]; i++)
            if (led.ranks[i].error || !led.ranks[i].ended_well)
                snprintf(why, sizeof(why), "rank %u in %s: %s", i, child_phase_name(led.ranks[i].phase),
                         led.ranks[i].text);
            else if (led.ranks[i].result.own_wrong)
                snprintf(why, sizeof(why), "rank %u has %llu wrong words", i,
                         (unsigned long long)led.ranks[i].result.own_wrong);
        snprintf(line, sizeof(line), "%s.%s_is_right", name, op_name(op));
        bad |= result_line(!why[0], line, why);
        print_rows(name, options);
        print_times(name);
    }
    return bad;
}

/* Nobody may outlast the deadline by more than what an abort and the parent's patience take. */
static int check_fault(const char *name, const struct lead_options *options, uint64_t within_ns)
{
    char why[CHILD_TEXT_MAX + 64] = "";
    struct err err = ERR_INIT;

    if (lead(options, &led, &err) < 0)
        snprintf(why, sizeof(why), "%s", err.text);
    else if (skips(name, options))
        return SKIPPED;
    for (unsigned i = 0; i < options->ranks && !why[0]; i++) {
        const struct lead_rank *rank = &led.ranks[i];

        printf("# %s rank %u: %s after %.2f s: %s%s\n", name, i, rank->error ? strerror(-rank->error) : "no error",
               (double)rank->failed_ns * 1e-9, rank->text,
               rank->stopped ? " (had to be killed)" : rank->ended_itself ? " (ended by itself)" : "");
        if (!rank->error && !rank->stopped && i != options->absent)
            snprintf(why, sizeof(why), "rank %u did not fail", i);
    }
    if (!why[0] && led.total_ns > within_ns)
        snprintf(why, sizeof(why), "took %.1f s", (double)led.total_ns * 1e-9);
    return result_line(!why[0], name, why);
}

/* So that ranks are still at it when one is killed: many large sizes, all of them with data. */
static void make_long(struct measure_plan *plan)
{
    uint64_t largest = plan->sizes[plan->n_sizes - 1];

    plan->n_sizes = MEASURE_SIZES_MAX;
    for (unsigned i = 0; i < MEASURE_SIZES_MAX; i++)
        plan->sizes[i] = largest / 2 + largest / 2 / MEASURE_SIZES_MAX * (i + 1);
    plan->budget_ns = 60 * LEAD_S;
}

static int run_mode(const char *mode, struct lead_options *options, const char *way)
{
    unsigned long long before[GPUS_MAX] = {0};
    unsigned used = options->one_gpu ? 1 : options->ranks;
    char name[64];
    int r;

    snprintf(name, sizeof(name), "%s_of_%u%s%s", mode, options->ranks, *way ? "_" : "", way);
    for (unsigned i = 0; i < used; i++)
        before[i] = used_mib(i);
    if (strcmp(mode, "ops") == 0) {
        options->pairs = true;
        r = check_ops(name, options);
    } else {
        options->run_ns = options->connect_ns = 5 * LEAD_S;
        if (strcmp(mode, "missing") == 0) {
            options->absent = options->ranks - 1;
        } else {
            options->connect_ns = CONNECT_NS;
            options->killed = options->ranks - 1;
            options->frozen = strcmp(mode, "frozen") == 0;
            options->killed_in = LEAD_RUN;
            options->killed_after_ns = 200 * LEAD_MS;
            make_long(&options->plan);
        }
        r = check_fault(name, options, CONNECT_NS + 30 * LEAD_S);
    }
    return r == SKIPPED ? r : r | memory_line(name, before, used);
}

/* A host's name per rank, which NCCL_HOSTID takes the place of. */
static void set_apart(struct lead_options *options)
{
    static char hosts[LEAD_RANKS_MAX][16];

    options->variable = "NCCL_HOSTID";
    for (unsigned i = 0; i < LEAD_RANKS_MAX; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "lockstep-%u", i);
        options->values[i] = hosts[i];
    }
}

int main(int argc, char **argv)
{
    struct lead_options options = {.absent = LEAD_NOBODY, .killed = LEAD_NOBODY, .connect_ns = CONNECT_NS,
                                   .plan = {.sizes = {1 << 16, 8 << 20, 256 << 20}, .n_sizes = 3, .sweep = true,
                                            .check = true, .iterations_max = 20}};
    const char *largest = getenv("LOCKSTEP_GPU_MIB"), *way = argc > 3 ? argv[3] : "";
    struct err err = ERR_INIT;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (find_gpus(&err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return SKIPPED;
    }
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list_gpus();
    if (argc < 3)
        return 2;
    options.ranks = (unsigned)strtoul(argv[2], NULL, 10);
    options.one_gpu = *way;
    if (strcmp(way, "apart") == 0)
        set_apart(&options);
    if (options.ranks == 0 || options.ranks > LEAD_RANKS_MAX || (!options.one_gpu && options.ranks > gpus.n))
        return 2;
    if (largest)
        options.plan.sizes[2] = strtoull(largest, NULL, 10) * MIB;
    for (unsigned i = 0; i < options.plan.n_sizes; i++)
        options.plan.sizes[i] = op_round_bytes(options.plan.sizes[i], options.ranks);
    return run_mode(argv[1], &options, way);
}
