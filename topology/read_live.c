/* This machine: hwloc's view, and from sysfs what hwloc leaves out: what a link could do, how fast a NIC is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "topology/read_hwloc.h"
#include "topology/read_internal.h"

#define VALUE_MAX 64

/* The first line of a small file; "" where there is none. */
static void read_value(char ret[VALUE_MAX], const char *folder, const char *device, const char *file)
{
    char path[4 * MACHINE_TEXT_MAX];
    FILE *in;

    ret[0] = '\0';
    if (strchr(device, '/') || (size_t)snprintf(path, sizeof(path), "%s/%s/%s", folder, device, file) >=
                                   sizeof(path))
        return;
    in = fopen(path, "re");
    if (!in)
        return;
    if (!fgets(ret, VALUE_MAX, in))
        ret[0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    fclose(in);
}

/* An idle link runs slower than it can: max_link_* is what counts. */
static float fastest(const char *pci, float found)
{
    char speed[VALUE_MAX], width[VALUE_MAX];
    uint64_t lanes;
    float gb_s;

    read_value(speed, "/sys/bus/pci/devices", pci, "max_link_speed");
    read_value(width, "/sys/bus/pci/devices", pci, "max_link_width");
    if (parse_u64(width, strlen(width), 32, &lanes) < 0)
        return found;
    gb_s = pcie_gb_s(strtod(speed, NULL), (uint32_t)lanes);
    /* The slot may have fewer lanes than the device; then the current width tells. */
    read_value(width, "/sys/bus/pci/devices", pci, "current_link_width");
    if (lanes && parse_u64(width, strlen(width), 32, &lanes) == 0 && lanes)
        gb_s = pcie_gb_s(strtod(speed, NULL), (uint32_t)lanes);
    return gb_s > 0 ? gb_s : found;
}

/* "400 Gb/sec (4X NDR)" of an RDMA port; else Mbit/s of a network interface. */
static float nic_gbit_s(const char *name)
{
    char value[VALUE_MAX];
    int64_t mbit_s;
    double gbit_s;

    read_value(value, "/sys/class/infiniband", name, "ports/1/rate");
    gbit_s = strtod(value, NULL);
    if (gbit_s > 0 && gbit_s < MACHINE_SPEED_MAX)
        return (float)gbit_s;
    read_value(value, "/sys/class/net", name, "speed");
    if (parse_i64(value, strlen(value), 1, 10000000, &mbit_s) < 0)
        return 0;
    return (float)mbit_s / 1000;
}

int machine_read_live(struct machine *ret, struct err *err)
{
    CLEANUP_FREE struct machine *machine = cleanup_alloc(sizeof(*machine));
    enum hwloc_stage stage;
    int r;

    if (!machine)
        return err_set(err, -ENOMEM, "this machine: out of memory");
    r = machine__hwloc(NULL, 0, machine, &stage, err);
    if (r < 0)
        return err_prefix(err, r, "this machine");
    for (uint32_t i = 0; i < machine->ngpus; i++)
        machine->gpus[i].pcie_gb_s = fastest(machine->gpus[i].pci, machine->gpus[i].pcie_gb_s);
    for (uint32_t i = 0; i < machine->nnics; i++) {
        machine->nics[i].pcie_gb_s = fastest(machine->nics[i].pci, machine->nics[i].pcie_gb_s);
        machine->nics[i].gbit_s = nic_gbit_s(machine->nics[i].name);
    }
    r = machine__finish("this machine", machine, err);
    if (r == 0)
        *ret = *machine;
    return r;
}
