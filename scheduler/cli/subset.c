/* lockstep subset: which of a machine's free accelerators a pod should get. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "scheduler/cli/bandwidth_show.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/gpu_list.h"
#include "topology/catalogue.h"
#include "topology/machine_read.h"
#include "topology/subset.h"

enum { OPTION_FREE = 1000, OPTION_COUNT, OPTION_CATALOGUE };

struct arguments {
    const char *machine, *free;
    uint64_t count;
    bool json;
};

static const struct argp_option options[] = {
    {"machine", 'm', "FILE|NAME", 0, "the machine: a file as of lockstep machine, or a name of the catalogue", 0},
    {"free", OPTION_FREE, "LIST", 0, "accelerators that are free, as 0,1,4-7 (default: all)", 0},
    {"count", OPTION_COUNT, "N", 0, "how many the pod asks for", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {"catalogue", OPTION_CATALOGUE, "DIRECTORY", 0, "further machines, as configs/machines/*.yaml", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'm':
        arguments->machine = argument;
        return 0;
    case OPTION_FREE:
        arguments->free = argument;
        return 0;
    case OPTION_COUNT:
        if (parse_u64(argument, strlen(argument), 1024, &arguments->count) < 0 || arguments->count == 0)
            argp_error(state, "--count '%s': expected a number from 1 to 1024", argument);
        return 0;
    case 'o':
        arguments->json = cli_wants_json(argument, state);
        return 0;
    case OPTION_CATALOGUE:
        catalogue_use_directory(argument);
        return 0;
    case ARGP_KEY_END:
        if (!arguments->machine || arguments->count == 0)
            argp_error(state, "expected --machine and --count");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Says which of a machine's free accelerators are the fastest together: the highest bus bandwidth of a large "
    "all-reduce, then what leaves the best sets to others, then the lowest numbers.\v"
    "Examples:\n"
    "  lockstep subset -m dgx-1v --free 0,1,4,5 --count 2\n"
    "  lstopo --of xml | lockstep subset -m - --count 4 -o json\n\n"
    "Exit: 0 done, 3 not so many are free, 2 bad input.\n",
    NULL, NULL, NULL};

static int too_few(const struct arguments *arguments, uint32_t free)
{
    if (arguments->json)
        print_json(json_pack("{s:[], s:n, s:{s:s, s:I, s:i}}", "gpus", "busbw_gb_s", "reason", "code",
                             "TooFewFree", "count", (json_int_t)arguments->count, "free",
                             __builtin_popcount(free)));
    else
        printf("does not fit: %llu asked for, %d free\n", (unsigned long long)arguments->count,
               __builtin_popcount(free));
    return EXIT_NO;
}

static int show(const struct arguments *arguments, const struct machine *machine, uint32_t best)
{
    struct bandwidth bandwidth = bandwidth_of_gpus(machine, best);
    json_t *root;

    if (!arguments->json) {
        printf("GPUs ");
        print_gpus(best);
        printf(" of %s\n", arguments->machine);
        bandwidth_text(&bandwidth, bandwidth_of_gpus(machine, UINT32_MAX).busbw_gb_s);
        return EXIT_OK;
    }
    root = json_pack("{s:o}", "gpus", gpus_json(best));
    json_object_update_new(root, bandwidth_json(&bandwidth));
    print_json(root);
    return EXIT_OK;
}

static int answer(const struct arguments *arguments, const struct machine *machine, struct err *err)
{
    uint32_t all = machine->ngpus >= 32 ? UINT32_MAX : (1u << machine->ngpus) - 1, free = all, best;
    struct subset_table *table = NULL;
    int r = 0;

    if (arguments->free)
        r = gpu_list_parse("--free", arguments->free, strlen(arguments->free), &free, err);
    if (r == 0 && (free & ~all))
        r = err_set(err, -EINVAL, "--free: found %d, expected numbers below %u, the accelerators of '%s'",
                    31 - __builtin_clz(free), machine->ngpus, arguments->machine);
    if (r < 0)
        return r;
    if (arguments->count > (uint64_t)__builtin_popcount(free))
        return too_few(arguments, free);
    r = subset_table_new(machine, &table);
    if (r < 0)
        return r;
    best = subset_best(table, free, (unsigned)arguments->count);
    subset_table_free(table);
    return show(arguments, machine, best);
}

int cmd_subset(int argc, char **argv)
{
    CLEANUP_FREE struct machine *machine = calloc(1, sizeof(*machine));
    struct arguments arguments = {0};
    struct err err = ERR_INIT;
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (!machine)
        return source_failed("subset", &err);
    r = machine_read_named(arguments.machine, machine, &err);
    if (r == 0)
        r = answer(&arguments, machine, &err);
    return r < 0 ? source_failed("subset", &err) : r;
}
