/* read_hwloc.h - a machine by hwloc: internal to the readers. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "topology/machine.h"

#define HWLOC_REFUSES "hwloc cannot import it, expected a topology as lstopo --of xml writes it"

enum hwloc_stage { HWLOC_LOADS, HWLOC_IS_WALKED, HWLOC_ENDS, HWLOC_DONE };

/* text: hwloc XML that has passed the scan, with a NUL at text[len]; NULL: this machine. */
int machine__hwloc(const char *text, size_t len, struct machine *machine, enum hwloc_stage *stage,
                   struct err *err);

/*
 * The same of a text, in a child process with 3 s of processor time: hwloc 2.9 can be made to crash by an
 * XML that is well-formed (an object without cpuset), and then that file is bad and nothing else. -EIO: it was
 * the walk through what hwloc had loaded that died, which no input may bring about.
 */
int machine__hwloc_apart(const char *text, size_t len, struct machine *machine, struct err *err);
