/*
 * verdict.h - what was measured against what was expected, in a word and in a sentence. Pure.
 *
 *   ratio = measured / expected bus bandwidth      ok from 0.98, slow below 0.92, marginal between
 *
 * The two ratios are the hypotheses of the sequential test that ends a measurement (measure.h):
 * noise of a measurement that it accepts is a percent or two, so below 0.92 is no noise, and
 * between the two nobody can tell. A marginal gang is not held; it is remembered.
 *
 * A measurement is the slope of its two largest sizes, which one disturbed size makes too low or
 * too high; the slope of the smaller two shows that (measure.h). Where they are not within 10 % of
 * each other, both must lead to the same word, else it is unknown: a size that was disturbed upward
 * leaves one of the two at the truth or above it, so no gang is held for a single one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERDICT_OK_RATIO 0.98
#define VERDICT_SLOW_RATIO 0.92
#define VERDICT_TEXT 256 /* of a message, with its NUL: what a GangPlacement takes */

enum verdict {
    VERDICT_OK,
    VERDICT_SLOW,
    VERDICT_MARGINAL,
    VERDICT_UNKNOWN,         /* measured, but there is nothing to compare with, or it contradicts
                                itself */
    VERDICT_WRONG_DATA,      /* sums were wrong */
    VERDICT_WRONG_TRANSPORT, /* not given yet: bytes went another way than they should */
    VERDICT_ERROR,           /* a rank failed by itself */
    VERDICT_INFRASTRUCTURE,  /* ranks did not come, did not answer or lost each other: nobody is
                                blamed */
    VERDICT_SKIPPED,         /* could not be measured there */
    VERDICTS
};
const char *verdict_name(enum verdict verdict); /* "ok", "wrong-data", ... */
bool verdict_from_name(const char *name, enum verdict *ret_verdict);

struct verdict_facts {
    const char *op; /* "all_reduce" */
    unsigned ranks;
    double measured_gb_s; /* bus bandwidth; 0: nothing was measured */
    double expected_gb_s; /* 0: not known */
    double other_gb_s;    /* by the smaller sizes; INFINITY: they set no bound; 0: they agree */
    uint64_t wrong;       /* words of results */
    int wrong_rank;       /* one that has some, -1: not known which */
};

enum verdict verdict_of(const struct verdict_facts *facts);

/* The sentence, of at most VERDICT_TEXT - 1 bytes: "all_reduce of 16 ranks: 187 GB/s, 47 % of the
 * 401 GB/s ...". */
void verdict_text(const struct verdict_facts *facts, char ret[VERDICT_TEXT]);

/* Does it hold a gang whose policy is `gate`? */
bool verdict_holds(enum verdict verdict);
