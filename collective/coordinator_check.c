/* What always holds of the state. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "collective/coordinator_internal.h"

struct sums {
    uint32_t present, claims, reported, streams, joined_ranks, reported_ranks;
};

static int check_member(const struct coordinator *coordinator, const struct member *member,
                        struct sums *sums, struct err *err)
{
    char key[20];

    snprintf(key, sizeof(key), "%" PRIx64, member->stream);
    if (hashmap_get(&coordinator->pods, member->uid) != member)
        return err_set(err, -EINVAL, "pod %s is not found by its UID", member->pod);
    if (member->stream && hashmap_get(&coordinator->streams, key) != member)
        return err_set(err, -EINVAL, "pod %s is not found by its stream", member->pod);
    if (member->gang->phase == PHASE_COLLECTING && member->present && !member->claim &&
        !member->stream)
        return err_set(err, -EINVAL, "pod %s is here without a stream", member->pod);
    if (member->gang->phase == PHASE_COLLECTING && member->reported && !member->claim)
        return err_set(err, -EINVAL, "pod %s has reported on no round", member->pod);
    if (member->gang->phase >= PHASE_RUNNING && (member->claim || member->addresses))
        return err_set(err, -EINVAL, "pod %s keeps what is over", member->pod);
    if (member->gang->phase == PHASE_DONE && member->stream)
        return err_set(err, -EINVAL, "pod %s waits for a gang that is done", member->pod);
    sums->present += member->present;
    sums->claims += member->present && member->claim;
    sums->reported += member->reported;
    sums->streams += member->stream != 0;
    sums->joined_ranks += member->present ? member->devices : 0;
    sums->reported_ranks += member->reported ? member->devices : 0;
    return 0;
}

static int check_gang(const struct cgang *gang, struct sums *all, struct err *err)
{
    struct sums sums = {0};
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < gang->nmembers; i++)
        r = check_member(gang->coordinator, &gang->members[i], &sums, err);
    if (r < 0)
        return r;
    if (sums.present != gang->npresent || sums.claims != gang->nclaims ||
        sums.reported != gang->nreported || sums.streams != gang->nstreams ||
        sums.joined_ranks != gang->joined_ranks || sums.reported_ranks != gang->reported_ranks)
        return err_set(err, -EINVAL, "gang %s: counts are not what its members are", gang->id.name);
    if (gang->phase == PHASE_COLLECTING && gang->nclaims && gang->nclaims != gang->npresent)
        return err_set(err, -EINVAL, "gang %s: fresh ranks and ranks in a round", gang->id.name);
    if (gang->phase == PHASE_RUNNING && gang->npresent != gang->nmembers)
        return err_set(err, -EINVAL, "gang %s runs with %u of %u members", gang->id.name,
                       gang->npresent, gang->nmembers);
    if (gang->phase == PHASE_RUNNING && gang->nreported == gang->nmembers)
        return err_set(err, -EINVAL, "gang %s runs though all have reported", gang->id.name);
    all->streams += sums.streams;
    return 0;
}

int coordinator_check(const struct coordinator *coordinator, struct err *err)
{
    struct sums sums = {0};
    uint32_t members = 0, ranks = 0;

    for (size_t i = 0; i < coordinator->heap_size; i++) {
        const struct cgang *gang = coordinator->heap[i];
        int r = check_gang(gang, &sums, err);

        if (r < 0)
            return r;
        if (gang->heap_at != i || (i > 0 && coordinator->heap[(i - 1) / 2]->due_ns > gang->due_ns))
            return err_set(err, -EINVAL, "gang %s is not in its place in the heap", gang->id.name);
        if (coord__find(coordinator, &gang->id) != gang)
            return err_set(err, -EINVAL, "gang %s is not found by its name", gang->id.name);
        members += gang->nmembers;
        ranks += gang->ranks;
    }
    if (members != coordinator->counts.members || ranks != coordinator->counts.ranks ||
        coordinator->heap_size != coordinator->counts.gangs ||
        sums.streams != coordinator->counts.streams)
        return err_set(err, -EINVAL, "counts are not what the gangs are");
    if (members != coordinator->pods.n || coordinator->heap_size != coordinator->gangs.n ||
        sums.streams != coordinator->streams.n)
        return err_set(err, -EINVAL, "maps hold what is no more");
    return 0;
}
