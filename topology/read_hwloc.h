/* read_hwloc.h - a machine by hwloc: internal to the readers. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "topology/machine.h"

/* text: hwloc XML that has passed the scan, with a NUL at text[len]; NULL: this machine. */
int machine__hwloc(const char *text, size_t len, struct machine *machine, struct err *err);
