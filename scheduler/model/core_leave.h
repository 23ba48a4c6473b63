/*
 * core_leave.h - who would have to leave so that a waiting gang fits; included by core_why.c and core_leave*.c.
 *
 * Who can leave is an ordinary pod or a whole gang, never part of one; pods of DaemonSets and of the node
 * itself stay. A what-if: pods that are out are taken from their nodes' counts and stand in them again
 * after leave_put_back(), so nothing else may run in between. Memory belongs to struct leave.
 */
#pragma once

#include "scheduler/model/core_internal.h"

struct leave_offer { /* what one more step would bring */
    uint32_t pods, gain; /* pods that go; pods of the waiting gang that fit then and do not now, 0: none */
    bool stale; /* what it depends on has changed */
};

struct leaver {
    struct gang *gang; /* or */
    struct pod *pod;
    const char *ns, *name, *uid; /* uid "": a gang's */
    uint32_t pods; /* how many go with it */
    uint32_t first, nparts; /* in parts */
    bool out;
    unsigned seen; /* the domain in which it was last looked at */
    struct leave_offer offer;
};

struct leave_part { /* what one leaver takes of one node, by one of its pods */
    uint32_t leaver, place;
    bool held; /* else used */
    const struct resources *amount;
    uint32_t gpus; /* which ones of them, as far as that is known */
};

struct leave_place { /* a node, in name order */
    struct node *node;
    bool usable;
    uint32_t room; /* pods of the waiting gang that fit there now */
    uint32_t domain; /* where the waiting gang has to stay together, counted in name order */
    uint32_t first, nparts; /* in by_place */
    struct leave_offer offer;
};

struct leave {
    struct core *core;
    const struct gang *gang;
    uint32_t pods; /* for which there is to be room */
    struct leave_place *places;
    struct leaver *leavers; /* in order of name */
    struct leave_part *parts; /* in order of leavers */
    uint32_t *by_place; /* parts, place by place: whom to ask first comes first */
    uint32_t nplaces, nleavers, nparts, ndomains;
    uint64_t *potential; /* room of each domain, were all gone */
    uint32_t *in_domain, *domain_start; /* places, domain by domain */
    uint32_t *gangs, ngangs; /* of the domain that is looked at */
    uint32_t *taken; /* by the last step */
    uint32_t *out, nout; /* all that are out, in order */
    uint32_t *best, nbest, best_pods; /* the answer; nbest 0: none */
    uint32_t domain; /* that is looked at */
    uint64_t room; /* in it */
    uint64_t work;
};

int leave_open(struct core *core, const struct gang *gang, struct leave *ret); /* -ENOMEM */
void leave_close(struct leave *leave); /* puts all back */
void leave_put(struct leave *leave, uint32_t leaver, bool out);
void leave_put_all(struct leave *leave);
void leave_put_back(struct leave *leave);

/*
 * Looks for the fewest pods: greedily, domain by domain, in bounded work; false: found none. Of those it
 * names nobody could stay. leave_put_best() takes them out, to be verified by planning.
 */
bool leave_search(struct leave *leave);
void leave_put_best(struct leave *leave);
