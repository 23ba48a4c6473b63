#include "scheduler/kube/kube_watch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hashmap.h"
#include "base/intern.h"
#include "scheduler/kube/watch_lines.h"

#define PAGE_OBJECTS 100 /* parsed, a page of nodes takes some 40 KiB a node */
#define PAGE_MAX ((size_t)64 << 20)
#define LIST_TIMEOUT_S 60
#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS 10000
#define NOT_SERVED_MS 60000
#define EARLY_END_NS INT64_C(5000000000) /* a watch that lives shorter counts as a failure */
#define EARLY_ENDS_MAX 3

/* What is known of one object: its version, and in which list it was seen last. */
#define VERSION_TEXT 32 /* of an object; a longer one is never taken for the same */
struct known {
    char *ns, *name; /* ns: shared, see base/intern.h */
    uint64_t list;
    char version[VERSION_TEXT];
};

struct kube_watch {
    struct http_client *client;
    struct kube_watch_handler handler;
    char **paths, *query;
    size_t npaths, path; /* path: the one in use */
    size_t missed; /* paths in a row that were not served */
    struct hashmap known; /* uid -> struct known */
    struct watch_lines lines;
    char *version, *next_page;
    uint64_t list; /* number of the list under way */
    unsigned seed, failures, early_ends;
    _Atomic uint64_t wanted_term;
    uint64_t list_term; /* the term in which the list under way began */
    uint64_t told_term; /* ... of the last one that synced() told of, + 1 */
    bool expired, absent; /* absent: the kind is not served, a timer waits to ask again */
    int64_t started_ns;
};

static void list_page(void *context);
static void watch_from(void *context);

static void known_free(struct known *known)
{
    intern_free(known->ns);
    free(known->name);
    free(known);
}

static char *copy(const char *text)
{
    return strdup(text ? text : "");
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = copy(text);
}

/* ---- objects ------------------------------------------------------------------------------------ */

static const char *meta(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, "metadata"), key));

    return text ? text : "";
}

static void saw(struct kube_watch *watch, const json_t *object)
{
    const char *uid = meta(object, "uid"), *version = meta(object, "resourceVersion");
    struct known *known = hashmap_get(&watch->known, uid);

    if (known && known->version[0] && strcmp(known->version, version) == 0) {
        known->list = watch->list;
        return; /* nothing new: a list after a resumed watch repeats all */
    }
    if (!known) {
        known = calloc(1, sizeof(*known));
        if (!known || hashmap_set(&watch->known, uid, known) < 0) {
            free(known);
            return;
        }
        known->ns = intern(meta(object, "namespace"));
        known->name = copy(meta(object, "name"));
    }
    snprintf(known->version, sizeof(known->version), "%s",
             strlen(version) < sizeof(known->version) ? version : "");
    known->list = watch->list;
    watch->handler.upsert(watch->handler.context, object);
}

static void forget(struct kube_watch *watch, const char *uid)
{
    struct known *known = hashmap_remove(&watch->known, uid);

    if (!known)
        return;
    watch->handler.gone(watch->handler.context, known->ns, known->name, uid);
    known_free(known);
}

/* Objects that the list did not bring are gone. */
static void sweep(struct kube_watch *watch)
{
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;
    char **gone = calloc(watch->known.n + 1, sizeof(char *));
    size_t n = 0;

    while (gone && hashmap_next(&watch->known, &iter, &uid, &value))
        if (((struct known *)value)->list != watch->list)
            gone[n++] = copy(uid);
    for (size_t i = 0; i < n; i++) {
        if (gone[i])
            forget(watch, gone[i]);
        free(gone[i]);
    }
    free(gone);
}

/* ---- retries ------------------------------------------------------------------------------------- */

static void later(struct kube_watch *watch, int delay_ms, void (*what)(void *))
{
    if (http_client_after(watch->client, delay_ms, what, watch) < 0)
        what(watch);
}

static int backoff_ms(struct kube_watch *watch)
{
    unsigned shift = watch->failures < 6 ? watch->failures : 6;
    int base = BACKOFF_FIRST_MS << shift;

    watch->failures++;
    if (base > BACKOFF_MAX_MS)
        base = BACKOFF_MAX_MS;
    return base / 2 + (int)(rand_r(&watch->seed) % (unsigned)(base / 2 + 1));
}

