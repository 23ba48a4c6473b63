/*
 * fake_world.h - what the fake GPUs are like, and who has how much of their memory. Shared by the
 * fake libcuda.so.1, libnccl.so.2, libnvidia-ml.so.1 and by the tests.
 *
 * LOCKSTEP_FAKE_GPU names a file of lines "KEY VALUE...", "#" starts a comment:
 *
 *   devices N                GPUs of each process                                   (8)
 *   name TEXT                                                                       (Fake GPU)
 *   memory_mib N             of each GPU                                            (8192)
 *   context_mib N            that a process takes by its context                    (64)
 *   comm_mib N               that NCCL takes for a communicator                     (64)
 *   user DEVICE PID MIB      a process that uses a GPU
 *   clocks DEVICE REASONS    NVML's bits of what slows it
 *   version N                of NCCL (22803); the variable LOCKSTEP_FAKE_VERSION is stronger
 *   latency_us X             of each op                                             (10)
 *   bandwidth_gb_s X         bus bandwidth of healthy ranks                         (100)
 *   node_factor RANK X       what a rank reaches of it, in all it takes part in
 *   pair_factor A B X        what two ranks reach between each other: pairs, and rings in which they are neighbours
 *   jitter X SEED            each op takes up to X of its time longer
 *   lazy_ms N                the first op of a communicator settles only after so long
 *   hang_init RANK           these hang until they are aborted
 *   hang_op RANK N           from the N-th op on the communicator on, from 0
 *   hang_finalize RANK
 *   hang_abort RANK          hangs for good
 *   fail_init RANK           internal error
 *   fail_op RANK N
 *   wrong RANK               one word of each result is off by one
 *   silent 1                 ranks do not notice that a peer is gone
 *
 * Memory is counted per process in the file of that name with ".memory" added; what a process holds
 * that is dead, a zombie included, counts as free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_RANKS_MAX 16
#define FAKE_DEVICES_MAX 16
#define FAKE_USERS_MAX 8
#define FAKE_MIB (1ull << 20)
#define FAKE_NOBODY (-1)

struct fake_world {
    unsigned devices;
    char name[64];
    uint64_t memory_mib, context_mib, comm_mib;
    struct {
        unsigned device, pid;
        uint64_t mib;
    } users[FAKE_USERS_MAX];
    unsigned n_users;
    unsigned long long clocks[FAKE_DEVICES_MAX];
    int version;
    double latency_us, bandwidth_gb_s, jitter;
    uint64_t seed;
    double node_factor[FAKE_RANKS_MAX], pair_factor[FAKE_RANKS_MAX][FAKE_RANKS_MAX];
    unsigned lazy_ms;
    int hang_init, hang_op, hang_finalize, hang_abort, fail_init, fail_op, wrong; /* ranks or FAKE_NOBODY */
    unsigned hang_op_at, fail_op_at;
    bool silent;
};

/* Read once per process; a bad file ends it with a message. Without the variable: the defaults. */
const struct fake_world *fake_world(void);

/* Of this process, on that device; bytes < 0: given back. */
void fake_memory_add(unsigned device, int64_t bytes);
/* Of all living processes and the file's users. */
uint64_t fake_memory_used(unsigned device);
/* Living processes that hold memory of it, at most `max`. */
unsigned fake_memory_users(unsigned device, pid_t *pids, uint64_t *bytes, unsigned max);
