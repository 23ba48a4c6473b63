/* The one thread that steps the core: events in batches, then plans, then what is to be done. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "scheduler/daemon/daemon.h"

#define CHECK_EVERY_NS INT64_C(10000000000)
#define BATCH 512 /* events under one write lock: filter waits at most for these */

static void tell_leadership(struct daemon *daemon)
{
    bool leads = core_active(daemon->core);

    if (atomic_exchange(&daemon->leads, leads) != leads)
        log_line(LOG_INFO, "lead", leads ? "leading: plans and writes begin"
                                         : "not leading: nothing is written");
}

static void step_batch(struct daemon *daemon, struct event *events, size_t n,
                       struct actions *actions)
{
    int64_t now = clock_boot_ns();

    pthread_rwlock_wrlock(&daemon->core_lock);
    for (size_t i = 0; i < n; i++) {
        if (events[i].kind == EV_LEASE)
            events[i].wall_ns = clock_read(CLOCK_REALTIME); /* of the same moment as now */
        core_step(daemon->core, &events[i], now, actions);
    }
    core_settle(daemon->core, now, actions);
    atomic_store(&daemon->write_until_ns, core_write_until(daemon->core));
    pthread_rwlock_unlock(&daemon->core_lock);
    tell_leadership(daemon);
}

/* The invariants are watched in production too: a broken one is a bug to report, never to hide. */
static void check_sometimes(struct daemon *daemon, int64_t *last_ns)
{
    int64_t now = clock_boot_ns();
    struct err err = ERR_INIT;

    if (now - *last_ns < CHECK_EVERY_NS)
        return;
    *last_ns = now;
    if (core_check(daemon->core, &err) == 0)
        return;
    atomic_fetch_add(&daemon->violations, 1);
    log_line(LOG_ERROR, "core", "broken invariant: %s", err.text);
}

void daemon_loop(struct daemon *daemon)
{
    struct event *events = calloc(BATCH, sizeof(*events));
    struct actions actions = {0};
    int64_t last_check_ns = clock_boot_ns();
    bool running = events != NULL;
    size_t n;

    core_set_epoch(daemon->core,
                   (clock_read(CLOCK_REALTIME) - clock_boot_ns()) / 1000000000);
    while (running) {
        running = queue_take(&daemon->queue, core_deadline(daemon->core), BATCH, events, &n);
        atomic_store(&daemon->beat_ns, clock_boot_ns());
        step_batch(daemon, events, n, &actions);
        daemon_act(daemon, &actions);
        check_sometimes(daemon, &last_check_ns);
        actions_clear(&actions);
    }
    actions_release(&actions);
    free(events);
}
