/*
 * split.h - several pods of the same size on one machine: which accelerators each of them gets. Pure.
 *
 * As fast as possible for the slowest of them; then the sets that come first. Speeds are the caller's: those
 * of bandwidth.h. Searched in full up to SPLIT_STEPS sets looked at, beyond that the best that was found:
 * machines whose accelerators are all alike to each other are answered by the first one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SPLIT_STEPS 100000

typedef float set_speed(void *context, uint32_t set); /* GB/s; 0: not known */

/*
 * `pods` disjoint sets of `gpus` from `free`: their number times their size must be there. `ceiling`: no single
 * set is faster, so who reaches it is done. Returns the speed of the slowest.
 */
float split_machine(uint32_t free, uint32_t gpus, uint32_t pods, float ceiling, set_speed *speed,
                    void *context, uint32_t *ret_sets);
