#include "scheduler/kube/kube_config.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "base/yaml.h"

#define FILE_MAX ((size_t)1 << 20)
#define POD_DIR "/var/run/secrets/kubernetes.io/serviceaccount/"

static int init(struct kube_config *config)
{
    char **fields[] = {&config->url,        &config->ca_file, &config->cert_file, &config->key_file,
                       &config->token_file, &config->token,   &config->directory};

    *config = (struct kube_config){0};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        *fields[i] = strdup("");
        if (!*fields[i])
            return -ENOMEM;
    }
    return 0;
}

void kube_config_release(struct kube_config *config)
{
    static const char *const files[] = {"ca.crt", "client.crt", "client.key"};

    if (config->directory && *config->directory) {
        for (size_t i = 0; i < 3; i++) {
            char path[512];

            snprintf(path, sizeof(path), "%s/%s", config->directory, files[i]);
            unlink(path);
        }
        rmdir(config->directory);
    }
    free(config->url);
    free(config->ca_file);
    free(config->cert_file);
    free(config->key_file);
    free(config->token_file);
    free(config->token);
    free(config->directory);
    *config = (struct kube_config){0};
}

static int take(char **field, char *value)
{
    if (!value)
        return -ENOMEM;
    free(*field);
    *field = value;
    return 0;
}

/* ---- kubeconfig ------------------------------------------------------------------------------------- */

