/* A machine for people: the matrix, the tree of sockets, NUMA nodes, bridges and devices, and a summary. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/machine_show.h"

#define RESET "\033[0m"
#define CELL 7
#define DEPTH_MAX (MACHINE_BRIDGES_MAX + 4)

struct tree {
    const struct machine *machine;
    struct strbuf *out;
    bool last[DEPTH_MAX]; /* of each level above: no more siblings come */
    unsigned depth;
};

/* ---- matrix --------------------------------------------------------------------------------------------- */

/* Green is fast, red is slow. */
static const char *colour_of(unsigned class)
{
    switch (class) {
    case LINK_NVLINK:
    case LINK_XGMI:
        return "\033[1;32m";
    case LINK_PIX:
    case LINK_PXB:
        return "\033[36m";
    case LINK_PHB:
    case LINK_NODE:
        return "\033[33m";
    case LINK_SYS:
        return "\033[31m";
    default:
        return "\033[2m";
    }
}

static void add_cell(struct strbuf *out, const struct machine_link *link, bool colour)
{
    char label[LINK_LABEL_MAX];

    link_label(link, label);
    strbuf_addf(out, "%s%*s%s", colour ? colour_of(link->class) : "", CELL, label, colour ? RESET : "");
}

static void add_matrix(const struct machine *machine, bool colour, struct strbuf *out)
{
    strbuf_addf(out, "%6s", "");
    for (uint32_t i = 0; i < machine->ngpus; i++)
        strbuf_addf(out, "%*sGPU%u", CELL - 3 - (i < 10 ? 1 : 2), "", i);
    for (uint32_t i = 0; i < machine->nnics; i++)
        strbuf_addf(out, "%*sNIC%u", CELL - 3 - (i < 10 ? 1 : 2), "", i);
    strbuf_adds(out, "\n");
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        strbuf_addf(out, "GPU%-3u", i);
        for (uint32_t k = 0; k < machine->ngpus; k++)
            add_cell(out, &machine->link[i][k], colour);
        for (uint32_t k = 0; k < machine->nnics; k++)
            add_cell(out, &(struct machine_link){.class = machine->nic_class[i][k]}, colour);
        strbuf_adds(out, "\n");
    }
}

/* ---- tree ----------------------------------------------------------------------------------------------- */

static void begin(struct tree *tree, bool last)
{
    for (unsigned i = 0; i < tree->depth; i++)
        strbuf_adds(tree->out, tree->last[i] ? "    " : "|   ");
    strbuf_adds(tree->out, last ? "`-- " : "|-- ");
    tree->last[tree->depth] = last;
}

static void add_speed(struct tree *tree, float gb_s)
{
    if (gb_s > 0)
        strbuf_addf(tree->out, "  %.3g GB/s", (double)gb_s);
}

static void add_gpu(struct tree *tree, uint32_t i)
{
    const struct machine_gpu *gpu = &tree->machine->gpus[i];

    strbuf_addf(tree->out, "GPU%u%s%s%s%s", i, gpu->pci[0] ? "  " : "", gpu->pci,
                gpu->product[0] ? "  " : "", gpu->product);
    add_speed(tree, gpu->pcie_gb_s);
    strbuf_adds(tree->out, "\n");
}

static void add_nic(struct tree *tree, uint32_t i)
{
    const struct machine_nic *nic = &tree->machine->nics[i];

    strbuf_addf(tree->out, "NIC%u  %s%s%s", i, nic->name, nic->pci[0] ? "  " : "", nic->pci);
    if (nic->gbit_s > 0)
        strbuf_addf(tree->out, "  %.4g Gbit/s", (double)nic->gbit_s);
    strbuf_adds(tree->out, "\n");
}

/* What hangs on a bridge, or, bridge -1, on a NUMA node without one (numa -1: it is not known where). */
struct place {
    int bridge, numa;
};

static bool is_at(struct place place, int bridge, int numa)
{
    return bridge == place.bridge && (place.bridge >= 0 || numa == place.numa);
}

static uint32_t count_below(const struct machine *machine, struct place place)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < machine->nbridges; i++)
        n += is_at(place, machine->bridges[i].parent, machine->bridges[i].numa);
    for (uint32_t i = 0; i < machine->ngpus; i++)
        n += is_at(place, machine->gpus[i].bridge, machine->gpus[i].numa);
    for (uint32_t i = 0; i < machine->nnics; i++)
        n += is_at(place, machine->nics[i].bridge, machine->nics[i].numa);
    return n;
}

