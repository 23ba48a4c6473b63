/* read_internal.h - the readers behind machine_read(), and what they share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "topology/gpu_model.h"
#include "topology/machine_read.h"

/* One format. It is asked only when those before it did not know the text. */
struct machine_reader {
    const char *format;
    bool (*knows)(const char *text, size_t len);
    /* The machine without derived paths; text[len] is a NUL. */
    int (*read)(const char *name, const char *text, size_t len, struct machine *machine, struct err *err);
};

extern const struct machine_reader machine__hwloc_reader, machine__nccl_reader, machine__topo_reader;

/* Does the text begin as XML whose root is of this name? Looks at its beginning only. */
bool machine__root_is(const char *text, size_t len, const char *root);

/* Cuts to what fits, at a character's end; control characters become '?'. */
void machine__text(char ret[MACHINE_TEXT_MAX], const char *text, size_t len);

/* "0000:1a:00.0" and shorter spellings, as one number that sorts; -EINVAL. */
int machine__pci(const char *text, size_t len, uint64_t *ret);
void machine__pci_text(uint64_t pci, char ret[MACHINE_TEXT_MAX]);

/* What the table knows of this accelerator and the source left open: sm, gfx, the sleeping link's speed. */
void machine__fill_gpu(struct machine_gpu *gpu, const struct gpu_model *model);

/* Fabric if still unknown, model if empty, paths, check. */
int machine__finish(const char *name, struct machine *machine, struct err *err);

/* ---- read_hwloc_links.c ------------------------------------------------------------------------------- */

struct hwloc_topology;
struct hwloc_obj;
/* The matrices of hwloc between these accelerators (PCI devices, in the machine's order). */
void machine__hwloc_links(struct hwloc_topology *topology, struct hwloc_obj *const *gpus,
                          struct machine *machine);
