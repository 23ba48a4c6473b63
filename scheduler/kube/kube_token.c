#include "scheduler/kube/kube_token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define ANSWER_MAX (64 * 1024)
#define TIMEOUT_S 10
#define ACCOUNT "system:serviceaccount:"
#define POD_NAME "authentication.kubernetes.io/pod-name"
#define POD_UID "authentication.kubernetes.io/pod-uid"

/* ---- the answer ----------------------------------------------------------------------------------------- */

/* Extra fields are lists of one text. */
static const char *extra(const json_t *user, const char *key)
{
    return json_string_value(json_array_get(json_object_get(json_object_get(user, "extra"), key), 0));
}

static bool is_for(const json_t *status, const char *audience)
{
    const json_t *value;
    size_t index;

    json_array_foreach(json_object_get(status, "audiences"), index, value)
        if (json_is_string(value) && strcmp(json_string_value(value), audience) == 0)
            return true;
    return false;
}

static int copy_text(char *ret, size_t size, const char *text, size_t len)
{
    if (len == 0 || len >= size)
        return -EINVAL;
    memcpy(ret, text, len);
    ret[len] = '\0';
    return 0;
}

/* system:serviceaccount:NAMESPACE:NAME, and the pod in the extra fields. */
static int read_user(const json_t *user, struct kube_identity *ret, struct err *err)
{
    const char *account = json_string_value(json_object_get(user, "username"));
    const char *pod = extra(user, POD_NAME), *uid = extra(user, POD_UID);
    struct kube_identity who = {0};
    size_t len;

    if (!account || strncmp(account, ACCOUNT, strlen(ACCOUNT)) != 0)
        return err_set(err, -EACCES, "the token is of user '%.80s', expected a ServiceAccount's", account ? account : "");
    account += strlen(ACCOUNT);
    len = strcspn(account, ":");
    if (copy_text(who.ns, sizeof(who.ns), account, len) < 0 || !is_dns_subdomain(who.ns, len))
        return err_set(err, -EACCES, "the token's account '%.80s' has no namespace", account);
    if (!pod || !uid || !is_dns_subdomain(pod, strlen(pod)) ||
        copy_text(who.pod, sizeof(who.pod), pod, strlen(pod)) < 0 ||
        copy_text(who.uid, sizeof(who.uid), uid, strlen(uid)) < 0)
        return err_set(err, -EACCES, "the token is bound to no pod, expected a projected one");
    *ret = who;
    return 0;
}

int kube_read_review(const char *body, size_t len, const char *audience, struct kube_identity *ret,
                     struct err *err)
{
    json_error_t error;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
    const json_t *status = json_object_get(root, "status");
    const char *why = json_string_value(json_object_get(status, "error"));
    int r;

    if (!root)
        r = err_set(err, -EACCES, "the API server's answer is no JSON: %s", error.text);
    else if (!json_is_true(json_object_get(status, "authenticated")))
        r = err_set(err, -EACCES, "the API server does not know the token%s%.160s", why ? ": " : "", why ? why : "");
    else if (!is_for(status, audience))
        r = err_set(err, -EACCES, "the token is not for audience %s", audience);
    else
        r = read_user(json_object_get(status, "user"), ret, err);
    json_decref(root);
    return r;
}

/* ---- the question --------------------------------------------------------------------------------------- */

struct review {
    kube_token_fn *done;
    void *context;
    char *audience;
};

static void review_free(struct review *review)
{
    if (review)
        free(review->audience);
    free(review);
}

static void on_done(void *context, int status, const char *body, size_t len, int retry_after_s)
{
    struct review *review = context;
    enum write_result result = kube_classify(status);
    struct kube_identity who;
    struct err err = ERR_INIT;

    (void)retry_after_s;
    if (result != WRITE_OK)
        err_set(&err, -EIO, "the API server could not be asked about the token (%s)", write_result_name(result));
    else if (kube_read_review(body, len, review->audience, &who, &err) == 0) {
        review->done(review->context, result, &who, "");
        review_free(review);
        return;
    }
    review->done(review->context, result, NULL, err.text);
    review_free(review);
}

/* As RFC 6750 has bearer tokens. */
static bool is_token(const char *token, size_t len)
{
    static const char others[] = "-._~+/=";

    for (size_t i = 0; i < len; i++)
        if (!((token[i] >= 'a' && token[i] <= 'z') || (token[i] >= 'A' && token[i] <= 'Z') ||
              (token[i] >= '0' && token[i] <= '9') || strchr(others, token[i])) || !token[i])
            return false;
    return len > 0 && len <= KUBE_TOKEN_MAX;
}

int kube_review_token(const struct kube_writer *by, const char *token, size_t len, const char *audience,
                      kube_token_fn *done, void *context)
{
    struct review *review = NULL;
    CLEANUP_FREE char *text = NULL;
    json_t *body;
    struct http_call call = {.method = "POST", .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                             .epoch = by->term, .timeout_s = TIMEOUT_S, .answer_max = ANSWER_MAX,
                             .on_done = on_done};
    int r = -ENOMEM;

    if (!is_token(token, len))
        return -EINVAL;
    body = json_pack("{s:s, s:s, s:{s:s%, s:[s]}}", "apiVersion", "authentication.k8s.io/v1", "kind",
                     "TokenReview", "spec", "token", token, len, "audiences", audience);
    text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    review = calloc(1, sizeof(*review));
    if (review) {
        *review = (struct review){done, context, strdup(audience)};
        call.context = review;
    }
    call.body = text;
    if (review && review->audience && text)
        r = http_client_send(by->client, &call);
    if (r < 0)
        review_free(review);
    return r;
}
