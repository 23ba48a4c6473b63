/*
 * The clients' thread. gRPC has none of its own for sockets: it polls those of a channel while a
 * call of that channel waits, and else once in five seconds, so that without this thread a lost
 * connection would be noticed, and a new one made, only by the way.
 */
#include "base/rpc_client_internal.h"

#include <errno.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t lock;
    unsigned users;
    grpc_completion_queue *queue;
    pthread_t thread;
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* There is always one watch under way, which is what has the channel's sockets polled: a change
 * of its state ends it, * and the next begins. */
struct rpc__link {
    struct rpc__loop_tag tag;
    pthread_mutex_t lock;
    grpc_channel *grpc; /* NULL: closed, and the watch that ends now is the last */
};

static void watch(struct rpc__link *link)
{
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(link->grpc, 0);

    rpc__give();
    grpc_channel_watch_connectivity_state(link->grpc, state, gpr_inf_future(GPR_CLOCK_MONOTONIC),
                                          loop.queue, &link->tag);
}

static void on_change(struct rpc__link *link)
{
    bool closed;

    pthread_mutex_lock(&link->lock);
    closed = !link->grpc;
    if (!closed)
        watch(link);
    pthread_mutex_unlock(&link->lock);
    if (closed) {
        pthread_mutex_destroy(&link->lock);
        free(link);
    }
}

struct rpc__link *rpc__link_new(grpc_channel *grpc)
{
    struct rpc__link *link = calloc(1, sizeof(*link));

    if (!link) {
        grpc_channel_destroy(grpc);
        return NULL;
    }
    link->tag = (struct rpc__loop_tag){RPC__LINK, link};
    link->grpc = grpc;
    pthread_mutex_init(&link->lock, NULL);
    pthread_mutex_lock(&link->lock);
    watch(link);
    pthread_mutex_unlock(&link->lock);
    return link;
}

grpc_channel *rpc__link_grpc(const struct rpc__link *link)
{
    return link->grpc;
}

void rpc__link_close(struct rpc__link *link)
{
    grpc_channel *grpc;

    if (!link)
        return;
    pthread_mutex_lock(&link->lock);
    grpc = link->grpc;
    link->grpc = NULL;
    pthread_mutex_unlock(&link->lock); /* from here on the thread may free it */
    grpc_channel_destroy(grpc);
}

static void *run(void *context)
{
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(context, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        struct rpc__loop_tag *tag = event.tag;

        rpc__take();
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (tag->what == RPC__LINK)
            on_change(tag->owner);
        else
            rpc__stream_event(tag);
    }
}

int rpc__loop_ref(struct err *err)
{
    int r = 0;

    pthread_mutex_lock(&loop.lock);
    if (loop.users == 0) {
        loop.queue = grpc_completion_queue_create_for_next(NULL);
        r = -pthread_create(&loop.thread, NULL, run, loop.queue);
        if (r < 0) {
            grpc_completion_queue_shutdown(loop.queue);
            run(loop.queue);
            grpc_completion_queue_destroy(loop.queue);
            err_set(err, r, "cannot start a thread: %s", strerror(-r));
        }
    }
    if (r == 0)
        loop.users++;
    pthread_mutex_unlock(&loop.lock);
    return r;
}

/* What is under way comes first: the queue ends when the last watch has. */
void rpc__loop_unref(void)
{
    pthread_mutex_lock(&loop.lock);
    if (--loop.users == 0) {
        grpc_completion_queue_shutdown(loop.queue);
        pthread_join(loop.thread, NULL);
        grpc_completion_queue_destroy(loop.queue);
    }
    pthread_mutex_unlock(&loop.lock);
}

grpc_completion_queue *rpc__loop_queue(void)
{
    return loop.queue;
}
