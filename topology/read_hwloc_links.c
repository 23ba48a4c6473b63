/*
 * hwloc's matrices of links between accelerators. Values are MB/s, one direction, all links of a pair together; which
 * rate hwloc counts for one link depends on its version (hwloc/topology-nvml.c): NVLink 1 is 20000; 2 is 25000; 3 and
 * 4 are 50000 up to hwloc 2.9.0 and 25000 since; the fifth generation is 50000. So a value becomes a number
 * of links, and the speed comes from gpu_model.h. With NVSwitch, rows lead to switches and none from one
 * accelerator to the other.
 */
#include <errno.h>
#include <hwloc.h>
#include <hwloc/distances.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "topology/read_internal.h"

#define NVIDIA 0x10de
#define CLASS_OTHER_BRIDGE 0x0680 /* NVSwitch */
#define LINKS_MAX 255

struct matrix {
    const struct hwloc_distances_s *values;
    struct hwloc_obj *const *gpus;
    struct machine *machine;
    double unit; /* what one link counts, MB/s */
};

/* Which accelerator a row belongs to: its PCI device or one below that; -1: none. */
static int gpu_of(const struct matrix *matrix, hwloc_obj_t object)
{
    for (; object; object = object->parent)
        for (uint32_t i = 0; i < matrix->machine->ngpus; i++)
            if (matrix->gpus[i] == object)
                return (int)i;
    return -1;
}

static bool is_nvswitch(hwloc_obj_t object)
{
    if (!object || object->type != HWLOC_OBJ_PCI_DEVICE)
        return false;
    return (object->subtype && strcmp(object->subtype, "NVSwitch") == 0) ||
           (object->attr->pcidev.vendor_id == NVIDIA &&
            object->attr->pcidev.class_id == CLASS_OTHER_BRIDGE);
}

static uint64_t value_of(const struct matrix *matrix, unsigned row, unsigned column)
{
    return matrix->values->values[(size_t)row * matrix->values->nbobjs + column];
}

static uint32_t links_of(const struct matrix *matrix, uint64_t value)
{
    double links = (double)value / matrix->unit;

    return links >= LINKS_MAX ? LINKS_MAX : (uint32_t)lround(links);
}

/* hwloc 2.5 brought the matrix, 2.9.1 the right rate of Ampere. */
static bool counts_double(const char *version)
{
    static const char *const wrong[] = {"2.5.", "2.6.", "2.7.", "2.8.", "2.9.0"};

    for (size_t i = 0; version && i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (strncmp(version, wrong[i], strlen(wrong[i])) == 0)
            return true;
    return false;
}

static double unit_of(const struct gpu_model *model, const char *version)
{
    if (model && model->sm >= 60 && model->sm < 70)
        return 20000;
    if (model && (model->sm >= 100 || (model->sm >= 80 && counts_double(version))))
        return 50000;
    return 25000;
}

/* Sum of each accelerator's links to switches. Whether there is any. */
static bool links_to_switches(const struct matrix *matrix, uint32_t *links)
{
    const struct hwloc_distances_s *values = matrix->values;
    bool any = false;

    for (unsigned row = 0; row < values->nbobjs; row++) {
        int gpu = gpu_of(matrix, values->objs[row]);

        for (unsigned column = 0; gpu >= 0 && column < values->nbobjs; column++)
            if (is_nvswitch(values->objs[column])) {
                links[gpu] += links_of(matrix, value_of(matrix, row, column));
                any = true;
            }
    }
    for (uint32_t i = 0; i < matrix->machine->ngpus; i++)
        links[i] = links[i] < LINKS_MAX ? links[i] : LINKS_MAX;
    return any;
}

/* A pair is joined by as many links as both directions have. */
static void join_direct(const struct matrix *matrix, enum link_class class)
{
    const struct hwloc_distances_s *values = matrix->values;
    struct machine *machine = matrix->machine;

    machine->fabric = FABRIC_NONE;
    for (unsigned row = 0; row < values->nbobjs; row++)
        for (unsigned column = row + 1; column < values->nbobjs; column++) {
            int a = gpu_of(matrix, values->objs[row]), b = gpu_of(matrix, values->objs[column]);
            uint64_t to = value_of(matrix, row, column), back = value_of(matrix, column, row);
            uint64_t value = to < back ? to : back;
            uint32_t links = links_of(matrix, value);
            float gb_s;

            if (a < 0 || b < 0 || a == b || links == 0)
                continue;
            gb_s = machine_links_gb_s(machine, (uint32_t)a, (uint32_t)b, links);
            if (gb_s <= 0)
                gb_s = (float)((double)value / 1000);
            if (gb_s > (float)MACHINE_SPEED_MAX)
                gb_s = 0;
            machine_join(machine, (uint32_t)a, (uint32_t)b,
                         (struct machine_link){(uint8_t)class, (uint8_t)links, gb_s});
            machine->fabric = FABRIC_MESH;
        }
}

static void read_nvlink(struct matrix *matrix)
{
    uint32_t links[MACHINE_GPUS_MAX] = {0};

    if (links_to_switches(matrix, links))
        machine_join_by_switch(matrix->machine, links);
    else
        join_direct(matrix, LINK_NVLINK);
}

/* ROCm says 50000 for one link of an MI250X; other models' by their sheet. */
static void read_xgmi(struct matrix *matrix)
{
    const struct gpu_model *model = gpu_model_find(matrix->machine->gpus[0].product);

    matrix->unit = model && model->gfx ? model->link_gb_s * 1000.0 : 50000;
    join_direct(matrix, LINK_XGMI);
}

static const struct {
    const char *name;
    void (*read)(struct matrix *matrix);
} matrices[] = {{"NVLinkBandwidth", read_nvlink}, {"XGMIBandwidth", read_xgmi}};

void machine__hwloc_links(hwloc_topology_t topology, struct hwloc_obj *const *gpus,
                          struct machine *machine)
{
    hwloc_obj_t root = hwloc_get_root_obj(topology);
    const char *version = hwloc_obj_get_info_by_name(root, "hwlocVersion");

    for (size_t i = 0; i < sizeof(matrices) / sizeof(matrices[0]) && machine->ngpus; i++) {
        struct hwloc_distances_s *distances = NULL;
        unsigned n = 1;

        if (hwloc_distances_get_by_name(topology, matrices[i].name, &n, &distances, 0) < 0 || n == 0)
            continue;
        matrices[i].read(&(struct matrix){distances, gpus, machine,
                                          unit_of(gpu_model_find(machine->gpus[0].product), version)});
        hwloc_distances_release(topology, distances);
        snprintf(machine->fabric_from, sizeof(machine->fabric_from), "%s of hwloc %.16s",
                 matrices[i].name, version ? version : "");
        break;
    }
}
