/* lockstep predict: how fast accelerators reduce together, on one machine or over several. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/cli/bandwidth_show.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/gpu_list.h"
#include "scheduler/cli/machines_of.h"
#include "topology/catalogue.h"
#include "topology/machine_read.h"
#include "topology/subset.h"

#define NIC_GBIT_S_MAX 100000.0

enum { OPTION_GPUS = 1000, OPTION_SHAPE, OPTION_NIC, OPTION_CATALOGUE, OPTION_NO_DOMAIN };

struct arguments {
    const char *machine, *cluster, *gpus, *shape;
    double nic_gbit_s;
    bool json, no_domain;
};

static const struct argp_option options[] = {
    {"machine", 'm', "FILE|NAME", 0, "one type of machine: a file as of lockstep machine, or a name of the catalogue", 0},
    {"cluster", 'f', "CLUSTER", 0, "nodes and NodeTopology objects, YAML or JSON; - is standard input", 0},
    {"gpus", OPTION_GPUS, "LIST", 0, "accelerators: 0-3,6 with --machine, node1:0-3,node2:0-3 with --cluster", 0},
    {"shape", OPTION_SHAPE, "LIST", 0, "accelerators of each pod: 8,8,4, one pod a machine; 4+4,8: two share the first", 0},
    {"nic-gbit-s", OPTION_NIC, "RATE", 0, "of each NIC (one for each accelerator where none are known)", 0},
    {"no-nvl-domain", OPTION_NO_DOMAIN, 0, 0, "pods do not use an NVLink domain that spans machines", 0},
    {"output", 'o', "FORMAT", 0, "text (default) or json", 0},
    {"catalogue", OPTION_CATALOGUE, "DIRECTORY", 0, "further machines, as configs/machines/*.yaml", 0},
    {0}};

static void take_rate(struct arguments *arguments, const char *text, struct argp_state *state)
{
    char *end;

    arguments->nic_gbit_s = strtod(text, &end);
    if (*text == '\0' || *end || !(arguments->nic_gbit_s > 0 && arguments->nic_gbit_s <= NIC_GBIT_S_MAX))
        argp_error(state, "--nic-gbit-s '%s': expected a rate above 0 in Gbit/s, as 400", text);
}

static void check_whole(const struct arguments *arguments, struct argp_state *state)
{
    if (!arguments->machine == !arguments->cluster)
        argp_error(state, "expected one of --machine and --cluster");
    if (!arguments->gpus == !arguments->shape)
        argp_error(state, "expected one of --gpus and --shape");
    if (arguments->cluster && arguments->shape)
        argp_error(state, "--shape: expected with --machine; of a --cluster, --gpus names nodes");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'm':
        arguments->machine = argument;
        return 0;
    case 'f':
        arguments->cluster = argument;
        return 0;
    case OPTION_GPUS:
        arguments->gpus = argument;
        return 0;
    case OPTION_SHAPE:
        arguments->shape = argument;
        return 0;
    case OPTION_NIC:
        take_rate(arguments, argument, state);
        return 0;
    case OPTION_NO_DOMAIN:
        arguments->no_domain = true;
        return 0;
    case 'o':
        arguments->json = cli_wants_json(argument, state);
        return 0;
    case OPTION_CATALOGUE:
        catalogue_use_directory(argument);
        return 0;
    case ARGP_KEY_END:
        check_whole(arguments, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, NULL,
    "Foretells the bus bandwidth that a large all-reduce of NCCL or RCCL reaches (nccl-tests' busbw, 2 GiB and "
    "more), and what limits it. Each pod is a host to NCCL: pods on one machine talk through its NICs.\v"
    "Examples:\n"
    "  lockstep predict -m dgx-h100 --gpus 0-3\n"
    "  lockstep predict -m dgx-h100 --nic-gbit-s 400 --shape 8,8,4\n"
    "  lockstep predict -m dgx-h100 --shape 4+4,8            (two pods share the first machine)\n"
    "  kubectl get nodes,nodetopologies -o json | lockstep predict -f - --gpus node1:0-3,node2:0-3 -o json\n\n"
    "Pods of a --shape get the best sets of their machine, in the order named. Exit: 0 done, also where the "
    "answer is unknown; 3 a machine has not so many; 2 bad input.\n",
    NULL, NULL, NULL};

/* ---- the question -------------------------------------------------------------------------------------- */

struct question {
    struct gpu_place places[GPU_PLACES_MAX];
    struct bandwidth_pod pods[GPU_PLACES_MAX];
    size_t n;
    struct machine machine; /* of --machine */
    struct node_machine *nodes; /* of --cluster: one a place */
};

static int check_numbers(uint32_t mask, const struct machine *machine, const char *name, struct err *err)
{
    if (machine->ngpus < 32 && mask >> machine->ngpus)
        return err_set(err, -EINVAL, "--gpus: found %d, expected numbers below %u, the accelerators of '%s'",
                       31 - __builtin_clz(mask), machine->ngpus, name);
    return 0;
}

static int ask_one(const struct arguments *arguments, struct question *question, struct err *err)
{
    struct bandwidth_pod *pod = &question->pods[0];
    int r = gpu_list_parse("--gpus", arguments->gpus, strlen(arguments->gpus), &pod->mask, err);

    question->n = 1;
    pod->machine = &question->machine;
    return r < 0 ? r : check_numbers(pod->mask, &question->machine, arguments->machine, err);
}

