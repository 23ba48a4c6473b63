/* clock.h - the clocks, for mains and I/O only: pure code gets time as an argument. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Goes on while the machine sleeps, never back: deadlines and leases are measured with it. */
static inline int64_t clock_boot_ns(void)
{
    return clock_read(CLOCK_BOOTTIME);
}
