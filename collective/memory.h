/*
 * memory.h - how much memory a process here may still take, so that a rank says so instead of being
 * killed for it.
 */
#pragma once

#include <stdint.h>

/* Of the machine and of this container, whichever is less; UINT64_MAX: not known. */
uint64_t memory_available_bytes(void);
