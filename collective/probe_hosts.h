/*
 * probe_hosts.h - the machines that are measured together by hand, and how many ranks each has. Pure; a value type, large:
 * keep it off small stacks.
 *
 * Names are host names as RFC 1123 has them (IPv4 addresses are such too), kept in lower case; none comes twice.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/probe_wire.h"

#define PROBE_HOSTS_MAX 256
#define PROBE_HOSTFILE_MAX (256u << 10) /* bytes of a file */

struct probe_host {
    char name[PROBE_NAME_MAX + 1];
    uint32_t first_rank, slots; /* ranks on it, from 1 to PROBE_DEVICES_MAX */
};

struct probe_hosts {
    struct probe_host items[PROBE_HOSTS_MAX]; /* in order of ranks */
    unsigned n;
    uint32_t ranks;
};

/* -EINVAL with a message: no host name, one that was there before, too many ranks on it; -E2BIG: too many hosts. */
int probe_hosts_add(struct probe_hosts *hosts, const char *name, size_t len, uint64_t slots, struct err *err);

/* "a,b,c", and "a:4,b" of a host with another number of ranks than `slots`. */
int probe_hosts_parse_list(const char *text, size_t len, unsigned slots, struct probe_hosts *ret, struct err *err);

/* As what a host speaks to the coordinator: a pod's UID is shorter than the name of a host may be. */
void probe_host_uid(const struct probe_host *host, char ret[PROBE_UID_MAX + 1]);

/* Their names for people, as many as there is room for: "a, b, and 254 more". */
void probe_hosts_list(const struct probe_hosts *hosts, char *ret, size_t size);

/*
 * A host file as people have for mpirun: a host a line, then "slots=N" (Open MPI) if it is another number than `slots`, or
 * "host:N" (MPICH); "#" begins a comment. Messages name the file and the line.
 */
int probe_hosts_parse_file(const char *name, const char *text, size_t len, unsigned slots, struct probe_hosts *ret,
                           struct err *err);
