/* A gang's plan for people and for programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/gang.h"

#define LEAVERS_SHOWN 100 /* of those who would have to leave, in JSON */

bool gang_is_placed(const struct gang *gang)
{
    if (!gang || gang->nslots == 0 || gang->state == GANG_FORMING || gang->state == GANG_WAITING)
        return false;
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (!gang->slots[i].node || !gang->slots[i].pod)
            return false;
    return gang->nslots >= gang->min;
}

static const char *level_name(const struct core *core, const struct gang *gang, uint32_t level)
{
    return level < gang->nlevels ? core_cluster(core)->levels[level] : "node";
}

static const char *pod_name(const struct slot *slot)
{
    return slot->pod ? slot->pod->object->name : "";
}

static json_t *placement_json(const struct gang *gang)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < gang->nslots; i++) {
        json_t *entry = json_pack("{s:s, s:s, s:i, s:s}", "pod", pod_name(&gang->slots[i]), "role",
                                  gang_role(gang, i), "rank", (int)i, "node",
                                  gang->slots[i].node->name);

        set_devices(entry, &gang->slots[i]);
        json_array_append_new(list, entry);
    }
    return list;
}

json_t *placed_json(const struct core *core, const struct gang *gang,
                    const struct plan_level_use *certificate)
{
    json_t *domains = json_object(), *certified = json_array();
    char hash[GANG_HASH_TEXT];

    gang_hash(gang, hash);
    for (uint32_t level = 0; level <= gang->nlevels; level++) {
        int used = (int)gang->use[level].used;
        const char *name = level_name(core, gang, level);

        json_object_set_new(domains, name, json_integer(used));
        if (certificate)
            json_array_append_new(certified,
                                  json_pack("{s:s, s:i, s:i, s:b}", "level", name, "used", used,
                                            "lower_bound", (int)certificate[level].lower_bound,
                                            "optimal",
                                            used == (int)certificate[level].lower_bound));
    }
    return json_pack("{s:b, s:s, s:o, s:o, s:o, s:o}", "feasible", 1, "hash", hash, "placement",
                     placement_json(gang), "domains", domains, "predicted",
                     predicted_json(core, gang), "certificate", certified);
}

static json_t *leavers_json(const struct why *why)
{
    json_t *list = json_array();

    for (size_t i = 0; i < why->nleavers && i < LEAVERS_SHOWN; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:i}", "kind",
                                              why->leavers[i].is_gang ? "gang" : "pod", "name",
                                              why->leavers[i].name, "pods",
                                              (int)why->leavers[i].pods));
    return list;
}

json_t *would_fit_json(const struct core *core, const struct why *why)
{
    json_t *list = json_array();

    for (size_t i = 0; i < why->n; i++) {
        const struct counterfactual *item = &why->items[i];
        json_t *entry = json_pack("{s:s, s:b, s:s}", "change", why_change_name(item->change),
                                  "fits", item->fits, "text", item->text);

        if (item->change == WHY_PODS || item->change == WHY_LEAVE)
            json_object_set_new(entry, "pods", json_integer(item->pods));
        if (item->level >= 0)
            json_object_set_new(entry, "level", json_string(core_level_name(core, item->level)));
        if (item->change == WHY_LEAVE) {
            json_object_set_new(entry, "gangs", json_integer(item->gangs));
            json_object_set_new(entry, "leavers", leavers_json(why));
        }
        json_array_append_new(list, entry);
    }
    return list;
}

/*
 * The gang's reason. One that runs has none, even when more pods of it have come than there are places for: what
 * keeps those out is told here.
 */
static struct reason why_not(const struct gang *gang)
{
    struct reason why = {.code = REASON_INSUFFICIENT, .pods = (uint32_t)gang->nmembers};

    if (gang->reason.code != REASON_NONE)
        return gang->reason;
    for (size_t i = 0; i < gang->nmembers; i++) {
        const struct obj_pod *pod = gang->members[i]->object;
        const char *unsupported = pod->unsupported[0] ? pod->unsupported : pod->wish.unsupported;

        why.fit += gang->members[i]->slot >= 0;
        if (gang->members[i]->slot >= 0 || !unsupported[0])
            continue;
        why.code = REASON_UNSUPPORTED;
        snprintf(why.text, sizeof(why.text), "not supported yet: %s", unsupported);
        return why;
    }
    snprintf(why.text, sizeof(why.text), "%u of %u pods have a place in the gang, which is %s already", why.fit,
             why.pods, gang_state_text(gang));
    return why;
}

