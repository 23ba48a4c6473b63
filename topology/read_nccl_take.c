/* From what NCCL's XML holds to a machine: the order of devices, and who is linked with whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology/read_internal.h"
#include "topology/read_nccl.h"

#define LINKS_MAX 255
/* PCI classes of link targets: NCCL src/graph/xml.cc, kvDictPciClass. */
#define CLASS_NVSWITCH 0x068000

static int compare_gpus(const void *a, const void *b)
{
    uint64_t x = ((const struct nccl_gpu *)a)->pci, y = ((const struct nccl_gpu *)b)->pci;

    return (x > y) - (x < y);
}

static int compare_nics(const void *a, const void *b)
{
    const struct nccl_nic *x = a, *y = b;

    if (x->pci != y->pci)
        return (x->pci > y->pci) - (x->pci < y->pci);
    return strcmp(x->nic.name, y->nic.name);
}

static int gpu_at(const struct nccl_machine *from, uint64_t pci)
{
    for (uint32_t i = 0; i < from->ngpus; i++)
        if (from->gpus[i].pci == pci)
            return (int)i;
    return -1;
}

/* Links to NVSwitch, or to what is not visible: in a virtual machine the switches are not. */
static uint32_t to_switches(const struct nccl_machine *from, const struct nccl_gpu *gpu)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < gpu->nlinks; i++) {
        const struct nccl_link *link = &gpu->links[i];

        if (link->class == CLASS_NVSWITCH || (link->class == 0 && gpu_at(from, link->target) < 0))
            n += link->count;
    }
    return n < LINKS_MAX ? n : LINKS_MAX;
}

static uint32_t links_to(const struct nccl_machine *from, uint32_t a, uint32_t b)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->gpus[a].nlinks; i++)
        if (from->gpus[a].links[i].target == from->gpus[b].pci)
            n += from->gpus[a].links[i].count;
    return n < LINKS_MAX ? n : LINKS_MAX;
}

static void join_direct(const struct nccl_machine *from, struct machine *machine)
{
    machine->fabric = FABRIC_MESH;
    for (uint32_t a = 0; a < machine->ngpus; a++)
        for (uint32_t b = a + 1; b < machine->ngpus; b++) {
            uint32_t to = links_to(from, a, b), back = links_to(from, b, a);
            uint32_t n = to < back ? to : back;

            if (n > 0)
                machine_join(machine, a, b,
                             (struct machine_link){machine->gpus[a].gfx ? LINK_XGMI : LINK_NVLINK,
                                                   (uint8_t)n, machine_links_gb_s(machine, a, b, n)});
        }
}

static void take_links(const struct nccl_machine *from, struct machine *machine)
{
    uint32_t links[MACHINE_GPUS_MAX] = {0}, direct = 0, switched = 0;

    for (uint32_t i = 0; i < from->ngpus; i++) {
        links[i] = to_switches(from, &from->gpus[i]);
        switched += links[i];
        for (uint32_t k = 0; k < from->ngpus; k++)
            direct += k != i ? links_to(from, i, k) : 0;
    }
    if (switched)
        machine_join_by_switch(machine, links);
    else if (direct)
        join_direct(from, machine);
    else
        return; /* the file does not say: PCI only */
    snprintf(machine->fabric_from, sizeof(machine->fabric_from), "links in NCCL's topology XML");
}

void nccl__take(struct nccl_machine *from, struct machine *ret)
{
    qsort(from->gpus, from->ngpus, sizeof(from->gpus[0]), compare_gpus);
    qsort(from->nics, from->nnics, sizeof(from->nics[0]), compare_nics);
    *ret = from->machine;
    ret->ngpus = from->ngpus;
    ret->nnics = from->nnics;
    for (uint32_t i = 0; i < from->ngpus; i++) {
        ret->gpus[i] = from->gpus[i].gpu;
        machine__pci_text(from->gpus[i].pci, ret->gpus[i].pci);
        machine__fill_gpu(&ret->gpus[i], from->gpus[i].model);
    }
    for (uint32_t i = 0; i < from->nnics; i++)
        ret->nics[i] = from->nics[i].nic;
    take_links(from, ret);
}
