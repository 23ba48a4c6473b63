/*
 * core_why() on random small clusters: every answer, made true in a cluster of its own, lets the gang be
 * planned; one pod more, or one of the leavers staying, does not. And how far its leavers are from the fewest.
 */
#include "tests/unit/world.h"

#define RUNS 3000
#define NODES_MAX 10
#define PODS_MAX 40
#define UNITS_MAX 14 /* of which the fewest are found by trying all */

struct spec_pod {
    int node, gpus, gang; /* gang -1: an ordinary pod */
    bool daemon;
};
struct spec {
    int nodes, block[NODES_MAX], rack[NODES_MAX]; /* rack -1: the label is missing */
    struct spec_pod pods[PODS_MAX];
    int npods, gang_size[4];
    int asked, gpus, required; /* required: 0 block, 1 rack, 2 node, -1 none */
    int leader; /* GPUs of one pod more, unlike the others; 0: there is none */
};

static const char *const levels[] = {"block", "rack", "node"};

static unsigned roll(uint64_t *seed, unsigned below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed % below);
}

static int free_on(const struct spec *spec, int node)
{
    int left = 8;

    for (int i = 0; i < spec->npods; i++)
        left -= spec->pods[i].node == node ? spec->pods[i].gpus : 0;
    return left;
}

static void add(struct spec *spec, struct spec_pod pod)
{
    if (spec->npods < PODS_MAX && free_on(spec, pod.node) >= pod.gpus) {
        spec->gang_size[pod.gang + 1]++;
        spec->pods[spec->npods++] = pod;
    }
}

static struct spec draw(uint64_t seed)
{
    static const int sizes[] = {1, 2, 4, 8};
    struct spec spec = {.nodes = 4 + (int)roll(&seed, NODES_MAX - 3)};
    int per_rack = 1 + (int)roll(&seed, 3), ngangs = (int)roll(&seed, 3);

    for (int i = 0; i < spec.nodes; i++) {
        spec.rack[i] = roll(&seed, 12) ? i / per_rack : -1;
        spec.block[i] = i / per_rack / 2;
    }
    for (int gang = 0; gang < ngangs; gang++)
        for (int k = 1 + (int)roll(&seed, 4), size = sizes[1 + roll(&seed, 3)]; k > 0; k--)
            add(&spec, (struct spec_pod){(int)roll(&seed, (unsigned)spec.nodes), size, gang, false});
    for (int k = (int)roll(&seed, 24); k > 0; k--)
        add(&spec, (struct spec_pod){(int)roll(&seed, (unsigned)spec.nodes),
                                     sizes[roll(&seed, 4)], -1, roll(&seed, 8) == 0});
    spec.gpus = sizes[roll(&seed, 4)];
    spec.asked = 1 + (int)roll(&seed, (unsigned)(spec.nodes * 8 / spec.gpus) + 1);
    spec.required = (int)roll(&seed, 4) - 1;
    spec.leader = roll(&seed, 4) ? 0 : sizes[roll(&seed, 4)];
    if (spec.leader == spec.gpus)
        spec.leader = 0;
    return spec;
}

/* ---- the cluster that it describes ------------------------------------------------------------------ */

static void pod_uid(const struct spec *spec, int i, char *ret, size_t size)
{
    const struct spec_pod *pod = &spec->pods[i];

    snprintf(ret, size, "%s%d-%d", pod->gang < 0 ? "p" : "G", pod->gang < 0 ? 0 : pod->gang, i);
}

static void put(struct world *world, const struct spec *spec, int i)
{
    const struct spec_pod *one = &spec->pods[i];
    char name[32], node[16], gang[16] = "";
    struct obj_pod *pod;

    pod_uid(spec, i, name, sizeof(name));
    snprintf(node, sizeof(node), "n%d", one->node);
    if (one->gang >= 0)
        snprintf(gang, sizeof(gang), "G%d", one->gang);
    pod = make_pod(name, one->gpus, gang, one->gang >= 0 ? spec->gang_size[one->gang + 1] : 0);
    set_text(&pod->node, node);
    pod->phase = POD_RUNNING;
    if (one->daemon)
        set_text(&pod->owner.kind_name, "DaemonSet");
    if (one->gang < 0)
        set_text(&pod->scheduler, "default-scheduler");
    put_pod(world, pod);
}

