/*
 * Ops of tcp ranks, word by word against sums and copies made here; and what happens when a rank is
 * missing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "collective/pattern.h"
#include "tests/unit/ranks.h"

/* What rank r has at index i before the op; not pattern.h's, so that it is not its own judge. */
static uint32_t before(unsigned rank, uint64_t i)
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull + (rank + 1) * 0xbf58476d1ce4e5b9ull;

    x ^= x >> 29;
    return (uint32_t)(x * 0x94d049bb133111ebull >> 32);
}

static uint32_t wanted(enum collective_op op, unsigned ranks, unsigned rank, size_t block, size_t i)
{
    uint32_t sum = 0;

    if (op == OP_ALL_GATHER)
        return before((unsigned)(i / block), i);
    if (op == OP_ALL_TO_ALL)
        return before((unsigned)(i / block), rank * block + i % block);
    for (unsigned r = 0; r < ranks; r++)
        sum += before(r, i);
    return sum;
}

struct job {
    enum collective_op op;
    uint64_t bytes;
};

static int compare(const struct one_rank *one, const struct tcp_rank *tcp, const struct job *job)
{
    size_t words = job->bytes / 4, block = words / one->all->n, first = 0, end = words;
    const uint32_t *found = job->op == OP_ALL_TO_ALL ? tcp->second : tcp->data;

    if (job->op == OP_REDUCE_SCATTER) {
        first = one->rank * block;
        end = first + block;
    }
    for (size_t i = first; i < end; i++)
        if (found[i] != wanted(job->op, one->all->n, one->rank, block, i))
            return -EBADMSG;
    return 0;
}

static int do_job(struct one_rank *one, struct backend_rank *rank)
{
    struct tcp_rank *tcp = (struct tcp_rank *)rank;
    const struct job *job = one->all->context;
    double seconds = -1;
    uint64_t wrong = 1;
    int r;

    tcp->touched = job->bytes; /* or it would be filled with something else */
    for (size_t i = 0; i < job->bytes / 4; i++)
        tcp->data[i] = before(one->rank, i);
    r = backend_tcp.run(rank, job->op, job->bytes, 1, &seconds, one->all->deadline_ns, &one->err);
    if (r == 0 && one->all->n > 1)
        r = compare(one, tcp, job);
    if (r == 0)
        r = backend_tcp.check(rank, job->op, job->bytes, &wrong, one->all->deadline_ns, &one->err);
    return r < 0 ? r : wrong || seconds < 0 ? -EBADMSG : 0;
}

static void do_all(unsigned n, unsigned streams, const char *host, const struct job *job)
{
    static struct ranks ranks;

    ranks = (struct ranks){.n = n,
                           .streams = streams,
                           .host = host,
                           .bytes_max = job->bytes,
                           .lead = do_job,
                           .context = job};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < n; i++)
        if (ranks.each[i].r != 0)
            fail_msg("%s of %u, %llu bytes, %u streams, rank %u: %d %s", op_name(job->op), n,
                     (unsigned long long)job->bytes, streams, i, ranks.each[i].r,
                     ranks.each[i].err.text);
    ranks_close(&ranks);
}

/* 1, few and odd numbers of words per block, the way of trees and of rings, more than a chunk. */
static const uint64_t words_per_rank[] = {1, 3, 37, 1021, 100003};

static void every_op_is_right_word_by_word(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 9; n++)
        for (unsigned s = 0; s < sizeof(words_per_rank) / sizeof(words_per_rank[0]); s++)
            for (enum collective_op op = 0; op < OP_COUNT; op++) {
                struct job job = {op, words_per_rank[s] * 4 * n};

                do_all(n, 1 + (n + s) % 3, NULL, &job);
            }
}

static void large_messages_are_right(void **state)
{
    struct job job = {OP_ALL_REDUCE, 3 * 4 * 700001};

    (void)state;
    do_all(3, 4, NULL, &job);
    job.op = OP_ALL_TO_ALL;
    do_all(3, 2, NULL, &job);
}

static void goes_over_ipv6(void **state)
{
    struct job job = {OP_ALL_REDUCE, (uint64_t)2 * 4 * 500009};

    (void)state;
    do_all(2, 1, "::1", &job);
}