static void begin_list(void *context)
{
    struct kube_watch *watch = context;

    watch->list++;
    watch->absent = false;
    watch->list_term = atomic_load(&watch->wanted_term);
    set_text(&watch->next_page, "");
    list_page(watch);
}

static void failed(struct kube_watch *watch, const char *what, int status, const char *body)
{
    char text[300];

    if (status == -ECANCELED)
        return; /* the client is stopping */
    snprintf(text, sizeof(text), "%s %s: %s%d %.150s", what, watch->paths[watch->path],
             status < 0 ? "no answer, error " : "status ", status, body);
    watch->handler.trouble(watch->handler.context, text);
    later(watch, backoff_ms(watch), begin_list);
}

/* ---- list ------------------------------------------------------------------------------------------ */

static void tell_synced(struct kube_watch *watch)
{
    if (watch->told_term == watch->list_term + 1)
        return;
    watch->told_term = watch->list_term + 1;
    watch->handler.synced(watch->handler.context, watch->list_term);
}

static void complete_list(struct kube_watch *watch, const char *version)
{
    set_text(&watch->version, version);
    sweep(watch);
    watch->failures = 0;
    watch->missed = 0;
    if (watch->list_term != atomic_load(&watch->wanted_term)) {
        begin_list(watch); /* it began too early */
        return;
    }
    tell_synced(watch);
    watch_from(watch);
}

/* Items of a list have no kind of their own: the reader does not need it, but for apiVersion. */
static void read_items(struct kube_watch *watch, json_t *root)
{
    json_t *items = json_object_get(root, "items"), *item;
    json_t *api = json_object_get(root, "apiVersion");
    size_t index;

    json_array_foreach(items, index, item) {
        if (!json_object_get(item, "apiVersion") && api)
            json_object_set(item, "apiVersion", api);
        saw(watch, item);
    }
}

static void not_served(struct kube_watch *watch)
{
    watch->path = (watch->path + 1) % watch->npaths;
    if (++watch->missed < watch->npaths) {
        begin_list(watch);
        return;
    }
    watch->path = watch->missed = 0;
    sweep(watch);
    watch->list_term = atomic_load(&watch->wanted_term);
    watch->absent = true;
    tell_synced(watch);
    later(watch, NOT_SERVED_MS, begin_list);
}

static void on_page(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct kube_watch *watch = context;
    json_t *root, *list_meta;
    const char *next;

    (void)retry_after_s;
    if (status == 404) {
        not_served(watch);
        return;
    }
    root = status == 200 ? json_loadb(body, len, 0, NULL) : NULL;
    if (!root) {
        failed(watch, "list", status, body);
        return;
    }
    read_items(watch, root);
    list_meta = json_object_get(root, "metadata");
    next = json_string_value(json_object_get(list_meta, "continue"));
    set_text(&watch->next_page, next);
    if (*watch->next_page)
        list_page(watch);
    else
        complete_list(watch, json_string_value(json_object_get(list_meta, "resourceVersion")));
    json_decref(root);
}

static void list_page(void *context)
{
    struct kube_watch *watch = context;
    char *path = NULL;
    struct http_call call = {.method = "GET",
                             .urgent = true,
                             .timeout_s = LIST_TIMEOUT_S,
                             .answer_max = PAGE_MAX,
                             .context = watch,
                             .on_done = on_page};

    if (asprintf(&path, "%s?limit=%d%s%s%s%s", watch->paths[watch->path], PAGE_OBJECTS,
                 *watch->next_page ? "&continue=" : "", watch->next_page, *watch->query ? "&" : "",
                 watch->query) < 0)
        return;
    call.path = path;
    http_client_send(watch->client, &call);
    free(path);
}

/* ---- watch ------------------------------------------------------------------------------------------- */

static int on_event(void *context, enum watch_kind kind, json_t *object)
{
    struct kube_watch *watch = context;

    if (kind == WATCH_ERROR) {
        watch->expired = true;
        return -ESTALE;
    }
    if (*meta(object, "resourceVersion"))
        set_text(&watch->version, meta(object, "resourceVersion"));
    if (kind == WATCH_DELETED)
        forget(watch, meta(object, "uid"));
    else if (kind != WATCH_BOOKMARK)
        saw(watch, object);
    return 0;
}

static int on_bytes(void *context, const char *bytes, size_t len)
{
    struct kube_watch *watch = context;

    return watch_lines_feed(&watch->lines, bytes, len, on_event, watch);
}

