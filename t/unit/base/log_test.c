/* SPDX-License-Identifier: Apache-2.0 */

/* Log lines: their form, levels, and what happens to repeats. */

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    char      text[65536];
    size_t    len;
    unsigned  lines;
} sink_t;

static sink_t  sink;


static void
keep(void *context, cn_bytes_t line)
{
    sink_t  *to = context;

    assert_true(line.len > 0 && line.len <= 4096);
    assert_int_equal(line.ptr[line.len - 1], '\n');
    assert_true(cn_bytes_find_octet(line, '\n') == line.len - 1);
    assert_true(to->len + line.len < sizeof(to->text));
    memcpy(to->text + to->len, line.ptr, line.len);
    to->len += line.len;
    to->text[to->len] = '\0';
    to->lines++;
}


/* An empty sink. */
static int
fresh(void **state)
{
    (void) state;

    cn_log_open("worker 0", keep, &sink);
    cn_log_set_level(CN_LOG_INFO);
    cn_log_flush();
    memset(&sink, 0, sizeof(sink));

    return 0;
}


/* The same at the beginning of a second, for tests of what happens within one. */
static int
fresh_second(void **state)
{
    uint64_t  second = cn_clock_wall_ms() / 1000;

    while (cn_clock_wall_ms() / 1000 == second) {
        struct timespec  nap = { .tv_nsec = 5000000 };

        (void) nanosleep(&nap, NULL);
        cn_clock_update();
    }

    return fresh(state);
}


static void
a_line_tells_when_how_bad_who_where_and_what(void **state)
{
    unsigned  year;
    char      rest[256];

    (void) state;

    errno = EBADF;
    cn_log(CN_LOG_WARN, "tls", "refuse peer: id=\"%s\"", "spiffe://x");
    assert_int_equal(errno, EBADF);
    assert_int_equal(sink.lines, 1);
    assert_int_equal(sscanf(sink.text, "%4u-%*2u-%*2uT%*2u:%*2u:%*2u.%*3uZ %255[^\n]", &year, rest),
                     2);
    assert_in_range(year, 2024, 9999);
    assert_string_equal(rest, "[warn] worker 0 tls: refuse peer: id=\"spiffe://x\"");
}


static void
levels_above_the_set_one_are_silent(void **state)
{
    (void) state;

    cn_log_set_level(CN_LOG_WARN);
    assert_int_equal(cn_log_get_level(), CN_LOG_WARN);
    cn_log(CN_LOG_INFO, "test", "not this");
    assert_int_equal(sink.lines, 0);
    cn_log(CN_LOG_WARN, "test", "this");
    cn_log(CN_LOG_ALERT, "test", "and this");
    assert_int_equal(sink.lines, 2);
    assert_non_null(strstr(sink.text, "[alert]"));
}


static void
levels_have_names(void **state)
{
    static const char *const  names[] = { "alert", "error", "warn", "info", "debug" };

    cn_log_level_t  level;

    (void) state;

    for (unsigned i = 0; i < CN_COUNT_OF(names); i++) {
        assert_int_equal(cn_log_parse_level(cn_bytes_str(names[i]), &level), CN_OK);
        assert_int_equal(level, i);
    }

    assert_int_equal(cn_log_parse_level(CN_BYTES("warning"), &level), CN_ERR_NOT_FOUND);
    assert_int_equal(cn_log_parse_level(CN_BYTES(""), &level), CN_ERR_NOT_FOUND);
}


static void
one_event_is_one_line(void **state)
{
    (void) state;

    cn_log(CN_LOG_WARN, "test", "forged: %s",
           "a\n2026-01-01T00:00:00.000Z [alert] b\r\x1b[31m\x7f");
    assert_int_equal(sink.lines, 1);
    assert_null(strchr(sink.text, '\x1b'));
    assert_null(strchr(sink.text, '\r'));
}


static void
long_lines_are_cut(void **state)
{
    static char  text[10000];

    (void) state;

    memset(text, 'x', sizeof(text) - 1);
    cn_log(CN_LOG_WARN, "test", "long: %s", text);
    assert_int_equal(sink.lines, 1);
    assert_int_equal(sink.len, 4096);

    cn_log(CN_LOG_WARN, text, "area: %d", 1);
    assert_int_equal(sink.lines, 2);
}


static void
repeats_are_counted_and_told_once(void **state)
{
    (void) state;

    for (unsigned i = 0; i < 100; i++) {
        cn_log(CN_LOG_ERROR, "upstream", "connect failed: n=%u", i);
    }

    assert_int_equal(sink.lines, 5);
    cn_log(CN_LOG_ERROR, "upstream", "another: n=%u", 1u);
    assert_int_equal(sink.lines, 6);

    cn_log_flush();
    assert_int_equal(sink.lines, 7);
    assert_non_null(strstr(sink.text,
                           "[error] worker 0 upstream: repeated: more=95 message=\"connect "));
    cn_log_flush();
    assert_int_equal(sink.lines, 7);
}


static void
findings_are_all_written(void **state)
{
    (void) state;

    for (unsigned i = 0; i < 20; i++) {
        cn_log_write_each(CN_LOG_ERROR, "source", "unknown field: n=%u", i);
    }

    assert_int_equal(sink.lines, 20);
    assert_non_null(strstr(sink.text, "[error] worker 0 source: unknown field: n=19\n"));
    cn_log_flush();
    assert_int_equal(sink.lines, 20);
}


static void
the_next_second_tells_of_the_last_and_starts_anew(void **state)
{
    (void) state;

    for (unsigned i = 0; i < 20; i++) {
        uint64_t         second = cn_clock_wall_ms() / 1000;
        struct timespec  nap = { .tv_nsec = 5000000 };

        while (i == 10 && cn_clock_wall_ms() / 1000 == second) {
            (void) nanosleep(&nap, NULL);
            cn_clock_update();
        }

        cn_log(CN_LOG_ERROR, "test", "again: n=%u", i);
    }

    assert_int_equal(sink.lines, 11);
    assert_non_null(strstr(sink.text, "repeated: more=5 "));
    cn_log_flush();
    assert_int_equal(sink.lines, 12);
}


static void
without_a_sink_lines_go_to_standard_error(void **state)
{
    char     line[256] = "";
    int      ends[2], saved = dup(STDERR_FILENO);
    ssize_t  got;

    (void) state;
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    cn_log_open("guard", NULL, NULL);
    cn_log(CN_LOG_INFO, "test", "to the terminal");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    got = read(ends[0], line, sizeof(line) - 1);
    assert_true(got > 0);
    assert_non_null(strstr(line, "[info] guard test: to the terminal\n"));
    (void) close(ends[0]);
    (void) close(ends[1]);
    (void) close(saved);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(a_line_tells_when_how_bad_who_where_and_what, fresh),
        cmocka_unit_test_setup(levels_above_the_set_one_are_silent, fresh),
        cmocka_unit_test_setup(levels_have_names, fresh),
        cmocka_unit_test_setup(one_event_is_one_line, fresh),
        cmocka_unit_test_setup(long_lines_are_cut, fresh),
        cmocka_unit_test_setup(repeats_are_counted_and_told_once, fresh_second),
        cmocka_unit_test_setup(findings_are_all_written, fresh),
        cmocka_unit_test_setup(the_next_second_tells_of_the_last_and_starts_anew, fresh_second),
        cmocka_unit_test_setup(without_a_sink_lines_go_to_standard_error, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
