/*
 * pod_probe.h - one pod's part in the measurement of its gang: lockstep-probe in an init container, or by hand.
 *
 *   ask    join without addresses: the coordinator says which ranks are this pod's, and who is missing
 *   open   a child process for each device opens its backend (child.h)
 *   join   again, with the addresses of these ranks; wait until all of the gang have come
 *   run    the children connect and measure; the worst of them is reported
 *   wait   for the verdict; under `gate` a slow gang stays for as long as the verdict says
 *
 * Whatever happens it ends: by the verdict, by what the coordinator says, or by its own limit; and then no child is left.
 * It never fails for what it found: the pod starts all the same (a failing init container would be started again, on the
 * same node). A lost stream is opened again, with what is known; a coordinator that was restarted learns all from that.
 *
 * One thread, the process's main one (children end with the thread that starts them). Posix_spawn only: rpc.h.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/rpc.h"
#include "collective/probe_wire.h"

#define POD_TCP_BYTES_MAX ((uint64_t)64 << 20) /* memory of a rank; the coordinator's plan stays within */
#define POD_NCCL_BYTES_MAX ((uint64_t)2 << 30)

struct pod_options {
    struct rpc_channel_options coordinator;
    const char *ns, *pod, *uid, *node; /* who it is; node may be "" */
    const char *host; /* IP address at which peers reach it */
    const char *backend; /* "tcp", "nccl" */
    const char *library; /* nccl: path of libnccl.so.2; NULL: searched */
    const char *const *argv; /* the program of a rank (child.h) */
    unsigned devices; /* ranks of this pod, 1 to PROBE_DEVICES_MAX */
    unsigned streams; /* tcp: connections per neighbour; 0: as the backend has it */
    uint64_t bytes_max; /* of an op: memory is taken for it; 0: POD_TCP_BYTES_MAX, POD_NCCL_BYTES_MAX */
    uint64_t limit_ns; /* of all of it */
    uint64_t patience_ns; /* so long without the coordinator it goes on; 0: until the limit */
};

/*
 * Told on stderr as it goes, also why nothing was measured; the last line says what it cost. err is not NULL. Returns 0 with
 * the verdict; -ETIMEDOUT, -EACCES (refused), -ECANCELED: there is none.
 */
int pod_probe_run(const struct pod_options *options, enum verdict *ret_verdict, struct err *err);

/* The line about it, for those who fail before that. */
void pod_not_measured(const struct err *err);
