#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "scheduler/model/config.h"

#define SECOND INT64_C(1000000000)

static void shipped_file_loads_and_holds_the_defaults(void **state)
{
    struct config config, defaults;
    struct err err = ERR_INIT;

    (void)state;
    if (config_load(SOURCE_DIR "/configs/lockstep.yaml", &config, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(config_init(&defaults), 0);
    assert_string_equal(config.scheduler_name, defaults.scheduler_name);
    assert_int_equal(config.nlevels, 0);
    assert_int_equal(config.naccelerators, 1);
    assert_string_equal(config.accelerators[0], defaults.accelerators[0]);
    assert_int_equal(config.node_selector.n, 0);
    assert_int_equal(config.hold_deadline_ns, defaults.hold_deadline_ns);
    assert_int_equal(config.early_plan_deadline_ns, defaults.early_plan_deadline_ns);
    assert_int_equal(config.head_of_line_ns, defaults.head_of_line_ns);
    assert_int_equal(config.give_up_ns, defaults.give_up_ns);
    assert_string_equal(config.listen_verbs, defaults.listen_verbs);
    assert_string_equal(config.listen_health, defaults.listen_health);
    assert_string_equal(config.verbs.ca, "/etc/lockstep/tls/ca.crt");
    assert_string_equal(config.verbs.clients[0], "lockstep-kube-scheduler");
    assert_null(config.verbs.clients[1]);
    assert_string_equal(config.health.key, "/etc/lockstep/tls/metrics-server.key");
    config_release(&config);
    config_release(&defaults);
}

static void every_value_is_read(void **state)
{
    static const char text[] = "schedulerName: other\n"
                               "levels: [example.com/block, rack]\n"
                               "acceleratorResources: [amd.com/gpu, nvidia.com/gpu]\n"
                               "nodeSelector: {pool: 'true', example.com/b: x}\n"
                               "holdDeadline: 2m\n"
                               "earlyPlanDeadline: 0s\n"
                               "headOfLineAfter: 1h30m\n"
                               "giveUpAfter: 24h\n"
                               "preemption: off\n"
                               "oversubscription: {rack: 2.5, example.com/block: 4}\n"
                               "nvlinkBetweenNodes: on\n"
                               "probe: gate\n"
                               "probeDeadline: 90s\n"
                               "listen: {verbs: '[::1]:1', metrics: ':2', agents: off}\n";
    struct config config;
    struct err err = ERR_INIT;

    (void)state;
    if (config_parse("t", text, strlen(text), &config, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(config.scheduler_name, "other");
    assert_int_equal(config.nlevels, 2);
    assert_int_equal(config.probe, PROBE_GATE);
    assert_int_equal(config.probe_deadline_ns, INT64_C(90000000000));
    assert_int_equal(config.noversubscription, 2);
    assert_string_equal(config.oversubscription[1].key, "rack");
    assert_true(config.oversubscription[0].ratio > 3.9 && config.oversubscription[1].ratio < 2.6);
    assert_true(config.nvlink_between_nodes);
    assert_string_equal(config.levels[1], "rack");
    assert_int_equal(config.naccelerators, 2);
    assert_string_equal(labels_get(&config.node_selector, "pool"), "true");
    assert_string_equal(labels_get(&config.node_selector, "example.com/b"), "x");
    assert_int_equal(config.hold_deadline_ns, 120 * SECOND);
    assert_int_equal(config.early_plan_deadline_ns, 0);
    assert_int_equal(config.head_of_line_ns, 5400 * SECOND);
    assert_int_equal(config.give_up_ns, 86400 * SECOND);
    assert_string_equal(config.listen_verbs, "[::1]:1");
    assert_string_equal(config.listen_health, ":2");
    config_release(&config);
}

static void nothing_said_means_the_defaults(void **state)
{
    static const char *const texts[] = {"", "# nothing\n", "{}", "---\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config config;

        assert_int_equal(config_parse("t", texts[i], strlen(texts[i]), &config, NULL), 0);
        assert_int_equal(config.hold_deadline_ns, 50 * SECOND);
        assert_string_equal(config.verbs.cert, "");
        assert_null(config.verbs.clients);
        config_release(&config);
    }
}

/* What is wrong, and what the message must say: place, field, found, expected. */
static const struct {
    const char *text, *message;
} bad_files[] = {
    {"level: []\n", "t:1: unknown key 'level' in the document, did you mean 'levels'?"},
    {"levels: []\nholdDeadlin: 50s\n",
     "t:2: unknown key 'holdDeadlin' in the document, did you mean 'holdDeadline'?"},
    {"quux: 1\n", "t:1: unknown key 'quux' in the document"},
    {"listen:\n  verb: ':1'\n", "t:2: unknown key 'verb' in listen, did you mean 'verbs'?"},
    {"tls:\n  verbs:\n    crt: x\n", "t:3: unknown key 'crt' in tls.verbs, did you mean 'cert'?"},
    {"- a\n", "t:1: the document: found [\"a\"], expected a mapping of keys to values"},
    {"levels: rack\n", "t:1: levels: found \"rack\", expected a list of 0 to 6 different node label "
                       "keys such as example.com/rack"},
    {"levels: [a, b, c, d, e, f, g]\n", "t:1: levels: found [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\"]"},
    {"levels: [a, a]\n", "t:1: levels: found [\"a\",\"a\"], expected a list of 0 to 6 different"},
    {"levels: [1]\n", "t:1: levels: found [1], expected"},
    {"levels: ['a b']\n", "t:1: levels: found [\"a b\"], expected"},
    {"levels: [a/b/c]\n", "t:1: levels: found [\"a/b/c\"], expected"},
    {"levels: ['-a']\n", "t:1: levels: found [\"-a\"], expected"},
    {"levels: [/a]\n", "t:1: levels: found [\"/a\"], expected"},
    {"levels: [example.com/]\n", "t:1: levels: found [\"example.com/\"], expected"},
    {"acceleratorResources: []\n",
     "t:1: acceleratorResources: found [], expected a list of 1 to 8 different resource names"},
    {"nodeSelector: pool\n",
     "t:1: nodeSelector: found \"pool\", expected a mapping of label keys to values"},
    {"nodeSelector: {pool: true}\n", "t:1: nodeSelector: found {\"pool\":true}, expected a mapping of "
                                     "label keys to texts (quote true, false and numbers)"},
    {"nodeSelector: {'a b': c}\n", "t:1: nodeSelector: found {\"a b\":\"c\"}, expected"},
    {"nodeSelector: {a: 'b/c'}\n", "t:1: nodeSelector: found {\"a\":\"b/c\"}, expected"},
    {"holdDeadline: 50\n",
     "t:1: holdDeadline: found 50, expected a duration such as 50s or 10m, 1s to 1h"},
    {"holdDeadline: 50 s\n", "t:1: holdDeadline: found \"50 s\", expected a duration"},
    {"holdDeadline: 999ms\n", "t:1: holdDeadline: found \"999ms\", expected"},
    {"holdDeadline: 61m\n", "t:1: holdDeadline: found \"61m\", expected"},
    {"holdDeadline: 99999999999999999999h\n", "t:1: holdDeadline: found"},
    {"holdDeadline: -1s\n", "t:1: holdDeadline: found \"-1s\", expected"},
    {"holdDeadline:\n", "t:1: holdDeadline: found null, expected"},
    {"earlyPlanDeadline: 11m\n", "t:1: earlyPlanDeadline: found \"11m\", expected a duration such as "
                                 "50s or 10m, 0s (never plan early) to 10m"},
    {"headOfLineAfter: 0s\n", "t:1: headOfLineAfter: found \"0s\", expected"},
    {"giveUpAfter: never\n", "t:1: giveUpAfter: found \"never\", expected"},
    {"oversubscription: 4\n", "t:1: oversubscription: found 4, expected a mapping"},
    {"oversubscription: {rack: 0.5}\n", "t:1: oversubscription: found {\"rack\":0.5}, expected a mapping of node label"},
    {"nvlinkBetweenNodes: 3\n", "t:1: nvlinkBetweenNodes: found 3, expected on or off"},
    {"preemption: maybe\n", "t:1: preemption: found \"maybe\", expected on or off"},
    {"lease: nobody\n", "t:1: lease: found \"nobody\", expected namespace/name, or off"},
    {"lease: A/b\n", "t:1: lease: found \"A/b\", expected namespace/name, or off"},
    {"probe: yes\n", "t:1: probe: found true, expected off, warn or gate"},
    {"probe: gates\n", "t:1: probe: found \"gates\", expected off, warn or gate"},
    {"probeDeadline: 0s\n", "t:1: probeDeadline: found \"0s\", expected a duration such as 50s or 10m, 1s to 24h"},
    {"schedulerName: ''\n", "t:1: schedulerName: found \"\", expected a name of"},
    {"schedulerName: Lock Step\n", "t:1: schedulerName: found \"Lock Step\", expected a name of"},
    {"schedulerName: [a]\n", "t:1: schedulerName: found [\"a\"], expected a name of"},
    {"listen: ':9443'\n", "t:1: listen: found \":9443\", expected a mapping"},
    {"listen:\n  verbs: 9443\n", "t:2: listen.verbs: found 9443, expected address:port, such as "
                                 "127.0.0.1:9443, [::1]:9443 or :9440"},
    {"listen:\n  verbs: localhost:9443\n", "t:2: listen.verbs: found \"localhost:9443\", expected"},
    {"listen:\n  verbs: 127.0.0.1:0\n", "t:2: listen.verbs: found \"127.0.0.1:0\", expected"},
    {"listen:\n  verbs: 127.0.0.1:65536\n", "t:2: listen.verbs: found"},
    {"listen:\n  verbs: '::1:9443'\n", "t:2: listen.verbs: found \"::1:9443\", expected"},
    {"listen:\n  verbs: '[::1:9443'\n", "t:2: listen.verbs: found"},
    {"listen:\n  agents: ':9444'\n", "t:2: listen.agents: found \":9444\", expected off: this version "
                                     "comes without the service for agents"},
    {"tls:\n  verbs:\n    clients: []\n", "t:3: tls.verbs.clients: found [], expected a list of 1 to 16"},
    {"tls: {verbs: {cert: c}}\n", "t: tls.verbs: cert without key"},
    {"tls: {verbs: {key: k}}\n", "t: tls.verbs: key without cert"},
    {"tls: {verbs: {cert: c, key: k}}\n", "t: tls.verbs: cert without tls.ca"},
    {"tls: {verbs: {clients: [a]}}\n", "t: tls.verbs: clients without cert"},
    {"tls: {metrics: {cert: c}}\n", "t: tls.metrics: cert without key"},
    {"tls: {metrics: {ca: c}}\n", "t:1: unknown key 'ca' in tls.metrics"},
    {"tls: {ca: ''}\n", "t:1: tls.ca: found \"\", expected a text that is not empty"},
    {"levels: []\nlevels: []\n", "t:2:"},
    {"a: [\n", "t:2:"},
    {"levels: []\n---\nlevels: []\n", "t: more than 1 documents"},
};

static void bad_files_are_refused_with_place_field_found_and_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        struct config config = {.nlevels = 77};
        struct err err = ERR_INIT;
        const char *text = bad_files[i].text;
        int r = config_parse("t", text, strlen(text), &config, &err);

        if (r == 0) {
            config_release(&config);
            fail_msg("was taken:\n%s", text);
        }
        if (strncmp(err.text, bad_files[i].message, strlen(bad_files[i].message)) != 0)
            fail_msg("%ssays  %s\nnot   %s", text, err.text, bad_files[i].message);
        assert_int_equal(config.nlevels, 77);
    }
}

static void a_missing_file_is_named(void **state)
{
    struct config config;
    struct err err = ERR_INIT;

    (void)state;
    assert_true(config_load("/nonexistent/lockstep.yaml", &config, &err) < 0);
    assert_non_null(strstr(err.text, "/nonexistent/lockstep.yaml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_file_loads_and_holds_the_defaults),
        cmocka_unit_test(every_value_is_read),
        cmocka_unit_test(nothing_said_means_the_defaults),
        cmocka_unit_test(bad_files_are_refused_with_place_field_found_and_expected),
        cmocka_unit_test(a_missing_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
