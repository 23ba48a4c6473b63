/* The word that people paste: it comes out as it went in, and nothing else is taken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_invite.h"

static struct probe_invite invite, again;

static struct strbuf word_of(const char *list)
{
    struct strbuf word = STRBUF_INIT(PROBE_INVITE_MAX);
    struct err err = ERR_INIT;

    invite = (struct probe_invite){.places = {0x0a000001, 0xc0a80107},
                                   .n_places = 2,
                                   .port = 41234,
                                   .streams = 2,
                                   .bytes_max = 256 << 20,
                                   .limit_s = 615,
                                   .certificate_len = 348};
    for (unsigned i = 0; i < sizeof(invite.secret); i++)
        invite.secret[i] = (uint8_t)(i * 37 + 11);
    for (unsigned i = 0; i < 348; i++)
        invite.certificate[i] = (uint8_t)(i * 91 + 3);
    if (probe_hosts_parse_list(list, strlen(list), 1, &invite.hosts, &err) < 0 ||
        probe_invite_encode(&invite, &word, &err) < 0)
        fail_msg("%s", err.text);
    return word;
}

static void it_comes_out_as_it_went_in(void **state)
{
    struct strbuf word = word_of("a,node-001:4,node-002:4,node-002.example,10.0.0.2");
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(strspn(word.data, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789-_"),
                     word.len);
    if (probe_invite_decode(word.data, word.len, &again, &err) < 0)
        fail_msg("%s", err.text);
    assert_memory_equal(again.places, invite.places, sizeof(invite.places));
    assert_memory_equal(again.secret, invite.secret, sizeof(invite.secret));
    assert_memory_equal(again.certificate, invite.certificate, sizeof(invite.certificate));
    assert_true(again.port == 41234 && again.n_places == 2 && again.streams == 2 && !again.nccl);
    assert_true(again.bytes_max == 256 << 20 && again.limit_s == 615);
    assert_int_equal(again.hosts.n, 5);
    assert_int_equal(again.hosts.ranks, invite.hosts.ranks);
    for (unsigned i = 0; i < 5; i++) {
        assert_string_equal(again.hosts.items[i].name, invite.hosts.items[i].name);
        assert_int_equal(again.hosts.items[i].slots, invite.hosts.items[i].slots);
        assert_int_equal(again.hosts.items[i].first_rank, invite.hosts.items[i].first_rank);
    }
    strbuf_release(&word);
}

static void white_space_around_it_is_passed_over(void **state)
{
    struct strbuf word = word_of("a"), padded = STRBUF_INIT(PROBE_INVITE_MAX + 10);

    (void)state;
    strbuf_addf(&padded, " \t%s\r\n", word.data);
    assert_int_equal(probe_invite_decode(padded.data, padded.len, &again, NULL), 0);
    strbuf_release(&padded);
    strbuf_release(&word);
}

static void many_hosts_stay_a_line(void **state)
{
    struct strbuf list = STRBUF_INIT(1 << 16), word;

    (void)state;
    for (unsigned i = 0; i < PROBE_HOSTS_MAX; i++)
        strbuf_addf(&list, "%sgpu-rack%02u-node%02u.cluster.example", i ? "," : "", i / 16, i % 16);
    word = word_of(list.data);
    print_message("%zu bytes for %d hosts\n", word.len, PROBE_HOSTS_MAX);
    assert_true(word.len < 12000);
    assert_int_equal(probe_invite_decode(word.data, word.len, &again, NULL), 0);
    assert_string_equal(again.hosts.items[255].name, "gpu-rack15-node15.cluster.example");
    strbuf_release(&word);
    word = word_of("a,b,c");
    print_message("%zu bytes for 3\n", word.len);
    assert_true(word.len < 700);
    strbuf_release(&word);
    strbuf_release(&list);
}

/* Each character changed, each end cut off: never taken, never the secret in a message. */
static void a_damaged_one_is_never_taken(void **state)
{
    struct strbuf word = word_of("a,b");

    (void)state;
    for (size_t i = 0; i < word.len; i++) {
        struct err err = ERR_INIT;
        char was = word.data[i];

        assert_int_equal(probe_invite_decode(word.data, i, &again, &err), -EINVAL);
        assert_true(err.text[0]);
        for (const char *other = "Aa_-=+ \n\x80"; *other; other++) {
            word.data[i] = *other;
            if (*other != was && i + 1 < word.len)
                assert_int_equal(probe_invite_decode(word.data, word.len, &again, &err), -EINVAL);
        }
        word.data[i] = was;
    }
    strbuf_release(&word);
}

