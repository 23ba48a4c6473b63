/* What must hold of every machine, whoever read it. */
#include <errno.h>
#include <string.h>

#include "topology/machine.h"

static int check_count(const char *what, uint32_t found, uint32_t max, struct err *err)
{
    if (found <= max)
        return 0;
    return err_set(err, -EINVAL, "%s: found %u, expected at most %u", what, found, max);
}

/* An index or -1. */
static int check_index(const char *what, uint32_t i, const char *field, int found, uint32_t limit,
                       struct err *err)
{
    if (found >= -1 && found < (int)limit)
        return 0;
    return err_set(err, -EINVAL, "%s[%u]: %s: found %d, expected -1 to %d", what, i, field, found,
                   (int)limit - 1);
}

static int check_speed(const char *what, uint32_t i, float found, struct err *err)
{
    if (found >= 0 && found <= MACHINE_SPEED_MAX)
        return 0;
    return err_set(err, -EINVAL, "%s[%u]: found a speed of %g, expected 0 to %g", what, i,
                   (double)found, MACHINE_SPEED_MAX);
}

static int check_text(const char *what, uint32_t i, const char *text, struct err *err)
{
    if (memchr(text, '\0', MACHINE_TEXT_MAX))
        return 0;
    return err_set(err, -EINVAL, "%s[%u]: found a text without end, expected at most %d bytes", what, i,
                   MACHINE_TEXT_MAX - 1);
}

static int check_numa_and_bridges(const struct machine *machine, struct err *err)
{
    for (uint32_t i = 0; i < machine->nnuma; i++)
        if (machine->numa[i].socket > 0 && machine->numa[i].socket >= machine->sockets)
            return err_set(err, -EINVAL, "numa[%u]: socket: found %u, expected below %u", i,
                           machine->numa[i].socket, machine->sockets);
    for (uint32_t i = 0; i < machine->nnuma; i++)
        for (uint32_t k = 0; k < i; k++)
            if (machine->numa[k].os_index == machine->numa[i].os_index)
                return err_set(err, -EINVAL, "numa[%u]: os_index: found %u again, expected each once", i,
                               machine->numa[i].os_index);
    for (uint32_t i = 0; i < machine->nbridges; i++) {
        const struct machine_bridge *bridge = &machine->bridges[i];

        if (check_index("bridges", i, "parent", bridge->parent, i, err) < 0 ||
            check_index("bridges", i, "numa", bridge->numa, machine->nnuma, err) < 0 ||
            check_speed("bridges", i, bridge->up_gb_s, err) < 0)
            return -EINVAL;
    }
    return 0;
}

static int check_devices(const struct machine *machine, struct err *err)
{
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        const struct machine_gpu *gpu = &machine->gpus[i];

        if (check_index("gpus", i, "numa", gpu->numa, machine->nnuma, err) < 0 ||
            check_index("gpus", i, "bridge", gpu->bridge, machine->nbridges, err) < 0 ||
            check_speed("gpus", i, gpu->pcie_gb_s, err) < 0 ||
            check_text("gpus", i, gpu->uuid, err) < 0 || check_text("gpus", i, gpu->pci, err) < 0 ||
            check_text("gpus", i, gpu->product, err) < 0)
            return -EINVAL;
    }
    for (uint32_t i = 0; i < machine->nnics; i++) {
        const struct machine_nic *nic = &machine->nics[i];

        if (check_index("nics", i, "numa", nic->numa, machine->nnuma, err) < 0 ||
            check_index("nics", i, "bridge", nic->bridge, machine->nbridges, err) < 0 ||
            check_speed("nics", i, nic->pcie_gb_s, err) < 0 ||
            check_speed("nics", i, nic->gbit_s, err) < 0 ||
            check_text("nics", i, nic->name, err) < 0 || check_text("nics", i, nic->pci, err) < 0)
            return -EINVAL;
    }
    return 0;
}

static int check_link(const struct machine *machine, uint32_t i, uint32_t k, struct err *err)
{
    const struct machine_link *link = &machine->link[i][k], *back = &machine->link[k][i];
    bool counted = link->class == LINK_NVLINK || link->class == LINK_XGMI;

    if (link->class >= LINK_CLASSES || (link->class == LINK_SELF) != (i == k))
        return err_set(err, -EINVAL, "link[%u][%u]: found class %u, expected %s", i, k, link->class,
                       i == k ? "that of itself" : "a class of two devices");
    if (link->class != back->class || link->links != back->links || link->gb_s < back->gb_s ||
        link->gb_s > back->gb_s)
        return err_set(err, -EINVAL, "link[%u][%u]: found another than link[%u][%u], expected the same",
                       i, k, k, i);
    if (counted != (link->links > 0))
        return err_set(err, -EINVAL, "link[%u][%u]: found %u links of class %s, expected %s", i, k,
                       link->links, link_class_name(link->class), counted ? "some" : "none");
    return check_speed("link", i, link->gb_s, err);
}

static int check_links(const struct machine *machine, struct err *err)
{
    for (uint32_t i = 0; i < machine->ngpus; i++) {
        for (uint32_t k = 0; k < machine->ngpus; k++)
            if (check_link(machine, i, k, err) < 0)
                return -EINVAL;
        for (uint32_t k = 0; k < machine->nnics; k++)
            if (machine->nic_class[i][k] >= LINK_CLASSES || machine->nic_class[i][k] == LINK_SELF)
                return err_set(err, -EINVAL, "nic_class[%u][%u]: found %u, expected a class", i, k,
                               machine->nic_class[i][k]);
    }
    return 0;
}

int machine_check(const struct machine *machine, struct err *err)
{
    if (check_text("model", 0, machine->model, err) < 0 ||
        check_text("fabric_from", 0, machine->fabric_from, err) < 0 ||
        check_count("sockets", machine->sockets, MACHINE_NUMA_MAX, err) < 0 ||
        check_count("numa nodes", machine->nnuma, MACHINE_NUMA_MAX, err) < 0 ||
        check_count("bridges", machine->nbridges, MACHINE_BRIDGES_MAX, err) < 0 ||
        check_count("accelerators", machine->ngpus, MACHINE_GPUS_MAX, err) < 0 ||
        check_count("NICs", machine->nnics, MACHINE_NICS_MAX, err) < 0)
        return -EINVAL;
    if ((unsigned)machine->fabric > FABRIC_SWITCH || (unsigned)machine->cpu_vendor > CPU_ZHAOXIN)
        return err_set(err, -EINVAL, "fabric, cpu_vendor: found %d, %d, expected known ones",
                       (int)machine->fabric, (int)machine->cpu_vendor);
    if (check_numa_and_bridges(machine, err) < 0 || check_devices(machine, err) < 0 ||
        check_links(machine, err) < 0)
        return -EINVAL;
    return 0;
}
