/* The file that describes the fake GPUs, and the shared count of their memory. */
#include "tests/fake/fake_world.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 512
#define ARGUMENTS_MAX 4
#define TAKEN (-1) /* a slot's pid while it changes hands */

struct slot {
    _Atomic int32_t pid; /* 0: free */
    _Atomic uint32_t device;
    _Atomic int64_t bytes;
};

static struct fake_world world;
static struct slot *slots;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void bad(const char *what)
{
    fprintf(stderr, "fake GPU: %s\n", what);
    abort();
}

/* ---- the file ------------------------------------------------------------------------------------------- */

static void set_defaults(void)
{
    world = (struct fake_world){.devices = 8, .name = "Fake GPU", .memory_mib = 8192, .context_mib = 64,
                                .comm_mib = 64, .version = 22803, .latency_us = 10, .bandwidth_gb_s = 100,
                                .hang_init = FAKE_NOBODY, .hang_op = FAKE_NOBODY,
                                .hang_finalize = FAKE_NOBODY, .hang_abort = FAKE_NOBODY,
                                .fail_init = FAKE_NOBODY, .fail_op = FAKE_NOBODY, .wrong = FAKE_NOBODY};
    for (unsigned a = 0; a < FAKE_RANKS_MAX; a++) {
        world.node_factor[a] = 1;
        for (unsigned b = 0; b < FAKE_RANKS_MAX; b++)
            world.pair_factor[a][b] = 1;
    }
}

static unsigned below(double value, unsigned limit)
{
    if (value < 0 || value >= limit)
        bad("a number is out of range");
    return (unsigned)value;
}

/* Keys of one number each. */
static bool set_number(const char *key, double value)
{
    const struct {
        const char *key;
        unsigned *to;
    } counts[] = {{"devices", &world.devices}, {"lazy_ms", &world.lazy_ms}};
    const struct {
        const char *key;
        uint64_t *to;
    } sizes[] = {{"memory_mib", &world.memory_mib}, {"context_mib", &world.context_mib},
                 {"comm_mib", &world.comm_mib}};
    const struct {
        const char *key;
        int *to;
    } ranks[] = {{"hang_init", &world.hang_init}, {"hang_op", &world.hang_op},
                 {"hang_finalize", &world.hang_finalize}, {"hang_abort", &world.hang_abort},
                 {"fail_init", &world.fail_init}, {"fail_op", &world.fail_op}, {"wrong", &world.wrong},
                 {"version", &world.version}};

    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (strcmp(key, counts[i].key) == 0)
            return *counts[i].to = (unsigned)value, true;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (strcmp(key, sizes[i].key) == 0)
            return *sizes[i].to = (uint64_t)value, true;
    for (unsigned i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
        if (strcmp(key, ranks[i].key) == 0)
            return *ranks[i].to = (int)value, true;
    if (strcmp(key, "latency_us") == 0)
        return world.latency_us = value, true;
    if (strcmp(key, "bandwidth_gb_s") == 0)
        return world.bandwidth_gb_s = value, true;
    return strcmp(key, "silent") == 0 ? (world.silent = value != 0, true) : false;
}

/* Keys of several; those that are of one as well have more to be said. */
static bool set_numbers(const char *key, const double *values)
{
    if (strcmp(key, "user") == 0) {
        unsigned i = below(world.n_users++, FAKE_USERS_MAX);

        world.users[i].device = below(values[0], FAKE_DEVICES_MAX);
        world.users[i].pid = (unsigned)values[1];
        world.users[i].mib = (uint64_t)values[2];
    } else if (strcmp(key, "clocks") == 0) {
        world.clocks[below(values[0], FAKE_DEVICES_MAX)] = (unsigned long long)values[1];
    } else if (strcmp(key, "node_factor") == 0) {
        world.node_factor[below(values[0], FAKE_RANKS_MAX)] = values[1];
    } else if (strcmp(key, "pair_factor") == 0) {
        unsigned a = below(values[0], FAKE_RANKS_MAX), b = below(values[1], FAKE_RANKS_MAX);

        world.pair_factor[a][b] = world.pair_factor[b][a] = values[2];
    } else if (strcmp(key, "jitter") == 0) {
        world.jitter = values[0];
        world.seed = (uint64_t)values[1];
    } else {
        if (strcmp(key, "hang_op") == 0)
            world.hang_op_at = (unsigned)values[1];
        if (strcmp(key, "fail_op") == 0)
            world.fail_op_at = (unsigned)values[1];
        return set_number(key, values[0]);
    }
    return true;
}

static void read_line(char *line)
{
    double values[ARGUMENTS_MAX] = {0};
    char *save = line, *key;

    line[strcspn(line, "#\r\n")] = '\0';
    do
        key = strsep(&save, " \t");
    while (key && !*key);
    if (!key)
        return;
    if (strcmp(key, "name") == 0) {
        snprintf(world.name, sizeof(world.name), "%s", save ? save : "");
        return;
    }
    for (unsigned i = 0; save && i < ARGUMENTS_MAX; i++) {
        char *end = save;

        values[i] = strtod(save, &end);
        save = end;
    }
    if (!set_numbers(key, values))
        bad(key);
}

static void open_count(const char *path)
{
    char name[512];
    int fd;

    snprintf(name, sizeof(name), "%s.memory", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, SLOTS * sizeof(*slots)) < 0)
        bad(name);
    slots = mmap(NULL, SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED)
        bad(name);
    close(fd);
}

