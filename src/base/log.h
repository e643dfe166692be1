/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log - one line an event: time, level, process, area, "verb-phrase: key=value".  error: someone
 * must act; warn: we coped; info: state changed; debug: compiled out unless configured
 * --with-debug.  A write never blocks: the sink of a worker is its ring in the slab, of a client
 * program standard error.  The same message (by its format string) more than 5 times a second is
 * counted and told once a second.
 */

#ifndef CN_BASE_LOG_H
#define CN_BASE_LOG_H

#include "base/bytes.h"

typedef enum {
    CN_LOG_ALERT,               /* a bug or a broken invariant: fails any test that sees it */
    CN_LOG_ERROR,
    CN_LOG_WARN,
    CN_LOG_INFO,
    CN_LOG_DEBUG,
} cn_log_level_t;

/* line ends with '\n' and is borrowed for the call. */
typedef void (*cn_log_sink_t)(void *context, cn_bytes_t line);

/*
 * Where lines go from now on; NULL: standard error.  who: "guard", "master", "worker 0"; a static
 * string.
 */
void cn_log_open(const char *who, cn_log_sink_t sink, void *context);
void cn_log_set_level(cn_log_level_t level);
cn_log_level_t cn_log_get_level(void);

/* "alert", "error", "warn", "info", "debug"; CN_ERR_NOT_FOUND otherwise. */
cn_status_t cn_log_parse_level(cn_bytes_t name, cn_log_level_t *level) CN_MUST_USE;

/* Lines longer than 4096 octets are cut.  What a peer sent goes through cn_bytes_escape() first. */
void cn_log_write(cn_log_level_t level, const char *area, const char *format, ...) CN_PRINTF(3, 4);

/*
 * Tells now what was held back in past seconds.  The loop calls it; a process calls it before it
 * exits.
 */
void cn_log_flush(void);

/*
 * As cn_log_write(), but equal messages are all written: findings of one reading, each of which
 * somebody must act on.
 */
void cn_log_write_each(cn_log_level_t level, const char *area, const char *format, ...)
    CN_PRINTF(3, 4);

#define cn_log(level, area, ...)                               \
    do {                                                       \
        if ((level) <= cn_log_get_level()) {                   \
            cn_log_write((level), (area), __VA_ARGS__);        \
        }                                                      \
    } while (0)

#ifdef CN_DEBUG
#define cn_debug(area, ...)  cn_log(CN_LOG_DEBUG, area, __VA_ARGS__)
#else
#define cn_debug(area, ...)  ((void) 0)
#endif

#endif
