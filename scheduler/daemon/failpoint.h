/*
 * failpoint.h - places where the test build of the extender ends itself with SIGKILL.
 *
 * Only lockstep-extender-failpoints is compiled with them; in the product each is nothing. The
 * environment says where: LOCKSTEP_FAILPOINT=bind:16 ends the process when the 16th binding was
 * acknowledged, before anybody has heard of it. LOCKSTEP_FAILPOINT_WRITES=1 sends the writes one by
 * one, so that no more than those k bindings can have arrived. Any thread.
 */
#pragma once

#ifdef LOCKSTEP_FAILPOINTS
void failpoint(const char *name);
unsigned failpoint_writes(unsigned usual); /* writes in flight at once */
#else
static inline void failpoint(const char *name)
{
    (void)name;
}
static inline unsigned failpoint_writes(unsigned usual)
{
    return usual;
}
#endif
