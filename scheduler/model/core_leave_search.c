/*
 * The search for the fewest pods that would have to leave. A cover by whole gangs is as hard as set cover, so
 * this is greedy: step by step whatever brings most room for each pod that goes, and at every step the way to
 * be done at once. Who could stay in the end is put back. All by arithmetic on the nodes; the caller plans.
 */
#include "scheduler/model/core_leave.h"

#include <stdlib.h>
#include <string.h>

#define WORK_MAX 1000000 /* pods taken out or put back: some 100 ms */
#define SCAN 16 /* offers that are looked at in the time of one of these */

static bool put(struct leave *leave, const uint32_t *list, uint32_t n, bool out)
{
    for (uint32_t i = 0; i < n; i++)
        leave_put(leave, list[i], out);
    return n > 0;
}

static uint32_t count_pods(const struct leave *leave, const uint32_t *list, uint32_t n)
{
    uint32_t pods = 0;

    for (uint32_t i = 0; i < n; i++)
        pods += leave->leavers[list[i]].pods;
    return pods;
}

/* ---- steps -------------------------------------------------------------------------------------------- */

/*
 * Takes out what stands in the way of one more pod there: the largest ordinary pods first, gangs where those
 * do not suffice; what turns out not to be needed goes back. How many were taken; 0: no more fits in any case.
 */
static uint32_t clear_place(struct leave *leave, const struct leave_place *place)
{
    uint32_t before = place->room, n = 0, kept = 0;

    for (uint32_t i = 0; i < place->nparts && place->room <= before; i++) {
        uint32_t leaver = leave->parts[leave->by_place[place->first + i]].leaver;

        if (leave->leavers[leaver].out)
            continue;
        leave_put(leave, leaver, true);
        leave->taken[n++] = leaver;
    }
    for (uint32_t i = n; i-- > 0;) {
        leave_put(leave, leave->taken[i], false);
        if (place->room <= before && n > 0)
            leave_put(leave, leave->taken[i], true);
    }
    for (uint32_t i = 0; i < n; i++)
        if (leave->leavers[leave->taken[i]].out)
            leave->taken[kept++] = leave->taken[i];
    if (place->room > before)
        return kept;
    put(leave, leave->taken, kept, false);
    return 0;
}

static uint32_t take_gang(struct leave *leave, uint32_t leaver)
{
    if (leave->leavers[leaver].out)
        return 0;
    leave_put(leave, leaver, true);
    leave->taken[0] = leaver;
    return 1;
}

struct step {
    uint32_t place; /* or, UINT32_MAX: */
    uint32_t leaver;
    struct leave_offer *offer; /* NULL: no step */
};

static uint32_t take(struct leave *leave, const struct step *step)
{
    return step->place != UINT32_MAX ? clear_place(leave, &leave->places[step->place])
                                     : take_gang(leave, step->leaver);
}

static void refresh(struct leave *leave, const struct step *step)
{
    uint64_t before = leave->room;
    uint32_t n;

    if (!step->offer->stale)
        return;
    n = take(leave, step);
    *step->offer = (struct leave_offer){
        .pods = count_pods(leave, leave->taken, n), .gain = (uint32_t)(leave->room - before)};
    put(leave, leave->taken, n, false);
}

/*
 * Offers that depend on the nodes of these leavers are no longer known. Those of nodes that share a gang with
 * them may be out of date and are kept: whoever takes a step looks at what it really brought.
 */
static void note_changes(struct leave *leave, uint32_t leaver)
{
    const struct leaver *gone = &leave->leavers[leaver];

    for (uint32_t i = 0; i < gone->nparts; i++) {
        struct leave_place *place = &leave->places[leave->parts[gone->first + i].place];

        place->offer.stale = true;
        for (uint32_t k = 0; k < place->nparts; k++)
            leave->leavers[leave->parts[leave->by_place[place->first + k]].leaver].offer.stale = true;
    }
}

