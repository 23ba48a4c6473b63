#include "scheduler/model/machine_kinds.h"

#include <stdlib.h>
#include <string.h>

#include "topology/subset.h"

static bool same_text(const char *a, const char *b)
{
    return strncmp(a, b, MACHINE_TEXT_MAX) == 0;
}

static bool same_speed(float a, float b)
{
    return !(a < b) && !(a > b);
}

static bool same_numa(const struct machine *a, const struct machine *b)
{
    for (uint32_t i = 0; i < a->nnuma; i++)
        if (a->numa[i].os_index != b->numa[i].os_index || a->numa[i].socket != b->numa[i].socket ||
            a->numa[i].cpus != b->numa[i].cpus)
            return false;
    return true;
}

static bool same_bridges(const struct machine *a, const struct machine *b)
{
    for (uint32_t i = 0; i < a->nbridges; i++)
        if (a->bridges[i].parent != b->bridges[i].parent || a->bridges[i].numa != b->bridges[i].numa ||
            !same_speed(a->bridges[i].up_gb_s, b->bridges[i].up_gb_s))
            return false;
    return true;
}

static bool same_gpus(const struct machine *a, const struct machine *b)
{
    for (uint32_t i = 0; i < a->ngpus; i++) {
        const struct machine_gpu *x = &a->gpus[i], *y = &b->gpus[i];

        if (!same_text(x->product, y->product) || x->sm != y->sm || x->gfx != y->gfx ||
            x->numa != y->numa || x->bridge != y->bridge || !same_speed(x->pcie_gb_s, y->pcie_gb_s) ||
            x->memory_bytes != y->memory_bytes)
            return false;
        for (uint32_t k = 0; k < a->ngpus; k++)
            if (a->link[i][k].class != b->link[i][k].class || a->link[i][k].links != b->link[i][k].links ||
                !same_speed(a->link[i][k].gb_s, b->link[i][k].gb_s))
                return false;
        if (memcmp(a->nic_class[i], b->nic_class[i], a->nnics) != 0)
            return false;
    }
    return true;
}

static bool same_nics(const struct machine *a, const struct machine *b)
{
    for (uint32_t i = 0; i < a->nnics; i++) {
        const struct machine_nic *x = &a->nics[i], *y = &b->nics[i];

        if (!same_text(x->name, y->name) || x->numa != y->numa || x->bridge != y->bridge ||
            !same_speed(x->pcie_gb_s, y->pcie_gb_s) || !same_speed(x->gbit_s, y->gbit_s))
            return false;
    }
    return true;
}

static bool same_kind(const struct machine *a, const struct machine *b)
{
    return same_text(a->model, b->model) && a->sockets == b->sockets && a->nnuma == b->nnuma &&
           a->nbridges == b->nbridges && a->ngpus == b->ngpus && a->nnics == b->nnics &&
           a->cpu_vendor == b->cpu_vendor && a->cpu_family == b->cpu_family &&
           a->cpu_model == b->cpu_model && a->fabric == b->fabric && a->nvls == b->nvls &&
           a->nvl_domain_gpus == b->nvl_domain_gpus && a->numa_policy == b->numa_policy &&
           a->own_cpus == b->own_cpus && same_numa(a, b) && same_bridges(a, b) &&
           same_gpus(a, b) && same_nics(a, b);
}

static void forget_its_own(struct machine *machine)
{
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        memset(machine->gpus[i].uuid, 0, sizeof(machine->gpus[i].uuid));
        memset(machine->gpus[i].pci, 0, sizeof(machine->gpus[i].pci));
    }
    for (uint32_t i = 0; i < machine->nnics; i++)
        memset(machine->nics[i].pci, 0, sizeof(machine->nics[i].pci));
}

struct machine_kind *machine_kinds_take(struct machine_kinds *kinds, const struct machine *machine)
{
    struct machine_kind *kind;

    for (uint32_t i = 0; i < kinds->n; i++)
        if (same_kind(&kinds->items[i]->machine, machine)) {
            kinds->items[i]->refs++;
            return kinds->items[i];
        }
    if (kinds->n == MACHINE_KINDS_MAX)
        return NULL;
    kind = calloc(1, sizeof(*kind));
    if (!kind)
        return NULL;
    kind->machine = *machine;
    forget_its_own(&kind->machine);
    kind->refs = 1;
    kind->number = ++kinds->next_number;
    kinds->items[kinds->n++] = kind;
    return kind;
}

static void kind_free(struct machine_kind *kind)
{
    subset_table_free(kind->best);
    free(kind->kept);
    free(kind);
}

void machine_kind_drop(struct machine_kinds *kinds, struct machine_kind *kind)
{
    if (!kind || --kind->refs > 0)
        return;
    for (uint32_t i = 0; i < kinds->n; i++)
        if (kinds->items[i] == kind) {
            kinds->items[i] = kinds->items[--kinds->n];
            break;
        }
    kind_free(kind);
}

void machine_kinds_release(struct machine_kinds *kinds)
{
    for (uint32_t i = 0; i < kinds->n; i++)
        kind_free(kinds->items[i]);
    kinds->n = 0;
}
