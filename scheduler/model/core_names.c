/*
 * Names of GangPlacements. A gang's has the gang's own name, unless a gang of another kind in the same
 * namespace was first: then its kind stands behind it. Whichever it is, it is kept: a gang that goes and
 * comes again, or is read after a restart, finds the one that is about it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/model/core_internal.h"

#define NAMES_TRIED 9

static const char *const kinds[] = {[GANG_LABEL] = "gang",
                                    [GANG_JOB] = "job",
                                    [GANG_GROUP_NATIVE] = "podgroup",
                                    [GANG_GROUP_SIGS] = "podgroup-x"};

static void candidate(const struct gang *gang, unsigned i, char ret[NAME_TEXT])
{
    if (i == 0)
        snprintf(ret, NAME_TEXT, "%s", gang->name);
    else if (i == 1)
        snprintf(ret, NAME_TEXT, "%.200s.%s", gang->name, kinds[gang->kind]);
    else
        snprintf(ret, NAME_TEXT, "%.200s.%s-%u", gang->name, kinds[gang->kind], i);
}

static bool is_about(const struct obj_placement *placement, const struct gang *gang)
{
    return strcmp(placement->gang_kind, gang_kind_name(gang->kind)) == 0 &&
           strcmp(placement->gang_name, gang->name) == 0;
}

/* The first name that no other gang has and whose object is this gang's (existing), or not there. */
static char *find_name(const struct core *core, const struct gang *gang, bool existing)
{
    char name[NAME_TEXT], key[KEY_TEXT];

    for (unsigned i = 0; i < NAMES_TRIED; i++) {
        const struct obj_placement *placement;
        const struct gang *other;

        candidate(gang, i, name);
        core__key(key, "", gang->ns, name);
        placement = hashmap_get(&core->placements, key);
        other = hashmap_get(&core->records, key);
        if ((!other || other == gang) &&
            (existing ? placement && is_about(placement, gang) : !placement))
            return strdup(name);
    }
    return NULL;
}

char *core__record_name(const struct core *core, const struct gang *gang)
{
    char *name = find_name(core, gang, true);

    return name ? name : find_name(core, gang, false);
}

static void rename_record(struct core *core, struct gang *gang, char *name)
{
    char key[KEY_TEXT];

    core__key(key, "", gang->ns, gang->record.name);
    if (hashmap_get(&core->records, key) == gang)
        hashmap_remove(&core->records, key);
    if (strcmp(gang->record.name, name) != 0) { /* what is under way is for the old one */
        gang->record.write = 0;
        gang->record.former = false;
    }
    free(gang->record.name);
    gang->record.name = name;
    core__key(key, "", gang->ns, name);
    if (hashmap_set(&core->records, key, gang) == 0)
        gang->record.exists = hashmap_get(&core->placements, key) != NULL;
}

/* Pods may have been read before the GangPlacements: what those say about names comes first. */
void core__name_records(struct core *core)
{
    hashmap_release(&core->records);
    for (int existing = 1; existing >= 0; existing--)
        for (size_t i = 0; i < core->all.n; i++) {
            struct gang *gang = core->all.items[i];
            char key[KEY_TEXT];
            char *name;

            core__key(key, "", gang->ns, gang->record.name);
            if (!existing && hashmap_get(&core->records, key) == gang)
                continue;
            name = find_name(core, gang, existing);
            if (name)
                rename_record(core, gang, name);
        }
}
