/*
 * machine_read.h - a machine from what tools write about it, or from the machine that this runs on.
 *
 * The format is found out by itself: hwloc XML (lstopo --of xml; version 2), NCCL's topology XML
 * (NCCL_TOPO_DUMP_FILE), or the text of `nvidia-smi topo -m`. The bytes are from outside: they are limited in size,
 * depth and number before any library sees them, and a failure names file, line, what was found and what was
 * expected (-EINVAL; -ENOMEM). What a file does not say stays unknown (machine.h). The result has its paths and
 * has passed machine_check().
 *
 * hwloc imports a file in a child process: it can be made to crash. -EIO: an error of ours there. Reading this
 * machine changes the environment for hwloc's time, so it belongs into a thread beside which none looks at that.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "topology/machine.h"

#define MACHINE_BYTES_MAX (16 << 20)

/* `name` is the file's, for messages. */
int machine_read(const char *name, const char *bytes, size_t len, struct machine *ret, struct err *err);
int machine_read_file(const char *path, struct machine *ret, struct err *err); /* "-": standard input */
int machine_read_live(struct machine *ret, struct err *err); /* this machine; hwloc's variables count */
/* A file if there is one of that name, else the catalogue's machine (catalogue.h). */
int machine_read_named(const char *file_or_name, struct machine *ret, struct err *err);