static void commit(struct leave *leave, const struct step *step)
{
    uint32_t n = take(leave, step);

    for (uint32_t i = 0; i < n; i++) {
        note_changes(leave, leave->taken[i]);
        leave->out[leave->nout++] = leave->taken[i];
    }
    step->offer->stale = true;
}

/* ---- the choice --------------------------------------------------------------------------------------- */

struct choice {
    struct step best; /* most room for each pod that goes */
    struct step last; /* the fewest pods after which all fits */
};

static uint64_t useful(const struct leave_offer *offer, uint64_t need)
{
    return offer->gain < need ? offer->gain : need;
}

static bool is_better(const struct leave_offer *a, const struct leave_offer *b, uint64_t need)
{
    uint64_t left = a->pods * useful(b, need), right = b->pods * useful(a, need);

    return left != right ? left < right : a->pods < b->pods;
}

static void consider(struct leave *leave, struct choice *choice, struct step step, uint64_t need)
{
    refresh(leave, &step);
    if (step.offer->gain == 0)
        return;
    if (!choice->best.offer || is_better(step.offer, choice->best.offer, need))
        choice->best = step;
    if (step.offer->gain >= need &&
        (!choice->last.offer || step.offer->pods < choice->last.offer->pods))
        choice->last = step;
}

static struct choice choose(struct leave *leave, uint64_t need)
{
    uint32_t from = leave->domain_start[leave->domain];
    uint32_t to = leave->domain_start[leave->domain + 1];
    struct choice choice = {0};

    leave->work += (to - from) / SCAN;
    for (uint32_t i = from; i < to; i++) {
        uint32_t place = leave->in_domain[i];

        if (leave->places[place].usable)
            consider(leave, &choice, (struct step){place, 0, &leave->places[place].offer}, need);
    }
    for (uint32_t i = 0; i < leave->ngangs; i++)
        consider(leave, &choice,
                 (struct step){UINT32_MAX, leave->gangs[i],
                               &leave->leavers[leave->gangs[i]].offer}, need);
    return choice;
}

/* ---- one domain --------------------------------------------------------------------------------------- */

/* The next smaller number of pods that one of those who are out has; 0: none. */
static uint32_t next_size(const struct leave *leave, uint32_t below)
{
    uint32_t size = 0;

    for (uint32_t i = 0; i < leave->nout; i++) {
        uint32_t pods = leave->leavers[leave->out[i]].pods;

        if (pods < below && pods > size)
            size = pods;
    }
    return size;
}

static void put_back_of_size(struct leave *leave, uint32_t size, bool gangs)
{
    for (uint32_t i = 0; i < leave->nout; i++) {
        const struct leaver *leaver = &leave->leavers[leave->out[i]];

        if (leaver->pods != size || (leaver->gang != NULL) != gangs)
            continue;
        leave_put(leave, leave->out[i], false);
        if (leave->room < leave->pods)
            leave_put(leave, leave->out[i], true);
    }
}

static void put_back_who_can_stay(struct leave *leave)
{
    for (uint32_t size = next_size(leave, UINT32_MAX); size > 0; size = next_size(leave, size)) {
        put_back_of_size(leave, size, true);
        put_back_of_size(leave, size, false);
    }
}

/* Who can stay is put back, those of most pods first and gangs before pods; what is left is an answer, if it is a better one. */
static void keep_if_best(struct leave *leave)
{
    uint32_t pods = 0, n = 0;

    put_back_who_can_stay(leave);
    for (uint32_t i = 0; i < leave->nout; i++)
        if (leave->leavers[leave->out[i]].out)
            pods += leave->leavers[leave->out[i]].pods;
    if (leave->nbest == 0 || pods < leave->best_pods) {
        for (uint32_t i = 0; i < leave->nout; i++)
            if (leave->leavers[leave->out[i]].out)
                leave->best[n++] = leave->out[i];
        leave->nbest = n;
        leave->best_pods = pods;
    }
    put(leave, leave->out, leave->nout, true);
}