static void read_world(void)
{
    const char *path = getenv("LOCKSTEP_FAKE_GPU"), *version = getenv("LOCKSTEP_FAKE_VERSION");
    char line[256];
    FILE *file;

    set_defaults();
    if (path) {
        file = fopen(path, "re");
        if (!file)
            bad(path);
        while (fgets(line, sizeof(line), file))
            read_line(line);
        (void)fclose(file);
        open_count(path);
    }
    if (version)
        world.version = (int)strtol(version, NULL, 10);
    if (world.devices > FAKE_DEVICES_MAX)
        bad("too many devices");
}

const struct fake_world *fake_world(void)
{
    pthread_once(&once, read_world);
    return &world;
}

/* ---- memory --------------------------------------------------------------------------------------------- */

static bool lives(int pid)
{
    char path[64], text[256], *after;
    bool alive;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    alive = fgets(text, sizeof(text), file) != NULL;
    (void)fclose(file);
    after = alive ? strrchr(text, ')') : NULL; /* its name may hold anything */
    return after && after[1] == ' ' && after[2] != 'Z' && after[2] != 'X';
}

static struct slot *own_slot(unsigned device)
{
    int32_t pid = (int32_t)getpid();

    for (unsigned i = 0; i < SLOTS; i++)
        if (atomic_load(&slots[i].pid) == pid && atomic_load(&slots[i].device) == device)
            return &slots[i];
    for (unsigned i = 0; i < SLOTS; i++) {
        int32_t holder = atomic_load(&slots[i].pid);

        if (holder > 0 && lives(holder))
            continue;
        if (holder == TAKEN || !atomic_compare_exchange_strong(&slots[i].pid, &holder, TAKEN))
            continue;
        atomic_store(&slots[i].bytes, 0);
        atomic_store(&slots[i].device, device);
        atomic_store(&slots[i].pid, pid); /* from here on it counts */
        return &slots[i];
    }
    bad("too many processes");
    return NULL;
}

void fake_memory_add(unsigned device, int64_t bytes)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    (void)fake_world();
    if (!slots)
        return;
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&own_slot(device)->bytes, bytes);
    pthread_mutex_unlock(&lock);
}

unsigned fake_memory_users(unsigned device, pid_t *pids, uint64_t *bytes, unsigned max)
{
    unsigned n = 0;

    (void)fake_world();
    for (unsigned i = 0; slots && i < SLOTS && n < max; i++) {
        int32_t pid = atomic_load(&slots[i].pid);
        int64_t held = atomic_load(&slots[i].bytes);

        if (pid <= 0 || atomic_load(&slots[i].device) != device || held <= 0 || !lives(pid))
            continue;
        pids[n] = pid;
        bytes[n++] = (uint64_t)held;
    }
    return n;
}

uint64_t fake_memory_used(unsigned device)
{
    pid_t pids[64];
    uint64_t bytes[64], sum = 0;
    unsigned n = fake_memory_users(device, pids, bytes, 64);

    for (unsigned i = 0; i < n; i++)
        sum += bytes[i];
    for (unsigned i = 0; i < world.n_users; i++)
        if (world.users[i].device == device)
            sum += world.users[i].mib * FAKE_MIB;
    return sum;
}