static void add_below(struct tree *tree, struct place place)
{
    const struct machine *machine = tree->machine;
    uint32_t left = count_below(machine, place);

    for (uint32_t i = 0; i < machine->nbridges; i++)
        if (is_at(place, machine->bridges[i].parent, machine->bridges[i].numa)) {
            begin(tree, --left == 0);
            strbuf_adds(tree->out, machine->bridges[i].parent < 0 ? "host bridge" : "PCIe switch");
            add_speed(tree, machine->bridges[i].up_gb_s);
            strbuf_adds(tree->out, "\n");
            tree->depth++;
            add_below(tree, (struct place){(int)i, -1});
            tree->depth--;
        }
    for (uint32_t i = 0; i < machine->ngpus; i++)
        if (is_at(place, machine->gpus[i].bridge, machine->gpus[i].numa)) {
            begin(tree, --left == 0);
            add_gpu(tree, i);
        }
    for (uint32_t i = 0; i < machine->nnics; i++)
        if (is_at(place, machine->nics[i].bridge, machine->nics[i].numa)) {
            begin(tree, --left == 0);
            add_nic(tree, i);
        }
}

static void add_numa(struct tree *tree, uint32_t i, bool last)
{
    const struct machine_numa *numa = &tree->machine->numa[i];

    begin(tree, last);
    strbuf_addf(tree->out, "NUMA %u", numa->os_index);
    if (numa->cpus)
        strbuf_addf(tree->out, "  %u CPUs", numa->cpus);
    if (numa->memory_bytes)
        strbuf_addf(tree->out, "  %.0f GiB", (double)numa->memory_bytes / (1 << 30));
    strbuf_adds(tree->out, "\n");
    tree->depth++;
    add_below(tree, (struct place){-1, (int)i});
    tree->depth--;
}

static void add_socket(struct tree *tree, uint32_t socket, bool last)
{
    const struct machine *machine = tree->machine;
    uint32_t left = 0;

    for (uint32_t i = 0; i < machine->nnuma; i++)
        left += machine->numa[i].socket == socket;
    if (machine->sockets) {
        begin(tree, last);
        strbuf_addf(tree->out, "socket %u\n", socket);
        tree->depth++;
    }
    for (uint32_t i = 0; i < machine->nnuma; i++)
        if (machine->numa[i].socket == socket)
            add_numa(tree, i, --left == 0 && (machine->sockets || last));
    tree->depth -= machine->sockets > 0;
}

static void add_tree(const struct machine *machine, struct strbuf *out)
{
    struct tree tree = {.machine = machine, .out = out};
    struct place nowhere = {-1, -1};
    bool rest = count_below(machine, nowhere) > 0;
    uint32_t sockets = machine->sockets ? machine->sockets : 1;

    strbuf_addf(out, "%s\n", machine->model[0] ? machine->model : "machine");
    for (uint32_t i = 0; i < sockets; i++)
        add_socket(&tree, i, i + 1 == sockets && !rest);
    if (!rest)
        return;
    begin(&tree, true);
    strbuf_adds(out, "NUMA node not known\n");
    tree.depth++;
    add_below(&tree, nowhere);
}

/* ---- summary -------------------------------------------------------------------------------------------- */

static void add_summary(const struct machine *machine, struct strbuf *out)
{
    static const char *const fabrics[] = {"unknown", "none beyond PCIe", "mesh", "switch"};
    float slowest = INFINITY, fastest = 0;

    for (uint32_t i = 0; i < machine->ngpus; i++)
        for (uint32_t k = i + 1; k < machine->ngpus; k++) {
            slowest = fminf(slowest, machine->link[i][k].gb_s);
            fastest = fmaxf(fastest, machine->link[i][k].gb_s);
        }
    strbuf_addf(out, "%u GPUs, %u NICs, %u NUMA nodes; fabric: %s%s", machine->ngpus, machine->nnics,
                machine->nnuma, fabrics[machine->fabric], machine->nvls ? " with in-network reduction" : "");
    if (machine->fabric_from[0])
        strbuf_addf(out, " (%s)", machine->fabric_from);
    if (machine->nvl_domain_gpus)
        strbuf_addf(out, "; NVLink domain of %u GPUs", machine->nvl_domain_gpus);
    if (machine->fabric == FABRIC_UNKNOWN && fastest > 0)
        strbuf_adds(out, "; over PCIe alone");
    if (fastest > 0 && slowest >= fastest)
        strbuf_addf(out, "; %.4g GB/s between any two", (double)fastest);
    else if (fastest > 0 && slowest > 0)
        strbuf_addf(out, "; %.4g to %.4g GB/s between two", (double)slowest, (double)fastest);
    else if (fastest > 0)
        strbuf_addf(out, "; up to %.4g GB/s between two, some unknown", (double)fastest);
    strbuf_adds(out, "\n");
}

void machine_text(const struct machine *machine, bool colour, struct strbuf *out)
{
    if (machine->ngpus)
        add_matrix(machine, colour, out);
    for (uint32_t i = 0; i < machine->nnics; i++)
        strbuf_addf(out, "%sNIC%u: %s", i == 0 ? "" : ", ", i, machine->nics[i].name);
    strbuf_adds(out, machine->nnics ? "\n\n" : "\n");
    add_tree(machine, out);
    strbuf_adds(out, "\n");
    add_summary(machine, out);
}