static struct world *build(const struct spec *spec, int asked, const char *required,
                           const char *preferred)
{
    struct world *world = calloc(1, sizeof(*world));

    world_open(world);
    for (int i = 0; i < spec->nodes; i++) {
        char name[16], block[16], rack[16] = "";

        snprintf(name, sizeof(name), "n%d", i);
        snprintf(block, sizeof(block), "b%d", spec->block[i]);
        if (spec->rack[i] >= 0)
            snprintf(rack, sizeof(rack), "r%d", spec->rack[i]);
        add_node(world, name, block, rack);
    }
    for (int i = 0; i < spec->npods; i++)
        put(world, spec, i);
    sync_world(world);
    for (int i = 0; i < asked + (spec->leader > 0); i++) {
        char name[32];
        struct obj_pod *pod;

        snprintf(name, sizeof(name), "ask-%d", i);
        pod = make_pod(name, i < asked ? spec->gpus : spec->leader, "ask", asked + (spec->leader > 0));
        set_text(&pod->wish.required, required);
        set_text(&pod->wish.preferred, preferred);
        put_pod(world, pod);
    }
    return world;
}

static bool planned_in(struct world *world)
{
    bool planned = the_gang(world, "ask")->state == GANG_PLANNED;
    void *state = world;

    close_world(&state);
    return planned;
}

static const char *required_of(const struct spec *spec)
{
    return spec->required < 0 ? "" : levels[spec->required];
}

/* ---- made true -------------------------------------------------------------------------------------- */

static bool is_among(const struct spec *spec, int pod, const struct why_leaver *leaver)
{
    char uid[32], gang[16];

    pod_uid(spec, pod, uid, sizeof(uid));
    snprintf(gang, sizeof(gang), "ns/G%d", spec->pods[pod].gang);
    return leaver->is_gang ? spec->pods[pod].gang >= 0 && strcmp(leaver->name, gang) == 0
                           : strcmp(leaver->uid, uid) == 0;
}

/* All leavers are gone, but for one of them. */
static struct spec without(const struct spec *spec, const struct why *why, size_t staying)
{
    struct spec left = *spec;
    int n = 0;

    for (int i = 0; i < spec->npods; i++) {
        bool gone = false;

        for (size_t k = 0; k < why->nleavers; k++)
            gone |= k != staying && is_among(spec, i, &why->leavers[k]);
        if (!gone)
            left.pods[n++] = spec->pods[i];
    }
    left.npods = n;
    return left;
}

static struct spec emptied(const struct spec *spec)
{
    struct spec left = *spec;
    int n = 0;

    for (int i = 0; i < spec->npods; i++)
        if (spec->pods[i].daemon)
            left.pods[n++] = spec->pods[i];
    left.npods = n;
    return left;
}

static void check_leavers(const struct spec *spec, const struct why *why)
{
    struct spec left = without(spec, why, SIZE_MAX);

    assert_true(planned_in(build(&left, spec->asked, required_of(spec), "")));
    for (size_t i = 0; i < why->nleavers; i++) {
        left = without(spec, why, i);
        assert_false(planned_in(build(&left, spec->asked, required_of(spec), "")));
    }
}

static void check_answer(const struct spec *spec, const struct why *why,
                         const struct counterfactual *item)
{
    const char *required = required_of(spec);
    struct spec empty = emptied(spec);

    switch (item->change) {
    case WHY_LEVEL:
        assert_true(item->level < spec->required);
        assert_true(planned_in(build(spec, spec->asked, levels[item->level], "")));
        assert_false(planned_in(build(spec, spec->asked, levels[item->level + 1], "")));
        break;
    case WHY_PREFERRED:
        assert_true(planned_in(build(spec, spec->asked, "", required)));
        break;
    case WHY_PODS:
        assert_true(planned_in(build(spec, (int)item->pods, required, "")));
        assert_false(planned_in(build(spec, (int)item->pods + 1, required, "")));
        break;
    case WHY_LEAVE:
        check_leavers(spec, why);
        break;
    case WHY_EMPTY:
        assert_int_equal(planned_in(build(&empty, spec->asked, required, "")), item->fits);
        break;
    default:
        fail_msg("an answer of kind %d", (int)item->change);
    }
}

/* What is not answered is not so either: nothing that would help is left out. */
static void check_silence(const struct spec *spec, const struct why *why)
{
    bool said[WHY_CHANGES] = {false}, empty_fits = false;

    for (size_t i = 0; i < why->n; i++) {
        said[why->items[i].change] = true;
        if (why->items[i].change == WHY_EMPTY)
            empty_fits = why->items[i].fits;
    }
    assert_true(said[WHY_EMPTY]);
    assert_true(said[WHY_LEAVE] == empty_fits || spec->leader > 0); /* there plans may not suffice */
    assert_true(!said[WHY_PODS] || spec->leader == 0);
    if (!said[WHY_PODS] && spec->leader == 0)
        assert_false(planned_in(build(spec, 1, required_of(spec), "")) && spec->asked > 1);
    if (spec->required >= 0 && !said[WHY_PREFERRED])
        assert_false(planned_in(build(spec, spec->asked, "", "")));
    for (int level = 0; level < spec->required && !said[WHY_LEVEL]; level++)
        assert_false(planned_in(build(spec, spec->asked, levels[level], "")));
}

