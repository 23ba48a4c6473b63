#include "base/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"

#define QUEUE_MAX 65536
#define TOKEN_MAX 16384
#define TOKEN_AGE_NS INT64_C(60000000000)
#define IDLE_EASY_MAX 256
#define CONNECT_TIMEOUT_S 5L

struct job {
    struct job *next;
    struct http_call call;
    char *method, *path, *type, *body; /* what call points at */
    struct strbuf answer;
    struct curl_slist *headers;
    int stream_error, retry_after_s;
    bool flowing; /* a stream that was answered with 200 */
    bool fenced; /* it was not sent: the fence said no */
    struct http_client *client;
};

struct timer {
    struct timer *next;
    int64_t due_ns;
    void (*fn)(void *);
    void *context;
};

struct queue {
    struct job *first, **last;
    size_t n;
};

struct http_client {
    pthread_t thread;
    pthread_mutex_t lock; /* queues, timers, stopping */
    struct queue urgent, ordinary, streams;
    struct timer *timers;
    bool stopping, running, end_streams;
    http_fence_fn *may_send; /* NULL: always */
    void *fence_context;
    CURLM *multi;
    unsigned parallel, active;
    CURL *idle[IDLE_EASY_MAX];
    size_t nidle;
    CURL *open[QUEUE_MAX / 64];
    size_t nopen;
    char *url, *ca_file, *cert_file, *key_file, *token_file, *token;
    bool http2;
    int64_t token_read_ns;
};

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.last = &queue->first};
}

static void queue_add(struct queue *queue, struct job *job)
{
    *queue->last = job;
    queue->last = &job->next;
    queue->n++;
}

static struct job *queue_take(struct queue *queue)
{
    struct job *job = queue->first;

    if (!job)
        return NULL;
    queue->first = job->next;
    if (!queue->first)
        queue->last = &queue->first;
    queue->n--;
    return job;
}

static void job_free(struct job *job)
{
    curl_slist_free_all(job->headers);
    strbuf_release(&job->answer);
    free(job->method);
    free(job->path);
    free(job->type);
    free(job->body);
    free(job);
}

static void finish(struct job *job, int status)
{
    if (job->call.on_done)
        job->call.on_done(job->call.context, status, job->answer.data ? job->answer.data : "",
                          job->answer.len, job->retry_after_s);
    job_free(job);
}

/* ---- one call ---------------------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct job *job = context;

    (void)size;
    if (job->flowing) {
        job->stream_error = job->call.on_bytes(job->call.context, bytes, n);
        return job->stream_error < 0 ? 0 : n;
    }
    if (strbuf_add(&job->answer, bytes, n) < 0) {
        job->stream_error = -E2BIG;
        return 0;
    }
    return n;
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    struct job *job = context;
    char text[64];

    (void)size;
    snprintf(text, sizeof(text), "%.*s", (int)(n < 63 ? n : 63), line);
    if (job->call.stream && strncmp(text, "HTTP/", 5) == 0)
        job->flowing = strstr(text, " 200") != NULL;
    if (strncasecmp(text, "retry-after:", 12) == 0)
        job->retry_after_s = (int)strtol(text + 12, NULL, 10);
    return n;
}

static int before_request(void *context, char *peer, char *own, int peer_port, int own_port)
{
    struct job *job = context;

    (void)peer;
    (void)own;
    (void)peer_port;
    (void)own_port;
    job->fenced = !job->client->may_send(job->client->fence_context, job->call.epoch);
    return job->fenced ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* A token that cannot be read leaves the old one: it may be good a while longer. */
static const char *current_token(struct http_client *client)
{
    struct strbuf text = STRBUF_INIT(TOKEN_MAX);
    int64_t now = clock_boot_ns();

    if (!*client->token_file || (client->token && now - client->token_read_ns < TOKEN_AGE_NS))
        return client->token;
    client->token_read_ns = now;
    if (strbuf_read_file(&text, client->token_file) == 0) {
        while (text.len > 0 && strchr("\r\n ", text.data[text.len - 1]))
            text.data[--text.len] = '\0';
        free(client->token);
        client->token = strbuf_take(&text, NULL);
    }
    strbuf_release(&text);
    return client->token;
}

static void add_header(struct job *job, const char *name, const char *value)
{
    struct strbuf line = STRBUF_INIT(TOKEN_MAX + 64);
    struct curl_slist *grown;

    strbuf_addf(&line, "%s: %s", name, value);
    grown = line.failed ? NULL : curl_slist_append(job->headers, line.data);
    if (grown)
        job->headers = grown;
    strbuf_release(&line);
}

/*
 * The CA that is named is the only one: libcurl would also believe every CA in its built-in folder
 * (/etc/ssl/certs), and its GnuTLS variant reads all of them for each connection (50 ms of a core).
 */
