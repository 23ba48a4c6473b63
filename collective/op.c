#include "collective/op.h"

#include <stddef.h>
#include <string.h>

static const char *const names[OP_COUNT] = {
    [OP_ALL_REDUCE] = "all_reduce",
    [OP_ALL_GATHER] = "all_gather",
    [OP_REDUCE_SCATTER] = "reduce_scatter",
    [OP_ALL_TO_ALL] = "all_to_all",
};

const char *op_name(enum collective_op op)
{
    return op < OP_COUNT ? names[op] : "?";
}

bool op_from_name(const char *name, enum collective_op *ret_op)
{
    for (enum collective_op op = 0; op < OP_COUNT; op++)
        if (strcmp(name, names[op]) == 0) {
            *ret_op = op;
            return true;
        }
    return false;
}

double op_bus_factor(enum collective_op op, unsigned ranks)
{
    double share = ranks > 1 ? (double)(ranks - 1) / ranks : 0;

    return op == OP_ALL_REDUCE ? 2 * share : share;
}

uint64_t op_round_bytes(uint64_t bytes, unsigned ranks)
{
    uint64_t unit = sizeof(uint32_t) * (uint64_t)(ranks ? ranks : 1);

    return bytes < unit ? unit : bytes - bytes % unit;
}
