/* SPDX-License-Identifier: Apache-2.0 */

/*
 * clock - time.  The loop calls cn_clock_update() once a turn; everything within a turn sees one
 * instant.  Timers use the monotonic clock; the wall clock is for logs, certificates and tokens.
 */

#ifndef CN_BASE_CLOCK_H
#define CN_BASE_CLOCK_H

#include "base/status.h"

/* Reads both clocks into the cache. */
void cn_clock_update(void);

/* Monotonic, cached: ms and µs since an arbitrary start. */
uint64_t cn_clock_ms(void);
uint64_t cn_clock_us(void);

/* Monotonic, read now. */
uint64_t cn_clock_us_now(void);

/* Wall clock, cached: ms and µs since 1970-01-01T00:00:00Z. */
uint64_t cn_clock_wall_ms(void);

/* Writes "2026-01-02T03:04:05.678Z" (24 octets, no NUL) for a wall time in ms. */
void cn_clock_print_rfc3339(uint64_t wall_ms, char out[24]);

/* Writes an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT" (29 octets, no NUL; RFC 9110 5.6.7). */
void cn_clock_print_http(uint64_t wall_ms, char out[29]);

#endif
