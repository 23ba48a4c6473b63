/* probe_lead_internal.h - what probe_lead.c has of this machine (probe_lead_here.c): its addresses, and a process on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "collective/probe_invite.h"

/*
 * At which addresses hosts may reach a listener of "ip:port"; NULL: of all addresses. The likeliest first: that by which this
 * machine goes into the world. How many, at least 1; and how many there were beyond PROBE_INVITE_PLACES_MAX.
 */
unsigned lead__places(const char *listen, uint32_t ret[PROBE_INVITE_PLACES_MAX], unsigned *ret_left_out);

/* lockstep-probe beside this program, as the host `name`. */
int lead__start_here(const char *name, const char *word, pid_t *ret_pid, struct err *err);
/* It has ended, how is in `ret`: "it exited with 1". False also where there is none. */
bool lead__here_ended(pid_t pid, char *ret, size_t size);
/* It ends by itself, being told; killed when it does not in some seconds. 0: there is none. */
void lead__end_here(pid_t pid);
