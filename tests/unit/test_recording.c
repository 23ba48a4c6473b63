/* The file of a trace: appended to, locked, bounded, and given up when it cannot be written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scheduler/trace/recording.h"

static char path[64];
static struct trace_header header = {.program = "test 1", .host = "h"};

static int open_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/tmp/test_recording.XXXXXX");
    assert_non_null(mkdtemp(path));
    strncat(path, "/trace", sizeof(path) - strlen(path) - 1);
    return config_init(&header.config);
}

static int close_folder(void **state)
{
    (void)state;
    unlink(path);
    *strrchr(path, '/') = '\0';
    rmdir(path);
    config_release(&header.config);
    return 0;
}

static struct recording *open_recording(uint64_t max_bytes)
{
    struct recording *recording;
    struct err err = ERR_INIT;

    if (recording_open(path, &header, max_bytes, &recording, &err) < 0)
        fail_msg("%s", err.text);
    return recording;
}

static void expect_refused(const char *file, uint64_t max_bytes, const char *message)
{
    struct recording *recording;
    struct err err = ERR_INIT;

    assert_true(recording_open(file, &header, max_bytes, &recording, &err) < 0);
    if (!strstr(err.text, message))
        fail_msg("'%s' lacks '%s'", err.text, message);
}

/* One vote and its answer. */
static void tell(struct recording *recording, int64_t now_ns)
{
    struct event event = {.kind = EV_VOTE, .ticket = 5, .uid = "u", .name = "n"};
    char text[] = "no";
    struct action reply = {.kind = ACT_REPLY, .ticket = 5, .text = text};
    struct actions actions = {&reply, 1, 1};

    recording_step(recording, &event, NULL, now_ns);
    recording_actions(recording, &actions, 0, 1);
    recording_settle(recording, now_ns);
    recording_actions(recording, &actions, 1, 1);
}

/* The kinds of lines in the file as letters, a torn one in front of its header as '~'. */
static void expect_lines(const char *expected)
{
    static const char letters[] = {[TRACE_HEADER] = 'H', [TRACE_STEP] = 's', [TRACE_SETTLE] = 't',
                                   [TRACE_ACTION] = 'a', [TRACE_END] = 'E'};
    struct trace_reader *reader = trace_reader_new(fopen(path, "re"), path);
    char found[1000] = "";
    size_t n = 0;
    uint64_t torn = 0;
    struct trace_line line = {0};
    struct err err = ERR_INIT;
    int r;

    while ((r = trace_reader_next(reader, &line, &err)) > 0 && n < sizeof(found) - 3) {
        if (trace_reader_torn(reader) > torn)
            found[n++] = '~';
        torn = trace_reader_torn(reader);
        found[n++] = letters[line.kind];
        trace_line_release(&line);
    }
    if (r != 0)
        fail_msg("%s", err.text);
    trace_reader_free(reader);
    assert_string_equal(found, expected);
}

static void a_second_process_goes_on_in_the_file(void **state)
{
    struct recording *recording = open_recording(RECORDING_MAX_BYTES);
    struct err err = ERR_INIT;
    struct stat stat_now;
    FILE *file;

    (void)state;
    tell(recording, 1);
    assert_int_equal(recording_flush(recording, &err), 0);
    expect_lines("Hsat");
    tell(recording, 2);
    recording_close(recording, "over");
    assert_int_equal(stat(path, &stat_now), 0);
    assert_int_equal(stat_now.st_mode & 0777, 0600);
    file = fopen(path, "ae");
    fputs("{\"step\":\"no", file); /* killed */
    fclose(file);
    recording = open_recording(RECORDING_MAX_BYTES);
    tell(recording, 3);
    recording_close(recording, "over");
    expect_lines("HsatsatE~HsatE");
}

static void a_file_that_cannot_be_written_is_refused(void **state)
{
    struct recording *recording = open_recording(RECORDING_MAX_BYTES);

    (void)state;
    expect_refused(path, RECORDING_MAX_BYTES, "another process does");
    recording_close(recording, "over");
    expect_refused("/nowhere/trace", RECORDING_MAX_BYTES, "'/nowhere/trace': No such file");
    expect_refused("/dev/full", RECORDING_MAX_BYTES, "No space left");
    expect_refused(path, 300, "the limit is 300");
}

static void the_file_stays_below_its_limit_and_says_so(void **state)
{
    struct recording *recording = open_recording(3000);
    struct event lease = {.kind = EV_LEASE};
    struct err err = ERR_INIT;
    struct stat stat_now;
    int r = 0, told = 0;

    (void)state;
    while (r == 0 && told++ < 100) {
        tell(recording, told);
        r = recording_flush(recording, &err);
    }
    assert_int_equal(r, -EFBIG);
    assert_non_null(strstr(err.text, "limit of 3000 bytes"));
    assert_int_equal(stat(path, &stat_now), 0);
    assert_in_range(stat_now.st_size, 2400, 3000);
    assert_false(recording_on(recording));
    assert_null(recording_object(recording, EV_LEASE, json_null()));
    recording_step(recording, &lease, NULL, 1);
    assert_int_equal(recording_flush(recording, &err), 0); /* it is said once */
    recording_close(recording, "over");
    assert_true(told > 5 && told < 40);
}

static void a_full_disk_ends_it_and_leaves_whole_lines(void **state)
{
    struct recording *recording = open_recording(RECORDING_MAX_BYTES);
    struct rlimit limit, full = {0};
    struct err err = ERR_INIT;
    struct stat stat_now;
    int r;

    (void)state;
    tell(recording, 1);
    assert_int_equal(recording_flush(recording, &err), 0);
    assert_int_equal(stat(path, &stat_now), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    full = (struct rlimit){(rlim_t)stat_now.st_size + 40, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    tell(recording, 2);
    r = recording_flush(recording, &err);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_int_equal(r, -EFBIG);
    assert_false(recording_on(recording));
    recording_close(recording, "over");
    expect_lines("Hsat");
}

static void an_object_that_was_not_kept_ends_it(void **state)
{
    struct recording *recording = open_recording(RECORDING_MAX_BYTES);
    struct event event = {.kind = EV_POD};
    struct err err = ERR_INIT;

    (void)state;
    recording_step(recording, &event, NULL, 1);
    assert_int_equal(recording_flush(recording, &err), -ENOMEM);
    recording_close(recording, "over");
    expect_lines("H");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_folder, close_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_second_process_goes_on_in_the_file),
        CASE(a_file_that_cannot_be_written_is_refused),
        CASE(the_file_stays_below_its_limit_and_says_so),
        CASE(a_full_disk_ends_it_and_leaves_whole_lines),
        CASE(an_object_that_was_not_kept_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
