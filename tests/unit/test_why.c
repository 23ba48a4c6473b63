/* core_why(): each answer is made true and the gang is planned; a little less of it, and the gang waits. */
#include "tests/unit/world.h"

#define LEAVERS_MAX 64

/* ---- small clusters in a few words ------------------------------------------------------------------ */

/*
 * One letter a thing, nodes in order, two to a rack r0, r1, ... and four to a block b0, b1, ...:
 *   '.' a free node; '8' '4' '1' a node with one pod of so many GPUs, 'o' with eight of one GPU each;
 *   'd' with a DaemonSet's pod of one GPU; 'A' to 'C' with one member of a gang of this name that is bound
 *   in full; 'm' with 4 GPUs of a member of gang M and a pod of 4.
 */
struct asked {
    const char *nodes;
    int pods; /* of the gang "g" that waits, */
    int64_t gpus; /* for each of them, */
    const char *required;
    const char *expected; /* a line for each answer */
};

static void put_daemon(struct world *world, const char *node, const char *name, int64_t gpus)
{
    struct obj_pod *pod = make_pod(name, gpus, "", 0);

    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    pod->owner.kind = OWNER_OTHER;
    set_text(&pod->owner.kind_name, "DaemonSet");
    put_pod(world, pod);
}

static void put_bound(struct world *world, const char *gang, int index, int size, const char *node,
                      int64_t gpus)
{
    struct obj_pod *pod;
    char name[64];

    snprintf(name, sizeof(name), "%s-%d", gang, index);
    pod = make_pod(name, gpus, gang, size);
    pod->index = index;
    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    put_pod(world, pod);
}

static void fill_node(struct world *world, const char *nodes, int i)
{
    char node[16], name[32], gang[2] = {nodes[i], '\0'};
    int index = 0, size = 0;

    snprintf(node, sizeof(node), "n%d", i);
    snprintf(name, sizeof(name), "p%d", i);
    for (int k = 0; nodes[k]; k++) {
        size += nodes[k] == nodes[i];
        index += nodes[k] == nodes[i] && k < i;
    }
    if (strchr("841", nodes[i]))
        use_node(world, node, name, nodes[i] - '0');
    for (int k = 0; nodes[i] == 'o' && k < 8; k++) {
        snprintf(name, sizeof(name), "p%d-%d", i, k);
        use_node(world, node, name, 1);
    }
    if (nodes[i] == 'd')
        put_daemon(world, node, name, 1);
    if (nodes[i] >= 'A' && nodes[i] <= 'C')
        put_bound(world, gang, index, size, node, 8);
    if (nodes[i] == 'm') {
        put_bound(world, "M", index, size, node, 4);
        use_node(world, node, name, 4);
    }
}

static void ask_for(struct world *world, int pods, int64_t gpus, const char *required,
                    const char *preferred)
{
    for (int i = 0; i < pods; i++) {
        char name[32];
        struct obj_pod *pod;

        snprintf(name, sizeof(name), "g-%d", i);
        pod = make_pod(name, gpus, "g", pods);
        pod->priority = 100; /* it comes first in the line */
        set_text(&pod->wish.required, required);
        set_text(&pod->wish.preferred, preferred);
        put_pod(world, pod);
    }
}

static struct world *make_world(const char *nodes)
{
    struct world *world = new_world((int)strlen(nodes), 4, 2);

    for (int i = 0; nodes[i]; i++)
        fill_node(world, nodes, i);
    sync_world(world);
    return world;
}

static void free_world(struct world *world)
{
    void *state = world;

    close_world(&state);
}

static void texts_of(const struct why *why, char *ret, size_t size)
{
    size_t len = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < why->n; i++)
        len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? "\n" : "", why->items[i].text);
}

static const struct asked cases[] = {
    /* what the gang could ask otherwise */
    {"...8", 4, 8, "", "fits with 3 pods instead of 4\nfits if 1 pod left: ns/p3\n"
                       "fits on the empty cluster"},
    {"....", 5, 8, "", "would not fit on the empty cluster either\nfits with 4 pods instead of 5"},
    {"....", 3, 8, "rack",
     "would not fit on the empty cluster either\nfits with required=block instead of required=rack\n"
     "fits with preferred=rack instead of required=rack\nfits with 2 pods instead of 3"},
    {"........", 5, 8, "rack",
     "would not fit on the empty cluster either\nfits with preferred=rack instead of required=rack\n"
     "fits with 2 pods instead of 5"},
    {"...8", 2, 4, "node", ""}, /* it does fit */
    {"4444", 2, 4, "node", "fits with required=rack instead of required=node\n"
                           "fits with preferred=node instead of required=node\n"
                           "fits with 1 pod instead of 2\nfits if 1 pod left: ns/p0\n"
                           "fits on the empty cluster"},
    {"8888", 1, 8, "", "fits if 1 pod left: ns/p0\nfits on the empty cluster"},
    /* who could leave: the fewest */
    {"oo8o", 1, 8, "", "fits if 1 pod left: ns/p2\nfits on the empty cluster"},
    {"o1o1", 2, 8, "rack",
     "fits if 9 pods left: ns/p0-0, ns/p0-1, ns/p0-2 and 6 more\nfits on the empty cluster"},
    {"o14488", 2, 8, "rack", "fits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
    {"o.44", 2, 8, "rack",
     "fits with 1 pod instead of 2\nfits if 2 pods left: ns/p2, ns/p3\nfits on the empty cluster"},
    /* gangs go as a whole */
    {"AA8o", 2, 8, "", "fits if 1 gang of 2 pods left: gang ns/A\nfits on the empty cluster"},
    {"AABB", 1, 8, "", "fits if 1 gang of 2 pods left: gang ns/A\nfits on the empty cluster"},
    {"AAAB", 1, 8, "", "fits if 1 gang of 1 pod left: gang ns/B\nfits on the empty cluster"},
    {"AA8B", 3, 8, "", "fits if 1 pod and 1 gang of 2 pods left: gang ns/A, ns/p2\n"
                       "fits on the empty cluster"},
    {"mmmm", 1, 8, "", "fits if 1 pod and 1 gang of 4 pods left: gang ns/M, ns/p0\n"
                       "fits on the empty cluster"},
    /* pods of DaemonSets stay */
    {"dddd", 1, 8, "", "would not fit on the empty cluster either"},
    {"d8d8", 2, 8, "", "fits if 2 pods left: ns/p1, ns/p3\nfits on the empty cluster"},
};

static void answers_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = make_world(cases[i].nodes);
        char texts[4096];
        struct why why;

        ask_for(world, cases[i].pods, cases[i].gpus, cases[i].required, "");
        assert_int_equal(core_why(world->core, the_gang(world, "g"), &why), 0);
        texts_of(&why, texts, sizeof(texts));
        if (strcmp(texts, cases[i].expected) != 0)
            fail_msg("%s, %d pods of %d, required '%s': found\n%s\nexpected\n%s", cases[i].nodes,
                     cases[i].pods, (int)cases[i].gpus, cases[i].required, texts,
                     cases[i].expected);
        assert_true(why.plans <= WHY_PLANS_MAX);
        why_release(&why);
        free_world(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_words),
    };

    return cmocka_run_group_tests_name("why", tests, NULL, NULL);
}
