/* Calls between the loop and the workers that run the handlers. */
#include "base/http2_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/http_routes.h"
#include "base/parse.h"

#define BODIES_MAX ((size_t)256 << 20) /* all requests together */

/* ---- lists and the table; http2.lock is held ------------------------------------------------------- */

static void push(struct call_list *list, struct http2_call *call)
{
    call->next = NULL;
    if (!list->first)
        list->end = &list->first;
    *list->end = call;
    list->end = &call->next;
}

static struct http2_call *pop(struct call_list *list)
{
    struct http2_call *call = list->first;

    if (call)
        list->first = call->next;
    return call;
}

static struct http2_call **find(struct http2 *http2, uint64_t token)
{
    struct http2_call **at = &http2->calls[token % HTTP2_BUCKETS];

    while (*at && (*at)->token != token)
        at = &(*at)->bucket_next;
    return at;
}

static void table_add(struct http2 *http2, struct http2_call *call)
{
    struct http2_call **bucket = &http2->calls[call->token % HTTP2_BUCKETS];

    call->bucket_next = *bucket;
    *bucket = call;
}

static void table_remove(struct http2 *http2, struct http2_call *call)
{
    struct http2_call **at = find(http2, call->token);

    if (*at)
        *at = call->bucket_next;
}

static void finish(struct http2 *http2, struct http2_call *call)
{
    table_remove(http2, call);
    call->state = CALL_DONE;
    push(&http2->done, call);
}

static void answer(struct http2_call *call, int status, const char *body, size_t len)
{
    call->reply.status = status;
    strbuf_clear(&call->reply.body);
    strbuf_add(&call->reply.body, body, len);
    call->answered = true;
}

/* ---- the loop's side ---------------------------------------------------------------------------------- */

struct http2_call *http2_call_new(struct http2_connection *connection, int32_t stream)
{
    struct http2 *http2 = connection->http2;
    struct http2_call *call = calloc(1, sizeof(*call));
    bool room;

    if (!call)
        return NULL;
    if (!connection->allowed && connection->calls) { /* it hears its refusal, one at a time */
        free(call);
        return NULL;
    }
    pthread_mutex_lock(&http2->lock);
    room = http2->ncalls < http2->options.connections_max;
    http2->ncalls += room;
    pthread_mutex_unlock(&http2->lock);
    if (!room) {
        free(call);
        return NULL;
    }
    call->since_ns = clock_boot_ns();
    call->connection = connection;
    call->sibling = connection->calls;
    call->sibling_at = &connection->calls;
    if (call->sibling)
        call->sibling->sibling_at = &call->sibling;
    connection->calls = call;
    call->stream = stream;
    call->body.max = http2->options.body_max;
    call->reply.status = 200;
    call->reply.body.max = HTTP_REPLY_MAX;
    return call;
}

static void call_free(struct http2 *http2, struct http2_call *call)
{
    http2->body_bytes -= call->body.len;
    http2->ncalls--;
    strbuf_release(&call->body);
    strbuf_release(&call->reply.body);
    free(call);
}

static void keep_text(char *ret, size_t size, const char *value, size_t len)
{
    if (len >= size)
        return;
    memcpy(ret, value, len);
    ret[len] = '\0';
}

void http2_call_header(struct http2_call *call, const char *name, size_t name_len, const char *value,
                       size_t len)
{
    uint64_t announced;

    if (name_len == 7 && memcmp(name, ":method", 7) == 0)
        keep_text(call->method, sizeof(call->method), value, len);
    else if (name_len == 5 && memcmp(name, ":path", 5) == 0)
        keep_text(call->path, sizeof(call->path), value, len);
    else if (name_len == 14 && memcmp(name, "content-length", 14) == 0 &&
             (parse_u64(value, len, UINT64_MAX, &announced) < 0 || announced > call->body.max))
        call->refused = 413;
}

static void refuse(struct http2_call *call, int status)
{
    call->refused = status;
    call->state = CALL_SENDING;
    call->since_ns = clock_boot_ns();
    http_set_text(&call->reply, status, NULL);
}

void http2_call_begun(struct http2_call *call)
{
    int status;

    call->route = http_find_route(call->connection->http2->options.routes, call->method, call->path,
                                  &status);
    if (!call->connection->allowed)
        call->refused = 403;
    else if (!call->route)
        call->refused = status; /* before a body that was announced too large */
}

void http2_call_body(struct http2_call *call, const uint8_t *bytes, size_t len)
{
    struct http2 *http2 = call->connection->http2;

    if (call->refused)
        return;
    if (http2->body_bytes + len <= BODIES_MAX && strbuf_add(&call->body, bytes, len) == 0) {
        http2->body_bytes += len;
        return;
    }
    call->refused = call->body.failed ? 413 : 503;
    http2->body_bytes -= call->body.len;
    strbuf_release(&call->body);
}

bool http2_call_ready(struct http2_call *call)
{
    struct http2 *http2 = call->connection->http2;

    call->whole = true;
    if (call->refused) {
        refuse(call, call->refused);
        return true;
    }
    call->since_ns = 0;
    pthread_mutex_lock(&http2->lock);
    call->token = ++http2->next_token;
    call->state = CALL_QUEUED;
    table_add(http2, call);
    push(&http2->jobs, call);
    pthread_cond_signal(&http2->work);
    pthread_mutex_unlock(&http2->lock);
    return false;
}

