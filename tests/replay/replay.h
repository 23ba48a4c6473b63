/*
 * replay.h - a trace (scheduler/trace/trace.h) through the product's core.
 *
 * Each recorded process gets a new core with its configuration; each event is given to it at its time,
 * every action is compared with the recorded one, and the invariants are checked after each call; also
 * that the core comes to rest. The first difference or broken invariant ends the replay. One thread.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct replay_counts {
    uint64_t starts; /* processes recorded */
    uint64_t cut; /* ... of which were killed */
    uint64_t torn; /* lines cut by that */
    uint64_t events, settles, actions;
    uint64_t plans, binds, gangs; /* gangs: different GangPlacements written */
    uint64_t violations;
    int64_t ns; /* time in the core and its checks */
};

/*
 * 0: the core did the same; 1: it did not, or broke an invariant; negative: the file cannot be read as a
 * trace. err says which line and why; *counts tells how far it came in any case.
 */
int replay_file(const char *path, struct replay_counts *counts, struct err *err);
