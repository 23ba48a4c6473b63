/* Runs seeds: random life for a while, then calm, in which a gang that fits must be placed. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/model/gang.h"
#include "scheduler/model/objects.h"

#define NODES 10
#define PODS 192
#define CALM_STEPS 4000

enum sim_mutant sim_mutant = MUTANT_NONE;

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(sim->why, sizeof(sim->why), format, args);
    va_end(args);
    longjmp(sim->failed, 1);
}

unsigned sim_random(struct sim *sim, unsigned below)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return (unsigned)(sim->random >> 11) % below;
}

/* splitmix64: each step's randomness depends on seed and step alone. */
static void seed_step(struct sim *sim)
{
    uint64_t z = sim->seed * UINT64_C(0x9e3779b97f4a7c15) + sim->step * UINT64_C(0xd1342543de82ef95);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    sim->random = (z ^ (z >> 31)) | 1;
}

/* ---- processes and time ----------------------------------------------------------------------------------- */

static void restart_what_is_down(struct sim *sim)
{
    for (int i = 0; i < REPLICAS; i++)
        if (!sim->replicas[i].core && (sim->calm || sim->replicas[i].up_at_ns <= sim->now_ns))
            sim_start_extender(sim, i);
}

static void pass_time(struct sim *sim, int64_t ns)
{
    sim->now_ns += ns;
    sim_expire_writes(sim);
    sim_expire_votes(sim);
    sim_lease_tick(sim);
    restart_what_is_down(sim);
    for (int i = 0; i < REPLICAS; i++)
        if (sim_runs(sim, i))
            sim_deliver(sim, i, (struct event){.kind = EV_TICK}, FAULT_NONE);
}

/* A stopped pod goes on: its kube-scheduler may find that it has been too long. */
static void go_on(struct sim *sim, int replica)
{
    sim->replicas[replica].paused = false;
    if (sim->now_ns - sim->lease.renewed_ns > 20 * SIM_SECOND)
        sim->identity_of[replica]++;
}

static void trouble_replica(struct sim *sim)
{
    int replica = (int)sim_random(sim, REPLICAS);
    struct sim_replica *self = &sim->replicas[replica];

    switch (sim_random(sim, 4)) {
    case 0:
        if (!self->paused)
            sim_end_extender(sim, replica);
        break;
    case 1: /* kube-scheduler ends, and comes back under another identity */
        self->scheduler_down = !self->scheduler_down;
        sim->identity_of[replica] += self->scheduler_down;
        if (self->scheduler_down && sim->lease.holder == replica)
            sim_forget_scheduler(sim);
        break;
    default:
        if (self->paused)
            go_on(sim, replica);
        else if (self->core)
            self->paused = true;
        break;
    }
}

static void recover_replica(struct sim *sim)
{
    int replica = (int)sim_random(sim, REPLICAS);

    if (sim->replicas[replica].paused)
        go_on(sim, replica);
    sim->replicas[replica].scheduler_down = false;
}

static void deliver(struct sim *sim)
{
    int replica = sim_random(sim, 4) && sim->lease.holder >= 0 ? sim->lease.holder
                                                               : (int)sim_random(sim, REPLICAS);

    if (sim->replicas[replica].relist_term && sim_random(sim, 8) == 0)
        sim_deliver_all(sim, replica);
    else
        sim_deliver_some(sim, replica);
}

static void some_time(struct sim *sim)
{
    pass_time(sim, (int64_t)sim_random(sim, 3500) * 1000000);
}

static void new_ordinary(struct sim *sim)
{
    sim_ordinary_pod(sim, 1 + (int)sim_random(sim, 8), false);
}

/* ---- moves -------------------------------------------------------------------------------------------------- */

/* What a step may be, and how often of a thousand in an ordinary life. */
static const struct move {
    const char *name;
    void (*make)(struct sim *sim);
    unsigned weight;
    bool steady; /* nothing goes on without it: every life has it as often */
} moves[] = {
    {"attempt", sim_attempt, 260, true},
    {"write", sim_finish_write, 220, true},
    {"deliver", deliver, 273, true},
    {"kubelet", sim_kubelet, 80, true},
    {"controllers", sim_controllers, 50, true},
    {"job", sim_new_job, 16, true},
    {"time", some_time, 56, true},
    {"ordinary", new_ordinary, 6, false},
    {"delete", sim_delete_something, 12, false},
    {"node", sim_change_node, 7, false},
    {"stranger", sim_foreign_bind, 5, false},
    {"stray", sim_stray, 40, false},
    {"bad-kubelet", sim_bad_kubelet, 3, false},
    {"trouble", trouble_replica, 6, false},
    {"recover", recover_replica, 6, false},
};
#define MOVES (sizeof(moves) / sizeof(moves[0]))
_Static_assert(MOVES == SIM_MOVES, "struct sim has a weight for each move");

