/* SPDX-License-Identifier: Apache-2.0 */

/* Clocks and dates; the C library's calendar is the judge. */

#include "unit.h"

#include "base/clock.h"
#include "base/random.h"

#include <time.h>


static void
a_turn_sees_one_instant(void **state)
{
    struct timespec  nap = { .tv_nsec = 3000000 };
    uint64_t         ms, us, wall;

    (void) state;

    us = cn_clock_us();
    ms = cn_clock_ms();
    wall = cn_clock_wall_ms();
    assert_true(us > 0);
    assert_int_equal(ms, us / 1000);

    (void) nanosleep(&nap, NULL);
    assert_true(cn_clock_us() == us && cn_clock_ms() == ms && cn_clock_wall_ms() == wall);
    assert_true(cn_clock_us_now() >= us + 3000);

    cn_clock_update();
    assert_true(cn_clock_us() >= us + 3000);
    assert_true(cn_clock_ms() >= ms + 3);
    assert_true(cn_clock_wall_ms() / 10000 >= (uint64_t) time(NULL) / 10 - 1);
}


static const struct {
    uint64_t     wall_ms;
    const char  *rfc3339;
    const char  *http;
} dates[] = {
    { 0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT" },
    { 784111777678, "1994-11-06T08:49:37.678Z", "Sun, 06 Nov 1994 08:49:37 GMT" },
    { 951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT" },
    { 1709164799999, "2024-02-28T23:59:59.999Z", "Wed, 28 Feb 2024 23:59:59 GMT" },
    { 1709164800000, "2024-02-29T00:00:00.000Z", "Thu, 29 Feb 2024 00:00:00 GMT" },
    { 1735689599999, "2024-12-31T23:59:59.999Z", "Tue, 31 Dec 2024 23:59:59 GMT" },
    { 4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT" },
    { 253402300799999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT" },
    { UINT64_MAX, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT" },
};

static void
dates_are_printed_in_both_forms(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(dates); i++) {
        char  *out = malloc(24);

        assert_non_null(out);
        cn_clock_print_rfc3339(dates[i].wall_ms, out);
        assert_memory_equal(out, dates[i].rfc3339, 24);
        free(out);

        out = malloc(29);
        assert_non_null(out);
        cn_clock_print_http(dates[i].wall_ms, out);
        assert_memory_equal(out, dates[i].http, 29);
        free(out);
    }
}


static void
dates_agree_with_the_c_library(void **state)
{
    (void) state;

    for (unsigned i = 0; i < 50000; i++) {
        uint64_t   seconds = cn_random_below(253402300800);
        time_t     when = (time_t) seconds;
        struct tm  date;
        char       ours[30] = "", theirs[64];

        assert_non_null(gmtime_r(&when, &date));
        assert_int_equal(strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &date), 29);
        cn_clock_print_http(seconds * 1000 + 999, ours);
        assert_string_equal(ours, theirs);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_turn_sees_one_instant),
        cmocka_unit_test(dates_are_printed_in_both_forms),
        cmocka_unit_test(dates_agree_with_the_c_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