json_t *reason_json(const struct gang *gang)
{
    struct reason why = why_not(gang);

    return json_pack("{s:s, s:s, s:i, s:i}", "code", reason_code_name(why.code), "message", why.text, "pods",
                     (int)why.pods, "fit", (int)why.fit);
}

/* Pods that are bound already were not planned here: nothing is certified. */
static const struct plan_level_use *certificate_of(const struct gang *gang)
{
    return gang->adopted ? NULL : gang->use;
}

json_t *show_json(struct core *core, const struct gang *gang)
{
    json_t *root, *name = json_sprintf("%s/%s", gang->ns, gang->name);
    struct why why = {0};

    if (gang_is_placed(gang)) {
        root = placed_json(core, gang, certificate_of(gang));
    } else {
        core_why(core, gang, &why);
        root = json_pack("{s:b, s:o, s:o}", "feasible", 0, "reason", reason_json(gang), "would_fit",
                         would_fit_json(core, &why));
        why_release(&why);
    }
    json_object_set_new(root, "gang", name);
    return root;
}

json_t *show_unsupported(const char *what)
{
    return json_pack("{s:b, s:{s:s, s:o}, s:[]}", "feasible", 0, "reason", "code", "Unsupported",
                     "message", json_sprintf("workload kind %s is not supported yet", what),
                     "would_fit");
}

/* ---- text --------------------------------------------------------------------------------------------- */

const char *paint(const char *code)
{
    return isatty(STDOUT_FILENO) && !getenv("NO_COLOR") ? code : "";
}

static const char *subgroup_of(const struct slot *slot)
{
    return slot->subgroup ? slot->subgroup : "";
}

static void show_nodes(const struct core *core, const struct gang *gang)
{
    const struct cluster *cluster = core_cluster(core);

    bool gpus = knows_gpus(gang);

    printf("\n  %-11s %-24s %s%s\n", "RANKS", "NODE", gpus ? "GPUS             " : "", "WHERE");
    for (uint32_t i = 0, end; i < gang->nslots; i = end) {
        const struct node *node = gang->slots[i].node;
        char ranks[32];

        for (end = i + 1; end < gang->nslots && gang->slots[end].node == node &&
                          strcmp(subgroup_of(&gang->slots[end]), subgroup_of(&gang->slots[i])) == 0;)
            end++;
        snprintf(ranks, sizeof(ranks), end == i + 1 ? "%u" : "%u-%u", i, end - 1);
        printf("  %-11s %-24s", ranks, node->name);
        if (gpus)
            show_gpus(gang, i, end, 16);
        for (uint32_t level = 0; level < gang->nlevels; level++)
            printf(" %s", cluster_domain_name(cluster, node->domain[level]));
        if (gang->slots[i].subgroup)
            printf(" (subgroup %s)", gang->slots[i].subgroup);
        putchar('\n');
    }
}

void show_would_fit(const struct why *why)
{
    for (size_t i = 0; i < why->n; i++)
        printf("  %s\n", why->items[i].text);
}

void show_placed(const struct core *core, const struct gang *gang,
                 const struct plan_level_use *certificate, const char *how)
{
    printf("%s%s/%s %s%s: %u pods on", paint("\033[32m"), gang->ns, gang->name, how,
           paint("\033[0m"), gang->nslots);
    for (uint32_t level = gang->nlevels + 1; level-- > 0;)
        printf(" %u %s%s", gang->use[level].used, level_name(core, gang, level),
               level ? "," : "\n");
    for (uint32_t level = 0; certificate && level <= gang->nlevels; level++)
        if (gang->use[level].used == certificate[level].lower_bound)
            printf("  %s: no placement uses fewer than %u\n", level_name(core, gang, level),
                   gang->use[level].used);
    show_predicted(core, gang);
    show_nodes(core, gang);
    show_map(core, gang);
}

void show_text(struct core *core, const struct gang *gang)
{
    struct reason reason = why_not(gang);
    struct why why = {0};

    if (gang_is_placed(gang)) {
        show_placed(core, gang, certificate_of(gang), "fits");
        return;
    }
    printf("%s%s/%s does not fit%s: %s: %s\n", paint("\033[31m"), gang->ns, gang->name,
           paint("\033[0m"), reason_code_name(reason.code), reason.text);
    core_why(core, gang, &why);
    show_would_fit(&why);
    why_release(&why);
}

void print_json(json_t *root)
{
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(root);
}
