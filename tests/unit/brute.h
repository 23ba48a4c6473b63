/*
 * brute.h - what the tests of the planner by brute force share: random numbers from a seed, and which of two
 * placements is better. LEVELS is defined before it is included.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>

static uint64_t random_state;

static inline unsigned next_random(unsigned below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % below);
}

/* A number from the environment. */
static inline long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : otherwise;
}

struct score { /* smaller is better, in this order */
    unsigned domains[LEVELS], nodes, squares;
};

static inline int compare_scores(const struct score *a, const struct score *b)
{
    for (int level = 0; level < LEVELS; level++)
        if (a->domains[level] != b->domains[level])
            return a->domains[level] < b->domains[level] ? -1 : 1;
    if (a->nodes != b->nodes)
        return a->nodes < b->nodes ? -1 : 1;
    return a->squares < b->squares ? -1 : a->squares > b->squares;
}
