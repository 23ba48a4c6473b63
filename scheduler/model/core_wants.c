/* What a gang asks for: read from its members, its Job and its PodGroup, never remembered apart. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/core_internal.h"

#define NVLINK_DOMAIN_KEY "nvidia.com/gpu.clique" /* label that GPU feature discovery sets */

static int level_index(const struct core *core, const char *name)
{
    if (strcmp(name, "node") == 0)
        return (int)core->cluster.nlevels;
    if (strcmp(name, "nvlink-domain") == 0)
        name = NVLINK_DOMAIN_KEY;
    for (uint32_t i = 0; i < core->cluster.nlevels; i++)
        if (strcmp(core->cluster.levels[i], name) == 0)
            return (int)i;
    return -1;
}

bool core__lacks(struct reason *ret_why, enum reason_code code, const char *format, ...)
{
    va_list args;

    *ret_why = (struct reason){.code = code};
    va_start(args, format);
    vsnprintf(ret_why->text, sizeof(ret_why->text), format, args);
    va_end(args);
    return false;
}

bool core__read_level(const struct core *core, const char *what, const char *name, int *ret_level,
                      struct reason *ret_why)
{
    *ret_level = -1;
    if (!name[0])
        return true;
    *ret_level = level_index(core, name);
    if (*ret_level >= 0)
        return true;
    return core__lacks(ret_why, REASON_UNKNOWN_LEVEL,
                 "%s level '%s' is none of this cluster's levels (see levels in lockstep.yaml)", what,
                 name);
}

static bool is_group(const struct gang *gang)
{
    return gang->kind == GANG_GROUP_NATIVE || gang->kind == GANG_GROUP_SIGS;
}

const struct obj_group *core__group_of(const struct core *core, const struct gang *gang)
{
    struct obj_group probe = {.kind = gang->kind == GANG_GROUP_NATIVE ? GROUP_NATIVE : GROUP_SIGS,
                              .ns = gang->ns,
                              .name = gang->name};
    char key[KEY_TEXT];

    if (!is_group(gang))
        return NULL;
    core__group_key(&probe, key, sizeof(key));
    return hashmap_get(&core->groups, key);
}

const struct obj_job *core__job_of(const struct core *core, const struct obj_pod *pod)
{
    char key[KEY_TEXT];

    if (pod->owner.kind != OWNER_JOB)
        return NULL;
    core__key(key, "", pod->ns, pod->owner.name);
    return hashmap_get(&core->jobs, key);
}

/* How many members must start together; 0 when nothing says so. */
static uint32_t wanted_min(const struct core *core, const struct gang *gang, const struct obj_pod *pod)
{
    const struct obj_group *group = core__group_of(core, gang);
    const struct obj_job *job = core__job_of(core, pod);

    /* A native group without a gang policy does not ask to start together. */
    if (is_group(gang))
        return group ? (group->min > 0 ? (uint32_t)group->min : 1) : 0;
    if (pod->wish.size > 0)
        return (uint32_t)pod->wish.size;
    if (job && job->parallelism > 0) {
        int32_t n = job->parallelism;

        if (job->completions >= 0 && job->completions < n)
            n = job->completions;
        return n > 0 ? (uint32_t)n : 1;
    }
    return 0;
}

static bool has_min(const struct gang *gang, struct reason *ret_why)
{
    if (gang->min > 0)
        return true;
    if (is_group(gang))
        return core__lacks(ret_why, REASON_GROUP_MISSING,
                     "the pods name PodGroup %s, which does not exist", gang->name);
    return core__lacks(ret_why, REASON_SIZE_UNKNOWN,
                 "nothing says how many pods belong to the gang: set annotation "
                 "lockstep.dev/gang-size on its pods");
}

static bool is_small_enough(const struct gang *gang, struct reason *ret_why)
{
    return gang->size <= OBJ_GANG_PODS_MAX ||
           core__lacks(ret_why, REASON_UNSUPPORTED, "not supported: %u pods in one gang, expected at most %d",
                 gang->size, OBJ_GANG_PODS_MAX);
}

static bool set_role(struct gang *gang, const char *role)
{
    char *copy;

    if (!role[0] || strcmp(gang->role, role) == 0)
        return true;
    copy = strdup(role);
    if (!copy)
        return false;
    free(gang->role);
    gang->role = copy;
    return true;
}

static bool supported(const struct gang *gang, const struct obj_pod *pod,
                      const struct obj_group *group, struct reason *ret_why)
{
    const char *what = pod->unsupported[0]        ? pod->unsupported
                       : pod->wish.unsupported[0] ? pod->wish.unsupported
                       : group                    ? group->unsupported
                                                  : "";

    if (what[0])
        return core__lacks(ret_why, REASON_UNSUPPORTED, "not supported yet: %s", what);
    return gang->members[0]->countable ||
           core__lacks(ret_why, REASON_UNSUPPORTED,
                 "not supported: more than %d kinds of resources are in use", RES_MAX);
}

bool core__wants(const struct core *core, struct gang *gang, struct reason *ret_why)
{
    const struct obj_group *group = core__group_of(core, gang);
    const struct obj_pod *pod;
    const struct obj_job *job;
    const char *required, *preferred;

    *ret_why = (struct reason){0};
    if (gang->nmembers == 0)
        return false;
    pod = gang->members[0]->object;
    gang->min = wanted_min(core, gang, pod);
    gang->size = gang->min > gang->nmembers ? gang->min : (uint32_t)gang->nmembers;
    gang->priority = pod->priority;
    if (!gang->created_s || pod->created_s < gang->created_s)
        gang->created_s = pod->created_s;
    /* What is not supported first: its group may be of a kind that is never read. */
    if (!set_role(gang, pod->wish.role) || !supported(gang, pod, group, ret_why) ||
        !has_min(gang, ret_why) || !is_small_enough(gang, ret_why))
        return false;
    job = core__job_of(core, pod); /* what the Job says where its pods say nothing */
    required = pod->wish.required[0]    ? pod->wish.required
               : group                  ? group->required
               : job && job->template ? job->template->wish.required
                                        : "";
    preferred = pod->wish.preferred[0]   ? pod->wish.preferred
                : group                  ? group->preferred
                : job && job->template ? job->template->wish.preferred
                                         : "";
    return core__read_level(core, "required", required, &gang->required_level, ret_why) &&
           core__read_level(core, "preferred", preferred, &gang->preferred_level, ret_why);
}
