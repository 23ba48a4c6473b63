#include "collective/verdict.h"

#include <inttypes.h>
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

enum verdict verdict_of(const struct verdict_facts *facts)
{
    double ratio;

    if (facts->wrong > 0)
        return VERDICT_WRONG_DATA;
    if (!(facts->measured_gb_s > 0) || !(facts->expected_gb_s > 0))
        return VERDICT_UNKNOWN;
    ratio = facts->measured_gb_s / facts->expected_gb_s;
    if (ratio >= VERDICT_OK_RATIO)
        return VERDICT_OK;
    return ratio < VERDICT_SLOW_RATIO ? VERDICT_SLOW : VERDICT_MARGINAL;
}

/* Three digits are what a measurement is worth. */
static void number_text(char *ret, size_t size, double gb_s)
{
    snprintf(ret, size, "%.*f", gb_s < 9.995 ? 2 : gb_s < 99.95 ? 1 : 0, gb_s);
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
