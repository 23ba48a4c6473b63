/* Traces of `lockstep simulate`: what is taken, and what is said about the rest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "scheduler/simulate/trace_file.h"

#define HEAD "name,submit_s,duration_s,pods,gpus\n"

static const char *const names[] = {"example.com/block", "nvidia.com/gpu.clique"};
static const struct trace_levels levels = {names, 2};

static void parse(const char *text, struct trace_file *ret)
{
    struct err err = ERR_INIT;

    if (trace_file_parse("t", text, strlen(text), &levels, ret, &err) < 0)
        fail_msg("%s\nsays  %s", text, err.text);
}

/* The same two gangs, however they are written. */
static const char *const same[] = {
    "name,submit_s,duration_s,pods,gpus,priority,required,preferred\n"
    "b,20,30,4,8,-5,node,example.com/block\n"
    "a,10,7,1,2,,,\n",
    "# a comment\n\ngpus , pods,preferred,required,priority,duration_s,submit_s,name\r\n"
    "\t8,4,example.com/block , node,-5,30,20,b\r\n\r\n"
    "2,1,,,0,7,10,a",
    "\xEF\xBB\xBFname,submit_s,duration_s,pods,gpus,priority,required,preferred\n"
    "a,10,7,1,2,,,\nb,20,30,4,8,-5,node,example.com/block\n",
    "# a comment\ngangs:\n"
    "- {name: b, submit_s: 20, duration_s: 30, pods: 4, gpus: 8, priority: -5, required: node,\n"
    "   preferred: example.com/block}\n"
    "- name: a\n  submit_s: 10\n  duration_s: \"7\"\n  pods: 1\n  gpus: 2\n",
    "{\"gangs\": [{\"name\": \"a\", \"submit_s\": 10, \"duration_s\": 7, \"pods\": 1, \"gpus\": 2},"
    "{\"name\": \"b\", \"submit_s\": 20, \"duration_s\": 30, \"pods\": 4, \"gpus\": 8, \"priority\": -5,"
    "\"required\": \"node\", \"preferred\": \"example.com/block\"}]}",
};

static void every_field_is_read_in_both_formats_and_sorted_by_submission(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct trace_file trace;

        parse(same[i], &trace);
        assert_int_equal(trace.n, 2);
        assert_string_equal(trace.gangs[0].name, "a");
        assert_int_equal(trace.gangs[0].submit_s, 10);
        assert_int_equal(trace.gangs[0].duration_s, 7);
        assert_int_equal(trace.gangs[0].pods, 1);
        assert_int_equal(trace.gangs[0].gpus, 2);
        assert_int_equal(trace.gangs[0].priority, 0);
        assert_int_equal(trace.gangs[0].required_level, -1);
        assert_int_equal(trace.gangs[0].preferred_level, -1);
        assert_string_equal(trace.gangs[1].name, "b");
        assert_int_equal(trace.gangs[1].pods, 4);
        assert_int_equal(trace.gangs[1].priority, -5);
        assert_int_equal(trace.gangs[1].required_level, 2);
        assert_int_equal(trace.gangs[1].preferred_level, 0);
        trace_file_release(&trace);
    }
}

static void the_nvlink_domain_has_a_name_of_its_own(void **state)
{
    struct trace_file trace;

    (void)state;
    parse("name,submit_s,duration_s,pods,gpus,required\na,0,1,1,1,nvlink-domain\n", &trace);
    assert_int_equal(trace.gangs[0].required_level, 1);
    trace_file_release(&trace);
}

