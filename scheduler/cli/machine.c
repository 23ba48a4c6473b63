/* lockstep machine: what a machine can do, from a file, the catalogue, or this one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/machine_show.h"
#include "scheduler/kube/node_topology.h"
#include "topology/catalogue.h"
#include "topology/machine_read.h"
#include "topology/numa_fit.h"

#define OUTPUT_MAX (4 << 20)

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_SVG, FORMAT_NODE_TOPOLOGY, FORMATS };
static const char *const formats[FORMATS] = {"text", "json", "svg", "nodetopology"};

enum { OPTION_NAME = 1000, OPTION_CATALOGUE, OPTION_TOPOLOGY_MANAGER, OPTION_CPU_MANAGER };

struct arguments {
    const char *file, *node;
    enum format format;
    enum numa_policy numa_policy;
    bool own_cpus;
};

static const struct argp_option options[] = {
    {"output", 'o', "FORMAT", 0, "text (default), json, svg or nodetopology", 0},
    {"name", OPTION_NAME, "NODE", 0, "for nodetopology: the node's name (default: this host's)", 0},
    {"topology-manager-policy", OPTION_TOPOLOGY_MANAGER, "POLICY", 0,
     "for nodetopology: kubelet's, if it is known: none, best-effort, restricted, single-numa-node", 0},
    {"cpu-manager-policy", OPTION_CPU_MANAGER, "POLICY", 0, "likewise: none or static", 0},
    {"catalogue", OPTION_CATALOGUE, "DIRECTORY", 0, "further machines, as configs/machines/*.yaml", 0},
    {0}};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case 'o':
        arguments->format = FORMAT_TEXT;
        while (arguments->format < FORMATS && strcmp(formats[arguments->format], argument) != 0)
            arguments->format++;
        if (arguments->format == FORMATS)
            argp_error(state, "-o '%s': expected text, json, svg or nodetopology", argument);
        return 0;
    case OPTION_NAME:
        if (!is_dns_subdomain(argument, strlen(argument)))
            argp_error(state, "--name '%s': expected the name of a node", argument);
        arguments->node = argument;
        return 0;
    case OPTION_TOPOLOGY_MANAGER:
        if (!numa_policy_from_name(argument, &arguments->numa_policy))
            argp_error(state, "--topology-manager-policy '%s': expected none, best-effort, restricted or "
                              "single-numa-node", argument);
        return 0;
    case OPTION_CPU_MANAGER:
        if (strcmp(argument, "none") != 0 && strcmp(argument, "static") != 0)
            argp_error(state, "--cpu-manager-policy '%s': expected none or static", argument);
        arguments->own_cpus = strcmp(argument, "static") == 0;
        return 0;
    case OPTION_CATALOGUE:
        catalogue_use_directory(argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->file)
            argp_error(state, "'%s': expected one FILE", argument);
        arguments->file = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    options, parse_option, "[FILE|NAME]",
    "Shows a machine: how its accelerators and NICs are joined, and how fast.\v"
    "FILE is hwloc XML (lstopo --of xml), an NCCL topology XML (NCCL_TOPO_DUMP_FILE) or the text of "
    "nvidia-smi topo -m; NAME one of the catalogue, such as dgx-h100. Without either: this machine.\n\n"
    "Examples:\n"
    "  lockstep machine\n"
    "  nvidia-smi topo -m | lockstep machine - -o json\n"
    "  lockstep machine dgx-h100 -o nodetopology --name gpu-01 | kubectl apply -f -\n\n"
    "Exit: 0 done, 2 bad input.\n",
    NULL, NULL, NULL};

static int print_object(const struct machine *machine, const struct arguments *arguments)
{
    char host[256] = "";
    const char *node = arguments->node;

    if (!node) {
        (void)gethostname(host, sizeof(host) - 1);
        node = host;
    }
    if (!is_dns_subdomain(node, strlen(node))) {
        fprintf(stderr, "lockstep machine: host name '%s' is no node's name: say --name NODE\n", node);
        return EXIT_BAD_INPUT;
    }
    print_json(node_topology_json(machine, node));
    return EXIT_OK;
}

static int print_drawing(const struct machine *machine, enum format format)
{
    CLEANUP(strbuf_release) struct strbuf out = STRBUF_INIT(OUTPUT_MAX);

    if (format == FORMAT_SVG)
        machine_svg(machine, &out);
    else
        machine_text(machine, *paint("1") != '\0', &out);
    if (out.failed) {
        fprintf(stderr, "lockstep machine: out of memory\n");
        return EXIT_INTERNAL;
    }
    return fwrite(out.data, 1, out.len, stdout) == out.len ? EXIT_OK : EXIT_INTERNAL;
}

int cmd_machine(int argc, char **argv)
{
    CLEANUP_FREE struct machine *machine = cleanup_alloc(sizeof(*machine));
    struct arguments arguments = {0};
    struct err err = ERR_INIT;
    int r;

    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    if (!machine)
        return source_failed("machine", &err);
    r = arguments.file ? machine_read_named(arguments.file, machine, &err)
                       : machine_read_live(machine, &err);
    if (r == -ENOMEM || r == -EIO) {
        fprintf(stderr, "lockstep machine: %s\n", err.text);
        return EXIT_INTERNAL;
    }
    if (r < 0)
        return source_failed("machine", &err);
    machine->numa_policy = arguments.numa_policy;
    machine->own_cpus = arguments.own_cpus;
    if (arguments.format == FORMAT_JSON)
        print_json(machine_json(machine));
    else if (arguments.format == FORMAT_NODE_TOPOLOGY)
        return print_object(machine, &arguments);
    else
        return print_drawing(machine, arguments.format);
    return EXIT_OK;
}
