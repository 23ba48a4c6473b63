#include "scheduler/kube/kube_list.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_OBJECTS 500
#define PAGE_MAX ((size_t)256 << 20)
#define TIMEOUT_S 60

/* ---- one call that is waited for ---------------------------------------------------------------------- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool ended;
    int status;
    json_t *root; /* NULL: no JSON, or an error's text */
    char text[200]; /* what an error says */
};

static void read_error(struct answer *answer, const char *body, size_t len)
{
    json_t *root = json_loadb(body, len, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "message"));

    if (message)
        snprintf(answer->text, sizeof(answer->text), ": %s", message);
    json_decref(root);
}

static void on_done(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct answer *answer = context;

    (void)retry_after_s;
    pthread_mutex_lock(&answer->lock);
    answer->status = status;
    if (status == 200)
        answer->root = json_loadb(body, len, 0, NULL);
    else
        read_error(answer, body, len);
    answer->ended = true;
    pthread_cond_signal(&answer->done);
    pthread_mutex_unlock(&answer->lock);
}

static int call(struct http_client *client, const char *path, struct answer *ret)
{
    struct http_call call = {.method = "GET", .path = path, .timeout_s = TIMEOUT_S,
                             .answer_max = PAGE_MAX, .context = ret, .on_done = on_done};
    int r;

    *ret = (struct answer){0};
    pthread_mutex_init(&ret->lock, NULL);
    pthread_cond_init(&ret->done, NULL);
    r = http_client_send(client, &call);
    pthread_mutex_lock(&ret->lock);
    while (r == 0 && !ret->ended)
        pthread_cond_wait(&ret->done, &ret->lock);
    pthread_mutex_unlock(&ret->lock);
    pthread_cond_destroy(&ret->done);
    pthread_mutex_destroy(&ret->lock);
    return r;
}

/* ---- pages --------------------------------------------------------------------------------------------- */

static int classify(const struct answer *answer, const char *path, struct err *err)
{
    if (answer->status == 200 && answer->root)
        return 0;
    if (answer->status == 404)
        return err_set(err, -ENOENT, "%s is not served", path);
    if (answer->status == 401 || answer->status == 403)
        return err_set(err, -EACCES, "may not list %s%s", path, answer->text);
    if (answer->status < 0)
        return err_set(err, answer->status, "no answer from the API server on %s: %s", path,
                       strerror(-answer->status));
    return err_set(err, -EPROTO, "cannot list %s: status %d%s", path, answer->status, answer->text);
}

/* Items of a list have no apiVersion of their own, and which PodGroup one is it says. */
static int give_items(json_t *root, kube_object_fn *fn, void *context, struct err *err)
{
    json_t *items = json_object_get(root, "items"), *api = json_object_get(root, "apiVersion");
    json_t *item;
    size_t i;
    int r = 0;

    json_array_foreach(items, i, item) {
        if (!json_object_get(item, "apiVersion") && api)
            json_object_set(item, "apiVersion", api);
        r = fn(context, item, err);
        if (r < 0)
            break;
    }
    return r;
}

static int list_path(struct http_client *client, const char *path, kube_object_fn *fn, void *context,
                     struct err *err)
{
    char *next = strdup("");
    int r = next ? 0 : -ENOMEM;

    do {
        struct answer answer = {0};
        const char *following;
        char *page = NULL;

        if (r < 0 || asprintf(&page, "%s?limit=%d%s%s", path, PAGE_OBJECTS,
                              *next ? "&continue=" : "", next) < 0) {
            r = -ENOMEM;
            break;
        }
        r = call(client, page, &answer);
        free(page);
        if (r == 0)
            r = classify(&answer, path, err);
        if (r == 0)
            r = give_items(answer.root, fn, context, err);
        following = json_string_value(
            json_object_get(json_object_get(answer.root, "metadata"), "continue"));
        free(next);
        next = strdup(following ? following : "");
        json_decref(answer.root);
    } while (r == 0 && next && *next);
    free(next);
    return r;
}

int kube_list(struct http_client *client, const char *const *paths, kube_object_fn *fn,
              void *context, struct err *err)
{
    struct err why = ERR_INIT;
    int r = -ENOENT;

    for (size_t i = 0; paths[i] && r == -ENOENT; i++)
        r = list_path(client, paths[i], fn, context, &why);
    return r < 0 && why.text[0] ? err_set(err, r, "%s", why.text) : r;
}
