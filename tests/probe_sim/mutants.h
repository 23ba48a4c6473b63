/*
 * mutants.h - rules of the coordinator that the simulator's build can break, one at a time, to see
 * that the breach is noticed. In the product nothing of it remains.
 */
#pragma once

#define PROBE_SIM_MUTANTS(X)                                                                       \
    X(NO_DEADLINE, "a gang that not all come to waits for ever")                                   \
    X(HELD_FOR_EVER, "a hold has no end")                                                          \
    X(VERDICT_TWICE, "a verdict is given twice")                                                   \
    X(START_EARLY, "the start does not wait for the last rank")                                    \
    X(LEFT_IGNORED, "who left before the start counts as there")                                   \
    X(LATE_JOIN_STAYS, "a process that began anew amid a round does not end the round")            \
    X(OLD_ROUND_TAKEN, "reports of rounds that are over count")                                    \
    X(LATE_ERROR_LOST, "a rank's own error is not heard when its peers have complained before")    \
    X(OLD_PLAN_TAKEN, "what was sent for a former plan counts")                                    \
    X(CLAIMS_MIXED, "a round goes on that not all are in")                                         \
    X(TOKEN_IGNORED, "any pod may speak for another")                                              \
    X(FORGOTTEN_STREAMS, "who waits for a gang that is gone is not told")                          \
    X(REPLACED_UNTOLD, "a stream that another has taken the place of stays open")                  \
    X(WAITING_FLOOD, "each change is told at once")                                                \
    X(STOP_IGNORED, "a gang that is stopped goes on")

enum probe_sim_mutant {
    MUTANT_NONE,
#define X(name, what) MUTANT_##name,
    PROBE_SIM_MUTANTS(X)
#undef X
        PROBE_SIM_MUTANTS_N
};

extern enum probe_sim_mutant probe_sim_mutant;
