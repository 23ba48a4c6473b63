/* Who is missing, in words. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collective/coordinator_internal.h"

#define AND_MORE ", and 10000 more"

bool coord__is_absent(const struct member *member)
{
    return !member->present;
}

bool coord__is_silent(const struct member *member)
{
    return !member->reported;
}

bool coord__is_late(const struct member *member)
{
    return member->reported && member->outcome == PROBE_OUTCOME_TIMEOUT;
}

static bool is_host(const struct member *member)
{
    return strcmp(member->pod, member->node) == 0;
}

void coord__who(const struct member *member, char ret[COORD_WHO_MAX])
{
    if (is_host(member))
        snprintf(ret, COORD_WHO_MAX, "host %s", member->node);
    else
        snprintf(ret, COORD_WHO_MAX, "pod %s on %s", member->pod, member->node);
}

static void name_ranks(const struct member *member, char *ret, size_t size)
{
    if (member->devices == 1)
        snprintf(ret, size, "rank %u", member->first_rank);
    else
        snprintf(ret, size, "ranks %u-%u", member->first_rank,
                 member->first_rank + member->devices - 1);
}

/* At its full length, or without the pod where that is too long for the list. */
static size_t piece(const struct member *member, char *ret, size_t size, size_t room)
{
    const char *why = member->opening ? "opening its devices" : member->why ? member->why : "";
    char ranks[40], who[COORD_WHO_MAX];
    int n;

    name_ranks(member, ranks, sizeof(ranks));
    coord__who(member, who);
    n = snprintf(ret, size, "%s (%s%s%s)", ranks, who, why[0] ? ": " : "", why);
    if ((size_t)n > room)
        n = snprintf(ret, size, "%s (%s %s)", ranks, is_host(member) ? "host" : "pod", member->pod);
    if ((size_t)n > room)
        n = snprintf(ret, size, "%s", ranks);
    return (size_t)n;
}

/* Counts all that are chosen, and names as many of them as there is room for. */
uint32_t coord__list(const struct cgang *gang, coord__chosen_fn *chosen, char *ret, size_t size)
{
    char text[PROBE_NAME_MAX * 2 + PROBE_REASON_MAX + 64];
    size_t len = 0;
    uint32_t ranks = 0, told = 0;

    ret[0] = '\0';
    for (uint32_t i = 0; i < gang->nmembers; i++) {
        const struct member *member = &gang->members[i];
        size_t room = size - 1 - len > sizeof(AND_MORE) + 1 ? size - 1 - len - sizeof(AND_MORE) - 1
                                                            : 0,
               n;

        if (!chosen(member))
            continue;
        ranks += member->devices;
        if (told + member->devices != ranks)
            continue; /* the text is full */
        n = piece(member, text, sizeof(text), room);
        if (n > room)
            continue;
        len += (size_t)snprintf(ret + len, size - len, "%s%s", len ? ", " : "", text);
        told = ranks;
    }
    if (told == 0 && ranks > 0)
        snprintf(ret, size, "%u", ranks);
    else if (told < ranks)
        snprintf(ret + len, size - len, ", and %u more", ranks - told);
    return ranks;
}

bool coordinator_tell(const struct coordinator *coordinator, const char *ns, const char *name,
                      char *ret, size_t size)
{
    struct probe_gang_id id = {0};
    const struct cgang *gang;
    char list[160];

    probe_text_set(id.ns, sizeof(id.ns), ns);
    probe_text_set(id.name, sizeof(id.name), name);
    gang = coord__find(coordinator, &id);
    if (!gang)
        return false;
    switch (gang->phase) {
    case PHASE_COLLECTING:
        coord__list(gang, coord__is_absent, list, sizeof(list));
        snprintf(ret, size, "Collecting: %u of %u ranks are here; missing: %s", gang->joined_ranks,
                 gang->ranks, list);
        break;
    case PHASE_RUNNING:
        snprintf(ret, size, "Running, round %u: %u of %u ranks have reported", gang->round,
                 gang->reported_ranks, gang->ranks);
        break;
    case PHASE_HELD:
        snprintf(ret, size, "Held: %s: %s", verdict_name(gang->result.verdict),
                 gang->result.message);
        break;
    case PHASE_DONE:
        snprintf(ret, size, "Done: %s: %s", verdict_name(gang->result.verdict),
                 gang->result.message);
        break;
    }
    return true;
}
