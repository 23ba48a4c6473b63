/*
 * plan_speed.h - plan.h's question where it is known how fast pods are on which node: among the placements
 * with the fewest domains on every level, the fastest; then fewest nodes, and so on as in plan.h. Pure.
 *
 * A collective is as fast as its slowest pod, so a placement is as fast as the slowest of its nodes, and a
 * node is not faster for more pods of the gang on it: they share its NICs, and leave each other fewer sets of
 * accelerators to choose from. The caller says so in a table, by class of node (machine type and what is
 * free on it) and number of pods that come. How fast those are that are there already is not asked, nor how
 * fast placements in different domains are: fewer domains come first.
 *
 * Method: nobody is faster than v who puts more pods on a node than the node can take at v. So each v is plan.h's
 * question with less room, and the highest v that costs no domain is found by bisection: exact wherever
 * plan.h is.
 *
 * Memory: a scratch of its own beside plan.h's, which holds an index; both grow until nothing more is asked.
 */
#pragma once

#include "scheduler/plan/plan.h"

#define PLAN_SPEED_UNKNOWN 0.0F

struct plan_speed {
    uint32_t nclasses, most;
    const uint16_t *class; /* by node */
    /*
     * [class][pods - 1], `most` of them: GB/s with that many pods that come, more count as `most`; never
     * rising with the number. What is unknown counts as slowest: a speed is promised where one can be.
     */
    const float *gb_s;
};

struct plan_speed_use {
    float gb_s; /* of the slowest node that pods come to; PLAN_SPEED_UNKNOWN: one is not known */
    bool proven; /* none with as few domains is faster */
};

struct plan_race; /* one thread at a time */
struct plan_race *plan_race_new(void);
void plan_race_free(struct plan_race *race);

/* As plan_on_index(); -EINVAL too when a class is beyond the table. The plan's shares are the scratch's. */
int plan_fastest(const struct plan_index *index, const struct plan_request *request,
                 const struct plan_speed *speed, struct plan_race *race,
                 struct plan_scratch *scratch, struct plan *ret_plan,
                 struct plan_speed_use *ret_use, struct plan_shortage *ret_shortage);