/* ---- the fewest, by trying all ---------------------------------------------------------------------- */

/* Units: pods without a gang and gangs; unit_of[pod], -1 for those that stay. */
static int find_units(const struct spec *spec, int *unit_of, int *pods_of)
{
    int n = 0, gang_unit[4] = {-1, -1, -1, -1};

    for (int i = 0; i < spec->npods; i++) {
        int gang = spec->pods[i].gang;

        unit_of[i] = spec->pods[i].daemon ? -1 : gang >= 0 && gang_unit[gang] >= 0 ? gang_unit[gang] : n;
        if (unit_of[i] == n && n < PODS_MAX)
            pods_of[n++] = 0;
        if (gang >= 0)
            gang_unit[gang] = unit_of[i];
        if (unit_of[i] >= 0)
            pods_of[unit_of[i]]++;
    }
    return n;
}

static int domain_of(const struct spec *spec, int node)
{
    return spec->required < 0    ? 0
           : spec->required == 0 ? spec->block[node]
           : spec->required == 1 ? spec->rack[node]
                                 : node;
}

static bool fits_without(const struct spec *spec, const int *unit_of, unsigned gone)
{
    int room[NODES_MAX] = {0}, left[NODES_MAX];

    for (int i = 0; i < spec->nodes; i++)
        left[i] = 8;
    for (int i = 0; i < spec->npods; i++)
        if (unit_of[i] < 0 || !(gone >> unit_of[i] & 1))
            left[spec->pods[i].node] -= spec->pods[i].gpus;
    for (int i = 0; i < spec->nodes; i++)
        if (domain_of(spec, i) >= 0)
            room[domain_of(spec, i)] += left[i] / spec->gpus;
    for (int i = 0; i < NODES_MAX; i++)
        if (room[i] >= spec->asked)
            return true;
    return false;
}

/* The fewest pods; -1: too many units to try all. */
static int fewest(const struct spec *spec)
{
    int unit_of[PODS_MAX], pods_of[PODS_MAX], best = -1, units = find_units(spec, unit_of, pods_of);

    for (unsigned gone = 0; units <= UNITS_MAX && gone < 1U << units; gone++) {
        int pods = 0;

        for (int i = 0; i < units; i++)
            pods += gone >> i & 1 ? pods_of[i] : 0;
        if ((best < 0 || pods < best) && fits_without(spec, unit_of, gone))
            best = pods;
    }
    return best;
}

/* ---- the runs --------------------------------------------------------------------------------------- */

struct tally {
    int answers, waiting, counted, fewest;
    int unlike, unlike_left; /* gangs of unlike pods that wait; those that are told who must leave */
};

static void check_one(const struct spec *spec, struct tally *tally)
{
    struct world *world = build(spec, spec->asked, required_of(spec), "");
    const struct gang *gang = the_gang(world, "ask");
    bool waits = gang->state == GANG_WAITING;
    struct why why;

    assert_int_equal(core_why(world->core, gang, &why), 0);
    world_check(world);
    assert_int_equal(why.n > 0, waits);
    tally->waiting += waits;
    tally->unlike += waits && spec->leader > 0;
    for (size_t i = 0; i < why.n; i++) {
        check_answer(spec, &why, &why.items[i]);
        tally->answers++;
        tally->unlike_left += spec->leader > 0 && why.items[i].change == WHY_LEAVE;
        if (why.items[i].change == WHY_LEAVE && spec->leader == 0 && fewest(spec) >= 0) {
            tally->counted++;
            tally->fewest += (int)why.items[i].pods == fewest(spec);
        }
    }
    if (waits)
        check_silence(spec, &why);
    why_release(&why);
    assert_false(planned_in(world) && waits);
}

static void every_answer_holds_when_it_is_made_true(void **state)
{
    struct tally tally = {0};

    (void)state;
    for (uint64_t run = 1; run <= RUNS; run++) {
        struct spec spec = draw(run * UINT64_C(0x9e3779b97f4a7c15));

        check_one(&spec, &tally);
    }
    print_message("%d gangs waited, %d answers held; of %d lists of leavers %d are the fewest; of %d "
                  "gangs of unlike pods %d were told who must leave\n",
                  tally.waiting, tally.answers, tally.counted, tally.fewest, tally.unlike,
                  tally.unlike_left);
    assert_true(tally.waiting > RUNS / 4);
    assert_true(tally.fewest * 20 >= tally.counted * 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_holds_when_it_is_made_true),
    };

    return cmocka_run_group_tests_name("why_random", tests, NULL, NULL);
}
