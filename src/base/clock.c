/* SPDX-License-Identifier: Apache-2.0 */

/* clock - both clocks read once a turn, and dates in the two forms that the proxy writes. */

#include "base/clock.h"

#include <string.h>
#include <time.h>

#define MS_PER_DAY   86400000u
#define WALL_MS_MAX  253402300799999u   /* 9999-12-31T23:59:59.999Z: four digits of year */

typedef struct {
    unsigned  year;
    unsigned  month;            /* 1..12 */
    unsigned  day;              /* 1..31 */
    unsigned  weekday;          /* 0 is Sunday */
    unsigned  hour;
    unsigned  minute;
    unsigned  second;
    unsigned  ms;
} date_t;

static uint64_t  monotonic_us;
static uint64_t  wall_ms_cached;


static uint64_t
read_us(clockid_t id)
{
    struct timespec  now;

    (void) clock_gettime(id, &now);     /* fails for unknown clocks only */

    return (uint64_t) now.tv_sec * 1000000u + (uint64_t) now.tv_nsec / 1000u;
}


void
cn_clock_update(void)
{
    monotonic_us = read_us(CLOCK_MONOTONIC);
    wall_ms_cached = read_us(CLOCK_REALTIME) / 1000u;
}


uint64_t
cn_clock_us(void)
{
    if (__builtin_expect(monotonic_us == 0, 0)) {
        cn_clock_update();              /* asked before the first turn */
    }

    return monotonic_us;
}


uint64_t
cn_clock_ms(void)
{
    return cn_clock_us() / 1000u;
}


uint64_t
cn_clock_us_now(void)
{
    return read_us(CLOCK_MONOTONIC);
}


uint64_t
cn_clock_wall_ms(void)
{
    if (__builtin_expect(wall_ms_cached == 0, 0)) {
        cn_clock_update();
    }

    return wall_ms_cached;
}


static bool
is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}


/* Splits days since 1970-01-01 into year, month and day; four centuries are 146097 days. */
static void
split_days(uint64_t days, date_t *date)
{
    static const uint8_t  month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    /* an estimate that is never too late, then forward by whole years */
    unsigned  year = 1970 + (unsigned) (days / 366);
    uint64_t  before = (uint64_t) (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    uint64_t  left = days - ((uint64_t) (year - 1970) * 365 + before);

    while (left >= (is_leap(year) ? 366u : 365u)) {
        left -= is_leap(year) ? 366u : 365u;
        year++;
    }

    date->year = year;
    date->month = 1;

    for (unsigned i = 0; i < 12; i++) {
        unsigned  len = month_days[i] + (i == 1 && is_leap(year) ? 1u : 0u);

        if (left < len) {
            break;
        }

        left -= len;
        date->month++;
    }

    date->day = (unsigned) left + 1;
}


static date_t
split_wall(uint64_t wall_ms)
{
    date_t    date;
    uint64_t  days;
    unsigned  rest;

    wall_ms = wall_ms > WALL_MS_MAX ? WALL_MS_MAX : wall_ms;
    days = wall_ms / MS_PER_DAY;
    rest = (unsigned) (wall_ms % MS_PER_DAY);

    split_days(days, &date);
    date.weekday = (unsigned) ((days + 4) % 7);         /* 1970-01-01 was a Thursday */
    date.hour = rest / 3600000u;
    date.minute = rest / 60000u % 60u;
    date.second = rest / 1000u % 60u;
    date.ms = rest % 1000u;

    return date;
}


/* Writes value as exactly width digits. */
static char *
put_digits(char *out, unsigned value, unsigned width)
{
    for (unsigned i = width; i > 0; i--) {
        out[i - 1] = (char) ('0' + value % 10);
        value /= 10;
    }

    return out + width;
}


static char *
put_time(char *out, const date_t *date)
{
    out = put_digits(out, date->hour, 2);
    *out++ = ':';
    out = put_digits(out, date->minute, 2);
    *out++ = ':';

    return put_digits(out, date->second, 2);
}


void
cn_clock_print_rfc3339(uint64_t wall_ms, char out[24])
{
    date_t  date = split_wall(wall_ms);

    out = put_digits(out, date.year, 4);
    *out++ = '-';
    out = put_digits(out, date.month, 2);
    *out++ = '-';
    out = put_digits(out, date.day, 2);
    *out++ = 'T';
    out = put_time(out, &date);
    *out++ = '.';
    out = put_digits(out, date.ms, 3);
    *out = 'Z';
}


void
cn_clock_print_http(uint64_t wall_ms, char out[29])
{
    static const char  weekdays[] = "SunMonTueWedThuFriSat";
    static const char  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    date_t  date = split_wall(wall_ms);

    memcpy(out, weekdays + (size_t) date.weekday * 3, 3);
    memcpy(out + 3, ", ", 2);
    out = put_digits(out + 5, date.day, 2);
    *out++ = ' ';
    memcpy(out, months + (size_t) (date.month - 1) * 3, 3);
    out[3] = ' ';
    out = put_digits(out + 4, date.year, 4);
    *out++ = ' ';
    out = put_time(out, &date);
    memcpy(out, " GMT", 4);
}