static void set_tls(const struct http_client *client, CURL *easy)
{
    if (*client->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (*client->cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, client->cert_file);
    if (*client->key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, client->key_file);
}

static void set_options(struct http_client *client, CURL *easy, struct job *job, const char *url)
{
    const struct http_call *call = &job->call;
    const char *token = current_token(client);

    job->client = client;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, job->method);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     client->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, client->http2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, job);
    if (client->may_send && !call->stream) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, job);
    }
    if (call->stream) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)call->timeout_s);
    } else {
        curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)call->timeout_s);
    }
    set_tls(client, easy);
    if (token) {
        struct strbuf bearer = STRBUF_INIT(TOKEN_MAX + 16);

        strbuf_addf(&bearer, "Bearer %s", token);
        if (!bearer.failed)
            add_header(job, "Authorization", bearer.data);
        strbuf_release(&bearer);
    }
    add_header(job, "Accept", "application/json");
    add_header(job, "Expect", "");
    if (job->body) {
        add_header(job, "Content-Type", job->type);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, job->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(job->body));
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->headers);
}

static void start(struct http_client *client, struct job *job)
{
    CLEANUP_FREE char *url = NULL;
    CURL *easy = client->nidle ? client->idle[--client->nidle] : curl_easy_init();

    if (!easy || client->nopen == sizeof(client->open) / sizeof(client->open[0]) ||
        asprintf(&url, "%s%s", client->url, job->path) < 0) {
        curl_easy_cleanup(easy);
        finish(job, -ENOMEM);
        return;
    }
    set_options(client, easy, job, url);
    client->active += !job->call.stream;
    client->open[client->nopen++] = easy;
    curl_multi_add_handle(client->multi, easy);
}

static int status_of(CURL *easy, const struct job *job, CURLcode code)
{
    long status = 0;

    if (job->stream_error < 0)
        return job->stream_error;
    if (job->fenced)
        return -EPERM;
    if (code == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        return (int)status;
    }
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
        code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION)
        return -ECONNREFUSED;
    return -ETIMEDOUT;
}

/* Takes the handle back; the caller answers the job. */
static struct job *detach(struct http_client *client, CURL *easy)
{
    struct job *job = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&job);
    curl_multi_remove_handle(client->multi, easy);
    for (size_t i = 0; i < client->nopen; i++) {
        if (client->open[i] != easy)
            continue;
        client->open[i] = client->open[--client->nopen];
        break;
    }
    client->active -= !job->call.stream;
    curl_easy_reset(easy);
    if (client->nidle < IDLE_EASY_MAX)
        client->idle[client->nidle++] = easy;
    else
        curl_easy_cleanup(easy);
    return job;
}

/* ---- the thread -------------------------------------------------------------------------------------- */

static struct job *next_job(struct http_client *client)
{
    struct job *job;

    pthread_mutex_lock(&client->lock);
    job = queue_take(&client->streams);
    if (!job && client->active < client->parallel)
        job = queue_take(&client->urgent);
    if (!job && client->active < client->parallel)
        job = queue_take(&client->ordinary);
    pthread_mutex_unlock(&client->lock);
    return job;
}

static struct timer *due_timer(struct http_client *client, int64_t now_ns, int *ret_wait_ms)
{
    struct timer *due = NULL;

    *ret_wait_ms = 1000;
    pthread_mutex_lock(&client->lock);
    for (struct timer **at = &client->timers; *at && !due; at = &(*at)->next) {
        int64_t left_ms = ((*at)->due_ns - now_ns + 999999) / 1000000;

        if (left_ms <= 0) {
            due = *at;
            *at = due->next;
            break;
        }
        if (left_ms < *ret_wait_ms)
            *ret_wait_ms = (int)left_ms;
    }
    pthread_mutex_unlock(&client->lock);
    return due;
}

static bool stopping(struct http_client *client)
{
    bool stop;

    pthread_mutex_lock(&client->lock);
    stop = client->stopping;
    pthread_mutex_unlock(&client->lock);
    return stop;
}

static void end_streams(struct http_client *client)
{
    bool wanted;

    pthread_mutex_lock(&client->lock);
    wanted = client->end_streams;
    client->end_streams = false;
    pthread_mutex_unlock(&client->lock);
    for (size_t i = client->nopen; wanted && i-- > 0;) {
        struct job *job = NULL;

        curl_easy_getinfo(client->open[i], CURLINFO_PRIVATE, (char **)&job);
        if (job->call.stream)
            finish(detach(client, client->open[i]), -ESTALE);
    }
}

