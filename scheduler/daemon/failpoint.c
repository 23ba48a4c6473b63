#include "scheduler/daemon/failpoint.h"

#ifdef LOCKSTEP_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void failpoint(const char *name)
{
    static _Atomic long hits;
    const char *wanted = getenv("LOCKSTEP_FAILPOINT");
    size_t len = strlen(name);

    if (!wanted || strncmp(wanted, name, len) != 0 || wanted[len] != ':')
        return;
    if (atomic_fetch_add(&hits, 1) + 1 == strtol(wanted + len + 1, NULL, 10))
        kill(getpid(), SIGKILL);
}

unsigned failpoint_writes(unsigned usual)
{
    const char *wanted = getenv("LOCKSTEP_FAILPOINT_WRITES");
    long writes = wanted ? strtol(wanted, NULL, 10) : 0;

    return writes > 0 && writes < (long)usual ? (unsigned)writes : usual;
}
#endif
