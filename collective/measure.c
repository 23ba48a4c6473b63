/* Sizes, batches, and when it is enough: measure.h says what for. */
#include "collective/measure.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "collective/measure_stats.h"

#define BYTES_MIN ((uint64_t)64 << 10)
#define BYTES_MAX ((uint64_t)256 << 20)
#define BYTES_LIMIT ((uint64_t)1 << 40)
#define ITERATIONS 60 /* with an expectation: the test's cap */
#define ITERATIONS_ALONE 20 /* without: as nccl-tests has by default */
#define BUDGET_NS 3000000000u
#define WARM_UP_BATCH 2
#define WARM_UP_OPS 10
#define CALIBRATED_S 4e-3 /* an op as long as this foretells a longer one */
#define AIM_S 28e-3 /* of one op of S: 20 to 40 ms, as sizes are powers of two times the least */
#define SURE 0.01 /* without an expectation: the median is known this well */

struct series { /* of one size, after warm-up */
    double agreed[MEASURE_ITERATIONS_MAX], own[MEASURE_ITERATIONS_MAX];
    unsigned n;
    double wrong;
};

struct session {
    const struct backend *backend;
    struct backend_rank *rank;
    unsigned ranks;
    const struct measure_plan *plan;
    const struct measure_watcher *watcher;
    uint64_t deadline_ns, start_ns, budget_ns;
    double elapsed_s; /* the longest of all ranks, as of the last agreement */
    unsigned iterations_max;
    struct series series; /* of the size at hand */
    struct measure_result result;
    struct err *err;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

/* ---- plan -------------------------------------------------------------------------- */

int measure_plan_check(const struct measure_plan *plan, unsigned ranks, struct err *err)
{
    uint64_t least = or_default(plan->bytes_min, BYTES_MIN),
             most = or_default(plan->bytes_max, BYTES_MAX);

    if (ranks < 1 || ranks > BACKEND_RANKS_MAX)
        return err_set(err, -EINVAL, "plan: %u ranks, expected 1 to %u", ranks, BACKEND_RANKS_MAX);
    if (plan->op >= OP_COUNT)
        return err_set(err, -EINVAL, "plan: op %u, expected below %u", (unsigned)plan->op,
                       (unsigned)OP_COUNT);
    if (plan->n_sizes > MEASURE_SIZES_MAX || (plan->sweep && plan->n_sizes == 0))
        return err_set(err, -EINVAL, "plan: %u sizes, expected %u to %u", plan->n_sizes,
                       (unsigned)plan->sweep, MEASURE_SIZES_MAX);
    for (unsigned i = 0; i < plan->n_sizes; i++)
        if (plan->sizes[i] < 1 || plan->sizes[i] > BYTES_LIMIT ||
            (i && plan->sizes[i] <= plan->sizes[i - 1]))
            return err_set(err, -EINVAL,
                           "plan: size %u is %" PRIu64
                           ", expected ascending ones, at most %" PRIu64,
                           i, plan->sizes[i], BYTES_LIMIT);
    if (least > most || most > BYTES_LIMIT)
        return err_set(err, -EINVAL,
                       "plan: sizes from %" PRIu64 " to %" PRIu64 ", expected at most %" PRIu64,
                       least, most, BYTES_LIMIT);
    if (!(plan->expected_gb_s >= 0 && plan->expected_gb_s < 1e6))
        return err_set(err, -EINVAL, "plan: %g GB/s expected, which is out of range",
                       plan->expected_gb_s);
    if (plan->iterations_max > MEASURE_ITERATIONS_MAX)
        return err_set(err, -EINVAL, "plan: %u iterations, expected at most %u",
                       plan->iterations_max, MEASURE_ITERATIONS_MAX);
    return 0;
}

uint64_t measure_plan_bytes_max(const struct measure_plan *plan)
{
    return plan->n_sizes ? plan->sizes[plan->n_sizes - 1] : or_default(plan->bytes_max, BYTES_MAX);
}

/* ---- batches ----------------------------------------------------------------------- */

static void tell(const struct session *session, uint64_t bytes)
{
    if (session->watcher && session->watcher->progress)
        session->watcher->progress(session->watcher->context, bytes, session->series.n);
}

static bool used_up(const struct session *session)
{
    return session->elapsed_s * 1e9 >= (double)session->budget_ns;
}

/* n <= STATS_BATCH ops; their times on this rank, and the longest of all ranks. */
static int run_batch(struct session *session, uint64_t bytes, unsigned n, double *ret_own,
                     double *ret_agreed)
{
    double values[STATS_BATCH + 1];
    int r = session->backend->run(session->rank, session->plan->op, bytes, n, ret_own,
                                  session->deadline_ns, session->err);

    if (r < 0)
        return r;
    memcpy(values, ret_own, n * sizeof(double));
    values[n] = (double)(now_ns() - session->start_ns) * 1e-9;
    r = session->backend->agree(session->rank, values, n + 1, session->deadline_ns, session->err);
    if (r < 0)
        return r;
    memcpy(ret_agreed, values, n * sizeof(double));
    session->elapsed_s = values[n];
    session->result.bytes_moved +=
        (uint64_t)((double)bytes * n * op_bus_factor(session->plan->op, session->ranks));
    return 0;
}

/* *ret_batch: how many ops a batch may have: one, where an op takes a fair part of the time. */
static int warm_up(struct session *session, uint64_t bytes, unsigned *ret_batch)
{
    double medians[WARM_UP_OPS / WARM_UP_BATCH], own[WARM_UP_BATCH], agreed[WARM_UP_BATCH];
    size_t n = 0;
    int r;

    /* Alone: it makes connections, and touches memory. */
    r = run_batch(session, bytes, 1, own, agreed);
    *ret_batch = STATS_BATCH;
    if (r < 0)
        return r;
    if (agreed[0] * STATS_BATCH * 1e9 * 8 > (double)session->budget_ns)
        *ret_batch = 1;
    while (*ret_batch > 1 && n < WARM_UP_OPS / WARM_UP_BATCH && !stats_settled(medians, n) &&
           !used_up(session)) {
        r = run_batch(session, bytes, WARM_UP_BATCH, own, agreed);
        if (r < 0)
            return r;
        medians[n++] = stats_median(agreed, WARM_UP_BATCH);
    }
    return 0;
}

/* What decides whether a size is known well enough. */
struct expectation {
    double latency_s, seconds; /* of an op, beyond the latency; 0: none */
    double noise; /* seen at smaller sizes */
    struct stats_test test;
    enum stats_answer answer;
};

static bool is_enough(const struct session *session, struct expectation *expected, unsigned batch)
{
    const struct series *series = &session->series;
    double noise = fmax(expected->noise, stats_log_noise(series->agreed, series->n));
    double median = stats_median(series->agreed + series->n - batch, batch);

    if (expected->seconds > 0) {
        double moving = fmax(median - expected->latency_s, median / 100);

        expected->answer = stats_test_add(&expected->test, log(moving / expected->seconds),
                                          noise * median / moving);
        return expected->answer != STATS_UNDECIDED;
    }
    return series->n >= 2 * STATS_BATCH &&
           stats_median_uncertainty(series->agreed, series->n) < SURE;
}

static int check_data(struct session *session, uint64_t bytes)
{
    uint64_t wrong = 0;
    int r;

    if (!session->plan->check)
        return 0;
    r = session->backend->check(session->rank, session->plan->op, bytes, &wrong,
                                session->deadline_ns, session->err);
    if (r < 0)
        return r;
    session->result.own_wrong += wrong;
    session->series.wrong = (double)wrong;
    return session->backend->agree(session->rank, &session->series.wrong, 1, session->deadline_ns,
                                   session->err);
}

static void add_row(struct session *session, uint64_t bytes)
{
    const struct series *series = &session->series;
    struct measure_row *row = &session->result.rows[session->result.n_rows++];
    double seconds = stats_median(series->agreed, series->n);

    *row = (struct measure_row){.bytes = bytes,
                                .seconds = seconds,
                                .iterations = series->n,
                                .wrong = (uint64_t)series->wrong};
    if (seconds > 0)
        row->algbw_gb_s = (double)bytes / seconds * 1e-9;
    row->busbw_gb_s = row->algbw_gb_s * op_bus_factor(session->plan->op, session->ranks);
    session->result.own_seconds_median = stats_median(series->own, series->n);
}

static int measure_size(struct session *session, uint64_t bytes, struct expectation *expected)
{
    struct series *series = &session->series;
    unsigned batch, most;
    int r;

    series->n = 0;
    series->wrong = 0;
    r = warm_up(session, bytes, &batch);
    most = expected->seconds > 0 || session->plan->iterations_max ? session->iterations_max
                                                                  : ITERATIONS_ALONE;
    while (r == 0 && series->n + batch <= most) {
        r = run_batch(session, bytes, batch, series->own + series->n, series->agreed + series->n);
        if (r < 0)
            return r;
        series->n += batch;
        tell(session, bytes);
        if (is_enough(session, expected, batch) || used_up(session))
            break;
    }
    if (r == 0)
        r = check_data(session, bytes);
    if (r == 0)
        add_row(session, bytes);
    return r;
}

/* ---- swept, or three sizes and a slope --------------------------------------------- */

static int sweep(struct session *session)
{
    struct measure_result *result = &session->result;

    for (unsigned i = 0; i < session->plan->n_sizes; i++) {
        struct expectation none = {0};
        uint64_t bytes = op_round_bytes(session->plan->sizes[i], session->ranks);
        int r = measure_size(session, bytes, &none);

        if (r < 0)
            return r;
    }
    result->busbw_gb_s = result->rows[result->n_rows - 1].busbw_gb_s;
    return 0;
}

struct ladder {
    uint64_t sizes[MEASURE_SIZES_MAX];
    unsigned n;
};

/* From S/2 up, within the plan's bounds. */
static void make_ladder(const struct session *session, uint64_t half, struct ladder *ret)
{
    uint64_t most = or_default(session->plan->bytes_max, BYTES_MAX);

    while (half > most / 4 && half / 2 >= sizeof(uint32_t) * session->ranks)
        half /= 2; /* three sizes have to fit */
    for (ret->n = 0; ret->n < 6 && half << ret->n <= most; ret->n++)
        ret->sizes[ret->n] = op_round_bytes(half << ret->n, session->ranks);
}

/* The shortest of some ops: what disturbs one of them must not choose the sizes. */
static int time_roughly(struct session *session, uint64_t bytes, double *ret_seconds)
{
    double own[3], agreed[3];
    int r = run_batch(session, bytes, 1, own, agreed); /* warms up */

    if (r == 0)
        r = run_batch(session, bytes, 3, own, agreed);
    if (r == 0)
        *ret_seconds = fmin(agreed[0], fmin(agreed[1], agreed[2]));
    return r;
}

/*
 * Ops from the least size up, until one takes long enough, and not for latency alone, to foretell
 * which size takes as long as it should.
 */
static int calibrate(struct session *session, struct ladder *ret)
{
    uint64_t most = or_default(session->plan->bytes_max, BYTES_MAX);
    uint64_t least = or_default(session->plan->bytes_min, BYTES_MIN), bytes = least;
    double agreed = 0, smaller;

    for (;; bytes *= 4) {
        int r;

        smaller = agreed;
        r = time_roughly(session, op_round_bytes(bytes, session->ranks), &agreed);
        if (r < 0)
            return r;
        if (agreed >= AIM_S || bytes > most / 4 || (agreed >= CALIBRATED_S && agreed > 2 * smaller))
            break;
    }
    while (agreed < AIM_S / M_SQRT2 && bytes <= most / 2) {
        bytes *= 2;
        agreed *= 2;
    }
    while (agreed > AIM_S * M_SQRT2 && bytes / 2 >= least) {
        bytes /= 2;
        agreed /= 2;
    }
    make_ladder(session, bytes / 2 < least ? least : bytes / 2, ret);
    return 0;
}

static void take_line(struct session *session, unsigned upper, struct stats_line *ret)
{
    const struct measure_row *rows = session->result.rows;

    *ret = stats_line_of((double)rows[upper - 1].bytes, rows[upper - 1].seconds,
                         (double)rows[upper].bytes, rows[upper].seconds);
}

/*
 * What an op of this size should take: the latency that smaller ones have, and the bytes at the
 * rate expected.
 */
static void expect(const struct session *session, uint64_t bytes, double noise,
                   struct expectation *ret)
{
    const struct measure_result *result = &session->result;
    double factor = op_bus_factor(session->plan->op, session->ranks);
    struct stats_line line = {0};

