/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log - "2026-01-02T03:04:05.678Z [warn] worker 0 area: verb-phrase: key=value".
 *
 * Repeats are known by the address of their format string.  A small table holds the messages of
 * the current second; where it is full of busy ones, a message goes out unlimited rather than not
 * at all.
 */

#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_LEN   4096         /* '\n' included */
#define REPEATS_MAX    5            /* of one message in one second */
#define REPEAT_SLOTS   128          /* a power of two */
#define REPEAT_PROBES  8

typedef struct {
    const char      *format;        /* NULL: free */
    const char      *area;
    uint64_t         second;        /* wall clock */
    uint32_t         count;         /* in that second */
    cn_log_level_t   level;
} repeat_t;

static const char *const level_names[] = {
    [CN_LOG_ALERT] = "alert",
    [CN_LOG_ERROR] = "error",
    [CN_LOG_WARN]  = "warn",
    [CN_LOG_INFO]  = "info",
    [CN_LOG_DEBUG] = "debug",
};

static const char      *log_who = "cairn";
static cn_log_sink_t    log_sink;
static void            *log_context;
static cn_log_level_t   log_level = CN_LOG_INFO;
static repeat_t         repeats[REPEAT_SLOTS];
static size_t           held_back;              /* slots with repeats to tell */


void
cn_log_open(const char *who, cn_log_sink_t sink, void *context)
{
    log_who = who;
    log_sink = sink;
    log_context = context;
}


void
cn_log_set_level(cn_log_level_t level)
{
    log_level = level;
}


cn_log_level_t
cn_log_get_level(void)
{
    return log_level;
}


cn_status_t
cn_log_parse_level(cn_bytes_t name, cn_log_level_t *level)
{
    for (size_t i = 0; i < CN_COUNT_OF(level_names); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(level_names[i]))) {
            *level = (cn_log_level_t) i;
            return CN_OK;
        }
    }

    return CN_ERR_NOT_FOUND;
}


static void
emit(cn_bytes_t line)
{
    if (log_sink != NULL) {
        log_sink(log_context, line);
        return;
    }

    if (write(STDERR_FILENO, line.ptr, line.len) < 0) {
        return;                         /* there is no second place to complain in */
    }
}


static void CN_PRINTF(3, 0)
write_line(cn_log_level_t level, const char *area, const char *format, va_list args)
{
    char    line[LINE_MAX_LEN];
    char    when[24];
    size_t  len;
    int     printed;

    cn_clock_print_rfc3339(cn_clock_wall_ms(), when);
    printed = snprintf(line, sizeof(line), "%.24s [%s] %s %s: ", when, level_names[level], log_who,
                       area);
    if (printed < 0) {
        return;
    }

    len = (size_t) printed < sizeof(line) ? (size_t) printed : sizeof(line) - 1;
    printed = vsnprintf(line + len, sizeof(line) - len, format, args);
    if (printed < 0) {
        return;
    }

    len += (size_t) printed < sizeof(line) - len ? (size_t) printed : sizeof(line) - len - 1;

    /* one event is one line, whatever came in with it */
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t) line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }

    line[len++] = '\n';
    emit(cn_bytes(line, len));
}


void
cn_log_write_each(cn_log_level_t level, const char *area, const char *format, ...)
{
    int      error = errno;             /* a log line changes nothing for who logs */
    va_list  args;

    va_start(args, format);
    write_line(level, area, format, args);
    va_end(args);

    errno = error;
}


/* Tells how many repeats of a past second were not written, and frees the slot. */
static void
repeat_close(repeat_t *repeat)
{
    if (repeat->format != NULL && repeat->count > REPEATS_MAX) {
        char  text[256];

        held_back--;
        cn_log_write_each(repeat->level, repeat->area, "repeated: more=%u message=\"%s\"",
                          repeat->count - REPEATS_MAX,
                          cn_bytes_escape(cn_bytes_str(repeat->format), text, sizeof(text)));
    }

    repeat->format = NULL;
}


/* The message's slot in this second; NULL when the table is full of others. */
static repeat_t *
repeat_find(const char *format, uint64_t second)
{
    size_t     home = (size_t) (((uintptr_t) format * 0x9e3779b97f4a7c15u) >> 57);
    repeat_t  *found = NULL;

    for (size_t i = 0; i < REPEAT_PROBES; i++) {
        repeat_t  *repeat = &repeats[(home + i) & (REPEAT_SLOTS - 1)];

        if (repeat->format == format && repeat->second == second) {
            return repeat;
        }

        if (repeat->second != second) {
            repeat_close(repeat);
        }

        if (repeat->format == NULL && found == NULL) {
            found = repeat;
        }
    }

    if (found != NULL) {
        *found = (repeat_t) { .format = format, .second = second };
    }

    return found;
}


static bool
may_write(cn_log_level_t level, const char *area, const char *format)
{
    repeat_t  *repeat = repeat_find(format, cn_clock_wall_ms() / 1000);

    if (repeat == NULL) {
        return true;
    }

    repeat->level = level;
    repeat->area = area;
    repeat->count++;

    if (repeat->count == REPEATS_MAX + 1) {
        held_back++;
    }

    return repeat->count <= REPEATS_MAX;
}


void
cn_log_write(cn_log_level_t level, const char *area, const char *format, ...)
{
    int      error = errno;
    va_list  args;

    if (may_write(level, area, format)) {
        va_start(args, format);
        write_line(level, area, format, args);
        va_end(args);
    }

    errno = error;
}


void
cn_log_flush(void)
{
    for (size_t i = 0; i < REPEAT_SLOTS && held_back > 0; i++) {
        if (repeats[i].count > REPEATS_MAX) {
            repeat_close(&repeats[i]);
        }
    }
}
