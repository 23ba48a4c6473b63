/*
 * pattern.h - data of which every word of a result can be checked bit by bit. Pure.
 *
 * Rank r contributes value(i) * (r + 1) at index i, modulo 2^32. So the sum over n ranks is
 * value(i) * n(n+1)/2 in whatever order it was added up, and a word that came from the wrong rank,
 * from the wrong place, twice or not at all differs. Words are in the machine's byte order: all
 * ranks have the same.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* words[k] is the contribution of `rank` at index first_index + k. */
void pattern_fill(uint32_t *words, size_t n, uint64_t first_index, unsigned rank);
/* How many of the words are not the sum over all ranks. */
size_t pattern_wrong_sum(const uint32_t *words, size_t n, uint64_t first_index, unsigned ranks);
/* How many of the words are not what `rank` contributed. */
size_t pattern_wrong_of(const uint32_t *words, size_t n, uint64_t first_index, unsigned rank);