/* An end after a good while is normal; soon, repeated or with an error it means: list again. */
static void on_watch_end(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct kube_watch *watch = context;
    bool early = clock_boot_ns() - watch->started_ns < EARLY_END_NS;

    (void)len;
    (void)retry_after_s;
    watch_lines_release(&watch->lines);
    watch_lines_init(&watch->lines);
    watch->early_ends = early ? watch->early_ends + 1 : 0;
    if (status == -ECANCELED)
        return;
    if (status == -ESTALE && !watch->expired) {
        watch->early_ends = 0;
        begin_list(watch);
        return;
    }
    if (status == 410 || watch->expired || watch->early_ends > EARLY_ENDS_MAX) {
        watch->expired = false;
        watch->early_ends = 0;
        later(watch, early ? backoff_ms(watch) : 0, begin_list);
    } else if (status == 200 || status == -ETIMEDOUT) {
        later(watch, early ? backoff_ms(watch) : 0, watch_from);
    } else {
        failed(watch, "watch", status, body);
    }
}

static void watch_from(void *context)
{
    struct kube_watch *watch = context;
    int timeout_s = 300 + (int)(rand_r(&watch->seed) % 300);
    char *path = NULL;
    struct http_call call = {.method = "GET",
                             .stream = true,
                             .timeout_s = timeout_s + 30,
                             .answer_max = 65536,
                             .context = watch,
                             .on_bytes = on_bytes,
                             .on_done = on_watch_end};

    if (watch->list_term != atomic_load(&watch->wanted_term)) { /* asked for while no stream was open */
        begin_list(watch);
        return;
    }
    if (asprintf(&path, "%s?watch=1&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%d%s%s",
                 watch->paths[watch->path], watch->version, timeout_s, *watch->query ? "&" : "",
                 watch->query) < 0)
        return;
    watch->started_ns = clock_boot_ns();
    call.path = path;
    http_client_send(watch->client, &call);
    free(path);
}

/* ---- start and end -------------------------------------------------------------------------------------- */

int kube_watch_start(struct http_client *client, const char *path, const char *query, unsigned seed,
                     const struct kube_watch_handler *handler, struct kube_watch **ret)
{
    const char *const paths[] = {path, NULL};

    return kube_watch_start_any(client, paths, query, seed, handler, ret);
}

int kube_watch_start_any(struct http_client *client, const char *const *paths, const char *query,
                         unsigned seed, const struct kube_watch_handler *handler,
                         struct kube_watch **ret)
{
    struct kube_watch *watch = calloc(1, sizeof(*watch));
    size_t n = 0;

    while (paths[n])
        n++;
    if (watch)
        watch->paths = calloc(n + 1, sizeof(*watch->paths));
    if (!watch || !watch->paths) {
        free(watch);
        return -ENOMEM;
    }
    watch->client = client;
    watch->handler = *handler;
    watch->seed = seed;
    while (watch->npaths < n) {
        watch->paths[watch->npaths] = copy(paths[watch->npaths]);
        watch->npaths++;
    }
    watch->query = copy(query);
    watch->version = copy("");
    watch->next_page = copy("");
    watch_lines_init(&watch->lines);
    *ret = watch;
    return http_client_after(client, 0, begin_list, watch);
}

const char *kube_watch_path(const struct kube_watch *watch)
{
    return watch->absent ? NULL : watch->paths[watch->path];
}

/* A kind that is not served has nothing to read: it is as complete as it was. */
static void relist(void *context)
{
    struct kube_watch *watch = context;

    if (watch->absent) {
        watch->list_term = atomic_load(&watch->wanted_term);
        tell_synced(watch);
    }
    http_client_end_streams(watch->client);
}

void kube_watch_relist(struct kube_watch *watch, uint64_t term)
{
    atomic_store(&watch->wanted_term, term);
    http_client_after(watch->client, 0, relist, watch);
}

void kube_watch_free(struct kube_watch *watch)
{
    struct hashmap_iter iter = {0};
    const char *uid;
    void *value;

    if (!watch)
        return;
    while (hashmap_next(&watch->known, &iter, &uid, &value))
        known_free(value);
    hashmap_release(&watch->known);
    watch_lines_release(&watch->lines);
    for (size_t i = 0; i < watch->npaths; i++)
        free(watch->paths[i]);
    free(watch->paths);
    free(watch->query);
    free(watch->version);
    free(watch->next_page);
    free(watch);
}
