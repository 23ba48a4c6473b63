#include "scheduler/extender/extender_args.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int not_json(const struct json_scan *scan, struct err *err)
{
    return err_set(err, -EINVAL, "not valid JSON near byte %zu", scan->at);
}

static int read_identity(struct json_span pod, struct pod_identity *ret, struct err *err)
{
    static const char *const ns_path[] = {"metadata", "namespace", NULL};
    static const char *const name_path[] = {"metadata", "name", NULL};
    static const char *const uid_path[] = {"metadata", "uid", NULL};

    ret->ns[0] = ret->name[0] = '\0';
    if (json_scan_path(pod, uid_path, ret->uid, sizeof(ret->uid)) <= 0 || !ret->uid[0])
        return err_set(err, -EINVAL, "Pod.metadata.uid: missing, expected text");
    if (json_scan_path(pod, ns_path, ret->ns, sizeof(ret->ns)) < 0 ||
        json_scan_path(pod, name_path, ret->name, sizeof(ret->name)) < 0)
        return err_set(err, -EINVAL, "Pod.metadata: namespace or name is not text");
    return 0;
}

/* Checks every name once, so that later walks cannot fail. */
static int check_names(struct json_span names, struct err *err)
{
    struct name_walk walk;
    struct json_span name;
    int r;

    name_walk_begin(&walk, names);
    while ((r = name_walk_next(&walk, &name)) > 0)
        ;
    return r < 0 ? err_set(err, -EINVAL, "NodeNames: expected a list of node names") : 0;
}

struct envelope {
    struct json_span pod, names, nodes;
};

static int read_envelope(const char *body, size_t len, struct envelope *ret, struct err *err)
{
    const struct {
        const char *key;
        struct json_span *span;
    } known[] = {{"Pod", &ret->pod}, {"NodeNames", &ret->names}, {"Nodes", &ret->nodes}};
    struct json_scan scan;
    struct json_span key, value;
    int r;

    *ret = (struct envelope){0};
    json_scan_init(&scan, body, len);
    if (json_scan_enter(&scan, '{') < 0)
        return not_json(&scan, err);
    while ((r = json_scan_key(&scan, &key)) > 0) {
        if (json_scan_value(&scan, &value) < 0)
            return not_json(&scan, err);
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (!json_span_is(key, known[i].key))
                continue;
            if (known[i].span->text)
                return err_set(err, -EINVAL, "%s: stands twice", known[i].key);
            *known[i].span = value;
        }
    }
    return r < 0 || json_scan_end(&scan) < 0 ? not_json(&scan, err) : 0;
}

int filter_args_read(const char *body, size_t len, struct filter_args *ret, struct err *err)
{
    struct envelope envelope;
    int r = read_envelope(body, len, &envelope, err);

    if (r < 0)
        return r;
    if (!envelope.pod.text || envelope.pod.text[0] != '{')
        return err_set(err, -EINVAL, "Pod: missing, expected a pod");
    if (!envelope.names.text || envelope.names.text[0] != '[')
        return err_set(err, -EINVAL, "NodeNames: missing: set nodeCacheCapable: true for this "
                                     "extender in the kube-scheduler configuration");
    ret->names = envelope.names;
    r = check_names(ret->names, err);
    return r < 0 ? r : read_identity(envelope.pod, &ret->pod, err);
}

void name_walk_begin(struct name_walk *walk, struct json_span names)
{
    json_scan_init(&walk->scan, names.text, names.len);
    json_scan_enter(&walk->scan, '[');
}

int name_walk_next(struct name_walk *walk, struct json_span *ret_name)
{
    bool escaped = false;
    int r = json_scan_item(&walk->scan);

    if (r <= 0)
        return r;
    r = json_scan_string(&walk->scan, ret_name, &escaped);
    return r < 0 || escaped ? -EINVAL : 1;
}

int bind_args_read(const char *body, size_t len, struct bind_args *ret, struct err *err)
{
    static const char *const paths[][2] = {
        {"PodUID", NULL}, {"Node", NULL}, {"PodNamespace", NULL}, {"PodName", NULL}};
    char *fields[] = {ret->pod.uid, ret->node, ret->pod.ns, ret->pod.name};
    struct json_scan scan;
    struct json_span object;

    json_scan_init(&scan, body, len);
    if (json_scan_value(&scan, &object) < 0 || json_scan_end(&scan) < 0)
        return not_json(&scan, err);
    for (size_t i = 0; i < 4; i++)
        if (json_scan_path(object, paths[i], fields[i], ARGS_TEXT) <= 0 || !fields[i][0])
            return err_set(err, -EINVAL, "%s: missing, expected text", paths[i][0]);
    return 0;
}
