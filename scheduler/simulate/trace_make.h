/*
 * trace_make.h - a trace from a seed, so that anybody can run the one that figures were measured with.
 *
 * Per gang, drawn one by one (splitmix64):
 *   pods      1: 30 %, 2: 18 %, 4: 18 %, 8: 14 %, 16: 8 %, 32: 6 %, 64: 4 %, 128: 2 %; a gang that would take
 *             more than half of the cluster is drawn again
 *   gpus      all of a node (what most nodes of the cluster have); every second gang of one pod takes 1, 2 or
 *             4 instead, if that is less
 *   duration  log-normal: median 20 minutes, sigma 1.2 (mean 41 minutes), within 1 minute and 24 hours
 *   arrival   exponential gaps. Their mean is such that the accelerator-seconds of all gangs, spread over the
 *             time of the submissions, are the wished share (load) of what the cluster has
 * No priorities, no required or preferred levels. Times are whole seconds.
 */
#pragma once

#include "base/strbuf.h"
#include "scheduler/simulate/simulate.h"

/* Appends a CSV trace (trace_file.h). gangs: 1 to TRACE_GANGS_MAX; load: above 0. -ENOMEM, -E2BIG. */
int trace_make(uint64_t seed, size_t gangs, double load, const struct sim_cluster *cluster,
               struct strbuf *out);
