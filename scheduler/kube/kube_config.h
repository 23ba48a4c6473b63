/*
 * kube_config.h - how to reach the API server: a kubeconfig file, or what a pod is given.
 *
 * Embedded data (…-data) goes to private files that live as long as the process (curl reads files).
 * exec and auth-provider users are refused with what to do instead. Owns its strings.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/http_client.h"

struct kube_config {
    char *url; /* https://host:port */
    char *ca_file, *cert_file, *key_file, *token_file, *token; /* "" for none */
    char *directory; /* of the private files, "" for none */
};

/* path NULL: in-cluster. Errors name file, field, found and expected. */
int kube_config_load(const char *path, struct kube_config *ret, struct err *err);
int kube_config_parse(const char *path, const char *text, size_t len, struct kube_config *ret,
                      struct err *err);
struct http_endpoint kube_endpoint(const struct kube_config *config); /* borrows its texts */
void kube_config_release(struct kube_config *config); /* removes the private files */
