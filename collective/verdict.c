#include "collective/verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const names[VERDICTS] = {
    [VERDICT_OK] = "ok",
    [VERDICT_SLOW] = "slow",
    [VERDICT_MARGINAL] = "marginal",
    [VERDICT_UNKNOWN] = "unknown",
    [VERDICT_WRONG_DATA] = "wrong-data",
    [VERDICT_WRONG_TRANSPORT] = "wrong-transport",
    [VERDICT_ERROR] = "error",
    [VERDICT_INFRASTRUCTURE] = "infrastructure",
    [VERDICT_SKIPPED] = "skipped",
};

const char *verdict_name(enum verdict verdict)
{
    return names[verdict];
}

bool verdict_from_name(const char *name, enum verdict *ret_verdict)
{
    for (enum verdict verdict = 0; verdict < VERDICTS; verdict++)
        if (strcmp(names[verdict], name) == 0) {
            *ret_verdict = verdict;
            return true;
        }
    return false;
}

static enum verdict word_of(double ratio)
{
    if (ratio >= VERDICT_OK_RATIO)
        return VERDICT_OK;
    return ratio < VERDICT_SLOW_RATIO ? VERDICT_SLOW : VERDICT_MARGINAL;
}

static bool contradicts_itself(const struct verdict_facts *facts)
{
    return facts->other_gb_s > 0 && word_of(facts->measured_gb_s / facts->expected_gb_s) !=
                                        word_of(facts->other_gb_s / facts->expected_gb_s);
}

enum verdict verdict_of(const struct verdict_facts *facts)
{
    if (facts->wrong > 0)
        return VERDICT_WRONG_DATA;
    if (!(facts->measured_gb_s > 0) || !(facts->expected_gb_s > 0))
        return VERDICT_UNKNOWN;
    return contradicts_itself(facts) ? VERDICT_UNKNOWN
                                     : word_of(facts->measured_gb_s / facts->expected_gb_s);
}

/* Three digits are what a measurement is worth. */
static void number_text(char *ret, size_t size, double gb_s)
{
    snprintf(ret, size, "%.*f", gb_s < 9.995 ? 2 : gb_s < 99.95 ? 1 : 0, gb_s);
}

static void contradiction_text(const struct verdict_facts *facts, const char *measured,
                               const char *expected, char ret[VERDICT_TEXT])
{
    char other[32] = "no bound";
    bool bound = isfinite(facts->other_gb_s);

    if (bound)
        number_text(other, sizeof(other), facts->other_gb_s);
    snprintf(ret, VERDICT_TEXT,
             "%s of %u ranks: %s GB/s by the largest sizes, %s%s by smaller ones, of the %s GB/s "
             "that were expected: it does not agree with itself",
             facts->op, facts->ranks, measured, other, bound ? " GB/s" : "", expected);
}

void verdict_text(const struct verdict_facts *facts, char ret[VERDICT_TEXT])
{
    char measured[32], expected[32];

    number_text(measured, sizeof(measured), facts->measured_gb_s);
    number_text(expected, sizeof(expected), facts->expected_gb_s);
    if (facts->wrong > 0 && facts->wrong_rank >= 0)
        snprintf(ret, VERDICT_TEXT,
                 "%s of %u ranks: %" PRIu64 " words of the result are wrong, on rank %d first",
                 facts->op, facts->ranks, facts->wrong, facts->wrong_rank);
    else if (facts->wrong > 0)
        snprintf(ret, VERDICT_TEXT, "%s of %u ranks: %" PRIu64 " words of the result are wrong",
                 facts->op, facts->ranks, facts->wrong);
    else if (!(facts->measured_gb_s > 0))
        snprintf(ret, VERDICT_TEXT, "%s of %u rank%s: %s", facts->op, facts->ranks,
                 facts->ranks == 1 ? "" : "s",
                 facts->ranks == 1
                     ? "nothing goes between ranks, so there is no bandwidth to measure"
                     : "no bandwidth was measured");
    else if (!(facts->expected_gb_s > 0))
        snprintf(ret, VERDICT_TEXT, "%s of %u ranks: %s GB/s, nothing is known to compare it with",
                 facts->op, facts->ranks, measured);
    else if (contradicts_itself(facts))
        contradiction_text(facts, measured, expected, ret);
    else
        snprintf(ret, VERDICT_TEXT,
                 "%s of %u ranks: %s GB/s, %.1f %% of the %s GB/s that were expected", facts->op,
                 facts->ranks, measured, facts->measured_gb_s / facts->expected_gb_s * 100,
                 expected);
}

bool verdict_holds(enum verdict verdict)
{
    return verdict == VERDICT_SLOW || verdict == VERDICT_WRONG_DATA;
}
