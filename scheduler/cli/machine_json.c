/* A machine as JSON for programs. */
#include <math.h>
#include <stdio.h>

#include "scheduler/cli/machine_show.h"

void link_label(const struct machine_link *link, char ret[LINK_LABEL_MAX])
{
    if (link->links)
        snprintf(ret, LINK_LABEL_MAX, "%s%u", link_class_name(link->class), link->links);
    else
        snprintf(ret, LINK_LABEL_MAX, "%s", link_class_name(link->class));
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

/* The number of a NUMA node as the machine's tools know it. */
static json_t *numa_or_null(const struct machine *machine, int numa)
{
    return numa < 0 ? json_null() : json_integer(machine->numa[numa].os_index);
}

/* To a thousandth: single precision has no more to say. */
static json_t *speed_or_null(float gb_s)
{
    return gb_s > 0 ? json_real(round((double)gb_s * 1000) / 1000) : json_null();
}

static json_t *count_or_null(uint64_t count)
{
    return count ? json_integer((json_int_t)count) : json_null();
}

static json_t *numa_json(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->nnuma; i++)
        json_array_append_new(
            list, json_pack("{s:i, s:o, s:o, s:o}", "index", (int)machine->numa[i].os_index, "socket",
                            machine->sockets ? json_integer(machine->numa[i].socket) : json_null(),
                            "cpus", count_or_null(machine->numa[i].cpus), "memory_bytes",
                            count_or_null(machine->numa[i].memory_bytes)));
    return list;
}

static json_t *gpus_json(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->ngpus; i++)
        json_array_append_new(list, json_pack("{s:i, s:o, s:o, s:o}", "index", (int)i, "uuid",
                                              text_or_null(machine->gpus[i].uuid), "pci",
                                              text_or_null(machine->gpus[i].pci), "numa",
                                              numa_or_null(machine, machine->gpus[i].numa)));
    return list;
}

static json_t *nics_json(const struct machine *machine)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < machine->nnics; i++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "name",
                                              text_or_null(machine->nics[i].name), "pci",
                                              text_or_null(machine->nics[i].pci), "numa",
                                              numa_or_null(machine, machine->nics[i].numa), "gbit_s",
                                              speed_or_null(machine->nics[i].gbit_s)));
    return list;
}

static json_t *link_json(const struct machine_link *link)
{
    char label[LINK_LABEL_MAX];

    if (link->class == LINK_UNKNOWN)
        return json_null();
    link_label(link, label);
    return json_string(label);
}

json_t *machine_json(const struct machine *machine)
{
    json_t *links = json_array(), *bandwidth = json_array();

    for (uint32_t i = 0; i < machine->ngpus; i++) {
        json_t *link_row = json_array(), *bandwidth_row = json_array();

        for (uint32_t k = 0; k < machine->ngpus; k++) {
            json_array_append_new(link_row, link_json(&machine->link[i][k]));
            json_array_append_new(bandwidth_row, speed_or_null(machine->link[i][k].gb_s));
        }
        json_array_append_new(links, link_row);
        json_array_append_new(bandwidth, bandwidth_row);
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "model", text_or_null(machine->model),
                     "sockets", count_or_null(machine->sockets), "numa", numa_json(machine), "gpus",
                     gpus_json(machine), "nics", nics_json(machine), "links", links, "bandwidth_gb_s",
                     bandwidth);
}
