/* The live cluster into a core: each kind of object is listed once, by the readers that the extender uses. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "scheduler/cli/cli.h"
#include "scheduler/kube/kube_config.h"
#include "scheduler/kube/kube_kinds.h"
#include "scheduler/kube/kube_list.h"
#include "scheduler/kube/read.h"

#define PATH_TEXT 4096

struct listing {
    struct loader *loader;
    const struct kube_kind *kind;
};

/* One that cannot be read is left out, as by the scheduler. */
static int take_object(void *context, const json_t *object, struct err *err)
{
    struct listing *listing = context;
    struct loader *loader = listing->loader;
    struct event event = {.kind = listing->kind->upsert, .group_kind = listing->kind->group_kind};
    struct err why = ERR_INIT;

    (void)err;
    if (read_event(object, &event, &why) < 0) {
        fprintf(stderr, "lockstep: warning: left out: %s\n", why.text);
        return 0;
    }
    loader->nodes += event.kind == EV_NODE;
    loader->pods += event.kind == EV_POD;
    core_step(loader->core, &event, loader->now_ns, &loader->actions);
    return 0;
}

/* What a user may not read or the cluster does not serve is done without, but for nodes and pods. */
static int list_all(struct loader *loader, struct http_client *client, struct err *err)
{
    for (size_t i = 0; i < KUBE_KINDS; i++) {
        const struct kube_kind *kind = &kube_kinds[i];
        struct listing listing = {loader, kind};
        struct err why = ERR_INIT;
        int r = kube_list(client, kind->paths, take_object, &listing, &why);
        bool needed = kind->upsert == EV_NODE || kind->upsert == EV_POD;

        if (r == -EACCES && !needed)
            fprintf(stderr, "lockstep: warning: %s\n", why.text);
        else if (r < 0 && (r != -ENOENT || needed))
            return err_set(err, r, "%s", why.text[0] ? why.text : "out of memory");
    }
    return 0;
}

/* NULL: there is none, so a pod's own account is tried. $KUBECONFIG may be a list: the first one counts. */
static const char *find_kubeconfig(const char *named, char *buffer, size_t size)
{
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");

    if (named)
        return named;
    if (list && *list) {
        snprintf(buffer, size, "%.*s", (int)strcspn(list, ":"), list);
        return buffer;
    }
    if (getenv("KUBERNETES_SERVICE_HOST"))
        return NULL;
    snprintf(buffer, size, "%s/.kube/config", home ? home : "");
    return buffer;
}

/* Whoever has kubectl and no kubeconfig that is understood here can pipe. */
static int add_hint(int r, struct err *err)
{
    size_t len = strlen(err->text);

    snprintf(err->text + len, sizeof(err->text) - len,
             "; or give -f, as in: kubectl get nodes,pods,jobs -A -o json | lockstep ... -f -");
    return r;
}

int load_live(struct loader *loader, const char *kubeconfig, struct err *err)
{
    char buffer[PATH_TEXT];
    const char *path = find_kubeconfig(kubeconfig, buffer, sizeof(buffer));
    struct http_client *client = NULL;
    struct http_endpoint endpoint;
    struct kube_config config;
    int r;

    gnutls_global_init();
    r = kube_config_load(path, &config, err);
    if (r < 0)
        return add_hint(r, err);
    /* The times of gangs and pods count: who has waited long enough has nodes kept for it. */
    loader->now_ns = clock_boot_ns();
    core_set_epoch(loader->core, core_epoch_s(clock_read(CLOCK_REALTIME), loader->now_ns));
    endpoint = kube_endpoint(&config);
    r = http_client_start(&endpoint, 4, &client, err);
    if (r == 0)
        r = list_all(loader, client, err);
    http_client_stop(client);
    kube_config_release(&config);
    return r;
}
