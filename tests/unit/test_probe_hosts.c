/* Lists of hosts and host files: what is taken, and what is refused with which words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collective/probe_hosts.h"

static struct probe_hosts hosts;

/* "a*1 b*4" */
static const char *told(void)
{
    static char text[4096];
    size_t len = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < hosts.n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s*%u", i ? " " : "",
                                hosts.items[i].name, hosts.items[i].slots);
    return text;
}

struct good {
    const char *text, *hosts;
};

static const struct good lists[] = {
    {"a", "a*2"},
    {"a,b,c", "a*2 b*2 c*2"},
    {"a:4,b:1,c", "a*4 b*1 c*2"},
    {"Node-1.Example.COM", "node-1.example.com*2"},
    {"10.0.0.1,10.0.0.2:64", "10.0.0.1*2 10.0.0.2*64"},
};

static const struct good files[] = {
    {"a\nb\n", "a*2 b*2"},
    {"a", "a*2"},
    {"# all\n\n  a slots=4 # the first\n\tb\t\r\n#c\nd:3", "a*4 b*2 d*3"},
    {"a#b", "a*2"},
    {"a slots=04\n", "a*4"},
};

static void lists_of_hosts_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct err err = ERR_INIT;

        if (probe_hosts_parse_list(lists[i].text, strlen(lists[i].text), 2, &hosts, &err) < 0)
            fail_msg("'%s': %s", lists[i].text, err.text);
        assert_string_equal(told(), lists[i].hosts);
    }
}

static void files_of_hosts_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct err err = ERR_INIT;

        if (probe_hosts_parse_file("f", files[i].text, strlen(files[i].text), 2, &hosts, &err) < 0)
            fail_msg("'%s': %s", files[i].text, err.text);
        assert_string_equal(told(), files[i].hosts);
    }
}

static void ranks_run_on_from_host_to_host(void **state)
{
    (void)state;
    assert_int_equal(probe_hosts_parse_list("a:3,b,c:2", 9, 1, &hosts, NULL), 0);
    assert_int_equal(hosts.ranks, 6);
    assert_int_equal(hosts.items[0].first_rank, 0);
    assert_int_equal(hosts.items[1].first_rank, 3);
    assert_int_equal(hosts.items[2].first_rank, 4);
}

struct bad {
    const char *text, *message;
};

static const struct bad bad_lists[] = {
    {"", "'': expected the name of a host"},
    {"a,", "'': expected the name of a host"},
    {"a,,b", "'': expected the name of a host"},
    {"a b", "'a b': expected the name of a host"},
    {"-a", "'-a': expected the name of a host"},
    {"a,b,A", "host a comes twice"},
    {"a:0", "host a: 0 ranks, expected 1 to 64"},
    {"a:65", "host a: 65 ranks, expected 1 to 64"},
    {"a:", "host a: 0 ranks, expected 1 to 64"},
    {"a:x", "host a: 0 ranks, expected 1 to 64"},
    {"a:99999999999999999999", "host a: 0 ranks, expected 1 to 64"},
    {"\xff", "'?': expected the name of a host"},
};

static const struct bad bad_files[] = {
    {"", "f: found no host, expected one a line"},
    {"# a\n\n", "f: found no host, expected one a line"},
    {"a\n\nb\na\n", "f:4: host a comes twice"},
    {"a\nb slots=0", "f:2: host b: 0 ranks, expected 1 to 64"},
    {"a\nb slots=", "f:2: expected a host, and slots=N or nothing behind it"},
    {"a slots=1 b", "f:1: expected a host, and slots=N or nothing behind it"},
    {"a max_slots=1", "f:1: expected a host, and slots=N or nothing behind it"},
    {"a:2 slots=2", "f:1: expected a host, and slots=N or nothing behind it"},
    {"a\n\xc3\x28\n", "f:2: expected text in UTF-8"},
    {"a\nh\xc3\xb6st\n", "f:2: 'h\xc3\xb6st': expected the name of a host"},
    {"a,b\n", "f:1: 'a,b': expected the name of a host"},
};

static void other_lists_are_refused_with_their_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(
            probe_hosts_parse_list(bad_lists[i].text, strlen(bad_lists[i].text), 1, &hosts, &err),
            -EINVAL);
        assert_string_equal(err.text, bad_lists[i].message);
    }
}

static void other_files_are_refused_with_file_and_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        struct err err = ERR_INIT;

        assert_int_equal(probe_hosts_parse_file("f", bad_files[i].text, strlen(bad_files[i].text),
                                                1, &hosts, &err),
                         -EINVAL);
        assert_string_equal(err.text, bad_files[i].message);
    }
}

static void what_is_too_much_is_refused(void **state)
{
    static char text[PROBE_HOSTFILE_MAX + 1], name[300];
    struct err err = ERR_INIT;
    size_t len = 0;

    (void)state;
    memset(text, '#', sizeof(text));
    assert_int_equal(probe_hosts_parse_file("f", text, sizeof(text), 1, &hosts, &err), -E2BIG);
    assert_string_equal(err.text, "f: expected at most 262144 bytes");
    for (unsigned i = 0; i <= PROBE_HOSTS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "h%u\n", i);
    assert_int_equal(probe_hosts_parse_file("f", text, len, 1, &hosts, &err), -E2BIG);
    assert_string_equal(err.text, "f:257: expected at most 256 hosts");
    memset(name, 'a', sizeof(name));
    assert_int_equal(probe_hosts_parse_list(name, sizeof(name), 1, &hosts, &err), -EINVAL);
    assert_int_equal(probe_hosts_parse_list("a\0b", 3, 1, &hosts, &err), -EINVAL);
    assert_int_equal(probe_hosts_parse_file("f", "a\0b", 3, 1, &hosts, &err), -EINVAL);
}

static void a_host_of_any_name_has_a_uid(void **state)
{
    char name[PROBE_NAME_MAX + 1] = "", uid[PROBE_UID_MAX + 1];
    struct err err = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        name[i] = i % 50 == 49 ? '.' : 'a';
    name[99] = 'z';
    assert_true(strlen(name) > PROBE_UID_MAX);
    hosts = (struct probe_hosts){0};
    assert_int_equal(probe_hosts_add(&hosts, "first", 5, 8, &err), 0);
    assert_int_equal(probe_hosts_add(&hosts, name, strlen(name), 8, &err), 0);
    probe_host_uid(&hosts.items[1], uid);
    assert_string_equal(uid, "host-8");
    assert_int_equal(probe_names_check(hosts.items[1].name, uid, hosts.items[1].name, &err), 0);
}

static void as_many_hosts_are_named_as_there_is_room_for(void **state)
{
    static const struct {
        size_t size;
        const char *text;
    } cases[] = {{100, "node-1, node-2, node-3"},
                 {37, "node-1, node-2, node-3"},
                 {36, "node-1, node-2, and 1 more"},
                 {28, "node-1, and 2 more"},
                 {22, "3 hosts"}};
    char text[100];

    (void)state;
    assert_int_equal(
        probe_hosts_parse_list("node-1,node-2,node-3", 20, 1, &hosts, &(struct err)ERR_INIT), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        probe_hosts_list(&hosts, text, cases[i].size);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_hosts_are_taken),
        cmocka_unit_test(files_of_hosts_are_taken),
        cmocka_unit_test(ranks_run_on_from_host_to_host),
        cmocka_unit_test(other_lists_are_refused_with_their_fault),
        cmocka_unit_test(other_files_are_refused_with_file_and_line),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(a_host_of_any_name_has_a_uid),
        cmocka_unit_test(as_many_hosts_are_named_as_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
