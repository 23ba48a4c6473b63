/*
 * kube_token.h - whose token is it: asks the API server (TokenReview) about a token that somebody showed us.
 *
 * Only tokens that are bound to a pod, and made for our audience, name anybody: a ServiceAccount's token that was
 * copied elsewhere says the same account but not which pod. Source: Kubernetes, "Service account token volume
 * projection" and authentication.k8s.io/v1 TokenReview; names of the extra fields: pkg/serviceaccount/util.go, 1.37.
 */
#pragma once

#include "base/err.h"
#include "scheduler/kube/kube_write.h"

#define KUBE_TOKEN_MAX 8192 /* bytes; projected tokens are some 1,200 */

struct kube_identity {
    char ns[64], pod[NAME_TEXT], uid[64];
};

/* who: NULL: it names nobody, and message says why. result: of the question itself. On the client's thread. */
typedef void kube_token_fn(void *context, enum write_result result, const struct kube_identity *who,
                           const char *message);

/* -EINVAL: no token could look so. Else done() is called once. */
int kube_review_token(const struct kube_writer *by, const char *token, size_t len, const char *audience,
                      kube_token_fn *done, void *context);

/* Pure: what the API server's answer to a review for `audience` says. -EACCES: of nobody, and err says why. */
int kube_read_review(const char *body, size_t len, const char *audience, struct kube_identity *ret,
                     struct err *err);