    *ret = (struct expectation){.noise = noise};
    if (!(session->plan->expected_gb_s > 0) || factor <= 0 || result->n_rows < 2)
        return;
    take_line((struct session *)(uintptr_t)session, result->n_rows - 1, &line);
    if (line.bytes_per_s > 0)
        ret->latency_s = line.latency_s;
    ret->seconds = (double)bytes * factor / (session->plan->expected_gb_s * 1e9);
}

static enum measure_test test_of(const struct expectation *expected)
{
    if (!(expected->seconds > 0))
        return MEASURE_TEST_NONE;
    return expected->answer == STATS_OK     ? MEASURE_TEST_OK
           : expected->answer == STATS_SLOW ? MEASURE_TEST_SLOW
                                            : MEASURE_TEST_UNDECIDED;
}

static int climb(struct session *session, const struct ladder *ladder)
{
    struct measure_result *result = &session->result;
    struct stats_line lower = {0}, upper = {0};
    double noise = 0;

    for (unsigned i = 0; i < ladder->n; i++) {
        struct expectation expected = {0};
        int r;

        if (i >= 3 && (result->slopes_agree || used_up(session)))
            break;
        if (i >= 2)
            expect(session, ladder->sizes[i], noise, &expected);
        r = measure_size(session, ladder->sizes[i], &expected);
        if (r < 0)
            return r;
        noise = fmax(noise, stats_log_noise(session->series.agreed, session->series.n));
        result->test = test_of(&expected);
        if (i == 0)
            continue;
        lower = upper;
        take_line(session, i, &upper);
        result->slopes_agree = i >= 2 && stats_lines_agree(&lower, &upper);
    }
    result->latency_s = upper.bytes_per_s > 0 ? upper.latency_s : 0;
    result->busbw_gb_s =
        upper.bytes_per_s * 1e-9 * op_bus_factor(session->plan->op, session->ranks);
    if (!(upper.bytes_per_s > 0)) /* no line: the largest size is all there is to say */
        result->busbw_gb_s = result->rows[result->n_rows - 1].busbw_gb_s;
    return 0;
}

static int find_ladder(struct session *session, struct ladder *ret)
{
    if (session->plan->n_sizes == 0)
        return calibrate(session, ret);
    for (ret->n = 0; ret->n < session->plan->n_sizes; ret->n++)
        ret->sizes[ret->n] = op_round_bytes(session->plan->sizes[ret->n], session->ranks);
    return 0;
}

int measure_run(const struct backend *backend, struct backend_rank *rank, unsigned ranks,
                const struct measure_plan *plan, const struct measure_watcher *watcher,
                uint64_t deadline_ns, struct measure_result *ret, struct err *err)
{
    struct session session = {.backend = backend,
                              .rank = rank,
                              .ranks = ranks,
                              .plan = plan,
                              .watcher = watcher,
                              .deadline_ns = deadline_ns,
                              .err = err};
    struct ladder ladder = {0};
    int r = measure_plan_check(plan, ranks, err);

    if (r < 0)
        return r;
    session.budget_ns = or_default(plan->budget_ns, BUDGET_NS);
    session.iterations_max = (unsigned)or_default(plan->iterations_max, ITERATIONS);
    session.start_ns = now_ns();
    r = plan->sweep ? 0 : find_ladder(&session, &ladder);
    if (r == 0)
        r = plan->sweep ? sweep(&session) : climb(&session, &ladder);
    if (r < 0)
        return r;
    session.result.total_s = (double)(now_ns() - session.start_ns) * 1e-9;
    *ret = session.result;
    return 0;
}