void http2_call_gone(struct http2_call *call)
{
    struct http2_connection *connection = call->connection;
    struct http2 *http2 = connection->http2;

    *call->sibling_at = call->sibling;
    if (call->sibling)
        call->sibling->sibling_at = call->sibling_at;
    pthread_mutex_lock(&http2->lock);
    call->gone = true;
    call->connection = NULL;
    if (call->state == CALL_HELD) {
        http2->nheld--;
        table_remove(http2, call);
    }
    if (call->state == CALL_HELD || call->state == CALL_READING || call->state == CALL_SENDING)
        call_free(http2, call);
    pthread_mutex_unlock(&http2->lock);
}

struct http2_call *http2_take_done(struct http2 *http2)
{
    struct call_list alive = {0};
    struct http2_call *call;

    pthread_mutex_lock(&http2->lock);
    while ((call = pop(&http2->done))) {
        call->state = CALL_SENDING;
        call->since_ns = clock_boot_ns();
        if (call->gone)
            call_free(http2, call);
        else
            push(&alive, call);
    }
    pthread_mutex_unlock(&http2->lock);
    return alive.first;
}

void http2_calls_release(struct http2 *http2)
{
    struct http2_call *call;

    http2_take_done(http2);
    while ((call = pop(&http2->jobs)))
        call_free(http2, call);
}

/* ---- workers -------------------------------------------------------------------------------------------- */

/* http2.lock is held, and given back while the handler runs. */
static void run_handler(struct http2 *http2, struct http2_call *call)
{
    struct http_request request = {call->method, call->path, call->body.data ? call->body.data : "",
                                   call->body.len, call->token};
    enum http_outcome outcome;

    call->state = CALL_RUNNING;
    pthread_mutex_unlock(&http2->lock);
    outcome = call->route->handler(http2->options.context, &request, &call->reply);
    pthread_mutex_lock(&http2->lock);
    if (outcome == HTTP_HELD && !call->answered && !call->gone && !http2->stopping) {
        call->state = CALL_HELD;
        http2->nheld++;
        return;
    }
    if (outcome == HTTP_HELD && !call->answered)
        http_set_text(&call->reply, 503, "stopping");
    finish(http2, call);
    http2_wake(http2);
}

static void *worker(void *context)
{
    struct http2 *http2 = context;
    struct http2_call *call;

    pthread_mutex_lock(&http2->lock);
    while (!http2->ending) {
        call = pop(&http2->jobs);
        if (call && call->gone)
            finish(http2, call); /* nobody waits for it: freed with the next that is done */
        else if (call)
            run_handler(http2, call);
        else
            pthread_cond_wait(&http2->work, &http2->lock);
    }
    pthread_mutex_unlock(&http2->lock);
    return NULL;
}

int http2_workers_start(struct http2 *http2)
{
    unsigned n = http2->options.threads;

    for (unsigned i = 0; i < n && i < HTTP2_THREADS_MAX; i++) {
        if (pthread_create(&http2->workers[i], NULL, worker, http2) != 0)
            return -EAGAIN;
        http2->nworkers++;
    }
    return 0;
}

void http2_workers_join(struct http2 *http2)
{
    pthread_mutex_lock(&http2->lock);
    http2->ending = true;
    pthread_cond_broadcast(&http2->work);
    pthread_mutex_unlock(&http2->lock);
    for (unsigned i = 0; i < http2->nworkers; i++)
        pthread_join(http2->workers[i], NULL);
    http2->nworkers = 0;
}

/* ---- answers from elsewhere ------------------------------------------------------------------------------- */

void http2_reply(struct http2 *http2, uint64_t token, int status, const char *body, size_t len)
{
    struct http2_call *call;

    pthread_mutex_lock(&http2->lock);
    call = *find(http2, token);
    if (call && !call->answered && !call->gone) {
        answer(call, status, body, len);
        if (call->state == CALL_HELD) {
            http2->nheld--;
            finish(http2, call);
            http2_wake(http2);
        }
    }
    pthread_mutex_unlock(&http2->lock);
}

unsigned http2_held(struct http2 *http2)
{
    unsigned n;

    pthread_mutex_lock(&http2->lock);
    n = http2->nheld;
    pthread_mutex_unlock(&http2->lock);
    return n;
}

void http2_release_held(struct http2 *http2)
{
    static const char text[] = "stopping\n";

    pthread_mutex_lock(&http2->lock);
    http2->stopping = true;
    for (size_t i = 0; i < HTTP2_BUCKETS; i++)
        for (struct http2_call *call = http2->calls[i], *next; call; call = next) {
            next = call->bucket_next;
            if (call->state != CALL_HELD)
                continue;
            answer(call, 503, text, sizeof(text) - 1);
            http2->nheld--;
            finish(http2, call);
        }
    pthread_mutex_unlock(&http2->lock);
    http2_wake(http2);
}
