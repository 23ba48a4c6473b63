#include "scheduler/model/lease.h"

#include <string.h>

static bool holds(const char *host, const char *holder)
{
    const char *end = strrchr(holder, '_');

    return end && strlen(host) == (size_t)(end - holder) &&
           strncmp(host, holder, (size_t)(end - holder)) == 0;
}

static int64_t age_of(int64_t then_ns, int64_t wall_ns)
{
    return wall_ns > then_ns ? wall_ns - then_ns : 0;
}

void lease_see(struct lease_view *view, const char *host, const struct obj_lease *lease,
               int64_t wall_ns, int64_t boot_ns)
{
    bool was_ours = view->before_ours && lease->transitions <= view->transitions + 1;

    if (!holds(host, lease->holder)) {
        /* An empty holder is a leader that stepped down: nobody has come between. */
        view->ours = false;
        view->before_ours &= !lease->holder[0];
        view->before_other |= lease->holder[0] != '\0';
        if (lease->holder[0])
            view->other_until_ns = boot_ns + lease->duration_ns;
        view->transitions = lease->transitions;
        return;
    }
    view->until_ns = boot_ns - age_of(lease->renewed_ns, wall_ns) + lease->duration_ns -
                     LEASE_WRITE_NS;
    if (!view->ours || view->acquired_ns != lease->acquired_ns) {
        bool fresh = was_ours || (lease->transitions == 0 && !view->before_other);
        int64_t acquired = boot_ns - age_of(lease->acquired_ns, wall_ns);
        int64_t over = view->before_other ? view->other_until_ns : acquired + lease->duration_ns;

        view->from_ns = fresh                              ? boot_ns
                        : over > acquired + LEASE_WRITE_NS ? over
                                                           : acquired + LEASE_WRITE_NS;
        view->acquired_ns = lease->acquired_ns;
    }
    view->ours = view->before_ours = true;
    view->before_other = false;
    view->transitions = lease->transitions;
}

void lease_gone(struct lease_view *view)
{
    view->ours = false; /* who comes next is judged by whom we saw last */
}

bool lease_may_write(const struct lease_view *view, int64_t boot_ns)
{
    return view->ours && boot_ns >= view->from_ns && boot_ns < view->until_ns;
}