static int agree_often(struct one_rank *one, struct backend_rank *rank)
{
    for (unsigned i = 0; i < 50; i++) {
        double values[3] = {one->rank == i % one->all->n ? 1000 + i : one->rank, -(double)one->rank,
                            7};
        int r = backend_tcp.agree(rank, values, 3, one->all->deadline_ns, &one->err);

        if (r < 0)
            return r;
        if (values[0] != 1000 + i || values[1] != 0 || values[2] != 7)
            return -EBADMSG;
    }
    return 0;
}

static void all_agree_on_the_greatest(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 13; n++) {
        static struct ranks ranks;

        ranks = (struct ranks){.n = n, .streams = 2, .bytes_max = 64, .lead = agree_often};
        assert_int_equal(ranks_open(&ranks), 0);
        ranks_lead(&ranks, RANKS_MAX);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(ranks.each[i].r, 0);
        ranks_close(&ranks);
    }
}

/* 0 with 3, 1 with 2; then 0 with 1, 2 waits, 3 waits. */
static int pair_up(struct one_rank *one, struct backend_rank *rank)
{
    double seconds[2] = {0, 0}, nothing = 0;
    int r =
        backend_tcp.pair(rank, 3 - one->rank, 400004, 2, seconds, one->all->deadline_ns, &one->err);

    if (r == 0 && seconds[1] <= 0)
        r = -EBADMSG;
    if (r == 0 && one->rank < 2)
        r = backend_tcp.pair(rank, 1 - one->rank, 4, 1, seconds, one->all->deadline_ns, &one->err);
    return r < 0 ? r : backend_tcp.agree(rank, &nothing, 1, one->all->deadline_ns, &one->err);
}

static void pairs_exchange(void **state)
{
    static struct ranks ranks;

    (void)state;
    ranks = (struct ranks){.n = 4, .bytes_max = 400004, .lead = pair_up};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ranks.each[i].r, 0);
    ranks_close(&ranks);
}

/* ---- faults ------------------------------------------------------------------------ */

#define LATE_NS (SECOND_NS / 2)

static void a_rank_that_never_comes_is_named(void **state)
{
    static struct ranks ranks;
    uint64_t start = tcp_now_ns();

    (void)state;
    ranks = (struct ranks){
        .n = 3, .bytes_max = 64, .lead = agree_often, .deadline_ns = start + LATE_NS};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, 1);
    assert_int_equal(ranks.each[0].r, -ETIMEDOUT);
    assert_int_equal(ranks.each[2].r, -ETIMEDOUT);
    assert_non_null(strstr(ranks.each[0].err.text, "rank 1 at 127.0.0.1:"));
    assert_true(tcp_now_ns() - start < 20 * LATE_NS);
    ranks_close(&ranks);
}

static void a_rank_that_is_gone_is_named(void **state)
{
    static struct ranks ranks;

    (void)state;
    ranks = (struct ranks){.n = 2, .bytes_max = 64, .lead = agree_often};
    assert_int_equal(ranks_open(&ranks), 0);
    backend_tcp.close(ranks.each[1].opened, true);
    ranks.each[1].opened = NULL;
    ranks_lead(&ranks, 1);
    assert_int_equal(ranks.each[0].r, -ECONNREFUSED);
    assert_non_null(strstr(ranks.each[0].err.text, "rank 1 at 127.0.0.1:"));
    ranks_close(&ranks);
}

/* Rank 1 does something else than all others: closes, or nothing. */
struct fault {
    enum collective_op op;
    bool closes;
};

static int fail_in_op(struct one_rank *one, struct backend_rank *rank)
{
    const struct fault *fault = one->all->context;
    struct tcp_rank *tcp = (struct tcp_rank *)rank;
    double seconds[20];
    int r = 0;

    /* Under a sanitizer that alone takes too long. */
    tcp->touched = tcp->second_touched = one->all->bytes_max;
    if (one->rank == 1)
        usleep(50000);
    else
        r = backend_tcp.run(rank, fault->op, one->all->bytes_max, 20, seconds,
                            tcp_now_ns() + (fault->closes ? 20 * SECOND_NS : SECOND_NS), &one->err);
    if (fault->closes) { /* as a process does that ends, or has failed */
        backend_tcp.close(rank, true);
        one->opened = NULL;
    }
    return r;
}

