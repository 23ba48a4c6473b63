/*
 * ranks.h - tcp ranks as threads of a test: opened, their addresses handed around, each led by the
 * test's function.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collective/tcp_internal.h"

#define RANKS_MAX 16
#define SECOND_NS 1000000000ull

struct ranks;
struct one_rank {
    struct ranks *all;
    unsigned rank;
    struct backend_rank *opened;
    int r; /* of what the test's function returned */
    struct err err;
};

struct ranks {
    unsigned n, streams;
    const char *host;
    uint64_t bytes_max;
    int (*lead)(struct one_rank *one, struct backend_rank *rank); /* connected */
    const void *context;
    uint64_t deadline_ns;
    struct backend_address addresses[RANKS_MAX];
    struct one_rank each[RANKS_MAX];
};

static inline void *lead_one(void *argument)
{
    struct one_rank *one = argument;

    one->r =
        backend_tcp.connect(one->opened, one->all->addresses, one->all->deadline_ns, &one->err);
    if (one->r == 0)
        one->r = one->all->lead(one, one->opened);
    return NULL;
}

static inline int ranks_open(struct ranks *ranks)
{
    struct backend_info info;
    int r = 0;

    if (!ranks->deadline_ns)
        ranks->deadline_ns = tcp_now_ns() + 60 * SECOND_NS;
    for (unsigned i = 0; r == 0 && i < ranks->n; i++) {
        struct one_rank *one = &ranks->each[i];
        struct backend_options options = {.rank = i,
                                          .ranks = ranks->n,
                                          .streams = ranks->streams,
                                          .host = ranks->host ? ranks->host : "127.0.0.1",
                                          .bytes_max = ranks->bytes_max};

        *one = (struct one_rank){.all = ranks, .rank = i};
        r = backend_tcp.open(&options, &one->opened, &info, &one->err);
        if (r == 0)
            r = backend_tcp.address(one->opened, &ranks->addresses[i], &one->err);
    }
    return r;
}

/*
 * All ranks but `without` (RANKS_MAX: none is left out) through the test's function; then all are
 * closed.
 */
static inline void ranks_lead(struct ranks *ranks, unsigned without)
{
    pthread_t threads[RANKS_MAX];

    for (unsigned i = 0; i < ranks->n; i++)
        if (i != without && pthread_create(&threads[i], NULL, lead_one, &ranks->each[i]) != 0)
            abort();
    for (unsigned i = 0; i < ranks->n; i++)
        if (i != without)
            pthread_join(threads[i], NULL);
}

static inline void ranks_close(struct ranks *ranks)
{
    for (unsigned i = 0; i < ranks->n; i++) {
        backend_tcp.close(ranks->each[i].opened, true);
        ranks->each[i].opened = NULL;
    }
}
