/*
 * lease.h - who leads, and until when: read off kube-scheduler's own Lease.
 *
 * kube-scheduler and the extender share a pod, so the two lead together: we lead while that Lease
 * names this host as its holder (client-go's identity is "<host name>_<random>"). Writes may begin
 *
 *   until  the last renewal + leaseDuration - LEASE_WRITE_NS: a write that began in time is over, for
 *          the client and for the API server (both are given that limit), before anybody else can
 *          acquire the Lease;
 *   from   at once, if the Lease never changed hands or this process saw our own host hold it before;
 *          else when the term of the holder before us is over as we last saw it (unseen: a leaseDuration
 *          after the Lease was acquired), and LEASE_WRITE_NS after it was acquired. kube-scheduler gives
 *          its Lease away when it ends in good order, while the extender beside it may be stopped and
 *          still believe in the old one; the second margin is for one that was stopped between its last
 *          look at the clock and the send.
 *
 * Both are times of CLOCK_BOOTTIME (it goes on while a process is stopped or a machine sleeps). The
 * renewal's wall time is the holder's, and the holder is on our machine, so its age is exact even if
 * the watch brought it late; a wall clock that was set back makes the age 0, never negative.
 * Source: k8s.io/client-go tools/leaderelection (a candidate acquires leaseDuration after it last saw
 * the record change). Pure; no thread rule.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/model/objects.h"

/* The longest time that one write may take: kube_write.c's timeout for a call. */
#define LEASE_WRITE_NS INT64_C(8000000000)

struct lease_view {
    bool ours;
    bool before_ours; /* the last holder that was seen was this host */
    bool before_other; /* ... was another one */
    int64_t from_ns, until_ns; /* meaningful while ours */
    int64_t acquired_ns; /* of the Lease: tells terms apart */
    int64_t other_until_ns; /* when the term of the other holder ends that was seen last */
    int32_t transitions; /* as last seen */
};

/* host: this machine's or pod's host name. wall_ns, boot_ns: both clocks now. */
void lease_see(struct lease_view *view, const char *host, const struct obj_lease *lease,
               int64_t wall_ns, int64_t boot_ns);
void lease_gone(struct lease_view *view);

bool lease_may_write(const struct lease_view *view, int64_t boot_ns);