/* The domain's gangs, and nothing of it is known yet. */
static void enter(struct leave *leave, uint32_t domain)
{
    leave->domain = domain;
    leave->room = 0;
    leave->ngangs = 0;
    for (uint32_t i = leave->domain_start[domain]; i < leave->domain_start[domain + 1]; i++) {
        struct leave_place *place = &leave->places[leave->in_domain[i]];

        leave->room += place->room;
        place->offer.stale = true;
        for (uint32_t k = 0; k < place->nparts; k++) {
            uint32_t index = leave->parts[leave->by_place[place->first + k]].leaver;
            struct leaver *leaver = &leave->leavers[index];

            if (leaver->seen == domain + 1)
                continue;
            leaver->seen = domain + 1;
            leaver->offer.stale = true;
            if (leaver->gang)
                leave->gangs[leave->ngangs++] = index;
        }
    }
}

static void finish_at_once(struct leave *leave, const struct step *step)
{
    uint32_t before = leave->nout;

    commit(leave, step);
    if (leave->room >= leave->pods)
        keep_if_best(leave);
    while (leave->nout > before) {
        note_changes(leave, leave->out[--leave->nout]);
        leave_put(leave, leave->out[leave->nout], false);
    }
}

/* The same step on other nodes, as long as it cannot be the last: a choice looks at all offers each time. */
static void repeat(struct leave *leave, const struct leave_offer *done)
{
    uint32_t from = leave->domain_start[leave->domain];
    uint32_t to = leave->domain_start[leave->domain + 1];

    for (uint32_t i = from; i < to && leave->room + done->gain < leave->pods; i++) {
        uint32_t place = leave->in_domain[i];
        struct leave_offer *offer = &leave->places[place].offer;

        if (!offer->stale && offer->pods == done->pods && offer->gain == done->gain)
            commit(leave, &(struct step){place, 0, offer});
    }
}

static void search_domain(struct leave *leave)
{
    while (leave->room < leave->pods && leave->work < WORK_MAX) {
        struct choice choice = choose(leave, leave->pods - leave->room);
        uint32_t spent = count_pods(leave, leave->out, leave->nout);
        struct leave_offer best;

        if (!choice.best.offer)
            return;
        if (choice.last.offer && choice.last.offer != choice.best.offer &&
            (leave->nbest == 0 || spent + choice.last.offer->pods < leave->best_pods))
            finish_at_once(leave, &choice.last);
        if (leave->nbest > 0 && spent + 1 > leave->best_pods)
            return;
        best = *choice.best.offer;
        commit(leave, &choice.best);
        if (choice.best.place != UINT32_MAX)
            repeat(leave, &best);
    }
    if (leave->room >= leave->pods)
        keep_if_best(leave);
}

static int compare_indexes(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

/* The room of each domain, were all gone that can go. */
static void find_potential(struct leave *leave)
{
    leave_put_all(leave);
    memset(leave->potential, 0, leave->ndomains * sizeof(*leave->potential));
    for (uint32_t i = 0; i < leave->nplaces; i++)
        if (leave->places[i].domain != UINT32_MAX)
            leave->potential[leave->places[i].domain] += leave->places[i].room;
    leave_put_back(leave);
}

bool leave_search(struct leave *leave)
{
    leave_put_back(leave);
    find_potential(leave);
    leave->work = 0;
    leave->nbest = 0;
    for (uint32_t domain = 0; domain < leave->ndomains && leave->work < WORK_MAX; domain++) {
        if (leave->potential[domain] < leave->pods)
            continue;
        enter(leave, domain);
        search_domain(leave);
        leave_put_back(leave);
    }
    leave->domain = UINT32_MAX;
    qsort(leave->best, leave->nbest, sizeof(*leave->best), compare_indexes);
    return leave->nbest > 0;
}