static void fail_one(enum collective_op op, bool closes, uint64_t bytes)
{
    struct fault fault = {op, closes};
    static struct ranks ranks;
    bool named = false;

    ranks = (struct ranks){.n = 4, .bytes_max = bytes, .lead = fail_in_op, .context = &fault};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < 4; i++) {
        if (i != 1 && (closes ? ranks.each[i].r != -ECONNRESET && ranks.each[i].r != -ECONNREFUSED
                              : ranks.each[i].r != -ETIMEDOUT))
            fail_msg("%s, rank %u: %d %s", op_name(op), i, ranks.each[i].r, ranks.each[i].err.text);
        named = named || (i != 1 && strstr(ranks.each[i].err.text, "rank 1 at "));
    }
    if (!named)
        fail_msg("%s: nobody names rank 1: '%s', '%s', '%s'", op_name(op), ranks.each[0].err.text,
                 ranks.each[2].err.text, ranks.each[3].err.text);
    ranks_close(&ranks);
}

static void a_rank_that_ends_in_the_op_is_named(void **state)
{
    (void)state;
    for (enum collective_op op = 0; op < OP_COUNT; op++) {
        fail_one(op, true, (uint64_t)16 << 20);
        fail_one(op, true, 4096);
    }
}

static void a_rank_that_hangs_in_the_op_is_named(void **state)
{
    (void)state;
    for (enum collective_op op = 0; op < OP_COUNT; op++)
        fail_one(op, false, (uint64_t)16 << 20);
    fail_one(OP_ALL_REDUCE, false, 4096);
}

static int out_of_step(struct one_rank *one, struct backend_rank *rank)
{
    double values[2] = {0, 0};

    return backend_tcp.agree(rank, values, one->rank == 0 ? 1 : 2, tcp_now_ns() + LATE_NS,
                             &one->err);
}

static void ranks_out_of_step_find_out(void **state)
{
    static struct ranks ranks;

    (void)state;
    ranks = (struct ranks){.n = 2, .bytes_max = 64, .lead = out_of_step};
    assert_int_equal(ranks_open(&ranks), 0);
    ranks_lead(&ranks, RANKS_MAX);
    assert_int_equal(ranks.each[0].r, -EPROTO);
    assert_true(ranks.each[1].r == -ETIMEDOUT || ranks.each[1].r == -EPROTO);
    ranks_close(&ranks);
}

static void what_is_out_of_range_is_refused(void **state)
{
    static const struct backend_options bad[] = {
        {.rank = 0, .ranks = 0, .host = "127.0.0.1"},
        {.rank = 2, .ranks = 2, .host = "127.0.0.1"},
        {.rank = 0, .ranks = BACKEND_RANKS_MAX + 1, .host = "127.0.0.1"},
        {.rank = 0, .ranks = 2, .host = "localhost"},
        {.rank = 0, .ranks = 2, .host = "127.0.0.1:5"},
        {.rank = 0, .ranks = 2},
        {.rank = 0, .ranks = 2, .host = "127.0.0.1", .streams = BACKEND_STREAMS_MAX + 1},
        {.rank = 0, .ranks = 2, .host = "127.0.0.1", .bytes_max = UINT64_MAX}};
    struct backend_rank *rank = NULL;
    struct backend_info info;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(backend_tcp.open(&bad[i], &rank, &info, &err), -EINVAL);
        assert_true(err.text[0] != '\0');
        assert_null(rank);
    }
}

static void short_memory_is_told_before_it_is_taken(void **state)
{
    struct backend_options options = {
        .ranks = 1, .host = "127.0.0.1", .bytes_max = (uint64_t)1 << 39};
    struct backend_rank *rank = NULL;
    struct err err = ERR_INIT;
    struct backend_info info;

    (void)state;
    assert_int_equal(backend_tcp.open(&options, &rank, &info, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "524288 MiB needed"));
}