struct loading {
    const char *path;
    struct kube_config *config;
    struct err *err;
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The value of the list entry called `name`: clusters, contexts and users look alike. */
static int find_named(const struct loading *loading, const json_t *root, const char *list,
                      const char *name, const char *inner, const json_t **ret)
{
    size_t index;
    json_t *entry;

    json_array_foreach(json_object_get(root, list), index, entry) {
        const char *found = text_of(entry, "name");

        if (!found || strcmp(found, name) != 0)
            continue;
        *ret = json_object_get(entry, inner);
        if (json_is_object(*ret))
            return 0;
    }
    return err_set(loading->err, -EINVAL, "%s: %s: no entry named '%.80s' with a %s", loading->path,
                   list, name, inner);
}

/* Relative paths are relative to the kubeconfig. */
static int set_path(const struct loading *loading, const char *value, char **field)
{
    const char *slash = strrchr(loading->path, '/');
    char *path = NULL;

    if (value[0] == '/' || !slash)
        return take(field, strdup(value));
    if (asprintf(&path, "%.*s/%s", (int)(slash - loading->path), loading->path, value) < 0)
        return -ENOMEM;
    return take(field, path);
}

static int write_private(const struct loading *loading, const char *file, const void *bytes,
                         size_t len, char **field)
{
    struct kube_config *config = loading->config;
    char *path = NULL;
    int fd, r = 0;

    if (!*config->directory) {
        const char *base = getenv("TMPDIR");
        char template[256];

        snprintf(template, sizeof(template), "%s/lockstep-XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(template))
            return err_set(loading->err, -errno, "cannot make a private directory '%s': %s",
                           template, strerror(errno));
        if (take(&config->directory, strdup(template)) < 0)
            return -ENOMEM;
    }
    if (asprintf(&path, "%s/%s", config->directory, file) < 0)
        return -ENOMEM;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        r = err_set(loading->err, -EIO, "cannot write '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (r < 0) {
        free(path);
        return r;
    }
    return take(field, path);
}

/* KEY-data (base64) or KEY (a path), whichever is there. */
static int set_file(const struct loading *loading, const json_t *object, const char *key,
                    const char *file, char **field)
{
    char data_key[64];
    const char *data, *path = text_of(object, key);
    gnutls_datum_t in, out;
    int r;

    snprintf(data_key, sizeof(data_key), "%s-data", key);
    data = text_of(object, data_key);
    if (!data)
        return path ? set_path(loading, path, field) : 0;
    in = (gnutls_datum_t){(unsigned char *)(uintptr_t)data, (unsigned)strlen(data)};
    if (gnutls_base64_decode2(&in, &out) < 0)
        return err_set(loading->err, -EINVAL, "%s: %s: not base64", loading->path, data_key);
    r = write_private(loading, file, out.data, out.size, field);
    gnutls_free(out.data);
    return r;
}

static int read_cluster(const struct loading *loading, const json_t *cluster)
{
    const char *server = text_of(cluster, "server");
    char *url;

    if (!server || strncmp(server, "https://", 8) != 0 || !server[8])
        return err_set(loading->err, -EINVAL, "%s: cluster.server: found '%.80s', expected https://…",
                       loading->path, server ? server : "");
    if (json_is_true(json_object_get(cluster, "insecure-skip-tls-verify")))
        return err_set(loading->err, -EINVAL,
                       "%s: insecure-skip-tls-verify: not supported, name certificate-authority",
                       loading->path);
    url = strdup(server);
    while (url && *url && url[strlen(url) - 1] == '/')
        url[strlen(url) - 1] = '\0';
    if (take(&loading->config->url, url) < 0)
        return -ENOMEM;
    return set_file(loading, cluster, "certificate-authority", "ca.crt", &loading->config->ca_file);
}

static int read_user(const struct loading *loading, const json_t *user)
{
    struct kube_config *config = loading->config;
    const char *token = text_of(user, "token"), *token_file = text_of(user, "tokenFile");
    int r;

    if (json_object_get(user, "exec") || json_object_get(user, "auth-provider"))
        return err_set(loading->err, -ENOTSUP,
                       "%s: users.exec and auth-provider are not supported: make a token with "
                       "'kubectl create token' and name it in tokenFile", loading->path);
    r = set_file(loading, user, "client-certificate", "client.crt", &config->cert_file);
    if (r == 0)
        r = set_file(loading, user, "client-key", "client.key", &config->key_file);
    if (r == 0 && token)
        r = take(&config->token, strdup(token));
    if (r == 0 && token_file)
        r = set_path(loading, token_file, &config->token_file);
    return r;
}

static int read_root(const struct loading *loading, const json_t *root)
{
    const char *current = text_of(root, "current-context"), *name;
    const json_t *context = NULL, *cluster = NULL, *user = NULL;
    int r;

    if (!current || !*current)
        return err_set(loading->err, -EINVAL, "%s: current-context: missing, expected a name",
                       loading->path);
    r = find_named(loading, root, "contexts", current, "context", &context);
    if (r < 0)
        return r;
    name = text_of(context, "cluster");
    r = find_named(loading, root, "clusters", name ? name : "", "cluster", &cluster);
    if (r == 0)
        r = read_cluster(loading, cluster);
    if (r < 0)
        return r;
    name = text_of(context, "user");
    r = find_named(loading, root, "users", name ? name : "", "user", &user);
    return r < 0 ? r : read_user(loading, user);
}

int kube_config_parse(const char *path, const char *text, size_t len, struct kube_config *ret,
                      struct err *err)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    struct kube_config config;
    struct loading loading = {path, &config, err};
    int r = yaml_load(path, text, len, 1, &docs, err);

    if (r < 0)
        return r;
    if (docs.n != 1 || !json_is_object(docs.items[0]))
        return err_set(err, -EINVAL, "%s: expected one kubeconfig document", path);
    r = init(&config);
    if (r == 0)
        r = read_root(&loading, docs.items[0]);
    if (r < 0)
        kube_config_release(&config);
    else
        *ret = config;
    return r;
}

/* ---- in a pod ---------------------------------------------------------------------------------------- */

static int load_in_cluster(struct kube_config *ret, struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    struct kube_config config;
    char *url = NULL;

    if (!host || !port)
        return err_set(err, -ENOENT, "not in a pod (KUBERNETES_SERVICE_HOST is not set): name a "
                                     "kubeconfig with --kubeconfig");
    if (init(&config) < 0) {
        kube_config_release(&config);
        return -ENOMEM;
    }
    if ((strchr(host, 0x3a) ? asprintf(&url, "https://[%s]:%s", host, port)
                            : asprintf(&url, "https://%s:%s", host, port)) < 0 ||
        take(&config.url, url) < 0 || take(&config.ca_file, strdup(POD_DIR "ca.crt")) < 0 ||
        take(&config.token_file, strdup(POD_DIR "token")) < 0) {
        kube_config_release(&config);
        return -ENOMEM;
    }
    *ret = config;
    return 0;
}

int kube_config_load(const char *path, struct kube_config *ret, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_MAX);
    int r;

    if (!path)
        return load_in_cluster(ret, err);
    r = strbuf_read_file(&text, path);
    if (r < 0)
        return err_set(err, r, "cannot read kubeconfig '%s': %s", path, strerror(-r));
    return kube_config_parse(path, text.data, text.len, ret, err);
}

struct http_endpoint kube_endpoint(const struct kube_config *config)
{
    return (struct http_endpoint){.url = config->url,
                                  .ca_file = config->ca_file,
                                  .cert_file = config->cert_file,
                                  .key_file = config->key_file,
                                  .token_file = config->token_file,
                                  .token = config->token};
}
