/*
 * At what a pod waits that is on its node, from its containers' statuses, for those who wait for
 * it. Only names and kubelet's reasons: its messages hold images and whatever a registry says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "scheduler/kube/read_internal.h"

#define NAME_MAX_BYTES 63 /* of a container: a DNS label */
#define REASON_MAX_BYTES 63

struct look {
    const json_t *stuck; /* the first that waits for a reason that does not pass by itself */
    const json_t *runs;  /* the init container that the next ones wait for */
    const json_t *waits; /* the first of the others that wait */
};

static const json_t *state_of(const json_t *container, const char *state)
{
    return json_object_get(json_object_get(container, "state"), state);
}

/* kubelet's reasons are words such as ErrImagePull; others are not repeated. */
static const char *reason_of(const json_t *container)
{
    const char *reason = read__entry(state_of(container, "waiting"), "reason");
    size_t len = reason ? strlen(reason) : 0;

    for (size_t i = 0; i < len; i++)
        if (!((reason[i] >= 'a' && reason[i] <= 'z') || (reason[i] >= 'A' && reason[i] <= 'Z')))
            return "waiting";
    return len > 0 && len <= REASON_MAX_BYTES ? reason : "waiting";
}

static bool passes(const char *reason)
{
    return strcmp(reason, "PodInitializing") == 0 || strcmp(reason, "ContainerCreating") == 0 ||
           strcmp(reason, "waiting") == 0;
}

static bool runs(const json_t *container)
{
    return json_is_object(state_of(container, "running"));
}

/* An init container that stays, and that the next ones do not wait for any more. Of a plain one that runs kubelet says
 * `started`, too. */
static bool is_sidecar_that_is_up(const json_t *spec, const json_t *status)
{
    const char *name = read__entry(status, "name"), *policy = NULL;
    const json_t *container;
    size_t i;

    json_array_foreach(json_object_get(spec, "initContainers"), i, container)
    {
        const char *of = read__entry(container, "name");

        if (of && name && strcmp(of, name) == 0)
            policy = read__entry(container, "restartPolicy");
    }
    return policy && strcmp(policy, "Always") == 0 && read__flag(status, "started");
}

static void look_at(const json_t *containers, struct look *look)
{
    const json_t *container;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)containers, i, container)
    {
        if (!json_is_object(state_of(container, "waiting")))
            continue;
        if (!look->stuck && !passes(reason_of(container)))
            look->stuck = container;
        if (!look->waits)
            look->waits = container;
    }
}

int read__waiting(const json_t *spec, const json_t *status, char **ret_waiting, bool *ret_stuck)
{
    const json_t *init = json_object_get(status, "initContainerStatuses");
    const json_t *others = json_object_get(status, "containerStatuses");
    char text[NAME_MAX_BYTES + REASON_MAX_BYTES + 32] = "its kubelet has not begun with it";
    struct look look = {0};
    const json_t *container;
    const char *name;
    size_t i;

    look_at(init, &look);
    look_at(others, &look);
    json_array_foreach((json_t *)(uintptr_t)init, i, container)
    {
        if (runs(container) && !is_sidecar_that_is_up(spec, container))
            look.runs = container;
    }
    container = look.stuck ? look.stuck : look.runs ? look.runs : look.waits;
    name = read__entry(container, "name");
    if (name && (strlen(name) > NAME_MAX_BYTES || !is_dns_subdomain(name, strlen(name))))
        name = NULL;
    if (container && container == look.runs)
        snprintf(text, sizeof(text), "container %s runs", name ? name : "?");
    else if (container)
        snprintf(text, sizeof(text), "container %s: %s", name ? name : "?", reason_of(container));
    else if (json_array_size(init) + json_array_size(others) > 0)
        return 0; /* all of them have begun */
    *ret_waiting = read__copy(text);
    *ret_stuck = look.stuck != NULL;
    return *ret_waiting ? 0 : -ENOMEM;
}
