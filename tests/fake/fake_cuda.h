/*
 * fake_cuda.h - a CUDA driver over host memory, built as libcuda.so.1. The names and types are those
 * that cuda_api.h asks for, plus what the fake NCCL needs to run an op on a stream.
 *
 * Each stream has a thread that does its work in order, and a clock that only the time model moves:
 * events hold what the clock showed, so elapsed times are exact and do not depend on the machine. As
 * in the real one, freeing memory waits for all streams: a hang for him who frees while something
 * hangs.
 */
#pragma once

#include "collective/cuda_api.h"

/* The work returns how long it took, in seconds of the stream's clock. Called on the stream's thread. */
void fake_stream_call(struct cuda_stream *stream, double (*work)(void *), void *argument);
/* Device of the calling thread's context, -1: it has none. */
int fake_current_device(void);
