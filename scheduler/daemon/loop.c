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

    if (atomic_exchange(&daemon->leads, leads) == leads)
        return;
    log_line(LOG_INFO, "lead", leads ? "leading: plans and writes begin" : "not leading: nothing is written");
    daemon_probes_lead(daemon, leads);
}

/* Before the actions go out, so that a killed process has told all that it ever did. */
static void record(struct daemon *daemon, const struct arrival *arrivals, const size_t *ends,
                   size_t n, const struct actions *actions, int64_t now)
{
    struct recording *recording = daemon->recording;
    struct err err = ERR_INIT;
    size_t from = 0;

    for (size_t i = 0; i < n; i++) {
        recording_step(recording, &arrivals[i].event, arrivals[i].source, now);
        recording_actions(recording, actions, from, ends[i]);
        from = ends[i];
    }
    recording_settle(recording, now);
    recording_actions(recording, actions, from, actions->n);
    if (recording_flush(recording, &err) < 0)
        log_line(LOG_ERROR, "trace", "recording ended: %s", err.text);
}

static void step_batch(struct daemon *daemon, struct arrival *arrivals, size_t n,
                       struct actions *actions)
{
    int64_t now = clock_boot_ns();
    size_t ends[BATCH]; /* how many actions there were after each event */

    pthread_rwlock_wrlock(&daemon->core_lock);
    for (size_t i = 0; i < n; i++) {
        if (arrivals[i].event.kind == EV_LEASE)
            arrivals[i].event.wall_ns = clock_read(CLOCK_REALTIME); /* of the same moment as now */
        core_step(daemon->core, &arrivals[i].event, now, actions);
        ends[i] = actions->n;
    }
    core_settle(daemon->core, now, actions);
    atomic_store(&daemon->term, core_term(daemon->core)); /* in this order: see may_write() */
    atomic_store(&daemon->write_until_ns, core_write_until(daemon->core));
    pthread_rwlock_unlock(&daemon->core_lock);
    tell_leadership(daemon);
    if (daemon->recording)
        record(daemon, arrivals, ends, n, actions, now);
    for (size_t i = 0; i < n; i++)
        free(arrivals[i].source);
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
    struct arrival *arrivals = calloc(BATCH, sizeof(*arrivals));
    struct actions actions = {0};
    int64_t last_check_ns = clock_boot_ns();
    bool running = arrivals != NULL;
    size_t n;

    while (running) {
        running = queue_take(&daemon->queue, core_deadline(daemon->core), BATCH, arrivals,
                             &n);
        atomic_store(&daemon->beat_ns, clock_boot_ns());
        step_batch(daemon, arrivals, n, &actions);
        daemon_act(daemon, &actions);
        check_sometimes(daemon, &last_check_ns);
        actions_clear(&actions);
    }
    actions_release(&actions);
    free(arrivals);
}
