/*
 * mutants.h - rules of the core that the simulator's build can break, one at a time, to see that the
 * breach is noticed. The X-macro names the invariant of architecture.md, the mutant, the move that a life
 * must make often for its breach to have consequences ("": any life will do), and what is wrong.
 * Without a mutant: I16 (there is no probe yet) and I19 (what happens without an extender is decided by
 * kube-scheduler alone: tests/faults).
 */
#pragma once

#define SIM_MUTANTS(X)                                                                                           \
    X(I1, BIND_UNPERSISTED, "", "bindings are posted before the plan is stored as Binding")                      \
    X(I1, BIND_EARLY, "", "the gang binds when one member has not voted")                                        \
    X(I2, HOLD_IGNORED, "", "what is held for others counts as free")                                            \
    X(I3, OVERFULL_KEPT, "stranger", "a place that others filled is kept")                                       \
    X(I4, HOLD_LEAK, "", "a place that is given up stays held")                                                  \
    X(I4, NO_DEADLINE, "", "a plan has no deadline")                                                             \
    X(I5, LEASE_IGNORED, "trouble", "a leader goes on when its Lease has run out")                               \
    X(I6, NO_RELIST, "time", "a term begins on the caches as they are")                                       \
    X(I7, NO_UID, "", "bindings carry no UID")                                                                   \
    X(I8, FICKLE_ANSWER, "", "the same question gets another answer")                                            \
    X(I9, ROOM_UNNOTICED, "", "room that appears wakes nobody")                                                  \
    X(I9, SUBGROUP_IGNORED, "", "where a subgroup is to be is not regarded")                                        \
    X(I10, WAITS_HOLDING, "", "a gang that could not start keeps its places")                                    \
    X(I11, OVERTAKING, "time", "nodes that are kept for the head of the line are given to others")                \
    X(I11, LINE_PASSED, "time", "the head of the line keeps the nodes of its plan alone, however long it waits") \
    X(I12, USE_FORGOTTEN, "delete", "a deleted pod's use stays counted")                                         \
    X(I13, DRIFT_HIDDEN, "stranger", "a pod that is bound elsewhere is said to be where it was planned")         \
    X(I14, REJECTION_FORGOTTEN, "bad-kubelet", "a node whose kubelet refused a pod is tried at once again")      \
    X(I15, UNKNOWN_GUESSED, "time", "a node that names no domain counts as one of the first")                    \
    X(I17, WRONG_REASON, "", "the reason counts pods that do not fit as fitting")                                \
    X(I18, WRITES_REPEATED, "", "the GangPlacement is written though nothing changed")                           \
    X(I20, EARLY_YES, "", "a bind call is answered before the binding is acknowledged")

enum sim_mutant {
    MUTANT_NONE,
#define X(invariant, name, often, what) MUTANT_##name,
    SIM_MUTANTS(X)
#undef X
        MUTANTS
};

extern enum sim_mutant sim_mutant;
