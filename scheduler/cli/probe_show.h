/* probe_show.h - what `lockstep probe` reads and prints, apart from measuring. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "collective/local.h"
#include "collective/probe_hosts.h"

/*
 * "1M:256M": doubled from one to the other, "1M:256M:4": times four, "64K,1M": these, ascending. K,
 * M, G, T are powers of 1024, as in nccl-tests. At most MEASURE_SIZES_MAX sizes. -EINVAL with a
 * message.
 */
int probe_sizes_parse(const char *text, size_t len, struct measure_plan *plan, struct err *err);

/* An earlier result, as `-o json` printed it. */
struct probe_earlier {
    const char *path; /* NULL: none */
    double busbw_gb_s;
    uint64_t bytes[MEASURE_SIZES_MAX];
    double row_gb_s[MEASURE_SIZES_MAX];
    unsigned n_rows;
};

/* -EINVAL: not such a result, or one of another op, backend or number of ranks. */
int probe_earlier_parse(const char *name, const char *text, size_t len,
                        const struct local_options *options, struct probe_earlier *ret,
                        struct err *err);

struct probe_answer {
    const struct local_options *options;
    const struct probe_hosts *hosts; /* NULL: all ranks are on this machine */
    const struct local_result *result;
    const struct probe_earlier *earlier;
    double tolerance; /* a part of 1 */
};

/* "ok", "slow", "wrong-data", "unknown" (there is nothing to compare with). */
const char *probe_verdict(const struct probe_answer *answer);
json_t *probe_json(const struct probe_answer *answer);
void probe_text(const struct probe_answer *answer);