/* What is wrong, and what the message must begin with: place, field, found, expected. */
static const struct {
    const char *text, *message;
} bad_files[] = {
    {"", "t: no gangs in it"},
    {"\n# only a comment", "t: no gangs in it"},
    {HEAD, "t: no gangs in it"},
    {"a,0,1,1,1\n", "t:1: unknown column 'a', expected a header: name,submit_s,duration_s,pods,gpus"},
    {"name,submit,duration_s,pods,gpus\n", "t:1: unknown column 'submit', did you mean 'submit_s'?"},
    {"name,submit_s,duration_s,pods,gpus,\n", "t:1: unknown column ''"},
    {"name,name\n", "t:1: column 'name' stands twice"},
    {"name,submit_s,duration_s,pods\na,0,1,1\n", "t:2: gpus: missing, expected accelerators per pod"},
    {HEAD "a,0,1,1\n", "t:2: found 4 fields, expected 5 as in the header"},
    {HEAD "a,0,1,1,8,\n", "t:2: found 6 fields, expected 5 as in the header"},
    {HEAD "\"a\",0,1,1,8\n", "t:2: found a quote, expected plain fields: quoted ones are not read"},
    {HEAD "a,0,1,1,8\n\n\na,0,1,1,8\n", "t:5: name: found 'a' again, expected each once"},
    {HEAD ",0,1,1,8\n", "t:2: name: found '', expected lower-case letters, digits, '-' and '.'"},
    {HEAD "A b,0,1,1,8\n", "t:2: name: found 'A b', expected"},
    {HEAD "a234567890123456789012345678901234567890123456789012345678901234,0,1,1,8\n",
     "t:2: name: found 'a2345678901234567890123456789012345678901234567890123456789"},
    {HEAD "a,,1,1,8\n", "t:2: submit_s: found '', expected whole seconds, 0 to 1000000000"},
    {HEAD "a,-1,1,1,8\n", "t:2: submit_s: found '-1', expected whole seconds, 0 to 1000000000"},
    {HEAD "a,1.5,1,1,8\n", "t:2: submit_s: found '1.5', expected"},
    {HEAD "a,1000000001,1,1,8\n", "t:2: submit_s: found '1000000001', expected"},
    {HEAD "a,99999999999999999999,1,1,8\n", "t:2: submit_s: found '99999999999999999999', expected"},
    {HEAD "a,0,0,1,8\n", "t:2: duration_s: found '0', expected whole seconds, 1 to 1000000000"},
    {HEAD "a,0,1,0,8\n", "t:2: pods: found '0', expected 1 to 20000"},
    {HEAD "a,0,1,20001,8\n", "t:2: pods: found '20001', expected 1 to 20000"},
    {HEAD "a,0,1,many,8\n", "t:2: pods: found 'many', expected 1 to 20000"},
    {HEAD "a,0,1,1,0\n", "t:2: gpus: found '0', expected accelerators per pod, 1 to 1024"},
    {HEAD "a,0,1,1,1025\n", "t:2: gpus: found '1025', expected"},
    {HEAD "a,0,1,1,8\x01\n", "t:2: found control characters or no UTF-8, expected text"},
    {HEAD "a,0,1,1,8\xff\n", "t:2: found control characters or no UTF-8, expected text"},
    {"name,submit_s,duration_s,pods,gpus,priority\na,0,1,1,8,1000000001\n",
     "t:2: priority: found '1000000001', expected a whole number, -1000000000 to 1000000000"},
    {"name,submit_s,duration_s,pods,gpus,required\na,0,1,1,8,rack\n",
     "t:2: required: found 'rack', expected a level of the cluster: example.com/block, "
     "nvidia.com/gpu.clique, node"},
    {"name,submit_s,duration_s,pods,gpus,preferred\na,0,1,1,8,rack\n", "t:2: preferred: found 'rack',"},
    {HEAD "a,0,1000000000,1,8\nb,0,1000000000,1,8\nc,0,1000000000,1,8\nd,0,1000000000,1,8\n"
     "e,0,1000000000,1,8\nf,0,1000000000,1,8\ng,0,1000000000,1,8\nh,1,1000000000,1,8\n",
     "t:9: duration_s: all of them add up to more than 8000000000 seconds"},
    {"{}", "t: gangs: missing, expected a list"},
    {"gangs: 1\n", "t: gangs: missing, expected a list"},
    {"gangs: []\n", "t: no gangs in it"},
    {"gangs: [a]\n", "t: gangs[0]: expected a mapping of keys to values"},
    {"gangs: []\nmore: 1\n", "t:2: unknown key 'more', expected gangs alone"},
    {"gangs:\n- name: a\n  pod: 1\n", "t:3: unknown key 'pod' in gangs[0], did you mean 'pods'?"},
    {"gangs:\n- name: a\n  submit_s: 0\n  duration_s: 1\n  pods: 1\n",
     "t:2: gpus: missing, expected accelerators per pod"},
    {"gangs:\n- name: a\n  pods: 0\n", "t:3: pods: found '0', expected 1 to 20000"},
    {"gangs:\n- name: a\n  pods: 1.5\n", "t:3: pods: found 1.5, expected a number or a text"},
    {"gangs:\n- name: a\n  pods: [1]\n", "t:3: pods: found [1], expected a number or a text"},
    {"gangs:\n- name: a\n  pods:\n", "t:3: pods: found null, expected a number or a text"},
    {"gangs:\n- {name: a, submit_s: 0, duration_s: 1, pods: 1, gpus: 1}\n"
     "- {name: a, submit_s: 0, duration_s: 1, pods: 1, gpus: 1}\n",
     "t:3: name: found 'a' again, expected each once"},
    {"gangs: []\n---\ngangs: []\n", "t: more than 1 documents"},
};

static void bad_files_are_refused_with_place_field_found_and_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
        struct trace_file trace = {.n = 77};
        struct err err = ERR_INIT;
        const char *text = bad_files[i].text;

        if (trace_file_parse("t", text, strlen(text), &levels, &trace, &err) == 0)
            fail_msg("was taken:\n%s", text);
        if (strncmp(err.text, bad_files[i].message, strlen(bad_files[i].message)) != 0)
            fail_msg("%ssays  %s\nnot   %s", text, err.text, bad_files[i].message);
        assert_int_equal(trace.n, 77);
    }
}

static void a_line_too_long_and_too_many_fields_are_refused(void **state)
{
    char text[4096];
    struct trace_file trace;
    struct err err = ERR_INIT;

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_true(trace_file_parse("t", text, sizeof(text), &levels, &trace, &err) < 0);
    assert_string_equal(err.text, "t:1: found a line of 4096 bytes, expected at most 1024");
    memset(text, ',', 100);
    assert_true(trace_file_parse("t", text, 100, &levels, &trace, &err) < 0);
    assert_string_equal(err.text, "t:1: more than 16 fields");
}

static void the_shipped_example_is_read_and_a_missing_file_is_named(void **state)
{
    static const char *const shipped[] = {"example.com/block", "example.com/rack"};
    const struct trace_levels their = {shipped, 2};
    struct trace_file trace;
    struct err err = ERR_INIT;

    (void)state;
    if (trace_file_load(SOURCE_DIR "/configs/examples/trace.csv", &their, &trace, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(trace.n, 10);
    trace_file_release(&trace);
    assert_true(trace_file_load("/nonexistent/trace.csv", &levels, &trace, &err) < 0);
    assert_non_null(strstr(err.text, "/nonexistent/trace.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read_in_both_formats_and_sorted_by_submission),
        cmocka_unit_test(the_nvlink_domain_has_a_name_of_its_own),
        cmocka_unit_test(bad_files_are_refused_with_place_field_found_and_expected),
        cmocka_unit_test(a_line_too_long_and_too_many_fields_are_refused),
        cmocka_unit_test(the_shipped_example_is_read_and_a_missing_file_is_named),
    };

    return cmocka_run_group_tests_name("trace_file", tests, NULL, NULL);
}
