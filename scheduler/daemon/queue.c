#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "scheduler/daemon/daemon.h"

#define QUEUE_MAX 4000000 /* events; beyond it the process is lost anyway: it stops and starts anew */
#define KEPT 1024 /* events: room for more is given back when they are done */

void queue_init(struct event_queue *queue)
{
    pthread_condattr_t attributes;

    *queue = (struct event_queue){0};
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->ready, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void free_arrival(struct arrival *arrival)
{
    event_release(&arrival->event);
    free(arrival->source);
}

void queue_release(struct event_queue *queue)
{
    for (size_t i = 0; i < queue->n; i++)
        free_arrival(&queue->items[i]);
    free(queue->items);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->ready);
}

int queue_post(struct event_queue *queue, const struct event *event, char *source)
{
    struct arrival arrival = {*event, source};
    int r = 0;

    pthread_mutex_lock(&queue->lock);
    if (queue->n == queue->size) {
        size_t size = queue->size ? queue->size * 2 : 256;
        struct arrival *items = size <= QUEUE_MAX ? realloc(queue->items, size * sizeof(*items))
                                                  : NULL;

        if (!items) {
            r = -ENOMEM;
            queue->stopped = true;
        } else {
            queue->items = items;
            queue->size = size;
        }
    }
    if (r == 0)
        queue->items[queue->n++] = arrival;
    pthread_cond_signal(&queue->ready);
    pthread_mutex_unlock(&queue->lock);
    if (r < 0)
        free_arrival(&arrival);
    return r;
}

void queue_stop(struct event_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stopped = true;
    pthread_cond_signal(&queue->ready);
    pthread_mutex_unlock(&queue->lock);
}

/* The deadline is CLOCK_BOOTTIME; waits are short, so the monotonic clock measures them. */
static void wait_until(struct event_queue *queue, int64_t deadline_ns)
{
    int64_t left = deadline_ns - clock_boot_ns(), until;
    struct timespec when;

    if (left <= 0)
        return;
    if (left > 1000000000)
        left = 1000000000;
    until = clock_read(CLOCK_MONOTONIC) + left;
    when = (struct timespec){until / 1000000000, until % 1000000000};
    pthread_cond_timedwait(&queue->ready, &queue->lock, &when);
}

bool queue_take(struct event_queue *queue, int64_t deadline_ns, size_t max, struct arrival *ret,
                size_t *ret_n)
{
    bool running;

    pthread_mutex_lock(&queue->lock);
    if (queue->n == 0 && !queue->stopped)
        wait_until(queue, deadline_ns);
    *ret_n = queue->n < max ? queue->n : max;
    if (*ret_n > 0) {
        memcpy(ret, queue->items, *ret_n * sizeof(*ret));
        queue->n -= *ret_n;
        memmove(queue->items, queue->items + *ret_n, queue->n * sizeof(*ret));
    }
    if (queue->n == 0 && queue->size > KEPT) { /* a list made it grow */
        free(queue->items);
        queue->items = NULL;
        queue->size = 0;
    }
    running = !queue->stopped;
    pthread_mutex_unlock(&queue->lock);
    return running;
}
