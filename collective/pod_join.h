/*
 * pod_join.h - a host's part in a measurement by hand: from an invitation (probe_invite.h) to pod_probe_run().
 *
 * Who this host is: the name that is given, else what it calls itself, else one of its addresses. Which of the coordinator's
 * addresses: the first that takes a connection. How peers reach this host: the address that is given, else the host's name
 * where that is an address of it, else the local one of that connection. One thread, the process's main one.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "collective/verdict.h"

struct pod_join_options {
    const char *word; /* of the invitation */
    size_t len;
    const char *name;    /* NULL: found out */
    const char *address; /* IP, v4 or v6; NULL: found out */
    const char *library; /* nccl: path of libnccl.so.2; NULL: searched */
    const char *program, *nccl_program; /* of a rank: each is started with --child (child.h) */
};

/*
 * Told on stderr as it goes, also why nothing was measured. 0 with the verdict; -EINVAL: no invitation, or it is for other hosts; -EHOSTUNREACH: no way to
 * the coordinator; else as pod_probe_run().
 */
int pod_join_run(const struct pod_join_options *options, enum verdict *ret_verdict, struct err *err);