static void run_once(struct http_client *client)
{
    CURLMsg *message;
    struct timer *timer;
    struct job *job;
    int left, wait_ms;

    end_streams(client);
    while ((timer = due_timer(client, clock_boot_ns(), &wait_ms))) {
        timer->fn(timer->context);
        free(timer);
    }
    while ((job = next_job(client)))
        start(client, job);
    curl_multi_perform(client->multi, &left);
    while ((message = curl_multi_info_read(client->multi, &left))) {
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        struct job *done = NULL;
        int status;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&done);
        status = status_of(easy, done, code);
        finish(detach(client, easy), status);
        wait_ms = 0;
    }
    if (wait_ms > 0)
        curl_multi_poll(client->multi, NULL, 0, wait_ms, NULL);
}

static void cancel_queue(struct queue *queue)
{
    struct job *job;

    while ((job = queue_take(queue)))
        finish(job, -ECANCELED);
}

static void *run(void *context)
{
    struct http_client *client = context;

    while (!stopping(client))
        run_once(client);
    while (client->nopen > 0)
        finish(detach(client, client->open[0]), -ECANCELED);
    cancel_queue(&client->urgent);
    cancel_queue(&client->ordinary);
    cancel_queue(&client->streams);
    return NULL;
}

/* ---- the doors ----------------------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

int http_client_start(const struct http_endpoint *endpoint, unsigned parallel,
                      struct http_client **ret_client, struct err *err)
{
    struct http_client *client = calloc(1, sizeof(*client));

    if (!client)
        return -ENOMEM;
    pthread_mutex_init(&client->lock, NULL);
    queue_init(&client->urgent);
    queue_init(&client->ordinary);
    queue_init(&client->streams);
    client->parallel = parallel;
    client->url = copy(endpoint->url);
    client->ca_file = copy(endpoint->ca_file);
    client->cert_file = copy(endpoint->cert_file);
    client->key_file = copy(endpoint->key_file);
    client->token_file = copy(endpoint->token_file);
    client->token = endpoint->token && *endpoint->token ? strdup(endpoint->token) : NULL;
    client->http2 = endpoint->http2;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->multi = curl_multi_init();
    if (!client->multi)
        return -ENOMEM;
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)parallel + 32);
    client->running = pthread_create(&client->thread, NULL, run, client) == 0;
    if (!client->running) {
        http_client_stop(client);
        return err_set(err, -EAGAIN, "cannot start the HTTP client's thread");
    }
    *ret_client = client;
    return 0;
}

void http_client_fence(struct http_client *client, http_fence_fn *may_send, void *context)
{
    client->may_send = may_send;
    client->fence_context = context;
}

void http_client_end_streams(struct http_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->end_streams = true;
    pthread_mutex_unlock(&client->lock);
    curl_multi_wakeup(client->multi);
}

void http_client_stop(struct http_client *client)
{
    if (!client)
        return;
    pthread_mutex_lock(&client->lock);
    client->stopping = true;
    pthread_mutex_unlock(&client->lock);
    if (client->running) {
        curl_multi_wakeup(client->multi);
        pthread_join(client->thread, NULL);
    }
    while (client->nidle > 0)
        curl_easy_cleanup(client->idle[--client->nidle]);
    while (client->timers) {
        struct timer *next = client->timers->next;

        free(client->timers);
        client->timers = next;
    }
    curl_multi_cleanup(client->multi);
    pthread_mutex_destroy(&client->lock);
    free(client->url);
    free(client->ca_file);
    free(client->cert_file);
    free(client->key_file);
    free(client->token_file);
    free(client->token);
    free(client);
}

static struct job *make_job(const struct http_call *call)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->call = *call;
    job->method = copy(call->method);
    job->path = copy(call->path);
    job->type = copy(call->type ? call->type : "application/json");
    job->body = call->body ? strdup(call->body) : NULL;
    job->answer.max = call->answer_max;
    if (job->method && job->path && job->type && (job->body || !call->body))
        return job;
    job_free(job);
    return NULL;
}

int http_client_send(struct http_client *client, const struct http_call *call)
{
    struct queue *queue = call->stream   ? &client->streams
                          : call->urgent ? &client->urgent
                                         : &client->ordinary;
    struct job *job = make_job(call);
    int r = 0;

    if (!job)
        return -ENOMEM;
    pthread_mutex_lock(&client->lock);
    if (client->stopping)
        r = -ESHUTDOWN;
    else if (queue->n >= QUEUE_MAX)
        r = -ENOBUFS;
    else
        queue_add(queue, job);
    pthread_mutex_unlock(&client->lock);
    if (r < 0)
        job_free(job);
    else
        curl_multi_wakeup(client->multi);
    return r;
}

int http_client_after(struct http_client *client, int delay_ms, void (*fn)(void *context),
                      void *context)
{
    struct timer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return -ENOMEM;
    timer->due_ns = clock_boot_ns() + (int64_t)delay_ms * 1000000;
    timer->fn = fn;
    timer->context = context;
    pthread_mutex_lock(&client->lock);
    timer->next = client->timers;
    client->timers = timer;
    pthread_mutex_unlock(&client->lock);
    curl_multi_wakeup(client->multi);
    return 0;
}
