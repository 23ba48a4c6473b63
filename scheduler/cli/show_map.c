/*
 * A gang's placement as a picture: domain by domain its nodes, on each a cell for each accelerator, in the order
 * of the machine's own numbers where it is known which ones are whose, with a bar between NUMA nodes.
 */
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"

#define NODES_MAX 64 /* drawn; the table above names them all */
#define WIDTH 96
#define CELLS_MAX 64 /* of one node */

static const char own[] = "0123456789abcdefghijklmnopqrstuvwxyz";

struct cells {
    char text[CELLS_MAX + 1]; /* of own: a pod of the gang; 'x': in use; '.': free */
    uint32_t n;
    const struct machine *machine; /* NULL: which ones are whose is not known, these are counts */
};

/* Pods of the gang on the node are numbered from 0, in rank order. */
static char letter(uint32_t pod)
{
    return own[pod % (sizeof(own) - 1)];
}

static void fill(struct cells *cells, char letter_of, uint32_t count)
{
    while (count-- > 0 && cells->n < CELLS_MAX)
        cells->text[cells->n++] = letter_of;
}

static bool all_have_sets(const struct gang *gang, const struct node *node)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].node == node && gang->slots[i].gpus == 0)
            return false;
    return true;
}

static void draw_sets(const struct gang *gang, const struct node *node, struct cells *cells)
{
    uint32_t pods = 0;

    cells->machine = &node->kind->machine;
    cells->n = cells->machine->ngpus;
    for (uint32_t g = 0; g < cells->n; g++)
        cells->text[g] = (node->gpus_used | node->gpus_held) >> g & 1 ? 'x' : '.';
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].node == node) {
            for (uint32_t g = 0; g < cells->n; g++)
                if (gang->slots[i].gpus >> g & 1)
                    cells->text[g] = letter(pods);
            pods++;
        }
}

static uint32_t pod_gpus(const struct core *core, const struct gang *gang, const struct slot *slot)
{
    return core_accelerators(core, slot->pod ? &slot->pod->requests : &gang->requests);
}

static void draw_counts(const struct core *core, const struct gang *gang, const struct node *node,
                        struct cells *cells)
{
    uint32_t total = core_accelerators(core, &node->total), pods = 0;
    uint32_t used = core_accelerators(core, &node->used) + core_accelerators(core, &node->held);

    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].node == node)
            fill(cells, letter(pods++), pod_gpus(core, gang, &gang->slots[i]));
    fill(cells, 'x', used > cells->n ? used - cells->n : 0);
    fill(cells, '.', total > cells->n ? total - cells->n : 0);
}

static void draw(const struct core *core, const struct gang *gang, const struct node *node,
                 struct cells *cells)
{
    *cells = (struct cells){0};
    if (core_knows_gpus(core, node) && all_have_sets(gang, node))
        draw_sets(gang, node, cells);
    else
        draw_counts(core, gang, node, cells);
}

static const char *colour_of(char cell)
{
    static const char *const colours[] = {"\033[42;30m", "\033[46;30m", "\033[44;37m", "\033[45;37m"};
    const char *at = strchr(own, cell);

    if (cell == 'x')
        return "\033[100m";
    return cell == '.' || !at ? "" : colours[(at - own) % 4];
}

/* Columns that it took. */
static int print_node(const struct node *node, const struct cells *cells)
{
    int width = printf("%s ", node->name);

    for (uint32_t i = 0; i < cells->n; i++) {
        const struct machine *machine = cells->machine;

        if (i > 0 && machine && machine->gpus[i].numa != machine->gpus[i - 1].numa)
            width += printf("|");
        printf("%s%c%s", paint(colour_of(cells->text[i])), cells->text[i], paint("\033[0m"));
        width++;
    }
    return width + printf("   ");
}

/* The levels from the outermost one that differs on, each on a line of its own; its depth is its indent. */
static int print_domains(const struct core *core, const struct gang *gang, const struct node *node,
                         const struct node *before)
{
    uint32_t level = 0;

    while (before && level < gang->nlevels && node->domain[level] == before->domain[level])
        level++;
    for (; level < gang->nlevels; level++)
        printf("\n  %*s%s", (int)level * 2, "", cluster_domain_name(core_cluster(core), node->domain[level]));
    return (int)gang->nlevels * 2 + 2;
}

static bool same_innermost(const struct gang *gang, const struct node *a, const struct node *b)
{
    return gang->nlevels == 0 || a->domain[gang->nlevels - 1] == b->domain[gang->nlevels - 1];
}

void show_map(const struct core *core, const struct gang *gang)
{
    const struct node *before = NULL;
    int column = 0, indent;
    struct cells cells;

    if (gang->use[gang->nlevels].used > NODES_MAX || pod_gpus(core, gang, &gang->slots[0]) == 0)
        return;
    printf("\n  a cell an accelerator: 0 1 .. the gang's pods on that node, x in use, . free");
    for (uint32_t i = 0; i < gang->nslots; i++) {
        const struct node *node = gang->slots[i].node;
        bool fresh = !before || !same_innermost(gang, node, before);

        if (node == before)
            continue;
        indent = fresh ? print_domains(core, gang, node, before) : (int)gang->nlevels * 2 + 2;
        if (fresh || column > WIDTH)
            column = printf("\n%*s", indent, "");
        draw(core, gang, node, &cells);
        column += print_node(node, &cells);
        before = node;
    }
    putchar('\n');
}