static void after_a_refusal_nothing_of_it_is_left(void **state)
{
    static const struct probe_invite none;
    uint8_t payload[200] = {0};

    (void)state;
    memset(&again, 0xaa, sizeof(again));
    assert_int_equal(probe_invite__payload(payload, sizeof(payload), &again, NULL), -EINVAL);
    assert_memory_equal(&again, &none, sizeof(none));
}

static void what_cannot_be_is_not_written(void **state)
{
    struct strbuf word = word_of("a"), out = STRBUF_INIT(PROBE_INVITE_MAX),
                  small = STRBUF_INIT(100);
    struct probe_invite *bad = &again;

    (void)state;
    *bad = invite;
    bad->n_places = 0;
    assert_int_equal(probe_invite_encode(bad, &out, NULL), -EINVAL);
    *bad = invite;
    bad->certificate_len = PROBE_INVITE_CERTIFICATE_MAX + 1;
    assert_int_equal(probe_invite_encode(bad, &out, NULL), -EINVAL);
    *bad = invite;
    bad->hosts.n = 0;
    assert_int_equal(probe_invite_encode(bad, &out, NULL), -EINVAL);
    *bad = invite;
    bad->bytes_max = ((uint64_t)1 << 40) + 1; /* more than --sizes takes */
    assert_int_equal(probe_invite_encode(bad, &out, NULL), -EINVAL);
    *bad = invite;
    bad->limit_s = 0;
    assert_int_equal(probe_invite_encode(bad, &out, NULL), -EINVAL);
    assert_int_equal(out.len, 0);
    assert_int_equal(probe_invite_encode(&invite, &small, NULL), -E2BIG);
    strbuf_release(&small);
    strbuf_release(&word);
}

static void the_token_is_the_secret_and_the_certificate_is_pem(void **state)
{
    struct strbuf word = word_of("a"), pem = STRBUF_INIT(4096);
    char token[PROBE_SECRET_TEXT];

    (void)state;
    memset(invite.secret, 0, sizeof(invite.secret));
    probe_invite_token(&invite, token);
    assert_string_equal(token, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    invite.certificate_len = 50;
    memset(invite.certificate, 0, 50);
    assert_int_equal(probe_invite_ca_pem(&invite, &pem), 0);
    assert_string_equal(pem.data,
                        "-----BEGIN CERTIFICATE-----\n"
                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                        "AAA=\n"
                        "-----END CERTIFICATE-----\n");
    strbuf_release(&pem);
    strbuf_release(&word);
}

static const struct {
    const char *hosts, *hostname;
    uint32_t address;
    const char *me;
} machines[] = {
    {"a,b,c", "b", 0, "b"},
    {"a,b,c", "B", 0, "b"},
    {"a,b,c", "d", 0, NULL},
    {"a,b", "ab", 0, NULL},
    {"node-1.example,node-2.example", "node-2", 0, "node-2.example"},
    {"node-1,node-2", "node-2.example", 0, "node-2"},
    {"node-1.a,node-1.b", "node-1", 0, NULL}, /* either */
    {"node-1.a,node-1.b", "node-1.b", 0, "node-1.b"},
    {"node-1.a", "node-1.b", 0, NULL},
    {"10.0.0.1,10.0.0.2", "x", 0x0a000002, "10.0.0.2"},
    {"10.0.0.1,10.0.0.2", "x", 0x0a000003, NULL},
    {"10.0.0.1,x", "x", 0x0a000001, "x"},
};

static void a_machine_finds_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        struct strbuf word = word_of(machines[i].hosts);
        const struct probe_host *me =
            probe_invite_me(&invite, machines[i].hostname, &machines[i].address, 1);

        if (!machines[i].me && me)
            fail_msg("%s in %s is taken for %s", machines[i].hostname, machines[i].hosts, me->name);
        if (machines[i].me) {
            assert_non_null(me);
            assert_string_equal(me->name, machines[i].me);
        }
        strbuf_release(&word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_out_as_it_went_in),
        cmocka_unit_test(white_space_around_it_is_passed_over),
        cmocka_unit_test(many_hosts_stay_a_line),
        cmocka_unit_test(a_damaged_one_is_never_taken),
        cmocka_unit_test(after_a_refusal_nothing_of_it_is_left),
        cmocka_unit_test(what_cannot_be_is_not_written),
        cmocka_unit_test(the_token_is_the_secret_and_the_certificate_is_pem),
        cmocka_unit_test(a_machine_finds_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
