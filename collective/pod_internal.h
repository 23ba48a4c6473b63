/* pod_internal.h - what pod_probe.c and pod_children.c share. */
#pragma once

#include <stdbool.h>

#include "collective/child.h"
#include "collective/pod_probe.h"

enum pod_stage {
    POD_ASKING, /* which ranks are mine? */
    POD_OPENING,
    POD_JOINED,
    POD_CONNECTING,
    POD_RUNNING,
    POD_PAIRING, /* each two ranks by themselves */
    POD_REPORTED, /* or about to be */
};

struct pod {
    const struct pod_options *options;
    enum pod_stage stage;
    uint64_t end_ns;

    struct rpc_channel *channel;
    struct rpc_stream *stream; /* NULL: to be opened at retry_ns */
    uint64_t retry_ns, backoff_ns;
    uint64_t lost_ns; /* since when nothing came of the coordinator, 0: it is there */
    uint64_t process, attempt;
    char told[PROBE_REASON_MAX + 128]; /* the last line on stderr: not said twice */

    uint32_t first_rank, ranks; /* as the coordinator has it; ranks 0: not known yet */
    uint64_t start_id; /* of the Start that is followed, 0: none */
    uint32_t round;
    struct measure_plan plan;
    bool pairs; /* afterwards each two ranks by themselves */
    uint64_t until_ns; /* of that Start */
    uint64_t began_ns, opened_ns, connected_ns; /* of this attempt's phases */

    struct child *children[PROBE_DEVICES_MAX];
    unsigned n_children;
    unsigned n_done; /* of them, in this stage */
    struct backend_address own[PROBE_DEVICES_MAX];
    struct backend_info info; /* of the first */
    struct child_event event;

    struct probe_report report;
    bool report_due;
    uint64_t bytes_sent; /* by all rounds that came to an end */
    double measuring_s; /* likewise */
    bool over; /* the verdict has come, or nothing will */
    uint64_t hold_until_ns; /* the verdict says to stay; 0: it does not */
    enum verdict verdict;
    int outcome; /* of pod_probe_run() */
    struct err err;
};

uint64_t pod__now_ns(void);
uint64_t pod__bytes_max(const struct pod *pod);
void pod__say(struct pod *pod, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- pod_children.c -------------------------------------------------------------------------------------- */

void pod__open_children(struct pod *pod); /* stage Opening */
void pod__connect_children(struct pod *pod, const struct probe_addresses *addresses); /* stage Connecting */
void pod__children_events(struct pod *pod); /* what they have to tell by now */
void pod__end_children(struct pod *pod);
/* A report of how far it came; it is sent by the loop. rank: of the gang. */
void pod__report(struct pod *pod, enum probe_outcome outcome, uint32_t rank, const char *text);
