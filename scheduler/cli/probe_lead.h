/*
 * probe_lead.h - several machines measured by hand: starts a coordinator, prints the line that each host is to run, waits
 * for all of them, and brings back what they measured as local_run() does for this machine.
 *
 * Trust is made anew for each run and never written to a file: a certificate of its own and a secret, both in that line
 * (probe_invite.h). All ends by the timeout. SIGINT, SIGTERM and SIGHUP end it earlier; in each case the hosts are told why
 * and their processes end. One thread.
 */
#pragma once

#include "base/err.h"
#include "collective/local.h"
#include "collective/probe_hosts.h"

#define LEAD_TIMEOUT_S 600 /* when none is said: people have to paste a line on each host */
#define LEAD_TIMEOUT_LEAST_S 10

struct lead_options {
    const struct local_options *local; /* ranks: of all hosts; argv is not looked at */
    const struct probe_hosts *hosts;
    const char *listen; /* "ip:port"; NULL: any port of all addresses */
    const char *here;   /* the host whose process is started here, beside this program; NULL: none */
};

/*
 * -EINVAL: what is asked for cannot be; -ENODEV: a host says that it cannot be measured there; -EIO: it was not measured,
 * and err says why; -EINTR: stopped by a signal; else no coordinator could be started.
 */
int lead_run(const struct lead_options *options, struct local_result *ret, struct err *err);
