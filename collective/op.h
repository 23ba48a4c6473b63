/*
 * op.h - the collective operations that are measured, by the names that nccl-tests gives them, and
 * what their times mean. Pure.
 *
 * `bytes` of an operation is the size column of nccl-tests:
 *   all_reduce      the buffer of each rank
 *   all_gather      what each rank ends with, ranks * its own part
 *   reduce_scatter  what each rank starts with, ranks * the part that it ends with
 *   all_to_all      what each rank sends, its part for itself included
 * always a multiple of 4 * ranks: op_round_bytes().
 *
 *   algbw = bytes / time            busbw = algbw * op_bus_factor()
 *
 * Source of the factors: nccl-tests, doc/PERFORMANCE.md.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum collective_op { OP_ALL_REDUCE, OP_ALL_GATHER, OP_REDUCE_SCATTER, OP_ALL_TO_ALL, OP_COUNT };

const char *op_name(enum collective_op op); /* "all_reduce", ... */
bool op_from_name(const char *name, enum collective_op *ret_op);

/* 2(n-1)/n of all_reduce, (n-1)/n of the others; 0 for one rank, which moves nothing. */
double op_bus_factor(enum collective_op op, unsigned ranks);

/* Down to a multiple of 4 * ranks, but at least one such. */
uint64_t op_round_bytes(uint64_t bytes, unsigned ranks);
