/*
 * sim_table.h - state x event x fault: what a gang in this state met, counted while the simulator runs.
 *
 * A row is an event together with the fault it came with. A cell that stays empty must have a rule
 * that says why it cannot happen, and a cell with such a rule must stay empty: sim_table_print() says
 * which do not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/model/event.h"
#include "scheduler/model/gang.h"

struct core;

enum sim_fault {
    FAULT_NONE,
    FAULT_REPEATED, /* told once more though nothing changed; a second vote while one is held */
    FAULT_LATE, /* after other changes of the same object, or of others that came later */
    FAULT_LOST_APPLIED, /* a write's answer: lost, and it was applied */
    FAULT_LOST_UNAPPLIED, /* ... and it was not */
    FAULT_REFUSED, /* ... 409, 404, 403, 422, 429 or 500 */
    FAULTS
};

void sim_table_count(const struct core *core, const struct event *event, enum sim_fault fault);
/* The process ends before the rest of an event's actions is carried out. */
void sim_table_crash(const struct core *core);
/* Prints the table to stdout; false: a cell is empty without a reason, or full against one. */
bool sim_table_print(void);