int sim_move(const char *name)
{
    for (size_t i = 0; i < MOVES; i++)
        if (strcmp(moves[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *sim_move_name(int move)
{
    return moves[move].name;
}

/* Every seed lives another life: what is rare in one is frequent in another, and missing in a third
 * (swarm testing: Groce et al., ISSTA 2012). */
static void choose_life(struct sim *sim, int often)
{
    static const unsigned steady[] = {2, 4, 8, 8, 16}, other[] = {0, 2, 8, 8, 24, 64};

    sim->weights = 0;
    for (size_t i = 0; i < MOVES; i++) {
        unsigned eighth = moves[i].steady ? steady[sim_random(sim, 5)] : other[sim_random(sim, 6)];

        if ((int)i == often)
            eighth = moves[i].steady ? 32 : 128;
        sim->weight[i] = moves[i].weight * eighth;
        sim->weights += sim->weight[i];
    }
}

static void random_step(struct sim *sim)
{
    unsigned dice = sim_random(sim, sim->weights);
    size_t i = 0;

    while (dice >= sim->weight[i])
        dice -= sim->weight[i++];
    moves[i].make(sim);
}

/* ---- does it come to rest ----------------------------------------------------------------------------------- */

static int bound_of(const struct sim *sim, int job)
{
    int n = 0;

    for (int i = 0; i < sim->npods; i++)
        n += sim->pods[i].used && sim->pods[i].job == job && sim->pods[i].node >= 0;
    return n;
}

static void calm_step(struct sim *sim, int i)
{
    sim->step++;
    if (!sim->lazy)
        for (int replica = 0; replica < REPLICAS; replica++)
            sim_deliver_all(sim, replica);
    else
        deliver(sim);
    sim_attempt(sim);
    sim_finish_write(sim);
    if (i % (sim->lazy ? 2000 : 10) == 0)
        pass_time(sim, SIM_SECOND / 5);
}

static void begin_calm(struct sim *sim)
{
    sim->calm = true;
    for (int i = 0; i < REPLICAS; i++) {
        if (sim->replicas[i].paused)
            go_on(sim, i);
        sim->replicas[i].scheduler_down = false;
    }
    restart_what_is_down(sim);
    for (int i = 0; i < sim->nnodes; i++)
        sim->nodes[i].rejects_until_ns = 0;
}

/* What the leader knows of one running gang. */
struct known_gang {
    char ns[8], name[16], hash[GANG_HASH_TEXT];
    enum gang_state state;
};

static const struct gang *find_gang(const struct sim *sim, int replica, const char *ns, const char *name)
{
    return core_gang(sim->replicas[replica].core, ns, name);
}

/* A node that went is unknown to those who come later, so the ranks of pods that ended there are too. */
static bool on_known_nodes(const struct gang *gang)
{
    for (uint32_t i = 0; i < gang->nslots; i++)
        if (!gang->slots[i].node || !gang->slots[i].node->object)
            return false;
    return true;
}

static int running_gangs(const struct sim *sim, int replica, struct known_gang *ret)
{
    int n = 0;

    for (int i = 0; i < SIM_JOBS * 4; i++) {
        const struct sim_record *record = &sim->records[i];
        const struct gang *gang = record->used ? find_gang(sim, replica, record->ns, record->name)
                                               : NULL;

        if (!gang || gang->state != GANG_RUNNING || gang_bound(gang) != gang->nslots ||
            gang->nmembers > gang->nslots || /* some wait for a place: the next leader may have one */
            !on_known_nodes(gang))
            continue;
        memcpy(ret[n].ns, record->ns, sizeof(ret[n].ns));
        memcpy(ret[n].name, record->name, sizeof(ret[n].name));
        ret[n].state = gang->state;
        gang_hash(gang, ret[n++].hash);
    }
    return n;
}

static bool somebody_leads(const struct sim *sim)
{
    int leader = sim->lease.holder;

    return leader >= 0 && core_active(sim->replicas[leader].core);
}

static void pass_and_tell(struct sim *sim)
{
    pass_time(sim, SIM_SECOND);
    for (int replica = 0; replica < REPLICAS; replica++)
        sim_deliver_all(sim, replica);
}

/* A GangPlacement is a gang's, or goes with its owner. */
static void check_records(struct sim *sim, int leader)
{
    for (int i = 0; i < SIM_JOBS * 4; i++) {
        const struct sim_record *record = &sim->records[i];

        if (record->used && !find_gang(sim, leader, record->ns, record->name) &&
            !strstr(record->body, "ownerReferences"))
            sim_fail(sim, "I12: GangPlacement %s is nobody's", record->name);
    }
}

/* I12: a leader that starts anew from the API server's objects knows what the old one knew. */
static void check_rebuilt(struct sim *sim)
{
    struct known_gang known[SIM_JOBS * 4];
    int leader, n;

    for (int i = 0; i < 120 && !somebody_leads(sim); i++)
        pass_and_tell(sim);
    if (!somebody_leads(sim))
        sim_fail(sim, "I9: nobody leads in calm times");
    for (int i = 0; i < 300; i++)
        calm_step(sim, i);
    leader = sim->lease.holder;
    n = running_gangs(sim, leader, known);
    sim_end_extender(sim, leader);
    sim_start_extender(sim, leader);
    for (int i = 0; i < 120 && !somebody_leads(sim); i++)
        pass_and_tell(sim);
    leader = sim->lease.holder; /* the other one, if the Lease ran out meanwhile */
    for (int i = 0; i < n; i++) {
        const struct gang *gang = find_gang(sim, leader, known[i].ns, known[i].name);
        char hash[GANG_HASH_TEXT] = "";

        if (gang)
            gang_hash(gang, hash);
        if (gang && gang->state == GANG_REPLACING && gang->reason.code == REASON_PREEMPTED)
            continue; /* the new leader's first act: it waits for no turn */
        if (!gang || gang->state != known[i].state || strcmp(hash, known[i].hash) != 0)
            sim_fail(sim, "I12: gang %s/%s is %s with hash %.8s after a restart, was %s with %.8s",
                     known[i].ns, known[i].name, gang ? gang_state_name(gang->state) : "unknown", hash,
                     gang_state_name(known[i].state), known[i].hash);
    }
    for (int i = 0; i < 100; i++)
        calm_step(sim, i); /* what is nobody's is deleted, which takes a write each */
    check_records(sim, sim->lease.holder);
}

/* I9: on an emptied cluster a gang of the whole size is placed within bounded time: once the one pod
 * that stands in its way is gone. */
static void place_last(struct sim *sim, int gpus)
{
    struct sim_pod *in_the_way = sim->lazy ? NULL : sim_ordinary_pod(sim, 1, true);
    struct core_counts counts;
    int size = sim->lazy ? sim->npods - 1 : sim->nnodes;

    sim->jobs[0] = (struct sim_job){.used = true, .kind = SIM_BARE, .ns = "ns", .size = size,
                                    .gpus = gpus, .rejected_node = -1, .name = "last", .uid = "last"};
    for (int i = 0; i < size; i++)
        sim_new_pod(sim, 0, i);
    if (in_the_way) {
        in_the_way->node = 0;
        for (int i = 0; i < 200; i++)
            calm_step(sim, i);
        if (bound_of(sim, 0) > 0)
            sim_fail(sim, "I1: %d of %d pods are bound, and there is no room for all", bound_of(sim, 0),
                     size);
        sim_delete_pod(sim, in_the_way);
    }
    for (int i = 0; i < (sim->lazy ? 60 * size : CALM_STEPS) && bound_of(sim, 0) < size; i++)
        calm_step(sim, i);
    if (bound_of(sim, 0) < size)
        sim_fail(sim, "I9: %d of %d pods of the last gang are bound on an empty cluster",
                 bound_of(sim, 0), size);
    for (int i = 0; i < 200; i++)
        calm_step(sim, i);
    sim->lazy = false;
    for (int replica = 0; replica < REPLICAS; replica++)
        sim_deliver_all(sim, replica);
    core_counts(sim->replicas[sim->lease.holder].core, &counts);
    if (counts.holds != 0)
        sim_fail(sim, "I4: %zu holds are left when all is bound", counts.holds);
}

/* A node whose kubelet went on rejecting is left alone for up to 960 s. */
static void wait_out_rejections(struct sim *sim)
{
    for (int i = 0; i < 100; i++) {
        pass_time(sim, 10 * SIM_SECOND);
        for (int replica = 0; replica < REPLICAS; replica++)
            sim_deliver_all(sim, replica);
    }
}

static void calm_down(struct sim *sim)
{
    begin_calm(sim);
    check_rebuilt(sim);
    for (int i = 0; i < SIM_JOBS; i++)
        sim_delete_job(sim, i);
    for (int i = 0; i < sim->npods; i++)
        if (sim->pods[i].used)
            sim_delete_pod(sim, &sim->pods[i]);
    for (int i = 0; i < sim->nnodes; i++) {
        sim->nodes[i].present = true;
        sim->nodes[i].tainted = false;
        sim_changed(sim, &sim->nodes[i].seen);
    }
    for (int i = 0; i < 20; i++)
        calm_step(sim, i);
    wait_out_rejections(sim);
    place_last(sim, SIM_GPUS);
}

/* ---- a run --------------------------------------------------------------------------------------------------- */

static void set_levels(struct config *config)
{
    config->levels = calloc(3, sizeof(char *));
    if (!config->levels)
        abort();
    config->levels[0] = strdup("block");
    config->levels[1] = strdup("rack");
    config->nlevels = 2;
}

static void set_up(struct sim *sim, const struct sim_options *options)
{
    *sim = (struct sim){.seed = options->seed, .trace = options->trace, .skip = options->skip,
                        .now_ns = SIM_SECOND, .crash_after = -1,
                        .lease = {.holder = -1},
                        .nnodes = options->gang ? (options->gang + SIM_GPUS - 1) / SIM_GPUS : NODES,
                        .npods = options->gang ? options->gang + 1 : PODS};
    seed_step(sim);
    choose_life(sim, options->often);
    sim->nodes = calloc((size_t)sim->nnodes, sizeof(*sim->nodes));
    sim->pods = calloc((size_t)sim->npods, sizeof(*sim->pods));
    sim->nwrites = 1024 + (unsigned)sim->npods * 4;
    sim->writes = calloc(sim->nwrites, sizeof(*sim->writes));
    if (!sim->nodes || !sim->pods || !sim->writes || config_init(&sim->config) < 0)
        abort();
    for (int i = 0; i < sim->npods; i++)
        sim->pods[i].job = -1;
    for (int i = 0; i < sim->nnodes; i++)
        sim->nodes[i].present = true;
    set_levels(&sim->config);
    sim->config.preemption = options->seed % 2;
    sim->config.head_of_line_ns = 60 * SIM_SECOND;
    sim->config.probe = options->seed % 3 == 0 ? PROBE_WARN : PROBE_OFF;
    sim->config.probe_deadline_ns = 20 * SIM_SECOND;
    sim->config.give_up_ns = options->seed % 5 == 0 ? 200 * SIM_SECOND : 0;
    for (int i = 0; i < REPLICAS; i++) {
        sim->identity_of[i] = 1;
        sim_start_extender(sim, i);
    }
    sim_lease_tick(sim);
}

static void tear_down(struct sim *sim)
{
    for (int i = 0; i < REPLICAS; i++)
        core_free(sim->replicas[i].core);
    actions_release(&sim->actions);
    config_release(&sim->config);
    for (unsigned i = 0; i < sim->nwrites; i++)
        free(sim->writes[i].body);
    for (int i = 0; i < SIM_JOBS * 4; i++)
        free(sim->records[i].body);
    free(sim->nodes);
    free(sim->pods);
    free(sim->writes);
}

static void live(struct sim *sim, const struct sim_options *options)
{
    for (sim->step = 1; sim->step <= options->steps; sim->step++) {
        if (options->skip && options->skip[sim->step])
            continue;
        seed_step(sim);
        random_step(sim);
    }
    seed_step(sim);
    if (!options->restless)
        calm_down(sim);
}

static void live_large(struct sim *sim)
{
    sim->lazy = sim->calm = true;
    for (int i = 0; i < 50 && !somebody_leads(sim); i++)
        pass_and_tell(sim);
    place_last(sim, 1);
}

int sim_run(struct sim *sim, const struct sim_options *options)
{
    volatile int r = 0;

    set_up(sim, options);
    if (setjmp(sim->failed) != 0)
        r = -1;
    else if (options->gang)
        live_large(sim);
    else
        live(sim, options);
    tear_down(sim);
    return r;
}
