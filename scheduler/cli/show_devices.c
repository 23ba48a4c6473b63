/* What a plan says of accelerators: which ones each pod gets, what they are near to, how fast all of them are together. */
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"
#include "topology/gpu_set.h"

#define FASTER 1.05 /* from so much more on it is worth telling */

static json_t *gpus_json(uint32_t set)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < MACHINE_GPUS_MAX; i++)
        if (set >> i & 1)
            json_array_append_new(list, json_integer(i));
    return list;
}

static json_t *numa_json(const struct machine *machine, uint32_t set)
{
    json_t *list = json_array();

    for (uint32_t n = 0; machine && n < machine->nnuma; n++) {
        bool near = false;

        for (uint32_t i = 0; i < machine->ngpus; i++)
            near |= (set >> i & 1) && machine->gpus[i].numa == (int)n;
        if (near)
            json_array_append_new(list, json_integer(machine->numa[n].os_index));
    }
    return list;
}

/* The best way from the accelerator to any NIC; LINK_UNKNOWN: none is known. */
static uint8_t best_class(const struct machine *machine, uint32_t gpu)
{
    uint8_t best = LINK_UNKNOWN;

    for (uint32_t n = 0; n < machine->nnics; n++) {
        uint8_t class = machine->nic_class[gpu][n];

        if (class != LINK_UNKNOWN && (best == LINK_UNKNOWN || class < best))
            best = class;
    }
    return best;
}

/* Those that are nearest to one of them. */
static json_t *nics_json(const struct machine *machine, uint32_t set)
{
    json_t *list = json_array();

    for (uint32_t n = 0; machine && n < machine->nnics; n++) {
        bool nearest = false;

        for (uint32_t i = 0; i < machine->ngpus; i++) {
            uint8_t best = set >> i & 1 ? best_class(machine, i) : LINK_UNKNOWN;

            nearest |= best != LINK_UNKNOWN && machine->nic_class[i][n] == best;
        }
        if (nearest)
            json_array_append_new(list, json_string(machine->nics[n].name));
    }
    return list;
}

void set_devices(json_t *entry, const struct slot *slot)
{
    const struct machine *machine = slot->node && slot->node->kind ? &slot->node->kind->machine : NULL;

    json_object_set_new(entry, "gpus", gpus_json(slot->gpus));
    json_object_set_new(entry, "numa", numa_json(machine, slot->gpus));
    json_object_set_new(entry, "nics", nics_json(machine, slot->gpus));
}

#define LIMIT_TEXT 340

/* "nic", "level example.com/spine". */
static const char *limit_text(const struct core *core, const struct bandwidth *predicted, char ret[LIMIT_TEXT])
{
    bool level = predicted->limit == LIMIT_LEVEL;

    snprintf(ret, LIMIT_TEXT, "%s%s%s", bandwidth_limit_word(predicted->limit), level ? " " : "",
             level ? core_level_name(core, (int)predicted->level) : "");
    return ret;
}

json_t *predicted_json(const struct core *core, const struct gang *gang)
{
    struct bandwidth predicted = core_predict(core, gang, false);
    char limit[LIMIT_TEXT];

    return json_pack("{s:o, s:s}", "busbw_gb_s",
                     predicted.busbw_gb_s > 0 ? json_real(predicted.busbw_gb_s) : json_null(),
                     "limited_by", limit_text(core, &predicted, limit));
}

void show_predicted(const struct core *core, const struct gang *gang)
{
    struct bandwidth predicted = core_predict(core, gang, false);
    struct bandwidth merged = core_predict(core, gang, true);
    char limit[LIMIT_TEXT];

    if (predicted.limit == LIMIT_UNKNOWN)
        printf("  bandwidth unknown: %s\n", predicted.why);
    if (predicted.busbw_gb_s <= 0)
        return;
    printf("  %s%.4g GB/s%s all-reduce bus bandwidth predicted, limited by %s\n", paint("\033[1m"),
           predicted.busbw_gb_s, paint("\033[0m"), limit_text(core, &predicted, limit));
    if (merged.busbw_gb_s > predicted.busbw_gb_s * FASTER)
        printf("  %swith one pod a node instead of several it would be %.4g GB/s%s: NCCL takes each pod for a "
               "host of its own\n",
               paint("\033[33m"), merged.busbw_gb_s, paint("\033[0m"));
}

bool knows_gpus(const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (gang->slots[i].gpus)
            return true;
    return false;
}

void show_gpus(const struct gang *gang, uint32_t first, uint32_t end, int width)
{
    char text[MACHINE_GPUS_MAX * 4] = "";
    size_t at = 0;

    for (uint32_t i = first; i < end; i++) {
        char set[GPU_SET_TEXT];

        gpu_set_text(gang->slots[i].gpus, set);
        if (at + strlen(set) + 4 >= sizeof(text))
            break;
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "", set[0] ? set : "?");
    }
    printf(" %-*s", width, text);
}