static void an_op_out_of_range_is_refused(void **state)
{
    struct backend_options options = {.ranks = 1, .host = "127.0.0.1", .bytes_max = 64};
    struct backend_rank *rank = NULL;
    struct backend_info info;
    double seconds;
    uint64_t far = tcp_now_ns() + SECOND_NS;

    (void)state;
    assert_int_equal(backend_tcp.open(&options, &rank, &info, NULL), 0);
    assert_int_equal(backend_tcp.run(rank, OP_ALL_REDUCE, 68, 1, &seconds, far, NULL), -EINVAL);
    assert_int_equal(backend_tcp.run(rank, OP_ALL_REDUCE, 6, 1, &seconds, far, NULL), -EINVAL);
    assert_int_equal(backend_tcp.run(rank, OP_COUNT, 64, 1, &seconds, far, NULL), -EINVAL);
    assert_int_equal(backend_tcp.run(rank, OP_ALL_REDUCE, 64, 1, &seconds, far, NULL), 0);
    assert_int_equal(backend_tcp.run(rank, OP_ALL_REDUCE, 64, 1, &seconds, 1, NULL), -ETIMEDOUT);
    backend_tcp.close(rank, false);
}

/* ---- strangers --------------------------------------------------------------------- */

static int knock(const struct tcp_rank *tcp, const void *says, size_t len)
{
    int fd = socket(tcp->own.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&tcp->own.socket, tcp->own.len), 0);
    if (len)
        assert_int_equal(send(fd, says, len, MSG_NOSIGNAL), (ssize_t)len);
    return fd;
}

#define STRANGERS 100

/*
 * Some say nothing, some something, some the right words with the wrong cookie; all before the
 * ranks come.
 */
static void strangers_hold_up_nobody(void **state)
{
    static struct ranks ranks;
    uint8_t noise[100];
    int fds[STRANGERS];

    (void)state;
    memset(noise, 'x', sizeof(noise));
    memcpy(noise, (uint8_t[]){0x31, 0x53, 0x4b, 0x4c}, 4);
    ranks = (struct ranks){.n = 3, .streams = 2, .bytes_max = 64, .lead = agree_often};
    assert_int_equal(ranks_open(&ranks), 0);
    for (unsigned i = 0; i < STRANGERS; i++)
        fds[i] = knock((struct tcp_rank *)ranks.each[i % 3].opened, noise, i % 4 == 0 ? 0 : i);
    ranks_lead(&ranks, RANKS_MAX);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ranks.each[i].r, 0);
    ranks_close(&ranks);
    for (unsigned i = 0; i < STRANGERS; i++)
        close(fds[i]);
}

static void addresses_are_read_back_and_others_refused(void **state)
{
    static const char *const hosts[] = {"10.1.2.3", "fd00::7"};
    struct tcp_address address, again;
    struct backend_address bytes = {0};
    char text[TCP_ADDRESS_TEXT], found[TCP_ADDRESS_TEXT];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tcp_address_from_host(hosts[i], &address, NULL), 0);
        ((struct sockaddr_in *)&address.socket)->sin_port = htons(4031);
        tcp_address_encode(&address, &bytes);
        assert_int_equal(tcp_address_decode(&bytes, &again), 0);
        assert_string_equal(tcp_address_text(&address, text), tcp_address_text(&again, found));
        assert_memory_equal(address.cookie, again.cookie, TCP_COOKIE);
        for (size_t len = 0; len < BACKEND_ADDRESS_MAX; len++) {
            struct backend_address cut = bytes;

            cut.len = len;
            assert_int_equal(tcp_address_decode(&cut, &again), len == bytes.len ? 0 : -EINVAL);
        }
    }
    assert_string_equal(text, "[fd00::7]:4031");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_right_word_by_word),
        cmocka_unit_test(large_messages_are_right),
        cmocka_unit_test(goes_over_ipv6),
        cmocka_unit_test(all_agree_on_the_greatest),
        cmocka_unit_test(pairs_exchange),
        cmocka_unit_test(a_rank_that_never_comes_is_named),
        cmocka_unit_test(a_rank_that_is_gone_is_named),
        cmocka_unit_test(a_rank_that_ends_in_the_op_is_named),
        cmocka_unit_test(a_rank_that_hangs_in_the_op_is_named),
        cmocka_unit_test(ranks_out_of_step_find_out),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(short_memory_is_told_before_it_is_taken),
        cmocka_unit_test(an_op_out_of_range_is_refused),
        cmocka_unit_test(strangers_hold_up_nobody),
        cmocka_unit_test(addresses_are_read_back_and_others_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
