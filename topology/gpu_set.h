/*
 * gpu_set.h - sets of a machine's accelerators as bits, and as text for people: "0-3,6".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define GPU_SET_TEXT 96 /* "0,2,4,...,30" and its NUL */

void gpu_set_text(uint32_t set, char ret[GPU_SET_TEXT]); /* "" of the empty set */

/* Indexes below `n`, each once, in any order. 0, -EINVAL (not of that form), -ERANGE. */
int gpu_set_parse(const char *text, size_t len, uint32_t n, uint32_t *ret_set);