/* Each pod gets the best of what the pods before it left of its machine. 1: a machine has not so many. */
static int ask_shape(const struct arguments *arguments, struct question *question, struct err *err)
{
    uint32_t all = question->machine.ngpus >= 32 ? UINT32_MAX : (1u << question->machine.ngpus) - 1;
    uint32_t free = all, host = 0, domain_gpus = question->machine.nvl_domain_gpus;
    struct subset_table *table = NULL;
    int r = gpu_shape_parse("--shape", arguments->shape, strlen(arguments->shape), question->places,
                            &question->n, err);

    if (r == 0)
        r = subset_table_new(&question->machine, &table);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < question->n; i++) {
        struct bandwidth_pod *pod = &question->pods[i];

        if (question->places[i].host != host)
            free = all;
        host = question->places[i].host;
        pod->machine = &question->machine;
        pod->host = host;
        pod->mask = subset_best(table, free, question->places[i].count);
        if (domain_gpus >= question->machine.ngpus && domain_gpus && !arguments->no_domain)
            pod->nvl_domain = 1 + host / (domain_gpus / question->machine.ngpus);
        free &= ~pod->mask;
        r = pod->mask == 0;
    }
    subset_table_free(table);
    return r;
}

/* The number of a node's NVLink domain: that of the first place in the same one. */
static uint32_t domain_of(const struct question *question, size_t place)
{
    size_t first = 0;

    if (!question->nodes[place].clique[0])
        return 0;
    while (strcmp(question->nodes[first].clique, question->nodes[place].clique) != 0)
        first++;
    return (uint32_t)first + 1;
}

/* Places of one NVLink domain are put next to each other, as the predictor wants them. */
static int by_domain(const void *a, const void *b)
{
    const struct bandwidth_pod *x = a, *y = b;

    if (x->nvl_domain != y->nvl_domain)
        return x->nvl_domain < y->nvl_domain ? -1 : 1;
    return x->host < y->host ? -1 : x->host > y->host;
}

static int ask_cluster(const struct arguments *arguments, struct question *question, struct err *err)
{
    int r = gpu_places_parse("--gpus", arguments->gpus, strlen(arguments->gpus), question->places,
                             &question->n, err);

    if (r < 0)
        return r;
    question->nodes = calloc(question->n, sizeof(*question->nodes));
    if (!question->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < question->n; i++)
        question->nodes[i].name = question->places[i].node;
    r = machines_of(arguments->cluster, question->nodes, question->n, err);
    for (size_t i = 0; r == 0 && i < question->n; i++) {
        const struct node_machine *node = &question->nodes[i];

        if (!node->found)
            return err_set(err, -EINVAL, "--gpus: node '%s' is not in %s", node->name, arguments->cluster);
        if (node->known)
            r = check_numbers(question->places[i].mask, &node->machine, node->name, err);
        question->pods[i] = (struct bandwidth_pod){
            .machine = &node->machine,
            .mask = question->places[i].mask,
            .host = (uint32_t)i,
            .nvl_domain = arguments->no_domain ? 0 : domain_of(question, i)};
    }
    qsort(question->pods, question->n, sizeof(question->pods[0]), by_domain);
    return r;
}

/* ---- the answer ---------------------------------------------------------------------------------------- */

static const char *unknown_node(const struct question *question)
{
    for (size_t i = 0; question->nodes && i < question->n; i++)
        if (!question->nodes[i].known)
            return question->nodes[i].name;
    return NULL;
}

static void show(const struct arguments *arguments, const struct question *question)
{
    struct bandwidth_shape shape = {.pods = question->pods,
                                    .npods = (uint32_t)question->n,
                                    .nic_gbit_s = arguments->nic_gbit_s};
    struct bandwidth bandwidth = bandwidth_of_shape(&shape);
    const struct machine *first = question->pods[0].machine;

    if (unknown_node(question))
        bandwidth = (struct bandwidth){
            .limit = LIMIT_UNKNOWN,
            .why = "a node has no NodeTopology, and its labels name no machine of the catalogue"};
    if (arguments->json) {
        print_json(bandwidth_json(&bandwidth));
        return;
    }
    for (size_t i = 0; i < question->n && question->n > 1; i++) {
        printf("pod %-4zu %s GPUs ", i,
               question->nodes ? question->nodes[question->pods[i].host].name : "");
        if (!question->nodes)
            printf("of machine %u: ", question->pods[i].host);
        print_gpus(question->pods[i].mask);
        printf("\n");
    }
    if (unknown_node(question))
        printf("node '%s': not known\n", unknown_node(question));
    bandwidth_text(&bandwidth, bandwidth_of_gpus(first, UINT32_MAX).busbw_gb_s);
}

static int too_many(const struct arguments *arguments, const struct question *question)
{
    if (arguments->json)
        print_json(json_pack("{s:n, s:s, s:{s:s, s:i}}", "busbw_gb_s", "limited_by", "unknown", "reason",
                             "code", "TooFewGpus", "machine_gpus", (int)question->machine.ngpus));
    else
        printf("does not fit: a machine of '%s' has %u GPUs\n", arguments->machine,
               question->machine.ngpus);
    return EXIT_NO;
}

static int answer(const struct arguments *arguments, struct question *question, struct err *err)
{
    int r;

    if (arguments->cluster)
        r = ask_cluster(arguments, question, err);
    else {
        r = machine_read_named(arguments->machine, &question->machine, err);
        if (r == 0)
            r = arguments->shape ? ask_shape(arguments, question, err)
                                 : ask_one(arguments, question, err);
    }
    if (r > 0)
        return too_many(arguments, question);
    if (r == 0)
        show(arguments, question);
    return r;
}

int cmd_predict(int argc, char **argv)
{
    CLEANUP_FREE struct question *question = calloc(1, sizeof(*question));
    struct arguments arguments = {0};
    struct err err = ERR_INIT;
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (!question)
        return source_failed("predict", &err);
    r = answer(&arguments, question, &err);
    free(question->nodes);
    return r < 0 ? source_failed("predict", &err) : r;
}
